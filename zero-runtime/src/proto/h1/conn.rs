//! The machine of one connection: whose turn it is, and how it goes on afterwards. Owns the state of
//! one request and its response; knows no bytes but those it is shown.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, StatusCode, Version, response};

use super::decode::{Decoded, Decoder};
use super::encode::{self, Asked, Head};
use super::framing::{self, Framing, MethodKind};
use super::parse::{self, Found};
use super::send::Framer;
use super::table::HeadTable;
use super::{
    BodyKind, BodyLength, Eof, Event, H1Limits, Next, ParseError, RequestHead, RespondError,
    SendBody, SendMore, ShortBody, Step,
};
use crate::pool::write_buf::WriteBuf;
use crate::proto::date::DateCache;

/// One connection's protocol state; nothing of it is on the heap but the names of trailers that a
/// response has announced.
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
    /// The client waits for `100 Continue`.
    continue_due: bool,
    /// Nobody reads the rest of the body.
    is_abandoned: bool,
    /// The peer has ended its side.
    is_half_closed: bool,
    wants_upgrade: bool,
    is_upgraded: bool,
    trailer_names: Option<Box<Vec<HeaderName>>>,
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
            continue_due: false,
            is_abandoned: false,
            is_half_closed: false,
            wants_upgrade: false,
            is_upgraded: false,
            trailer_names: None,
        }
    }

    // What arrives.

    /// Makes the next event of `input`, which starts at the first byte not yet consumed.
    ///
    /// To be called again with what the step left, until [`Event::NeedMore`] or [`Event::Blocked`].
    /// `table` describes the head of an [`Event::Head`]; its content is lost on the next call.
    #[inline]
    pub fn handle_input(&mut self, limits: &H1Limits, input: &[u8], table: &mut HeadTable) -> Step {
        let step = match self.reading {
            Reading::Head { seen, skipped } => self.read_head(limits, input, seen, skipped, table),
            Reading::Body(_) => self.read_body(limits, input),
            Reading::Complete | Reading::Closed => Step {
                consumed: 0,
                event: Event::Blocked,
            },
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
        self.continue_due = false;
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
            Ok(Found::Head) => framing::frame(head, table),
            Ok(Found::Partial) => {
                // A lone carriage return begins an empty line, not a head.
                let seen = if head == b"\r" { 0 } else { head.len() as u32 };
                self.reading = Reading::Head { seen, skipped };
                return Step {
                    consumed: start,
                    event: Event::NeedMore,
                };
            }
            Err(error) => Err(error),
        };
        match framing {
            Ok(framing) => {
                let end = start + table.head_bytes();
                self.begin(&framing, table);
                Step {
                    consumed: end,
                    event: Event::Head(RequestHead {
                        range: start..end,
                        body: framing.body,
                        expect_continue: framing.expect_continue,
                        upgrade: framing.upgrade,
                    }),
                }
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
        self.continue_due = framing.expect_continue;
        self.is_abandoned = false;
        self.wants_upgrade = framing.upgrade;
    }

    fn read_body(&mut self, limits: &H1Limits, input: &[u8]) -> Step {
        let Reading::Body(decoder) = &mut self.reading else {
            unreachable!("called within a body");
        };
        let mut consumed = 0;
        let event = loop {
            match decoder.decode(limits, &input[consumed..]) {
                Ok((used, Decoded::Data(_))) if self.is_abandoned => consumed += used,
                Ok((used, decoded)) => {
                    consumed += used;
                    break match decoded {
                        Decoded::NeedMore => Event::NeedMore,
                        Decoded::Data(range) => Event::Data(range),
                        Decoded::Trailers(trailers) => Event::Trailers(trailers),
                        Decoded::End => Event::End,
                    };
                }
                Err(error) => return self.refuse(consumed, error),
            }
        };
        if matches!(event, Event::End | Event::Trailers(_)) {
            self.reading = Reading::Complete;
        }
        Step { consumed, event }
    }

    #[cold]
    fn refuse(&mut self, consumed: usize, error: ParseError) -> Step {
        self.reading = Reading::Closed;
        Step {
            consumed,
            event: Event::Error(error),
        }
    }

    // What is due.

    /// Writes `100 Continue` if the client still waits for it; true if it did. To be called when the
    /// body is first asked for.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
    //# the server MUST send either a 100 (Continue) response or a final status code
    pub fn poll_continue(&mut self, out: &mut WriteBuf) -> bool {
        let is_due = self.continue_due && matches!(self.writing, Writing::Due);
        self.continue_due = false;
        if is_due {
            out.put_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        is_due
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
                self.trailer_names = None;
                Next::Keep
            }
            Reading::Body(_) => Next::Drain,
            Reading::Head { .. } | Reading::Closed => Next::Close,
        }
    }

    // What the application asks.

    /// Writes the head of the response to the present request; returns how its body is sent.
    ///
    /// # Errors
    /// In each case the connection is to be closed, after [`RespondError::Informational`] behind what
    /// was written. No body is to follow.
    #[inline]
    pub fn respond(
        &mut self,
        parts: &response::Parts,
        body: BodyLength,
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> Result<SendBody, RespondError> {
        self.respond_with_reason(parts, None, body, date, out)
    }

    /// As [`respond`](Self::respond), with a reason phrase in place of the status code's own.
    pub fn respond_with_reason(
        &mut self,
        parts: &response::Parts,
        reason: Option<&[u8]>,
        body: BodyLength,
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> Result<SendBody, RespondError> {
        if !matches!(self.writing, Writing::Due) {
            return Err(RespondError::OutOfTurn);
        }
        let status = parts.status;
        let is_tunnel = self.method == MethodKind::Connect && status.is_success();
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
        if status.is_informational() && !is_switch {
            self.respond_in_its_place(StatusCode::INTERNAL_SERVER_ERROR, date, out);
            return Err(RespondError::Informational);
        }
        let head = Head {
            status,
            version: parts.version,
            reason,
            headers: &parts.headers,
            body,
        };
        let sent = self.write_head(head, date, out);
        self.is_upgraded = self.wants_upgrade && (is_tunnel || is_switch) && sent.is_ok();
        sent
    }

    /// Sends a part of the body; more than the announced length is cut off.
    #[inline]
    pub fn send_data(&mut self, data: Bytes, out: &mut WriteBuf) -> SendMore {
        let Writing::Body(framer) = &mut self.writing else {
            return SendMore::Complete;
        };
        // A chunk without data would end the body.
        if data.is_empty() {
            return SendMore::More;
        }
        let more = framer.send(data, out);
        if more == SendMore::Complete {
            self.writing = Writing::Complete;
        }
        more
    }

    /// Ends the body. Trailers are sent where the client takes them and the response announced them.
    ///
    /// # Errors
    /// The body is shorter than was announced: the connection is to be cut.
    #[inline]
    pub fn finish(
        &mut self,
        trailers: Option<&HeaderMap>,
        out: &mut WriteBuf,
    ) -> Result<(), ShortBody> {
        let Writing::Body(framer) = self.writing else {
            debug_assert!(self.response_complete(), "no response was begun");
            return Ok(());
        };
        self.writing = Writing::Complete;
        let announced = match &self.trailer_names {
            Some(names) => names.as_slice(),
            None => &[],
        };
        let finished = framer.finish(trailers, announced, out);
        self.keep_alive &= finished.is_ok() && framer != Framer::UntilClose;
        finished
    }

    /// Answers a head that makes no request; false if the connection is to be closed without a word.
    /// Either way it is to be closed.
    pub fn respond_error(
        &mut self,
        error: ParseError,
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> bool {
        self.reading = Reading::Closed;
        self.keep_alive = false;
        match (&self.writing, error.status()) {
            (Writing::Idle, Some(status)) => {
                self.respond_to_nobody(self.is_http_10, status, date, out);
                true
            }
            // The machine took it for a request, `build_request` did not.
            (Writing::Due, Some(status)) => {
                self.respond_to_nobody(self.was_http_10, status, date, out);
                true
            }
            _ => {
                self.writing = Writing::Complete;
                false
            }
        }
    }

    /// The present response is the last, and says so if its head is not written yet. An idle
    /// connection is to be closed at once.
    pub fn close_after_response(&mut self) {
        self.keep_alive = false;
    }

    // What is known.

    /// Whether nothing of a request has come.
    pub fn is_idle(&self) -> bool {
        matches!(self.reading, Reading::Head { seen: 0, .. })
    }

    /// Whether input would be used: false behind a request whose response is unfinished.
    #[inline]
    pub fn wants_input(&self) -> bool {
        matches!(self.reading, Reading::Head { .. } | Reading::Body(_))
    }

    /// Whether all of the present request has come.
    #[inline]
    pub fn request_complete(&self) -> bool {
        matches!(self.reading, Reading::Complete)
    }

    /// Whether all of the present response is written.
    #[inline]
    pub fn response_complete(&self) -> bool {
        matches!(self.writing, Writing::Complete)
    }

    /// Whether another request may follow, as far as is known.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive && !self.is_half_closed && !matches!(self.reading, Reading::Closed)
    }

    /// Whether the response has handed the connection over to another protocol: what was not
    /// consumed, and all that follows, is that protocol's.
    pub fn is_upgraded(&self) -> bool {
        self.is_upgraded
    }

    // How heads are written.

    fn write_head(
        &mut self,
        head: Head<'_>,
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> Result<SendBody, RespondError> {
        let asked = Asked {
            method: self.method,
            is_http_10: self.is_http_10,
            keep_alive: self.keep_alive,
            takes_trailers: self.takes_trailers,
        };
        let encoded = out.write_flat(|flat| encode::encode(head, asked, date, flat));
        self.continue_due = false;
        self.writing = Writing::Complete;
        let promised = encoded.inspect_err(|_| self.keep_alive = false)?;
        self.keep_alive = promised.keep_alive;
        let send = match promised.framer {
            Framer::Length(0) => return Ok(SendBody::Nothing),
            Framer::Length(bytes) => SendBody::Length(bytes),
            Framer::Chunked => SendBody::Chunked,
            Framer::UntilClose => SendBody::UntilClose,
        };
        self.trailer_names = promised.trailer_names;
        self.writing = Writing::Body(promised.framer);
        Ok(send)
    }

    /// A response of the machine's own, with nothing but its length and the date. It closes.
    #[cold]
    fn respond_in_its_place(&mut self, status: StatusCode, date: &DateCache, out: &mut WriteBuf) {
        // Not told to the peer, as hyper does not.
        self.is_http_10 = false;
        self.keep_alive = true;
        self.write_bare(status, date, out);
        self.keep_alive = false;
    }

    /// The answer to a head that makes no request, in the version of the last that did.
    #[cold]
    fn respond_to_nobody(
        &mut self,
        is_http_10: bool,
        status: StatusCode,
        date: &DateCache,
        out: &mut WriteBuf,
    ) {
        self.method = MethodKind::Other;
        self.is_http_10 = is_http_10;
        self.write_bare(status, date, out);
    }

    fn write_bare(&mut self, status: StatusCode, date: &DateCache, out: &mut WriteBuf) {
        let head = Head {
            status,
            version: Version::HTTP_11,
            reason: None,
            headers: &HeaderMap::new(),
            body: BodyLength::Empty,
        };
        let written = self.write_head(head, date, out);
        debug_assert_eq!(written, Ok(SendBody::Nothing));
    }
}
