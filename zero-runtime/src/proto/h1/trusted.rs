//! Header values out of shared bytes, checked eight bytes at a time. The one file of this protocol
//! with unsafe code; knows bytes, nothing else.
#![allow(unsafe_code)]

use bytes::Bytes;
use http::HeaderValue;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// Makes a value that shares `bytes`; `None` if a byte may not be in one.
///
/// The same as `HeaderValue::from_maybe_shared`, which looks at one byte after the other.
#[inline]
pub(super) fn header_value(bytes: Bytes) -> Option<HeaderValue> {
    if !is_valid(&bytes) {
        return None;
    }
    // SAFETY: `is_valid` accepts exactly what `HeaderValue::from_bytes` accepts (a test asks both
    // about every byte at every place), so the checked constructor would make this very value.
    Some(unsafe { HeaderValue::from_maybe_shared_unchecked(bytes) })
}

/// Whether all bytes are tab, space, visible ASCII or above 0x7f.
#[inline]
fn is_valid(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes
            .iter()
            .all(|&byte| (byte >= b' ' && byte != 0x7f) || byte == b'\t');
    };
    // The last word overlaps the one before it, where the length is no multiple of eight.
    let mut bad = invalid(u64::from_ne_bytes(*last));
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        bad |= invalid(u64::from_ne_bytes(*word));
    }
    bad == 0
}

/// Not zero if a byte of `word` is a control character other than tab. No byte carries into the next.
#[inline]
fn invalid(word: u64) -> u64 {
    let low = word & !HIGH;
    let is_printable = low + 0x60 * ONES;
    let is_not_tab = (low ^ (0x09 * ONES)) + 0x7f * ONES;
    let is_delete = low + ONES;
    !word & ((!is_printable & is_not_tab) | is_delete) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What httparse accepts in a value is accepted here, and what is accepted here, by `http`.
    #[test]
    fn every_byte_at_every_place_is_judged_as_http_does() {
        for len in 1..20 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut value = vec![b'v'; len];
                    value[at] = byte;
                    let http = HeaderValue::from_bytes(&value);
                    assert_eq!(is_valid(&value), http.is_ok(), "{value:?}");
                    let head = [b"GET / HTTP/1.1\r\na:", &value[..], b"\r\n\r\n"].concat();
                    let mut lines = [httparse::EMPTY_HEADER; 1];
                    let mut request = httparse::Request::new(&mut lines);
                    if let Ok(httparse::Status::Complete(_)) = request.parse(&head) {
                        assert!(is_valid(request.headers[0].value), "{value:?}");
                    }
                    let made = header_value(Bytes::from(value));
                    assert_eq!(made, http.ok());
                }
            }
        }
    }

    #[test]
    fn an_empty_value_is_valid() {
        assert_eq!(header_value(Bytes::new()).unwrap(), "");
    }
}
