//! Chunked bodies: the same events wherever they are cut, and by the standard's rules the same as a
//! decoder that looks at all of it at once.

use http::HeaderMap;

use super::dice::Dice;
use crate::config::Conformance;
use crate::proto::h1::{Conn, Event, H1Limits, HeadTable, ParseError};
use crate::proto::step;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";

/// What a body came to.
#[derive(Debug, Default, PartialEq)]
struct Body {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), ParseError>>,
    /// Used up, as far as it ended well.
    bytes: usize,
}

/// Decodes the front of `input`, cut as its end says.
pub fn chunked(input: &[u8]) {
    let mut dice = Dice::new(input);
    let small = dice.below(2) == 1;
    let cuts: Vec<usize> = (0..dice.below(12)).map(|_| 1 + dice.below(40)).collect();
    let body = dice.rest();
    for conformance in [Conformance::Strict, Conformance::Hyper] {
        let limits = limits(conformance, small);
        let whole = decode(&limits, body, &[]);
        let cut = decode(&limits, body, &cuts);
        assert_eq!(cut, whole, "cut by {cuts:?}: {}", body.escape_ascii());
        if conformance == Conformance::Strict && !small {
            let ended = (whole.end == Some(Ok(()))).then_some((whole.data, whole.bytes));
            assert_eq!(ended, decode_at_once(body), "{}", body.escape_ascii());
        }
    }
}

fn limits(conformance: Conformance, small: bool) -> H1Limits {
    let limits = H1Limits {
        conformance,
        ..H1Limits::default()
    };
    match small {
        false => limits,
        true => H1Limits {
            chunk_extension_bytes_max: 8,
            trailer_bytes_max: 24,
            trailers_max: 2,
            ..limits
        },
    }
}

fn decode(limits: &H1Limits, body: &[u8], cuts: &[usize]) -> Body {
    let mut conn = Conn::new();
    let mut table = HeadTable::new(limits.headers_max);
    let head = conn.handle_input(limits, HEAD, &mut table);
    assert!(matches!(head.next, step::Next::Event(Event::Head(_))));
    let mut decoded = Body::default();
    let (mut at, mut shown) = (0, 0);
    let mut cuts = cuts.iter();
    while decoded.end.is_none() {
        let step = conn.handle_input(limits, &body[at..shown], &mut table);
        at += step.consumed;
        assert!(at <= shown);
        let event = match step.next {
            step::Next::Event(event) => event,
            step::Next::More if shown == body.len() => break,
            step::Next::More => {
                let more = cuts.next().copied().unwrap_or(body.len());
                shown = body.len().min(shown + more);
                continue;
            }
            step::Next::Later => panic!("nothing holds a body up"),
        };
        match event {
            Event::Data(range) => {
                assert!(!range.is_empty());
                let from = at - step.consumed;
                let data = &body[from..][range];
                decoded.data.extend_from_slice(data);
            }
            Event::Trailers(trailers) => {
                decoded.trailers = Some(*trailers);
                decoded.end = Some(Ok(()));
            }
            Event::End => decoded.end = Some(Ok(())),
            Event::Error(error) => {
                assert!(error.is_body());
                decoded.end = Some(Err(error));
            }
            other => panic!("{other:?} within a body"),
        }
    }
    if decoded.end == Some(Ok(())) {
        decoded.bytes = at;
    }
    decoded
}

/// A whole body by the standard's grammar, and how long it is.
fn decode_at_once(body: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    let mut rest = body;
    let mut extension_bytes = 0;
    loop {
        let (line, behind) = take_line(rest)?;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (size, extensions) = line.split_at(digits);
        let text = str::from_utf8(size).ok()?;
        let size = u64::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() <= 16)?;
        extension_bytes += count_extension_bytes(extensions);
        if extension_bytes >= 16 * 1024 || !are_extensions(extensions) {
            return None;
        }
        rest = behind;
        if size == 0 {
            break;
        }
        let (chunk, behind) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        data.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n")?;
    }
    let section = rest;
    let mut lines = 0;
    loop {
        let (line, behind) = take_line(rest)?;
        rest = behind;
        if line.is_empty() {
            break;
        }
        lines += 1;
        is_field(line).then_some(())?;
    }
    let section_bytes = section.len() - rest.len();
    let fits = lines == 0 || (lines <= 100 && section_bytes < 16 * 1024);
    fits.then_some((data, body.len() - rest.len()))
}

/// A line that ends in CRLF and holds neither.
fn take_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes
        .iter()
        .position(|&byte| matches!(byte, b'\r' | b'\n'))?;
    let rest = bytes[end..].strip_prefix(b"\r\n")?;
    Some((&bytes[..end], rest))
}

/// All but the semicolon that ends the size.
fn count_extension_bytes(extensions: &[u8]) -> usize {
    extensions
        .len()
        .saturating_sub(usize::from(!extensions.is_empty()))
}

/// `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, by taking away from the front.
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = skip_blanks(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = take_token(skip_blanks(after)) else {
            return false;
        };
        rest = after;
        if let Some(value) = skip_blanks(rest).strip_prefix(b"=") {
            let value = skip_blanks(value);
            let Some(after) = take_quoted(value).or_else(|| take_token(value)) else {
                return false;
            };
            rest = after;
        }
    }
    true
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes
        .iter()
        .take_while(|&&byte| byte == b' ' || byte == b'\t');
    &bytes[blanks.count()..]
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte)
}

fn take_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes
        .iter()
        .take_while(|&&byte| is_token_byte(byte))
        .count();
    (length > 0).then(|| &bytes[length..])
}

fn take_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', escaped, rest @ ..] if is_text(*escaped) => rest,
            [byte, rest @ ..] if is_text(*byte) && *byte != b'\\' => rest,
            _ => return None,
        }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return false;
    };
    let (name, value) = line.split_at(colon);
    !name.is_empty()
        && name.iter().all(|&byte| is_token_byte(byte))
        && value.iter().all(|&b| is_text(b))
}
