//! The machine of one connection: what its peer says, whose turn it is, and how it goes on. Owns the
//! state of one request and its response; knows no bytes but those it is shown.

mod respond;

use http::header::HeaderName;

use super::decode::{Decoded, Decoder};
use super::framing::{self, Framing, MethodKind};
use super::parse::{self, Found};
use super::send::Framer;
use super::table::HeadTable;
use super::{BodyKind, Eof, Event, H1Limits, Next, ParseError, RequestHead, Step};
use crate::pool::write_buf::WriteBuf;
use crate::proto::step;

/// One connection's protocol state. Nothing of it is on the heap, but for a response that announces
/// trailers.
#[derive(Debug)]
pub struct Conn {
    reading: Reading,
    writing: Writing,
    /// Sticky: once false, the present response is the last.
    keep_alive: bool,
    method: MethodKind,
    /// Of the last head that made a request.
    is_http_10: bool,
    /// The same, of the head before it.
    was_http_10: bool,
    takes_trailers: bool,
    expectation: Expectation,
    /// Nobody reads the rest of the body.
    is_abandoned: bool,
    /// The peer has ended its side.
    is_half_closed: bool,
    wants_upgrade: bool,
    is_upgraded: bool,
    /// What the response has announced; empty, and so without memory, nearly always.
    trailer_names: Vec<HeaderName>,
}

/// Where in a request the connection is.
#[derive(Debug)]
enum Reading {
    Head {
        /// So many bytes of a head have been looked at without finding its end.
        seen: u32,
        /// So many bytes of empty lines came before it.
        skipped: u32,
    },
    Body(Decoder),
    /// The request is complete; what follows waits for its response.
    Complete,
    /// Nothing that follows is listened to.
    Closed,
}

/// What became of the client's wish for `100 Continue`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expectation {
    /// There is none, or it has lost its object.
    None,
    /// The client waits.
    Waits,
    /// And the body was asked for.
    Due,
}

/// Where in a response the connection is.
#[derive(Debug)]
enum Writing {
    /// No request asks for one.
    Idle,
    /// A head is to come.
    Due,
    Body(Framer),
    Complete,
}

impl Default for Conn {
    fn default() -> Self {
        Conn::new()
    }
}

impl Conn {
    /// Makes the machine of a new connection.
    pub fn new() -> Self {
        Conn {
            reading: Reading::Head {
                seen: 0,
                skipped: 0,
            },
            writing: Writing::Idle,
            keep_alive: true,
            method: MethodKind::Other,
            is_http_10: false,
            was_http_10: false,
            takes_trailers: false,
            expectation: Expectation::None,
            is_abandoned: false,
            is_half_closed: false,
            wants_upgrade: false,
            is_upgraded: false,
            trailer_names: Vec::new(),
        }
    }

    // What arrives.

    /// Makes the next event of `input`, which starts at the first byte not yet consumed.
    ///
    /// To be called again with what the step left, until there is no event.
    /// `table` describes the head of an [`Event::Head`]; its content is lost on the next call.
    #[inline]
    pub fn handle_input(&mut self, limits: &H1Limits, input: &[u8], table: &mut HeadTable) -> Step {
        let step = match self.reading {
            // Between requests, and nothing has come.
            Reading::Head {
                seen: 0,
                skipped: 0,
            } if input.is_empty() => Step::more(0),
            Reading::Head { seen, skipped } => self.read_head(limits, input, seen, skipped, table),
            Reading::Body(_) => self.read_body(limits, input),
            Reading::Complete | Reading::Closed => Step::later(0),
        };
        debug_assert!(step.consumed <= input.len());
        step
    }

    /// The peer has ended its side. All input was presented before.
    pub fn handle_eof(&mut self) -> Eof {
        self.is_half_closed = true;
        let eof = match self.reading {
            Reading::Head { seen: 0, .. } => Eof::Idle,
            Reading::Head { .. } => Eof::MidHead,
            Reading::Complete => return Eof::AfterRequest,
            Reading::Body(_) => Eof::MidBody,
            // A broken head, or a broken body.
            Reading::Closed if matches!(self.writing, Writing::Idle) => Eof::MidHead,
            Reading::Closed => Eof::MidBody,
        };
        self.reading = Reading::Closed;
        eof
    }

