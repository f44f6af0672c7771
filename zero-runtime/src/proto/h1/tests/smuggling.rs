//! Request smuggling by its published names: bytes in which two servers may see different requests. The
//! one that is hidden, a `GET /-hidden`, must never be heard.

use super::pair::*;
use crate::proto::h1::H1Limits;

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// The request that hides it is answered with an error, and the connection closes.
    Refused,
    /// It is part of a body.
    Body,
    /// The request that hides it has a body that is broken; nothing behind it is heard.
    Broken,
    /// Nothing behind the request that hides it is heard.
    Closed,
    /// It is a request: whoever forwarded these bytes has to think so, too.
    Heard,
}

use Fate::{Body, Broken, Closed, Heard, Refused};

const HIDDEN: &str = "GET /-hidden HTTP/1.1\r\nhost: h\r\n\r\n";

/// Lines between `host` and the empty line, what follows them, and what becomes of it by the standard's
/// rules and by hyper's. `~` is [`HIDDEN`].
#[rustfmt::skip]
const VECTORS: &[(&str, &str, &str, Fate, Fate)] = &[
    // Two lengths.
    ("CL.TE", "content-length: 39\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n~", Refused, Closed),
    ("TE.CL", "transfer-encoding: chunked\r\ncontent-length: 4\r\n", "22\r\n~\r\n0\r\n\r\n", Refused, Body),
    ("TE.CL, length malformed", "transfer-encoding: chunked\r\ncontent-length: x\r\n", "0\r\n\r\n~", Refused, Closed),
    ("CL.CL", "content-length: 0\r\ncontent-length: 34\r\n", "~", Refused, Refused),
    ("CL.CL in one line", "content-length: 0, 34\r\n", "~", Refused, Refused),
    ("CL.CL, one signed", "content-length: +34\r\n", "~", Refused, Refused),
    ("CL with a blank before the colon", "content-length : 34\r\n", "~", Refused, Refused),
    ("CL with a vertical tab", "content-length:\u{b}34\r\n", "~", Refused, Refused),
    ("CL in hexadecimal", "content-length: 0x22\r\n", "~", Refused, Refused),
    ("CL that wraps", "content-length: 18446744073709551650\r\n", "~", Refused, Refused),
    // A coding that one of two servers does not see.
    ("TE.TE, two lines", "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE.TE, the last line counts", "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n~", Refused, Heard),
    ("TE.TE, one list", "transfer-encoding: chunked, identity\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE.TE, twice", "transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n~", Refused, Heard),
    ("TE.TE, empty element", "transfer-encoding: , chunked\r\n", "0\r\n\r\n~", Refused, Heard),
    ("TE in quotes", "transfer-encoding: \"chunked\"\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE with a parameter", "transfer-encoding: chunked;q=1\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE with another letter", "transfer-encoding: xchunked\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE with a vertical tab", "transfer-encoding: \u{b}chunked\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE with a form feed behind", "transfer-encoding: chunked\u{c}\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE with NUL", "transfer-encoding: chunked\0\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE with a kelvin sign", "transfer-encoding: chun\u{212a}ed\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE folded", "transfer-encoding:\r\n chunked\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE with a blank before the colon", "transfer-encoding : chunked\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE behind a blank", " transfer-encoding: chunked\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE behind a bare CR", "x: y\rtransfer-encoding: chunked\r\n", "0\r\n\r\n~", Refused, Refused),
    ("TE of no name", ": chunked\r\n", "0\r\n\r\n~", Refused, Refused),
    // The ends of chunks.
    ("TERM.EXT", "transfer-encoding: chunked\r\n", "2;\nxx\r\n22\r\n~\r\n0\r\n\r\n", Broken, Broken),
    ("EXT.TERM", "transfer-encoding: chunked\r\n", "22;a\n~\r\n0\r\n\r\n", Broken, Broken),
    ("EXT with a bare CR", "transfer-encoding: chunked\r\n", "2;a\rb\r\nxx\r\n0\r\n\r\n~", Broken, Broken),
    ("EXT with an open quote", "transfer-encoding: chunked\r\n", "2;a=\"b\r\nxx\r\n0\r\n\r\n~", Broken, Heard),
    ("EXT with NUL", "transfer-encoding: chunked\r\n", "2;\0\r\nxx\r\n0\r\n\r\n~", Broken, Heard),
    ("TERM.SPILL, data without its end", "transfer-encoding: chunked\r\n", "2\r\nxx0\r\n\r\n~", Broken, Broken),
    ("SPILL.TERM, data beyond its size", "transfer-encoding: chunked\r\n", "2\r\nxxx\r\n0\r\n\r\n~", Broken, Broken),
    ("bare LF behind a size", "transfer-encoding: chunked\r\n", "2\nxx\r\n0\r\n\r\n~", Broken, Broken),
    ("bare LF behind data", "transfer-encoding: chunked\r\n", "2\r\nxx\n0\r\n\r\n~", Broken, Broken),
    ("bare LF at the end", "transfer-encoding: chunked\r\n", "0\r\n\n~", Broken, Closed),
    ("bare LF in trailers", "transfer-encoding: chunked\r\n", "0\r\na: b\n\n~", Broken, Closed),
    ("size that wraps", "transfer-encoding: chunked\r\n", "10000000000000000\r\n\r\n~", Broken, Broken),
    ("size with a sign", "transfer-encoding: chunked\r\n", "-2\r\nxx\r\n0\r\n\r\n~", Broken, Broken),
    ("size with 0x", "transfer-encoding: chunked\r\n", "0x2\r\nxx\r\n0\r\n\r\n~", Broken, Broken),
    ("size with blanks within", "transfer-encoding: chunked\r\n", "2 2\r\nxx\r\n0\r\n\r\n~", Broken, Broken),
    ("size with blanks before", "transfer-encoding: chunked\r\n", " 2\r\nxx\r\n0\r\n\r\n~", Broken, Broken),
    ("size with blanks behind", "transfer-encoding: chunked\r\n", "2 \r\nxx\r\n0\r\n\r\n~", Broken, Heard),
    ("no size", "transfer-encoding: chunked\r\n", "\r\n0\r\n\r\n~", Broken, Broken),
    ("trailers that frame", "transfer-encoding: chunked\r\n", "0\r\ncontent-length: 34\r\n\r\n~", Heard, Heard),
    // Bodies that nobody expects, or that nobody has sent yet.
    ("CL.0", "content-length: 34\r\n", "~", Body, Body),
    ("0.CL", "content-length: 0\r\n", "~", Heard, Heard),
    ("TE.0", "transfer-encoding: chunked\r\n", "22\r\n~\r\n0\r\n\r\n", Body, Body),
    ("Expect", "expect: 100-continue\r\ncontent-length: 34\r\n", "~", Body, Body),
    ("Expect, obscured", "expect: y 100-continue\r\ncontent-length: 34\r\n", "~", Body, Body),
    // Hosts.
    ("two hosts", "host: i\r\n", "~", Refused, Heard),
    ("host folded", "x: y\r\n\thost: i\r\n", "~", Refused, Refused),
];

