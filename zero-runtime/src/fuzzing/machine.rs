//! The whole machine: a peer and an application that do what they like, in any order.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::dice::Dice;
use crate::config::Conformance;
use crate::pool::write_buf::WriteBuf;
use crate::proto::date::DateCache;
use crate::proto::h1::{
    BodyKind, BodyLength, Conn, Eof, Event, H1Limits, HeadMemory, HeadTable, Next, SendBody,
    SendMore, blank_head, fill_head,
};
use crate::proto::step;

/// Plays the front of `input` to the machine, in pieces and with responses as its end says.
pub fn machine(input: &[u8]) {
    let mut dice = Dice::new(input);
    let conformance = dice.pick(&[Conformance::Strict, Conformance::Hyper]);
    let limits = match dice.below(2) {
        0 => H1Limits::default(),
        _ => H1Limits {
            head_bytes_max: 160,
            headers_max: 4,
            uri_bytes_max: 24,
            chunk_extension_bytes_max: 8,
            trailer_bytes_max: 24,
            trailers_max: 2,
            ..H1Limits::default()
        },
    };
    let limits = H1Limits {
        conformance,
        ..limits
    };
    let half = input.len() / 2;
    Play {
        conn: Conn::new(),
        table: HeadTable::new(limits.headers_max),
        limits,
        out: WriteBuf::default(),
        input: &input[..half],
        at: 0,
        shown: 0,
        body: Body::None,
        reply: Reply::Idle,
        heads: 0,
        answers: 0,
    }
    .run(&mut Dice::new(&input[half..]));
}

/// Where the request's body is, by what was told.
#[derive(Debug, PartialEq)]
enum Body {
    None,
    Left(u64),
    Chunks,
    Done,
    Broken,
}

/// Where the application is.
#[derive(Debug, PartialEq)]
enum Reply {
    Idle,
    Due,
    Sending,
    Complete,
    Closed,
}

struct Play<'a> {
    conn: Conn,
    limits: H1Limits,
    table: HeadTable,
    out: WriteBuf,
    input: &'a [u8],
    at: usize,
    shown: usize,
    body: Body,
    reply: Reply,
    heads: usize,
    answers: usize,
}

