//! A response's head through a connection's machine, of either kind: in one place for whoever answers.

use http::{Extensions, response};

use super::Lines;
use crate::pool::write_buf::WriteBuf;
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
