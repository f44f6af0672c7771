//! A response's head through a connection's machine, of either kind: in one place for shards and for workers
//! that answer themselves.

use bytes::Bytes;
use http::{Extensions, response};

use super::{Lines, ResponseHead};
use crate::pool::write_buf::{COPY_BYTES_MAX, WriteBuf};
use crate::proto::date::DateCache;
use crate::proto::h1::{self, BodyLength, RespondError, SendBody};

/// Reads the reason phrase that an application has left with its response.
pub(crate) type ReasonPhrase = fn(&Extensions) -> Option<&[u8]>;

/// Writes a head of `http`'s.
#[inline]
pub(crate) fn write_parts(
    h1: &mut h1::Conn,
    parts: &response::Parts,
    length: BodyLength,
    reason_phrase: ReasonPhrase,
    date: &DateCache,
    out: &mut WriteBuf,
) -> Result<SendBody, RespondError> {
    let reason = match parts.extensions.is_empty() {
        true => None,
        false => reason_phrase(&parts.extensions),
    };
    h1.respond_with_reason(parts, reason, length, date, out)
}

/// Writes encoded lines. What small body there is goes out behind its head at once.
#[inline]
pub(crate) fn write_lines(
    h1: &mut h1::Conn,
    lines: &Lines,
    length: BodyLength,
    date: &DateCache,
    out: &mut WriteBuf,
) -> Result<SendBody, RespondError> {
    let payload = &lines.payload[..];
    let length = match payload.is_empty() {
        true => length,
        false => BodyLength::Known(payload.len() as u64),
    };
    if lines.closes {
        h1.close_after_response();
    }
    let (status, has_date) = (lines.status, lines.has_date);
    let body = h1.respond_lines(status, &lines.lines, has_date, length, date, out)?;
    if !payload.is_empty() && body != SendBody::Nothing {
        h1.send_slice(payload, out);
        return Ok(SendBody::Nothing);
    }
    Ok(body)
}

/// Whether a head, with all there is of a body, makes one flat piece to send.
pub(crate) fn fits_one_send(head: &ResponseHead, data: &[u8]) -> bool {
    let payload_bytes = match head {
        ResponseHead::Http(_) => 0,
        ResponseHead::Lines(lines) => lines.payload.len(),
    };
    data.len() + payload_bytes <= COPY_BYTES_MAX
}

/// A response that is all there, without trailers.
pub(crate) struct Whole<'a> {
    pub(crate) head: &'a ResponseHead,
    pub(crate) length: BodyLength,
    /// All of the body, if it is not in the head's lines.
    pub(crate) data: Option<Bytes>,
}

impl Whole<'_> {
    /// Writes all of it; false if it breaks a rule of HTTP, or its own promise.
    pub(crate) fn write(
        self,
        h1: &mut h1::Conn,
        reason_phrase: ReasonPhrase,
        date: &DateCache,
        out: &mut WriteBuf,
    ) -> bool {
        let begun = match self.head {
            ResponseHead::Http(parts) => {
                write_parts(h1, parts, self.length, reason_phrase, date, out)
            }
            ResponseHead::Lines(lines) => write_lines(h1, lines, self.length, date, out),
        };
        if begun.is_err() {
            return false;
        }
        if let Some(data) = self.data {
            h1.send_data(data, out);
        }
        h1.finish(None, out).is_ok()
    }
}
