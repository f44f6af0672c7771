//! A peer and an application around one machine. Owns the bytes both ways; knows no rule of HTTP.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, response};

use crate::config::Conformance;
use crate::pool::write_buf::WriteBuf;
use crate::proto::date::DateCache;
use crate::proto::h1::{
    BodyKind, BodyLength, Conn, Event, H1Limits, HeadMemory, HeadTable, Next, ParseError,
    RespondError, SendBody, blank_head, fill_head,
};
use crate::proto::step;

pub(super) const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// hyper's numbers and hyper's rules: most stories are about what both conformances have in common,
/// and are shorter without a `host`.
pub(super) fn hyper() -> H1Limits {
    H1Limits {
        conformance: Conformance::Hyper,
        ..H1Limits::default()
    }
}

/// What a peer was understood to say, however its bytes were cut.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Head {
        request: String,
        headers: Vec<(String, Vec<u8>)>,
        body: BodyKind,
        expect_continue: bool,
        upgrade: bool,
    },
    Data(Vec<u8>),
    Trailers(HeaderMap),
    End,
    Error(ParseError),
}

pub(super) struct Pair {
    pub(super) conn: Conn,
    pub(super) limits: H1Limits,
    table: HeadTable,
    memory: HeadMemory,
    pub(super) date: DateCache,
    pub(super) out: WriteBuf,
    /// Received and not consumed.
    pub(super) input: Vec<u8>,
    pub(super) said: Vec<Said>,
}

impl Pair {
    pub(super) fn new() -> Self {
        Pair::with_limits(hyper())
    }

    pub(super) fn with_limits(limits: H1Limits) -> Self {
        let mut date = DateCache::new();
        date.update(784_111_777);
        Pair {
            conn: Conn::new(),
            table: HeadTable::new(limits.headers_max),
            limits,
            memory: HeadMemory::new(),
            date,
            out: WriteBuf::default(),
            input: Vec::new(),
            said: Vec::new(),
        }
    }

    /// A response whose lines are encoded, in one go if it may be; piece by piece.
    pub(super) fn respond_plainly(
        &mut self,
        status: StatusCode,
        lines: &[u8],
        payload: &[u8],
    ) -> bool {
        let Pair {
            conn, date, out, ..
        } = self;
        conn.respond_plainly(status, lines, payload, date, out)
    }

    pub(super) fn respond_lines(&mut self, status: StatusCode, lines: &[u8], payload: &[u8]) {
        let Pair {
            conn, date, out, ..
        } = self;
        let body = match payload.len() {
            0 => BodyLength::Empty,
            bytes => BodyLength::Known(bytes as u64),
        };
        let has_date = false;
        let send = conn.respond_lines(status, lines, has_date, body, date, out);
        if send != Ok(SendBody::Nothing) {
            conn.send_slice(payload, out);
        }
        conn.finish(None, out).unwrap();
    }

