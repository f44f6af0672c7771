//! Header values and paths out of a head, checked sixteen bytes at a time. Knows bytes, nothing else.
#![allow(unsafe_code)]

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

use super::plain::VALUE;
use super::scan::{Class, find_stop};

/// Makes a value that shares the bytes of `head` in `range`; `None` if one may not be in a value.
///
/// The same as `HeaderValue::from_maybe_shared`, which looks at one byte after the other.
#[inline(always)]
pub(super) fn header_value(head: &Bytes, range: Range<usize>) -> Option<HeaderValue> {
    if !is_valid(head, &range) {
        return None;
    }
    // SAFETY: `is_valid` accepts exactly what `HeaderValue::from_bytes` accepts (a test asks both
    // about every byte at every place), so the checked constructor would make this very value.
    Some(unsafe { HeaderValue::from_maybe_shared_unchecked(head.slice(range)) })
}

/// Visible ASCII but for the question mark.
const PATH: Class = Class {
    has_letters: false,
    ranges: [(b'!', b'>'), (b'@', b'~'), (b'@', b'~')],
};

/// The part of the target in `range` of `head` that precedes its question mark, if there is no other
/// than visible ASCII in it. `None` of a head shorter than sixteen bytes, too.
#[inline]
pub(super) fn path(head: &[u8], range: Range<usize>) -> Option<&str> {
    let stop = find_stop(PATH, head, range.start)?;
    if stop < range.end && head[stop] != b'?' {
        return None;
    }
    let path = &head[range.start..stop.min(range.end)];
    // SAFETY: `find_stop` has passed over these bytes, so all of them are in PATH, which is ASCII.
    Some(unsafe { str::from_utf8_unchecked(path) })
}

/// Whether all bytes in `range` are tab, space, visible ASCII or above 0x7f.
#[inline]
fn is_valid(head: &[u8], range: &Range<usize>) -> bool {
    // The line ends behind the value: the stop is nearly always there.
    match find_stop(VALUE, head, range.start) {
        Some(stop) if stop >= range.end => true,
        _ => is_valid_value(&head[range.clone()]),
    }
}

#[cold]
fn is_valid_value(value: &[u8]) -> bool {
    let is_valid = |&byte: &u8| (byte >= b' ' && byte != 0x7f) || byte == b'\t';
    value.iter().all(is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What httparse accepts in a value is accepted here, and what is accepted here, by `http`;
    /// whatever lies around it.
    #[test]
    fn every_byte_at_every_place_is_judged_as_http_does() {
        for len in 1..20 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut value = vec![b'v'; len];
                    value[at] = byte;
                    let http = HeaderValue::from_bytes(&value);
                    let head = [b"GET / HTTP/1.1\r\na:", &value[..], b"\r\n\r\n"].concat();
                    let mut lines = [httparse::EMPTY_HEADER; 1];
                    let mut request = httparse::Request::new(&mut lines);
                    if let Ok(httparse::Status::Complete(_)) = request.parse(&head) {
                        let line = request.headers[0].value;
                        assert!(
                            header_value(&Bytes::copy_from_slice(line), 0..line.len()).is_some()
                        );
                    }
                    for (before, behind) in AROUND {
                        let head = Bytes::from([before, &value[..], behind].concat());
                        let made = header_value(&head, before.len()..before.len() + len);
                        assert_eq!(made.as_ref().ok_or(()), http.as_ref().map_err(|_| ()));
                    }
                }
            }
        }
    }

    /// Against the obvious way, with every byte at every place.
    #[test]
    fn a_path_ends_where_its_question_mark_is() {
        for len in 1..40 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut target = vec![b'/'; len];
                    target[at] = byte;
                    let head = [b"GET ", &target[..], b" HTTP/1.1\r\n"].concat();
                    let path = target.split(|&byte| byte == b'?').next().unwrap();
                    let expected = str::from_utf8(path).ok();
                    let is_visible = path.iter().all(u8::is_ascii_graphic);
                    let found = super::path(&head, 4..4 + len);
                    assert_eq!(found, expected.filter(|_| is_visible), "{byte} at {at}");
                }
            }
        }
        assert_eq!(super::path(b"GET /", 4..5), None);
    }

    const AROUND: [(&[u8], &[u8]); 4] = [
        (b"", b""),
        (b"GET / HTTP/1.1\r\na: ", b"\r\n\r\n"),
        (b"\0", b" \t and then a good deal of other text\r\n"),
        (b"\r\n", b"without a line's end"),
    ];

    #[test]
    fn an_empty_value_is_valid() {
        for head in ["", "\r\n", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(header_value(&Bytes::from(head), 0..0).unwrap(), "");
        }
    }
}
