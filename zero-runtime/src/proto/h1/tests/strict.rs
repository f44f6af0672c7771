//! What the standard refuses and hyper does not: each case under both conformances.

use super::pair::*;
use crate::proto::h1::{H1Limits, ParseError};

/// What the first request comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Taken,
    Refused(ParseError),
}

use Verdict::{Refused, Taken};

#[track_caller]
fn verdict(limits: &H1Limits, input: &[u8]) -> Verdict {
    let (said, sent) = hear_with(limits, input);
    let refusal = said.iter().find_map(|said| match said {
        Said::Error(error) => Some(*error),
        _ => None,
    });
    let Some(error) = refusal else {
        assert!(!said.is_empty(), "{}", input.escape_ascii());
        return Taken;
    };
    // A head that is refused is answered, and nothing behind it is heard.
    if let Some(status) = error.status() {
        let answer = sent.rsplit("HTTP/1.1 ").next().unwrap_or_default();
        assert!(answer.starts_with(status.as_str()), "{sent}");
        assert!(answer.contains("connection: close\r\n"), "{sent}");
    }
    assert_eq!(said.last(), Some(&Said::Error(error)));
    Refused(error)
}

/// Asserts what becomes of each input by the standard's rules, and by hyper's.
#[track_caller]
fn assert_verdicts<I: AsRef<[u8]>>(cases: impl IntoIterator<Item = (I, Verdict, Verdict)>) {
    for (input, strict, by_hyper) in cases {
        let input = input.as_ref();
        let text = input.escape_ascii();
        assert_eq!(verdict(&H1Limits::default(), input), strict, "{text}");
        assert_eq!(verdict(&hyper(), input), by_hyper, "by hyper: {text}");
    }
}

const HOST: Verdict = Refused(ParseError::Host);
const TARGET: Verdict = Refused(ParseError::Target);
const CODING: Verdict = Refused(ParseError::TransferEncoding);
const OTHER_CODING: Verdict = Refused(ParseError::TransferCoding);

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{lines}\r\n")
}

#[test]
fn http_11_names_its_host_once() {
    assert_verdicts([
        (get("host: a\r\n"), Taken, Taken),
        (get("host:\r\n"), Taken, Taken),
        (get("HOST: [::1]:80\r\n"), Taken, Taken),
        (get(""), HOST, Taken),
        (get("hosts: a\r\n"), HOST, Taken),
        (get("host: a\r\nx: y\r\nHost: a\r\n"), HOST, Taken),
        (get("host: a\r\nhost: b\r\n"), HOST, Taken),
        (get("host: a b\r\n"), HOST, Taken),
        (get("host: a/b\r\n"), HOST, Taken),
        (get("host: u@a\r\n"), HOST, Taken),
        (get("host: a:x\r\n"), HOST, Taken),
        (get("host: a, b\r\n"), HOST, Taken),
        (get("host: \u{e9}\r\n"), HOST, Taken),
    ]);
}

#[test]
fn http_10_may_leave_its_host_out_but_not_say_it_badly() {
    assert_verdicts([
        ("GET / HTTP/1.0\r\n\r\n", Taken, Taken),
        ("GET / HTTP/1.0\r\nhost: a\r\n\r\n", Taken, Taken),
        ("GET / HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n", HOST, Taken),
        ("GET / HTTP/1.0\r\nhost: a b\r\n\r\n", HOST, Taken),
    ]);
}

