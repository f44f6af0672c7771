//! The half of the machine that speaks for the application. Owns nothing of its own; knows when a
//! head or a body may be written, not how.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, response};

use super::{Conn, Expectation, Reading, Writing};
use crate::pool::copies::{self, Copied};
use crate::pool::write_buf::WriteBuf;
use crate::proto::date::DateCache;
use crate::proto::h1::encode::{self, Asked, Head};
use crate::proto::h1::framing::MethodKind;
use crate::proto::h1::send::Framer;
use crate::proto::h1::{BodyLength, ParseError, RespondError, SendBody, SendMore, ShortBody};

impl Conn {
    /// Writes the head of the response to the present request; returns how its body is sent.
    ///
    /// # Errors
    /// In each case the connection is to be closed, after [`RespondError::Informational`] behind what
    /// was written. No body is to follow.
    #[inline]
    #[allow(dead_code, reason = "the machine's own surface; not every shard asks")]
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
        let head = Head {
            status: parts.status,
            version: parts.version,
            reason,
            headers: Some(&parts.headers),
            lines: &[],
            has_date: false,
            body,
        };
        self.respond_head(head, date, out)
    }

    /// As [`respond`](Self::respond), with header `lines` that are encoded already, none of which
    /// frames the message or the connection; `has_date` if there is a `date` among them. None of them switches
    /// protocols: 101 is refused as any other informational status is.
    #[inline]
    pub fn respond_lines(
        &mut self,
        status: StatusCode,
        lines: &[u8],
        has_date: bool,
        body: BodyLength,
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> Result<SendBody, RespondError> {
        let head = Head {
            status,
            version: Version::HTTP_11,
            reason: None,
            headers: None,
            lines,
            has_date,
            body,
        };
        self.respond_head(head, date, out)
    }

    /// Writes a whole response with encoded `lines`, none of which frames it or is a `date`, in the one
    /// way that nearly all are written in; false, and nothing written, if this is not one of them:
    /// [`respond_lines`](Self::respond_lines) knows the others.
    #[inline]
    pub fn respond_plainly(
        &mut self,
        status: StatusCode,
        lines: &[u8],
        payload: &[u8],
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> bool {
        let is_plain = matches!(self.writing, Writing::Due)
            && self.keep_alive
            && !self.is_http_10
            && self.method == MethodKind::Other;
        if !is_plain {
            return false;
        }
        let Some(status_line) = encode::status_line_of_body(status) else {
            return false;
        };
        out.write_flat(|flat| encode::put_whole(status_line, lines, payload, date, flat));
        self.expectation = Expectation::None;
        self.writing = Writing::Complete;
        self.is_upgraded = false;
        true
    }

    #[inline]
    fn respond_head(
        &mut self,
        head: Head<'_>,
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> Result<SendBody, RespondError> {
        if !matches!(self.writing, Writing::Due) {
            return Err(RespondError::OutOfTurn);
        }
        let status = head.status;
        let is_tunnel = self.method == MethodKind::Connect && status.is_success();
        // Responses of encoded lines have nowhere to hand a connection to.
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS && head.headers.is_some();
        if status.is_informational() && !is_switch {
            self.respond_in_its_place(StatusCode::INTERNAL_SERVER_ERROR, date, out);
            return Err(RespondError::Informational);
        }
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

    /// Sends the whole body of a response that announced its length.
    #[inline]
    pub fn send_slice(&mut self, data: &[u8], out: &mut WriteBuf) {
        debug_assert!(
            matches!(self.writing, Writing::Body(Framer::Length(bytes)) if bytes == data.len() as u64),
            "{:?}",
            self.writing
        );
        copies::append(Copied::Joined, data, out);
        self.writing = Writing::Complete;
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
        let finished = framer.finish(trailers, &self.trailer_names, out);
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
            // The machine took it for a request, `fill_head` did not.
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

    /// Answers the present request with `status`, without a body, and closes: in place of a response
    /// that was not begun, or that has been taken back to its first byte.
    #[cold]
    pub fn respond_instead(&mut self, status: StatusCode, date: &DateCache, out: &mut WriteBuf) {
        self.keep_alive = false;
        self.is_upgraded = false;
        self.trailer_names.clear();
        self.write_bare(status, date, out);
    }

    /// Answers with `status`, though no request asks for it, and closes: a peer that was too slow to
    /// ask, or is not to.
    #[cold]
    pub fn turn_away(&mut self, status: StatusCode, date: &DateCache, out: &mut WriteBuf) {
        debug_assert!(matches!(self.writing, Writing::Idle));
        self.reading = Reading::Closed;
        self.keep_alive = false;
        self.respond_to_nobody(self.is_http_10, status, date, out);
    }

    /// Whether anything of the present response is written.
    pub fn response_begun(&self) -> bool {
        matches!(self.writing, Writing::Body(_) | Writing::Complete)
    }

    /// The present response is the last, and says so if its head is not written yet. An idle
    /// connection is to be closed at once.
    pub fn close_after_response(&mut self) {
        self.keep_alive = false;
    }

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
        let announced = &mut self.trailer_names;
        let encoded = out.write_flat(|flat| encode::encode(head, asked, date, announced, flat));
        self.expectation = Expectation::None;
        self.writing = Writing::Complete;
        let promised = encoded.inspect_err(|_| self.keep_alive = false)?;
        self.keep_alive = promised.keep_alive;
        let send = match promised.framer {
            Framer::Length(0) => return Ok(SendBody::Nothing),
            Framer::Length(bytes) => SendBody::Length(bytes),
            Framer::Chunked => SendBody::Chunked,
            Framer::UntilClose => SendBody::UntilClose,
        };
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
            headers: None,
            lines: &[],
            has_date: false,
            body: BodyLength::Empty,
        };
        let written = self.write_head(head, date, out);
        debug_assert_eq!(written, Ok(SendBody::Nothing));
    }
}
