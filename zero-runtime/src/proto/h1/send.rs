//! Frames the body of a response. Knows lengths, chunks and trailers; knows nothing of heads.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};

use super::{SendMore, ShortBody};
use crate::pool::copies::{self, Copied};
use crate::pool::write_buf::{COPY_BYTES_MAX, WriteBuf};

/// What frames the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framer {
    /// This many bytes are still to be sent.
    Length(u64),
    Chunked,
    /// The end of the connection.
    UntilClose,
}

impl Framer {
    /// Sends `data`, or as much of it as the length allows.
    #[inline]
    pub(super) fn send(&mut self, mut data: Bytes, out: &mut WriteBuf) -> SendMore {
        match self {
            Framer::Chunked => put_chunk(data, out),
            Framer::UntilClose => out.put_bytes(data),
            Framer::Length(left) => {
                let allowed = usize::try_from(*left).unwrap_or(usize::MAX);
                data.truncate(allowed);
                *left -= data.len() as u64;
                out.put_bytes(data);
                if *left == 0 {
                    return SendMore::Complete;
                }
            }
        }
        SendMore::More
    }

    /// Ends the body.
    pub(super) fn finish(
        self,
        trailers: Option<&HeaderMap>,
        announced: &[HeaderName],
        out: &mut WriteBuf,
    ) -> Result<(), ShortBody> {
        match self {
            Framer::UntilClose | Framer::Length(0) => {}
            Framer::Length(missing_bytes) => return Err(ShortBody { missing_bytes }),
            Framer::Chunked => put_last_chunk(trailers, announced, out),
        }
        Ok(())
    }
}

#[inline]
fn put_chunk(data: Bytes, out: &mut WriteBuf) {
    let mut line = [0; SIZE_LINE_BYTES_MAX];
    let line = size_line(data.len(), &mut line);
    if data.len() > COPY_BYTES_MAX {
        out.put_slice(line);
        out.put_bytes(data);
        return out.put_slice(b"\r\n");
    }
    out.write_flat(|flat| {
        flat.reserve(line.len() + data.len() + 2);
        flat.extend_from_slice(line);
        copies::append(Copied::Joined, &data, flat);
        flat.extend_from_slice(b"\r\n");
    });
}

/// Sixteen digits and the end of the line.
const SIZE_LINE_BYTES_MAX: usize = 18;

/// Writes a chunk's size at the end of `line`, in upper-case digits, and the end of the line.
#[inline]
fn size_line(bytes: usize, line: &mut [u8; SIZE_LINE_BYTES_MAX]) -> &[u8] {
    let mut at = SIZE_LINE_BYTES_MAX - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut left = bytes;
    loop {
        at -= 1;
        line[at] = b"0123456789ABCDEF"[left & 15];
        left >>= 4;
        if left == 0 {
            return &line[at..];
        }
    }
}

fn put_last_chunk(trailers: Option<&HeaderMap>, announced: &[HeaderName], out: &mut WriteBuf) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if announced.contains(name) && may_trail(name) {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
    out.put_slice(b"\r\n");
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
//# Many fields cannot be processed outside the header section because their
//# evaluation is necessary prior to receiving the content, such as those
//# that describe message framing, routing, authentication, request
//# modifiers, response controls, or content format.
fn may_trail(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::AUTHORIZATION
            | header::CACHE_CONTROL
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
            | header::HOST
            | header::MAX_FORWARDS
            | header::SET_COOKIE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::TE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_upper_case_without_padding() {
        for bytes in [1, 9, 10, 15, 16, 255, 4096, 0xabcdef, usize::MAX] {
            let mut line = [0; SIZE_LINE_BYTES_MAX];
            assert_eq!(
                size_line(bytes, &mut line),
                format!("{bytes:X}\r\n").as_bytes()
            );
        }
    }
}