#[test]
fn a_target_has_one_of_four_forms() {
    let ask = |line: &str| format!("{line} HTTP/1.1\r\nhost: a.b\r\n\r\n");
    assert_verdicts([
        (ask("GET /"), Taken, Taken),
        (ask("GET //c?d=/e?f"), Taken, Taken),
        (ask("GET http://a.b"), Taken, Taken),
        (ask("GET http://a.b/c?d"), Taken, Taken),
        (ask("GET HTTP://A.B:80/c"), Taken, Taken),
        (ask("OPTIONS *"), Taken, Taken),
        (ask("OPTIONS http://a.b"), Taken, Taken),
        (ask("CONNECT c.d:443"), Taken, Taken),
        (ask("GET foo"), TARGET, Taken),
        (ask("GET a.b:80"), TARGET, Taken),
        (ask("GET *"), TARGET, Taken),
        (ask("options *"), TARGET, Taken),
        (ask("OPTIONS *x"), TARGET, Taken),
        (ask("GET /a#b"), TARGET, Taken),
        (ask("GET http://a.b#c"), TARGET, Taken),
        (ask("GET http://u@a.b/"), TARGET, Taken),
        (ask("GET http:/a.b/"), TARGET, TARGET),
        (ask("GET http:///c"), TARGET, TARGET),
        (ask("GET http://:80/"), TARGET, Taken),
        (ask("GET ://a.b/"), TARGET, Taken),
        (ask("GET 1http://a.b/"), TARGET, Taken),
        (ask("CONNECT /"), TARGET, Taken),
        (ask("CONNECT a.b"), TARGET, Taken),
        (ask("CONNECT a.b:"), TARGET, Taken),
        (ask("CONNECT a.b:0"), TARGET, Taken),
        (ask("CONNECT a.b:65536"), TARGET, Taken),
        (ask("CONNECT :443"), TARGET, Taken),
        (ask("CONNECT http://a.b:443/"), TARGET, Taken),
    ]);
}

#[test]
fn an_absolute_target_and_the_host_agree() {
    let ask = |host: &str| format!("GET http://a.b/c HTTP/1.1\r\nhost: {host}\r\n\r\n");
    assert_verdicts([
        (ask("a.b"), Taken, Taken),
        (ask("A.b:80"), Taken, Taken),
        (ask("a.b:81"), HOST, Taken),
        (ask("c.d"), HOST, Taken),
        (ask(""), HOST, Taken),
    ]);
}

#[test]
fn one_line_says_chunked_and_nothing_else_frames_the_body() {
    let post = |lines: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n0\r\n\r\n");
    let te = |value: &str| post(&format!("transfer-encoding: {value}\r\n"));
    assert_verdicts([
        (te("chunked"), Taken, Taken),
        (te("\tCHUNKED "), Taken, Taken),
        (te("gzip, chunked"), OTHER_CODING, Taken),
        (te("x-custom ,Chunked"), OTHER_CODING, Taken),
        (te("identity, chunked"), OTHER_CODING, Taken),
        (te("chunked, chunked"), CODING, Taken),
        (te(", chunked"), CODING, Taken),
        (te("a b, chunked"), CODING, Taken),
        (te("gzip;q=1, chunked"), CODING, Taken),
        (te("gzip"), CODING, CODING),
        (te("identity"), CODING, CODING),
        (te(""), CODING, CODING),
        (te("chunked, gzip"), CODING, CODING),
        (te("chunked,"), CODING, CODING),
        (te("\"chunked\""), CODING, CODING),
        (te("chunked;a"), CODING, CODING),
        (te("xchunked"), CODING, CODING),
        (te("\u{212a}chunked"), CODING, CODING),
        (te("chunked\r\ntransfer-encoding: chunked"), CODING, Taken),
        (te("gzip\r\ntransfer-encoding: chunked"), CODING, Taken),
        (te("chunked\r\ncontent-length: 5"), CODING, Taken),
        (te("chunked\r\ncontent-length: x"), CODING, Taken),
        (
            post("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
            CODING,
            Taken,
        ),
        (
            post("content-length: 0\r\nTransfer-Encoding: chunked\r\n"),
            CODING,
            Taken,
        ),
    ]);
    let old = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_verdicts([(old, CODING, CODING)]);
}

#[test]
fn chunk_lines_keep_to_their_grammar() {
    let chunked = |body: &str| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}")
    };
    const SIZE: Verdict = Refused(ParseError::ChunkSize);
    const OVERFLOW: Verdict = Refused(ParseError::ChunkSizeOverflow);
    const EXTENSION: Verdict = Refused(ParseError::ChunkExtension);
    let end = "0\r\n\r\n";
    let one = |line: &str| chunked(&format!("{line}\r\nx\r\n{end}"));
    assert_verdicts([
        (one("1"), Taken, Taken),
        (one("0000000000000001"), Taken, Taken),
        (one("1;a"), Taken, Taken),
        (one("1 ; a = b ;c=\"\u{e9};\\\"\""), Taken, Taken),
        (one("00000000000000001"), OVERFLOW, Taken),
        (one("1 "), SIZE, Taken),
        (one("1\t"), SIZE, Taken),
        (one("1;"), EXTENSION, Taken),
        (one("1;;a"), EXTENSION, Taken),
        (one("1;a "), EXTENSION, Taken),
        (one("1;a\0"), EXTENSION, Taken),
        (one("1;a=\"\0\""), EXTENSION, Taken),
        (one("1;a=\"b"), EXTENSION, Taken),
        (one("1;a=b c"), EXTENSION, Taken),
        (one("1;\x7f"), EXTENSION, Taken),
        (one("1;a\n"), EXTENSION, EXTENSION),
        (one("1;a=\"\n\""), EXTENSION, EXTENSION),
        (one("1;a\rb"), SIZE, SIZE),
        (chunked("1\nx\r\n0\r\n\r\n"), SIZE, SIZE),
        (
            chunked("1\r\nx\n0\r\n\r\n"),
            Refused(ParseError::ChunkEnd),
            Refused(ParseError::ChunkEnd),
        ),
        (chunked("0 \r\n\r\n"), SIZE, Taken),
    ]);
}

