//! Writes the head of nearly every response without the encoder's deliberations. Knows the case in which
//! there is nothing to settle; whatever else a head says is the encoder's.

use http::header;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::{Asked, Head, OK_LINE, Promised, may_have_length, status_line};
use crate::pool::copies::{self, Copied};
use crate::proto::date::DateCache;
use crate::proto::h1::BodyLength;
use crate::proto::h1::framing::MethodKind;
use crate::proto::h1::send::Framer;

/// So much room is made for a head: enough for values of common length.
#[inline]
pub(super) fn guess_bytes(headers: Option<&HeaderMap>) -> usize {
    128 + headers.map_or(0, |headers| headers.len() * 48)
}

/// Writes a head to a peer that is kept and whose request asks for nothing unusual. `None` if the
/// response does; some of it may then be written.
#[inline]
pub(super) fn encode(
    head: Head<'_>,
    asked: Asked,
    date: &DateCache,
    out: &mut Vec<u8>,
) -> Option<Promised> {
    let is_plain = asked.keep_alive
        && !asked.is_http_10
        && asked.method == MethodKind::Other
        && matches!(head.version, Version::HTTP_11 | Version::HTTP_2)
        && head.reason.is_none()
        && !head.has_date
        && may_have_length(head.status);
    if !is_plain {
        return None;
    }
    out.reserve(guess_bytes(head.headers) + head.lines.len());
    match head.status.as_u16() {
        // Its length is known here.
        200 => out.extend_from_slice(OK_LINE),
        _ => out.extend_from_slice(status_line(head.status)?),
    }
    let has_length = match head.headers {
        Some(headers) => put_headers(headers, head.body, out)?,
        None => false,
    };
    out.extend_from_slice(head.lines);
    let framer = match head.body {
        BodyLength::Known(bytes) => Framer::Length(bytes),
        BodyLength::Empty => Framer::Length(0),
        BodyLength::Unknown => Framer::Chunked,
    };
    match framer {
        _ if has_length => {}
        Framer::Length(bytes) => put_length(bytes, out),
        Framer::Chunked | Framer::UntilClose => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
    }
    out.extend_from_slice(date.last_line());
    Some(Promised {
        framer,
        keep_alive: true,
    })
}

/// Writes a whole response: a head of encoded `lines` that have no length and no date, and its body.
#[inline]
pub(in super::super) fn put_whole(
    status_line: &[u8],
    lines: &[u8],
    payload: &[u8],
    date: &DateCache,
    out: &mut Vec<u8>,
) {
    // What is not counted: the status line, the length and the date.
    out.reserve(128 + lines.len() + payload.len());
    out.extend_from_slice(status_line);
    out.extend_from_slice(lines);
    put_length(payload.len() as u64, out);
    out.extend_from_slice(date.last_line());
    copies::append(Copied::Joined, payload, out);
}

/// The line that says the body's length.
#[inline]
pub(super) fn put_length(bytes: u64, out: &mut Vec<u8>) {
    let digit = |value: u64| b'0' + (value % 10) as u8;
    match bytes {
        // Those of few digits in one piece.
        0..=9 => {
            let mut line = *b"content-length: .\r\n";
            line[16] = digit(bytes);
            out.extend_from_slice(&line);
        }
        10..=99 => {
            let mut line = *b"content-length: ..\r\n";
            (line[16], line[17]) = (digit(bytes / 10), digit(bytes));
            out.extend_from_slice(&line);
        }
        _ => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Returns whether there is a length among them; `None` if there is something to be settled.
#[inline]
fn put_headers(headers: &HeaderMap, body: BodyLength, out: &mut Vec<u8>) -> Option<bool> {
    let mut has_length = false;
    for (name, value) in headers {
        match *name {
            header::CONTENT_LENGTH => {
                // The first of several counts, or none, which the encoder knows.
                if has_length || !matches!(body, BodyLength::Known(_)) {
                    return None;
                }
                has_length = true;
                put_known(out, b"content-length: ", value);
            }
            header::CONTENT_TYPE => put_known(out, b"content-type: ", value),
            header::CONNECTION | header::DATE | header::TRAILER | header::TRANSFER_ENCODING => {
                return None;
            }
            _ => put_line(out, name, value),
        }
    }
    Some(has_length)
}

/// A line whose name is written out, with what follows it.
#[inline]
fn put_known<const BYTES: usize>(out: &mut Vec<u8>, name: &[u8; BYTES], value: &HeaderValue) {
    out.extend_from_slice(name);
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn put_line(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
