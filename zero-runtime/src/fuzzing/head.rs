//! Heads, against httparse and a second reading of hyper's rules; and the standard's against hyper's.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::config::Conformance;
use crate::proto::h1::{
    BodyKind, Conn, Event, H1Limits, HeadMemory, HeadTable, ParseError, RequestHead, blank_head,
    fill_head,
};
use crate::proto::step;

/// What a head came to.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum Heard {
    Request {
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: BodyKind,
        expect_continue: bool,
        upgrade: bool,
        keep_alive: bool,
        bytes: usize,
    },
    Refused,
    Http2,
    Unfinished,
}

/// Judges `input` as one head, in both conformances, whole and cut in two.
pub fn head(input: &[u8]) {
    let hyper = hear(Conformance::Hyper, input);
    let expected = read_again(input);
    assert_eq!(hyper, expected, "{}", input.escape_ascii());
    let strict = hear(Conformance::Strict, input);
    match (&strict, &hyper) {
        // Whoever is stricter refuses more, and reads the same.
        (Heard::Request { headers, .. }, _) => {
            assert_eq!(strict, hyper, "{}", input.escape_ascii());
            assert_strict(headers, input);
        }
        (Heard::Refused, _) => {}
        _ => assert_eq!(strict, hyper, "{}", input.escape_ascii()),
    }
    let cut = usize::from(input.last().copied().unwrap_or(0)).min(input.len());
    assert_eq!(
        hear_in_two(input, cut),
        hyper,
        "cut at {cut}: {}",
        input.escape_ascii()
    );
}

/// What the standard demands of a head that is taken.
fn assert_strict(headers: &HeaderMap, input: &[u8]) {
    let text = input.escape_ascii();
    assert!(headers.get_all("host").iter().count() <= 1, "{text}");
    let codings: Vec<_> = headers.get_all("transfer-encoding").iter().collect();
    assert!(codings.len() <= 1, "{text}");
    for coding in codings {
        assert!(coding.as_bytes().eq_ignore_ascii_case(b"chunked"), "{text}");
        assert!(!headers.contains_key("content-length"), "{text}");
    }
}

fn limits(conformance: Conformance) -> H1Limits {
    H1Limits {
        conformance,
        ..H1Limits::default()
    }
}

fn hear(conformance: Conformance, input: &[u8]) -> Heard {
    let limits = limits(conformance);
    let mut conn = Conn::new();
    let mut table = HeadTable::new(limits.headers_max);
    let step = conn.handle_input(&limits, input, &mut table);
    assert!(step.consumed <= input.len());
    heard(&conn, step.next, input, &table)
}

/// By hyper's rules; empty lines may be used up by the first look.
fn hear_in_two(input: &[u8], cut: usize) -> Heard {
    let limits = limits(Conformance::Hyper);
    let mut conn = Conn::new();
    let mut table = HeadTable::new(limits.headers_max);
    let step = conn.handle_input(&limits, &input[..cut], &mut table);
    if !matches!(step.next, step::Next::More) {
        return hear(Conformance::Hyper, input);
    }
    let rest = &input[step.consumed..];
    let second = conn.handle_input(&limits, rest, &mut table);
    match heard(&conn, second.next, rest, &table) {
        Heard::Request {
            method,
            uri,
            headers,
            body,
            expect_continue,
            upgrade,
            keep_alive,
            bytes,
        } => Heard::Request {
            method,
            uri,
            headers,
            body,
            expect_continue,
            upgrade,
            keep_alive,
            bytes: bytes + step.consumed,
        },
        other => other,
    }
}

fn heard(conn: &Conn, next: step::Next<Event>, input: &[u8], table: &HeadTable) -> Heard {
    match next {
        step::Next::Event(Event::Head(head)) => request(conn, &head, input, table),
        step::Next::Event(Event::Error(ParseError::Http2)) => Heard::Http2,
        step::Next::Event(Event::Error(error)) => {
            assert!(!error.is_body());
            Heard::Refused
        }
        step::Next::More => Heard::Unfinished,
        other => panic!("{other:?} instead of a head"),
    }
}