impl Play<'_> {
    fn run(mut self, dice: &mut Dice<'_>) {
        // Bounded: the dice run out, and then everything goes the shortest way.
        while self.reply != Reply::Closed && !(dice.is_done() && self.shown == self.input.len()) {
            match dice.below(8) {
                0..=2 => self.receive(1 + dice.below(48)),
                3 => self.conn.abandon_body(),
                4 => {
                    self.conn.ask_for_body();
                    self.conn.poll_continue(&mut self.out);
                }
                _ => self.answer(dice),
            }
        }
        self.check_output();
        if self.reply != Reply::Closed {
            self.end();
        }
    }

    fn receive(&mut self, bytes: usize) {
        self.shown = self.input.len().min(self.shown + bytes);
        loop {
            let present = &self.input[self.at..self.shown];
            let step = self
                .conn
                .handle_input(&self.limits, present, &mut self.table);
            assert!(step.consumed <= present.len());
            let goes_on = self.hear(step.next, present);
            self.at += step.consumed;
            if !goes_on || self.reply == Reply::Closed {
                return;
            }
        }
    }

    fn hear(&mut self, next: step::Next<Event>, present: &[u8]) -> bool {
        let event = match next {
            step::Next::Event(event) => event,
            step::Next::More => return false,
            step::Next::Later => {
                assert!(!self.conn.wants_input());
                return false;
            }
        };
        match event {
            Event::Head(head) => {
                assert_eq!(self.reply, Reply::Idle, "one request at a time");
                self.heads += 1;
                self.body = match head.body {
                    BodyKind::None => Body::Done,
                    BodyKind::Length(bytes) => Body::Left(bytes),
                    BodyKind::Chunked => Body::Chunks,
                };
                self.reply = Reply::Due;
                let bytes = Bytes::copy_from_slice(&present[head.range]);
                let memory = &mut HeadMemory::new();
                if let Err(error) = fill_head(bytes, &self.table, memory, &mut blank_head()) {
                    let date = DateCache::new();
                    self.conn.respond_error(error, &date, &mut self.out);
                    self.answers += 1;
                    self.reply = Reply::Closed;
                }
            }
            Event::Data(range) => {
                assert!(!range.is_empty() && range.end <= present.len());
                if let Body::Left(left) = &mut self.body {
                    *left = left
                        .checked_sub(range.len() as u64)
                        .expect("no more than announced");
                }
            }
            Event::Trailers(_) => {
                assert_eq!(self.body, Body::Chunks);
                self.body = Body::Done;
            }
            Event::End => {
                assert!(matches!(self.body, Body::Chunks | Body::Left(_)));
                self.body = Body::Done;
            }
            Event::Error(error) => {
                assert!(!self.conn.wants_input());
                match error.is_body() {
                    true => self.body = Body::Broken,
                    false => {
                        let date = DateCache::new();
                        let answered = self.conn.respond_error(error, &date, &mut self.out);
                        self.answers += usize::from(answered);
                        self.heads += usize::from(answered);
                        self.reply = Reply::Closed;
                    }
                }
                return false;
            }
            Event::PeerEnded(_) => unreachable!("never said of input"),
        }
        true
    }

    fn answer(&mut self, dice: &mut Dice<'_>) {
        match self.reply {
            Reply::Idle | Reply::Closed => {}
            Reply::Due => self.respond(dice),
            Reply::Sending => {
                let piece = dice.pick(&[&b""[..], b"abc", &[b'x'; 5000]]);
                let is_last = dice.below(3) == 0;
                if self
                    .conn
                    .send_data(Bytes::from_static(piece), &mut self.out)
                    == SendMore::Complete
                {
                    self.reply = Reply::Complete;
                } else if is_last {
                    let finished = self.conn.finish(None, &mut self.out);
                    self.reply = match finished {
                        Ok(()) => Reply::Complete,
                        Err(_) => Reply::Closed,
                    };
                }
            }
            Reply::Complete => self.go_on(),
        }
    }

    fn respond(&mut self, dice: &mut Dice<'_>) {
        let date = DateCache::new();
        if dice.below(16) == 0 {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            self.conn.respond_instead(status, &date, &mut self.out);
            self.answers += 1;
            self.reply = Reply::Complete;
            return;
        }
        let mut response = Response::new(());
        *response.status_mut() = dice.pick(&[
            StatusCode::OK,
            StatusCode::NO_CONTENT,
            StatusCode::NOT_FOUND,
        ]);
        let length = dice.pick(&[BodyLength::Empty, BodyLength::Known(3), BodyLength::Unknown]);
        let (parts, ()) = response.into_parts();
        let sent = self.conn.respond(&parts, length, &date, &mut self.out);
        self.answers += 1;
        self.reply = match sent.expect("an ordinary response") {
            SendBody::Nothing => Reply::Complete,
            _ => Reply::Sending,
        };
    }

    fn go_on(&mut self) {
        match self.conn.after_response() {
            Next::Keep => {
                // The next request begins where this one ended, and nowhere else.
                assert_eq!(self.body, Body::Done, "a body is behind it, whole");
                assert!(self.conn.is_idle());
                self.reply = Reply::Idle;
                self.receive(0);
            }
            Next::Drain => {
                self.conn.abandon_body();
                self.receive(0);
                if self.reply == Reply::Complete && self.conn.after_response() != Next::Keep {
                    self.reply = Reply::Closed;
                } else if self.reply == Reply::Complete {
                    self.reply = Reply::Idle;
                    self.receive(0);
                }
            }
            Next::Close => self.reply = Reply::Closed,
        }
    }

    fn end(&mut self) {
        let eof = self.conn.handle_eof();
        match (&self.reply, &self.body) {
            (Reply::Idle, _) => assert!(matches!(eof, Eof::Idle | Eof::MidHead)),
            (_, Body::Done) => assert_eq!(eof, Eof::AfterRequest),
            _ => assert_eq!(eof, Eof::MidBody),
        }
    }

    /// As many status lines as answers were given, and each where one may be.
    fn check_output(&self) {
        assert!(self.answers <= self.heads, "no answer without a request");
        let out: Vec<u8> = self.out.slices(usize::MAX).flatten().copied().collect();
        let lines = out.windows(7).filter(|at| at == b"HTTP/1.").count();
        let interim = out.windows(12).filter(|at| at == b"HTTP/1.1 100").count();
        assert_eq!(lines - interim, self.answers, "{}", out.escape_ascii());
    }
}
