//! What requests mean.

use super::pair::*;
use crate::proto::h1::{BodyKind, H1Limits, ParseError};

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{lines}\r\n")
}

fn fields(lines: &str) -> Vec<(String, String)> {
    let Said::Head { headers, .. } = head(get(lines)) else {
        unreachable!()
    };
    let text = |value| String::from_utf8(value).unwrap();
    headers
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect()
}

#[test]
fn a_request_is_heard_as_it_was_sent() {
    let said = hear("GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Custom:  spaced \t\r\nEmpty:\r\n\r\n");
    assert_eq!(
        said,
        [Said::Head {
            request: "GET /a?b=c HTTP/1.1".into(),
            headers: vec![
                ("host".into(), b"x".into()),
                ("x-custom".into(), b"spaced".into()),
                ("empty".into(), b"".into()),
            ],
            body: BodyKind::None,
            expect_continue: false,
            upgrade: false,
        }]
    );
}

#[test]
fn all_forms_of_a_target_are_kept() {
    for (line, heard) in [
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("GET http://a.b/c?d HTTP/1.0", "GET http://a.b/c?d HTTP/1.0"),
        ("CONNECT a.b:443 HTTP/1.1", "CONNECT a.b:443 HTTP/1.1"),
        ("GET foo HTTP/1.1", "GET foo HTTP/1.1"),
        ("BREW /#pot HTTP/1.1", "BREW / HTTP/1.1"),
    ] {
        let Said::Head { request, .. } = head(format!("{line}\r\n\r\n")) else {
            unreachable!()
        };
        assert_eq!(request, heard);
    }
}

#[test]
fn bare_line_feeds_and_empty_lines_before_a_request_are_tolerated() {
    assert_eq!(
        hear("\r\n\n\r\nGET / HTTP/1.1\na: b\n\n"),
        hear(get("a: b\r\n"))
    );
    assert_eq!(hear("\r\n"), []);
    assert_eq!(hear("\r"), []);
    assert_eq!(refused("\r\rGET / HTTP/1.1\r\n\r\n"), ParseError::Header);
}

#[test]
fn pipelined_requests_come_one_after_the_other() {
    let post = "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc";
    let said = hear([&get(""), post, &get(""), "\r\n", post].concat());
    assert_eq!(said.len(), 8);
    assert_eq!(said[1..4], said[5..8]);
    assert_eq!(said[0], said[4]);
    assert_eq!(said[2..4], [Said::Data(b"abc".into()), Said::End]);
}

#[test]
fn what_is_no_request_is_refused() {
    for (input, error) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            ParseError::Method,
        ),
        (b" GET / HTTP/1.1\r\n", ParseError::Method),
        (b"G\xc3T / HTTP/1.1\r\n", ParseError::Method),
        (b"GET  HTTP/1.1\r\n", ParseError::Target),
        (b"GET /\x00 HTTP/1.1\r\n", ParseError::Target),
        (b"GET /\xff HTTP/1.1\r\n\r\n", ParseError::Target),
        (b"GET http:// HTTP/1.1\r\n\r\n", ParseError::Target),
        (b"GET / HTTP/1.2\r\n", ParseError::Version),
        (b"GET / HTTP/2.0\r\n", ParseError::Version),
        (b"GET / http/1.1\r\n", ParseError::Version),
        (b"GET / HTTP/1.1\rX", ParseError::Header),
        (b"GET / HTTP/1.1\r\na b: c\r\n", ParseError::Header),
        (b"GET / HTTP/1.1\r\na : b\r\n", ParseError::Header),
        (b"GET / HTTP/1.1\r\n: b\r\n", ParseError::Header),
        (b"GET / HTTP/1.1\r\na: b\r\n folded\r\n", ParseError::Header),
        (b"GET / HTTP/1.1\r\n a: b\r\n", ParseError::Header),
        (b"GET / HTTP/1.1\r\na: \x00\r\n", ParseError::Header),
        (b"GET / HTTP/1.1\r\na: \x7f\r\n", ParseError::Header),
        (b"GET / HTTP/1.1\r\na: b\rc\r\n", ParseError::Header),
    ] {
        assert_eq!(refused(input), error, "{}", input.escape_ascii());
    }
}