fn request(conn: &Conn, head: &RequestHead, input: &[u8], table: &HeadTable) -> Heard {
    let bytes = Bytes::copy_from_slice(&input[head.range.clone()]);
    let mut parts = blank_head();
    let memory = &mut HeadMemory::new();
    if fill_head(bytes.clone(), table, memory, &mut parts).is_err() {
        return Heard::Refused;
    }
    // A head whose shape is remembered says the same.
    let mut again = blank_head();
    assert!(fill_head(bytes, table, memory, &mut again).is_ok());
    assert_eq!(again.headers, parts.headers);
    assert!(again.headers.keys().eq(parts.headers.keys()), "in order");
    Heard::Request {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body: head.body,
        expect_continue: head.expect_continue,
        upgrade: head.upgrade,
        keep_alive: conn.keep_alive(),
        bytes: head.range.end,
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The same by the straightest way there is: httparse, then hyper's rules over a `HeaderMap`.
fn read_again(input: &[u8]) -> Heard {
    let mut from = 0;
    while let [b'\n', ..] | [b'\r', b'\n', ..] = input[from..] {
        from += if input[from] == b'\n' { 1 } else { 2 };
    }
    let rest = &input[from..];
    let mut lines = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut lines);
    match parsed.parse(rest) {
        Ok(httparse::Status::Complete(bytes)) => {
            read_request(&parsed, from + bytes).unwrap_or(Heard::Refused)
        }
        Ok(httparse::Status::Partial) => Heard::Unfinished,
        Err(_) if rest.starts_with(PREFACE) => Heard::Http2,
        Err(_) if PREFACE.starts_with(rest) => Heard::Unfinished,
        Err(_) => Heard::Refused,
    }
}

fn read_request(parsed: &httparse::Request<'_, '_>, bytes: usize) -> Option<Heard> {
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    if parsed.path?.len() > 65_534 {
        return None;
    }
    let uri: Uri = Uri::from_maybe_shared(Bytes::copy_from_slice(parsed.path?.as_bytes())).ok()?;
    let is_http_11 = parsed.version == Some(1);
    let mut headers = HeaderMap::new();
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(line.value).ok()?;
        headers.append(name, value);
    }
    let codings: Vec<_> = headers
        .get_all("transfer-encoding")
        .iter()
        .cloned()
        .collect();
    let lengths: Vec<_> = headers.get_all("content-length").iter().cloned().collect();
    let has_length = !lengths.is_empty();
    // A length behind a coding is not even looked at; one before it must be in order.
    let position = |name: &str| {
        let mut lines = parsed.headers.iter();
        lines.position(|line| line.name.eq_ignore_ascii_case(name))
    };
    let first_coding = position("transfer-encoding").unwrap_or(usize::MAX);
    let looked_at = parsed.headers.iter().take(first_coding);
    let lengths: Option<Vec<u64>> = looked_at
        .filter(|line| line.name.eq_ignore_ascii_case("content-length"))
        .map(|line| read_length(line.value))
        .collect();
    let lengths = lengths?;
    if lengths.windows(2).any(|pair| pair[0] != pair[1])
        || lengths.iter().any(|&n| n > u64::MAX - 2)
    {
        return None;
    }
    let body = match codings.last() {
        Some(last) => {
            if !is_http_11 || list(last).pop()? != "chunked" {
                return None;
            }
            headers.remove("content-length");
            BodyKind::Chunked
        }
        None => {
            if let Some(value) = headers.get("content-length").cloned() {
                headers.insert("content-length", value);
            }
            match lengths.first() {
                None | Some(0) => BodyKind::None,
                Some(&length) => BodyKind::Length(length),
            }
        }
    };
    let says = |option: &str| {
        let mut lines = headers.get_all("connection").iter();
        lines.any(|line| list(line).iter().any(|said| said == option))
    };
    let is_kept = (is_http_11 || says("keep-alive")) && !says("close");
    let expects = headers.get_all("expect").iter().next_back();
    let expects = expects.is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Some(Heard::Request {
        // hyper's slip: the field takes away what CONNECT of HTTP/1.0 gives.
        upgrade: match headers.contains_key("upgrade") {
            true => is_http_11,
            false => method == Method::CONNECT,
        },
        method,
        uri,
        body,
        expect_continue: expects && is_http_11 && body != BodyKind::None,
        keep_alive: is_kept && !(has_length && body == BodyKind::Chunked),
        headers,
        bytes,
    })
}

fn read_length(value: &[u8]) -> Option<u64> {
    let text = str::from_utf8(value).ok()?;
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// The items of a list, in lower case; none of a value that is not visible ASCII.
fn list(value: &HeaderValue) -> Vec<String> {
    let text = value.to_str().unwrap_or_default();
    text.split(',')
        .map(|item| item.trim().to_ascii_lowercase())
        .collect()
}