    /// The peer sends `bytes`: events until the machine waits.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        loop {
            let input = std::mem::take(&mut self.input);
            let step = self
                .conn
                .handle_input(&self.limits, &input, &mut self.table);
            let goes_on = self.note(step.next, &input);
            self.input = input[step.consumed..].to_vec();
            if !goes_on {
                return;
            }
        }
    }

    fn note(&mut self, next: step::Next<Event>, input: &[u8]) -> bool {
        let step::Next::Event(event) = next else {
            return false;
        };
        let said = match event {
            Event::Head(head) => {
                let bytes = Bytes::copy_from_slice(&input[head.range]);
                let mut parts = blank_head();
                match fill_head(bytes, &self.table, &mut self.memory, &mut parts) {
                    Ok(()) => Said::Head {
                        request: format!("{} {} {:?}", parts.method, parts.uri, parts.version),
                        headers: parts
                            .headers
                            .iter()
                            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                            .collect(),
                        body: head.body,
                        expect_continue: head.expect_continue,
                        upgrade: head.upgrade,
                    },
                    Err(error) => {
                        self.conn.respond_error(error, &self.date, &mut self.out);
                        Said::Error(error)
                    }
                }
            }
            Event::Data(range) => {
                assert!(!range.is_empty(), "data is never empty");
                let data = &input[range];
                if let Some(Said::Data(before)) = self.said.last_mut() {
                    before.extend_from_slice(data);
                    return true;
                }
                Said::Data(data.to_vec())
            }
            Event::Trailers(trailers) => Said::Trailers(*trailers),
            Event::End => Said::End,
            Event::Error(error) => {
                assert!(!self.conn.wants_input());
                if !error.is_body() {
                    self.conn.respond_error(error, &self.date, &mut self.out);
                }
                Said::Error(error)
            }
            Event::PeerEnded(_) => unreachable!("never said of input"),
        };
        self.said.push(said);
        true
    }

    /// The application answers each complete request with an empty 200, as long as there are any.
    pub(super) fn serve(&mut self) {
        while self.conn.request_complete() && !self.conn.response_complete() {
            let (parts, ()) = Response::new(()).into_parts();
            assert_eq!(
                self.respond(&parts, BodyLength::Empty),
                Ok(SendBody::Nothing)
            );
            if self.conn.after_response() != Next::Keep {
                return;
            }
            self.receive(b"");
        }
    }

    pub(super) fn respond(
        &mut self,
        parts: &response::Parts,
        body: BodyLength,
    ) -> Result<SendBody, RespondError> {
        self.conn.respond(parts, body, &self.date, &mut self.out)
    }

    pub(super) fn send(&mut self, data: &'static str) -> super::super::SendMore {
        self.conn
            .send_data(Bytes::from_static(data.as_bytes()), &mut self.out)
    }

    /// What was written since it was last asked for.
    pub(super) fn sent(&mut self) -> String {
        let bytes: Vec<u8> = self.out.slices(usize::MAX).flatten().copied().collect();
        self.out.clear();
        String::from_utf8(bytes).expect("the tests write text")
    }
}

/// What is said, and answered, when `pieces` arrive one after the other.
pub(super) fn hear_pieces(limits: &H1Limits, pieces: &[&[u8]]) -> (Vec<Said>, String) {
    let mut pair = Pair::with_limits(limits.clone());
    for piece in pieces {
        pair.receive(piece);
        pair.serve();
    }
    let sent = pair.sent();
    (pair.said, sent)
}

/// What `input` says: the same whole, byte by byte, and cut in two anywhere.
#[track_caller]
pub(super) fn hear_with(limits: &H1Limits, input: &[u8]) -> (Vec<Said>, String) {
    let whole = hear_pieces(limits, &[input]);
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(
        hear_pieces(limits, &bytes),
        whole,
        "byte by byte: {}",
        input.escape_ascii()
    );
    for at in 0..=input.len() {
        let (first, second) = input.split_at(at);
        let halves = hear_pieces(limits, &[first, second]);
        assert_eq!(halves, whole, "cut at {at}: {}", input.escape_ascii());
    }
    whole
}

#[track_caller]
pub(super) fn hear(input: impl AsRef<[u8]>) -> Vec<Said> {
    hear_with(&hyper(), input.as_ref()).0
}

/// The only thing said is an error.
#[track_caller]
pub(super) fn refused(input: impl AsRef<[u8]>) -> ParseError {
    match hear(input)[..] {
        [Said::Error(error)] => error,
        ref said => panic!("not refused: {said:?}"),
    }
}

/// The head of the first request.
#[track_caller]
pub(super) fn head(input: impl AsRef<[u8]>) -> Said {
    match &hear(input)[..] {
        [head @ Said::Head { .. }, ..] => head.clone(),
        said => panic!("no head: {said:?}"),
    }
}

/// What the first request says of its body.
#[track_caller]
pub(super) fn body_kind(input: impl AsRef<[u8]>) -> BodyKind {
    match head(input) {
        Said::Head { body, .. } => body,
        _ => unreachable!(),
    }
}

/// What follows the first head, within a chunked POST.
#[track_caller]
pub(super) fn chunked(body: impl AsRef<[u8]>) -> Vec<Said> {
    let head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut said = hear([head, body.as_ref()].concat());
    assert!(matches!(said.remove(0), Said::Head { .. }));
    said
}