#[test]
fn bytes_above_ascii_pass_through_targets_and_values() {
    let said = head("GET /\u{e9} HTTP/1.1\r\na: \u{e9}\r\n\r\n");
    let Said::Head {
        request, headers, ..
    } = said
    else {
        unreachable!()
    };
    assert_eq!(request, "GET /\u{e9} HTTP/1.1");
    assert_eq!(headers, [("a".to_owned(), "\u{e9}".into())]);
    head(b"GET / HTTP/1.1\r\na: \xff\xfe\r\n\r\n");
}

#[test]
fn an_http2_preface_is_told_from_a_bad_version() {
    assert_eq!(
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ParseError::Http2
    );
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nXX"), ParseError::Version);
    assert_eq!(refused("PRI * HTTP/2.1"), ParseError::Version);
}

#[test]
fn content_length_is_digits_and_nothing_else() {
    let of = |value: &str| format!("POST / HTTP/1.1\r\ncontent-length: {value}\r\n\r\n");
    assert_eq!(body_kind(of("0")), BodyKind::None);
    assert_eq!(body_kind(of("000")), BodyKind::None);
    assert_eq!(body_kind(of("0012")), BodyKind::Length(12));
    assert_eq!(
        body_kind(of("18446744073709551613")),
        BodyKind::Length(u64::MAX - 2)
    );
    for value in ["18446744073709551614", "18446744073709551615"] {
        assert_eq!(refused(of(value)), ParseError::HeadTooLarge);
    }
    for value in [
        "",
        "+5",
        "-5",
        "5 5",
        "2, 2",
        "0x5",
        "foo",
        "5a",
        "18446744073709551616",
        "\u{664}",
    ] {
        assert_eq!(refused(of(value)), ParseError::ContentLength, "{value}");
    }
}

#[test]
fn equal_content_lengths_are_one_and_others_refused() {
    assert_eq!(
        fields("content-length: 0\r\na: b\r\nContent-Length: 00\r\n"),
        [
            ("content-length".into(), "0".into()),
            ("a".into(), "b".into())
        ]
    );
    let differ = get("content-length: 2\r\ncontent-length: 3\r\n");
    assert_eq!(refused(differ), ParseError::ContentLength);
}

#[test]
fn chunked_overrules_content_length_whichever_comes_first() {
    let lines = [
        "a: b\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "a: b\r\ntransfer-encoding: chunked\r\ncontent-length: x\r\n",
    ];
    for lines in lines {
        assert_eq!(body_kind(get(lines)), BodyKind::Chunked);
        assert_eq!(fields(lines).len(), 2, "content-length is not shown");
        let (_, sent) = hear_with(&hyper(), format!("{}0\r\n\r\n", get(lines)).as_bytes());
        assert!(sent.contains("connection: close\r\n"), "{sent}");
    }
}