    /// Nobody will read the rest of the request body: it is skipped from now on. If the response is
    /// complete before all of it has come, [`after_response`](Self::after_response) says so.
    pub fn abandon_body(&mut self) {
        self.is_abandoned = true;
        self.expectation = Expectation::None;
    }

    fn read_head(
        &mut self,
        limits: &H1Limits,
        input: &[u8],
        seen: u32,
        skipped: u32,
        table: &mut HeadTable,
    ) -> Step {
        // Part of a head was seen: the empty lines before it are gone.
        let start = match seen {
            0 => parse::empty_lines(input),
            _ => 0,
        };
        let skipped = skipped.saturating_add(u32::try_from(start).unwrap_or(u32::MAX));
        let head_bytes_max = limits
            .head_bytes_max
            .min(u32::MAX as usize)
            .saturating_sub(skipped as usize);
        let at_limit = input.len() - start >= head_bytes_max;
        let head = match at_limit {
            true => &input[start..start + head_bytes_max],
            false => &input[start..],
        };
        let found = parse::find_head(limits, head, seen as usize, at_limit, table);
        let framing = match found {
            Ok(Found::Head) => framing::frame(limits.conformance, head, table),
            Ok(Found::Partial) => {
                // A lone carriage return begins an empty line, not a head.
                let seen = if head == b"\r" { 0 } else { head.len() as u32 };
                self.reading = Reading::Head { seen, skipped };
                return Step::more(start);
            }
            Err(error) => Err(error),
        };
        match framing {
            Ok(framing) => {
                let end = start + table.head_bytes();
                self.begin(&framing, table);
                let head = RequestHead {
                    range: start..end,
                    body: framing.body,
                    expect_continue: framing.expect_continue,
                    upgrade: framing.upgrade,
                };
                Step::event(end, Event::Head(head))
            }
            Err(error) => self.refuse(start, error),
        }
    }

    /// A request begins, and a response is due.
    #[inline]
    fn begin(&mut self, framing: &Framing, table: &HeadTable) {
        self.reading = match framing.body {
            BodyKind::None => Reading::Complete,
            BodyKind::Length(bytes) => Reading::Body(Decoder::Length(bytes)),
            BodyKind::Chunked => Reading::Body(Decoder::chunked()),
        };
        self.writing = Writing::Due;
        self.keep_alive &= framing.keep_alive;
        self.method = framing.method;
        self.was_http_10 = self.is_http_10;
        self.is_http_10 = !table.is_http_11;
        self.takes_trailers = framing.takes_trailers;
        self.expectation = match framing.expect_continue {
            true => Expectation::Waits,
            false => Expectation::None,
        };
        self.is_abandoned = false;
        self.wants_upgrade = framing.upgrade;
    }

    fn read_body(&mut self, limits: &H1Limits, input: &[u8]) -> Step {
        let Reading::Body(decoder) = &mut self.reading else {
            unreachable!("called within a body");
        };
        let mut consumed = 0;
        let next = loop {
            match decoder.decode(limits, &input[consumed..]) {
                Ok((used, Decoded::Data(_))) if self.is_abandoned => consumed += used,
                Ok((used, decoded)) => {
                    consumed += used;
                    break match decoded {
                        Decoded::NeedMore => step::Next::More,
                        Decoded::Data(range) => step::Next::Event(Event::Data(range)),
                        Decoded::Trailers(trailers) => step::Next::Event(Event::Trailers(trailers)),
                        Decoded::End => step::Next::Event(Event::End),
                    };
                }
                Err(error) => return self.refuse(consumed, error),
            }
        };
        //= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
        //# A server MAY omit sending a 100 (Continue) response if it has
        //# already received some or all of the content for the
        //# corresponding request
        if consumed > 0 {
            self.expectation = Expectation::None;
        }
        let ended = |event: &Event| matches!(event, Event::End | Event::Trailers(_));
        if matches!(&next, step::Next::Event(event) if ended(event)) {
            self.reading = Reading::Complete;
        }
        Step { consumed, next }
    }

    #[cold]
    fn refuse(&mut self, consumed: usize, error: ParseError) -> Step {
        self.reading = Reading::Closed;
        Step::event(consumed, Event::Error(error))
    }

    // What is due.

    /// The body was asked for: whether `100 Continue` is now due. It is written by
    /// [`poll_continue`](Self::poll_continue), when nothing else goes out before it is sent.
    pub fn ask_for_body(&mut self) -> bool {
        if self.owes_continue() {
            self.expectation = Expectation::Due;
        }
        self.is_continue_due()
    }