fn fate(limits: &H1Limits, method_line: &str, lines: &str, behind: &str) -> Fate {
    let behind = behind.replace('~', HIDDEN);
    let input = format!("{method_line}\r\nhost: h\r\n{lines}\r\n{behind}");
    let (said, sent) = hear_with(limits, input.as_bytes());
    let is_hidden =
        |said: &Said| matches!(said, Said::Head { request, .. } if request.contains("/-hidden"));
    if said.iter().any(is_hidden) {
        return Heard;
    }
    match said.last() {
        Some(Said::Error(error)) if error.is_body() => Broken,
        Some(Said::Error(_)) => {
            assert!(sent.contains("connection: close\r\n"), "{sent}");
            Refused
        }
        _ => {
            let in_a_body =
                |said: &Said| matches!(said, Said::Data(data) if data.ends_with(HIDDEN.as_bytes()));
            if said.iter().any(in_a_body) {
                Body
            } else {
                Closed
            }
        }
    }
}

#[test]
fn what_is_hidden_is_not_heard() {
    assert_eq!(HIDDEN.len(), 0x22);
    let mut wrong = String::new();
    for (name, lines, behind, strict, by_hyper) in VECTORS {
        let post = |limits| fate(&limits, "POST / HTTP/1.1", lines, behind);
        let fates = (post(H1Limits::default()), post(hyper()));
        if fates != (*strict, *by_hyper) {
            wrong += &format!("{name}: {fates:?}\n");
        }
    }
    assert!(
        wrong.is_empty(),
        "by the standard's rules, and by hyper's:\n{wrong}"
    );
}

/// An old version frames by length alone, and hyper agrees.
#[test]
fn http_10_has_no_codings() {
    for limits in [H1Limits::default(), hyper()] {
        let lines = "connection: keep-alive\r\ntransfer-encoding: chunked\r\n";
        let fate = fate(&limits, "POST / HTTP/1.0", lines, "0\r\n\r\n~");
        assert_eq!(fate, Refused);
    }
}