#[test]
fn transfer_encoding_must_end_in_chunked() {
    for ok in [
        "chunked",
        "Chunked",
        "gzip, chunked",
        "gzip,chunked ",
        "gzip\r\ntransfer-encoding: chunked",
    ] {
        assert_eq!(
            body_kind(get(&format!("transfer-encoding: {ok}\r\n"))),
            BodyKind::Chunked
        );
    }
    for bad in [
        "",
        "gzip",
        "chunked, gzip",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunked\r\ntransfer-encoding: gzip",
        "\u{212a}, chunked",
        "chunked,",
    ] {
        let refusal = refused(get(&format!("transfer-encoding: {bad}\r\n")));
        assert_eq!(refusal, ParseError::TransferEncoding, "{bad}");
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(refused(old), ParseError::TransferEncoding);
}

#[test]
fn chunks_are_joined_to_a_body() {
    let said = chunked("5\r\nhello\r\n6 ;x=\"y\"\r\n world\r\n0\r\n\r\n");
    assert_eq!(said, [Said::Data(b"hello world".into()), Said::End]);
    assert_eq!(chunked("00A\t\r\n0123456789\r\n000\r\n\r\n")[1], Said::End);
    assert_eq!(chunked("0;ext\r\n\r\n"), [Said::End]);
    // The size of one chunk is forgotten before the next.
    assert_eq!(
        chunked("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        [Said::Data(b"ab".into()), Said::End]
    );
}

#[test]
fn a_body_may_be_followed_by_trailers() {
    let said = chunked("0\r\nExpires: never\r\nX-Sum: 1\r\n\r\n");
    let [Said::Trailers(trailers)] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!(trailers["expires"], "never");
    assert_eq!(trailers["x-sum"], "1");
}

#[test]
fn broken_chunks_are_errors_of_the_body() {
    let long = "f".repeat(17);
    for (body, error) in [
        ("\r\n", ParseError::ChunkSize),
        ("g\r\n", ParseError::ChunkSize),
        ("+5\r\n", ParseError::ChunkSize),
        ("-5\r\n", ParseError::ChunkSize),
        ("0x5\r\n", ParseError::ChunkSize),
        (" 5\r\n", ParseError::ChunkSize),
        ("5 5\r\n", ParseError::ChunkSize),
        ("5\n", ParseError::ChunkSize),
        ("5\rx", ParseError::ChunkSize),
        ("5;a\nb\r\n", ParseError::ChunkExtension),
        ("5;a\rb\r\n", ParseError::ChunkSize),
        (&long, ParseError::ChunkSizeOverflow),
        ("1\r\nabc", ParseError::ChunkEnd),
        ("1\r\na\n", ParseError::ChunkEnd),
        ("1\r\na\rb", ParseError::ChunkEnd),
        ("0\r\n\rx", ParseError::Trailer),
        ("0\r\na: b\rc\r\n", ParseError::Trailer),
        ("0\r\nno colon\r\n\r\n", ParseError::Trailer),
        ("0\r\na: \x01\r\n\r\n", ParseError::Trailer),
    ] {
        let said = chunked(body);
        assert_eq!(
            said.last(),
            Some(&Said::Error(error)),
            "{}",
            body.escape_debug()
        );
        assert!(error.is_body() && error.status().is_none());
    }
    let most = chunked("ffffffffffffffff\r\nx");
    assert_eq!(most, [Said::Data(b"x".into())]);
}

#[test]
fn chunk_extensions_and_trailers_are_bounded() {
    let limits = H1Limits {
        chunk_extension_bytes_max: 8,
        trailer_bytes_max: 16,
        trailers_max: 2,
        ..hyper()
    };
    let hear = |body: &str| {
        let head = get("transfer-encoding: chunked\r\n");
        let (said, _) = hear_with(&limits, (head + body).as_bytes());
        said.last().unwrap().clone()
    };
    assert_eq!(hear("1;abc\r\na\r\n0;defg\r\n\r\n"), Said::End);
    let refusal = Said::Error(ParseError::ChunkExtension);
    assert_eq!(hear("1;abc\r\na\r\n0;defgh\r\n\r\n"), refusal);
    // Fifteen bytes; the sixteenth is too many.
    let fits = "0\r\na: b\r\nc: de\r\n\r\n";
    assert!(matches!(hear(fits), Said::Trailers(_)));
    let refusal = Said::Error(ParseError::TrailersTooLarge);
    assert_eq!(hear("0\r\na: b\r\nc: def\r\n\r\n"), refusal);
    assert_eq!(hear("0\r\na:\r\nb:\r\nc:\r\n\r\n"), refusal);
}

#[test]
fn the_numbers_of_hyper_are_the_defaults() {
    let limits = H1Limits::default();
    assert_eq!(limits.head_bytes_max, 417_792);
    assert_eq!(limits.headers_max, 100);
    assert_eq!(limits.uri_bytes_max, 65_534);
    assert_eq!(limits.chunk_extension_bytes_max, 16_384);
    assert_eq!(limits.trailer_bytes_max, 16_384);
    assert_eq!(limits.trailers_max, 100);
}

#[test]
fn heads_are_bounded() {
    let limits = H1Limits {
        head_bytes_max: 64,
        headers_max: 2,
        uri_bytes_max: 8,
        ..hyper()
    };
    let hear = |input: &str| hear_with(&limits, input.as_bytes()).0.remove(0);
    let head = |target: &str, value: &str| format!("GET {target} HTTP/1.1\r\na: {value}\r\n\r\n");
    assert!(matches!(hear(&head("/2345678", "b")), Said::Head { .. }));
    assert_eq!(
        hear(&head("/23456789", "b")),
        Said::Error(ParseError::TargetTooLong)
    );
    let value = "v".repeat(64 - head("/", "").len());
    assert!(matches!(hear(&head("/", &value)), Said::Head { .. }));
    let refusal = Said::Error(ParseError::HeadTooLarge);
    assert_eq!(hear(&head("/", &(value.clone() + "v"))), refusal);
    assert_eq!(hear(&("\r\n".to_owned() + &head("/", &value))), refusal);
    assert_eq!(hear(&"\r\n".repeat(32)), refusal);
    let lines = |lines| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    assert!(matches!(hear(&lines("a:\r\nb:\r\n")), Said::Head { .. }));
    assert_eq!(hear(&lines("a:\r\nb:\r\nc:\r\n")), refusal);
}

/// One piece, or many: what is beyond the size where heads are parsed anew each time.
#[test]
fn long_heads_may_come_in_small_pieces() {
    let limits = hyper();
    let value = "v".repeat(3000);
    for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
        let input = format!("GET / HTTP/1.1\na: {value}\r\nb: {value}{end}");
        let whole = hear_pieces(&limits, &[input.as_bytes()]);
        assert_eq!(whole.0.len(), 1);
        for size in [1, 2, 3, 5, 4095, 4096, 4097] {
            let pieces: Vec<&[u8]> = input.as_bytes().chunks(size).collect();
            assert_eq!(hear_pieces(&limits, &pieces), whole, "{size}");
        }
    }
}

#[test]
fn more_lines_than_fit_on_the_stack_are_parsed_too() {
    let limits = H1Limits {
        headers_max: 300,
        ..hyper()
    };
    let lines = |count: usize| get(&"a: b\r\n".repeat(count));
    let (said, _) = hear_pieces(&limits, &[lines(300).as_bytes()]);
    assert!(matches!(&said[0], Said::Head { headers, .. } if headers.len() == 300));
    let (said, _) = hear_pieces(&limits, &[lines(301).as_bytes()]);
    assert_eq!(said, [Said::Error(ParseError::HeadTooLarge)]);
}

#[test]
fn an_expectation_needs_a_body_and_http_11() {
    let expects = |input: &str| match head(input) {
        Said::Head {
            expect_continue, ..
        } => expect_continue,
        _ => unreachable!(),
    };
    assert!(expects(
        "POST / HTTP/1.1\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n\r\n"
    ));
    assert!(!expects(
        "POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n"
    ));
    assert!(!expects("POST / HTTP/1.1\r\nexpect: 100-continue\r\n\r\n"));
    assert!(!expects(
        "POST / HTTP/1.1\r\nexpect: 200-ok\r\ncontent-length: 1\r\n\r\n"
    ));
}

#[test]
fn an_upgrade_needs_http_11_or_connect() {
    let upgrades = |input: &str| match head(input) {
        Said::Head { upgrade, .. } => upgrade,
        _ => unreachable!(),
    };
    assert!(upgrades("GET / HTTP/1.1\r\nupgrade: x\r\n\r\n"));
    assert!(!upgrades("GET / HTTP/1.0\r\nupgrade: x\r\n\r\n"));
    assert!(!upgrades("GET / HTTP/1.1\r\n\r\n"));
    assert!(upgrades("CONNECT a:1 HTTP/1.1\r\n\r\n"));
}