    /// Whether [`poll_continue`](Self::poll_continue) may have something to write.
    #[inline]
    pub fn is_continue_due(&self) -> bool {
        self.expectation == Expectation::Due
    }

    /// Writes `100 Continue` if the body was asked for and the client still waits; true if it did.
    ///
    /// To be called right before what was written is sent: a response that began meanwhile takes the
    /// place of the 100. The two in one segment are valid, but HAProxy 2.6 cuts such a response short.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
    //# the server MUST send either a 100 (Continue) response or a final status code
    pub fn poll_continue(&mut self, out: &mut WriteBuf) -> bool {
        if self.expectation != Expectation::Due {
            return false;
        }
        let is_due = self.owes_continue();
        self.expectation = Expectation::None;
        if is_due {
            out.put_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        is_due
    }

    /// Whether the client waits for `100 Continue`, or a response, before it sends its body.
    pub fn owes_continue(&self) -> bool {
        self.expectation != Expectation::None && matches!(self.writing, Writing::Due)
    }

    /// How the connection goes on; to be asked when the response is complete. After [`Next::Keep`]
    /// the machine is ready for the next request, whose bytes may have been waiting.
    #[inline]
    pub fn after_response(&mut self) -> Next {
        debug_assert!(self.response_complete(), "the response is not complete");
        if !self.keep_alive || self.is_half_closed || !self.response_complete() {
            return Next::Close;
        }
        match self.reading {
            Reading::Complete => {
                self.reading = Reading::Head {
                    seen: 0,
                    skipped: 0,
                };
                self.writing = Writing::Idle;
                self.trailer_names.clear();
                Next::Keep
            }
            Reading::Body(_) => Next::Drain,
            Reading::Head { .. } | Reading::Closed => Next::Close,
        }
    }

    // Who speaks.

    /// Whether the present response may be written by another machine, [`lent`](Self::lent) for that: the
    /// request has come as a whole, nothing of its response is written, and the connection goes on behind
    /// it and remains HTTP's.
    pub fn may_be_lent(&self) -> bool {
        self.request_complete()
            && self.is_response_due()
            && self.keep_alive
            && !self.is_half_closed
            && !self.wants_upgrade
            && self.expectation == Expectation::None
    }

    /// A machine that writes the present response as this one would; it reads nothing.
    pub fn lent(&self) -> Conn {
        debug_assert!(self.may_be_lent());
        Conn {
            reading: Reading::Complete,
            writing: Writing::Due,
            trailer_names: Vec::new(),
            ..*self
        }
    }

    /// Takes note of a response that a [`lent`](Self::lent) machine has written, all of it.
    pub fn has_responded(&mut self, lent: &Conn) {
        debug_assert!(self.is_response_due() && lent.response_complete());
        self.writing = Writing::Complete;
        self.keep_alive &= lent.keep_alive;
    }

    // What is known.

    /// Whether nothing of a request has come.
    #[allow(dead_code, reason = "the machine's own surface; not every shard asks")]
    pub fn is_idle(&self) -> bool {
        matches!(self.reading, Reading::Head { seen: 0, .. })
    }

    /// Whether input would be used: false behind a request whose response is unfinished.
    #[inline]
    #[allow(dead_code, reason = "the machine's own surface; not every shard asks")]
    pub fn wants_input(&self) -> bool {
        matches!(self.reading, Reading::Head { .. } | Reading::Body(_))
    }

    /// Whether all of the present request has come.
    #[inline]
    pub fn request_complete(&self) -> bool {
        matches!(self.reading, Reading::Complete)
    }

    /// Whether a request waits for its response, of which nothing is written.
    pub fn is_response_due(&self) -> bool {
        matches!(self.writing, Writing::Due)
    }

    /// Whether all of the present response is written.
    #[inline]
    pub fn response_complete(&self) -> bool {
        matches!(self.writing, Writing::Complete)
    }

    /// Whether another request may follow, as far as is known.
    #[allow(dead_code, reason = "the machine's own surface; not every shard asks")]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive && !self.is_half_closed && !matches!(self.reading, Reading::Closed)
    }

    /// Whether the response has handed the connection over to another protocol: what was not
    /// consumed, and all that follows, is that protocol's.
    #[allow(dead_code, reason = "the machine's own surface; not every shard asks")]
    pub fn is_upgraded(&self) -> bool {
        self.is_upgraded
    }
}