#[test]
fn blanks_before_an_extension_count_as_one() {
    let limits = H1Limits {
        chunk_extension_bytes_max: 8,
        ..H1Limits::default()
    };
    let hear = |blanks: usize| {
        let blanks = " ".repeat(blanks);
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        verdict(&limits, format!("{head}0{blanks};a\r\n\r\n").as_bytes())
    };
    assert_eq!(hear(6), Taken);
    assert_eq!(hear(7), Refused(ParseError::ChunkExtension));
}

#[test]
fn trailers_end_their_lines_like_all_others() {
    const TRAILER: Verdict = Refused(ParseError::Trailer);
    let trailed = |section: &str| {
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{section}")
    };
    assert_verdicts([
        (trailed("a: b\r\n\r\n"), Taken, Taken),
        // Others see the body end at the bare line feed, and a request behind it.
        (
            trailed("\nGET /b HTTP/1.1\r\nhost: c\r\n\r\n"),
            TRAILER,
            Taken,
        ),
        (
            trailed("a: b\n\nGET /b HTTP/1.1\r\nhost: c\r\n\r\n"),
            TRAILER,
            Taken,
        ),
        (trailed("a: b\nc: d\r\n\r\n"), TRAILER, TRAILER),
        (trailed("a: b\r\n c\r\n\r\n"), TRAILER, TRAILER),
        (trailed("a : b\r\n\r\n"), TRAILER, TRAILER),
        (trailed("a: b\0\r\n\r\n"), TRAILER, TRAILER),
        (trailed("a: b\rc\r\n\r\n"), TRAILER, TRAILER),
        (trailed("nothing\r\n\r\n"), TRAILER, TRAILER),
    ]);
}

#[test]
fn trailers_that_came_too_late_are_dropped() {
    let input = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\
                 Content-Length: 5\r\nx-sum: 7\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\
                 authorization: me\r\n\r\n";
    let names = |limits: &H1Limits| {
        let (said, _) = hear_with(limits, input.as_bytes());
        let Some(Said::Trailers(trailers)) = said.last() else {
            panic!("{said:?}")
        };
        trailers
            .keys()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&H1Limits::default()), ["x-sum"]);
    assert_eq!(names(&hyper()).len(), 5);
}

/// Both conformances have these from the parser they share.
#[test]
fn malformed_lines_are_refused_by_both() {
    const HEADER: Verdict = Refused(ParseError::Header);
    let lines = |lines: &str| get(&format!("host: a\r\n{lines}"));
    assert_verdicts([
        (lines("a: b\r\n c\r\n"), HEADER, HEADER),
        (lines("a: b\r\n\tc\r\n"), HEADER, HEADER),
        (lines("a : b\r\n"), HEADER, HEADER),
        (lines("a\t: b\r\n"), HEADER, HEADER),
        (lines(" a: b\r\n"), HEADER, HEADER),
        (lines("a: b\rc\r\n"), HEADER, HEADER),
        (lines("a: b\0c\r\n"), HEADER, HEADER),
        (lines("a\0: b\r\n"), HEADER, HEADER),
        (lines("content-length\u{b}: 5\r\n"), HEADER, HEADER),
        (lines("transfer-encoding\0: chunked\r\n"), HEADER, HEADER),
        (lines(": b\r\n"), HEADER, HEADER),
        (lines("\r\r\n"), HEADER, HEADER),
    ]);
}
