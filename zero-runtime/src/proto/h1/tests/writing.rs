//! What responses look like.

use http::{HeaderMap, Response, StatusCode, Version, response};

use super::pair::*;
use crate::proto::h1::{BodyLength, Next, RespondError, SendBody, SendMore, ShortBody};

const GET: &str = "GET / HTTP/1.1\r\n\r\n";
const GET_10: &str = "GET / HTTP/1.0\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\n\r\n";

fn parts(status: u16, headers: &[(&'static str, &'static str)]) -> response::Parts {
    let mut parts = Response::builder()
        .status(status)
        .body(())
        .unwrap()
        .into_parts()
        .0;
    for (name, value) in headers {
        parts.headers.append(*name, value.parse().unwrap());
    }
    parts
}

fn asked(request: &str) -> Pair {
    let mut pair = Pair::new();
    pair.receive(request.as_bytes());
    pair
}

/// The head of the response to `request`, without its date, and how the body is sent.
#[track_caller]
fn head(request: &str, parts: &response::Parts, body: BodyLength) -> (String, SendBody) {
    let mut pair = asked(request);
    let send = pair.respond(parts, body).unwrap();
    let sent = pair.sent();
    let (head, _) = sent.split_once(DATE).expect("a date");
    assert_eq!(sent, format!("{head}{DATE}\r\n"));
    (head.to_owned(), send)
}

#[track_caller]
fn refused(request: &str, parts: &response::Parts, body: BodyLength) -> RespondError {
    let mut pair = asked(request);
    pair.out.put_slice(b"before ");
    let error = pair.respond(parts, body).unwrap_err();
    assert_eq!(pair.conn.after_response(), Next::Close);
    assert_eq!(pair.sent(), "before ", "nothing is written");
    error
}

#[test]
fn a_known_length_is_written_behind_the_headers() {
    let parts = parts(
        200,
        &[
            ("b", "2"),
            ("a", "1"),
            ("set-cookie", "x"),
            ("set-cookie", "y"),
        ],
    );
    let (head, send) = head(GET, &parts, BodyLength::Known(5));
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nb: 2\r\na: 1\r\nset-cookie: x\r\nset-cookie: y\r\ncontent-length: 5\r\n"
    );
    assert_eq!(send, SendBody::Length(5));
}

#[test]
fn an_unknown_length_is_chunked_or_ends_with_the_connection() {
    let (head_11, send) = head(GET, &parts(200, &[]), BodyLength::Unknown);
    assert_eq!(head_11, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n");
    assert_eq!(send, SendBody::Chunked);
    let (head_10, send) = head(GET_10, &parts(200, &[]), BodyLength::Unknown);
    assert_eq!(head_10, "HTTP/1.0 200 OK\r\n");
    assert_eq!(send, SendBody::UntilClose);
}

#[test]
fn odd_status_lines() {
    let line = |parts: &response::Parts| head(GET, parts, BodyLength::Empty).0;
    assert!(line(&parts(599, &[])).starts_with("HTTP/1.1 599 <none>\r\n"));
    assert!(line(&parts(418, &[])).starts_with("HTTP/1.1 418 I'm a teapot\r\n"));
    let mut old = parts(200, &[]);
    old.version = Version::HTTP_10;
    assert!(line(&old).starts_with("HTTP/1.0 200 OK\r\n"));
    old.version = Version::HTTP_2;
    assert!(line(&old).starts_with("HTTP/1.1 200 OK\r\n"));
    old.version = Version::HTTP_3;
    assert_eq!(refused(GET, &old, BodyLength::Empty), RespondError::Version);
}

#[test]
fn a_reason_of_the_application_is_written() {
    let mut pair = asked(GET);
    let parts = parts(200, &[]);
    let Pair {
        conn, date, out, ..
    } = &mut pair;
    conn.respond_with_reason(&parts, Some(b"Fine"), BodyLength::Empty, date, out)
        .unwrap();
    assert!(pair.sent().starts_with("HTTP/1.1 200 Fine\r\n"));
}

#[test]
fn a_date_of_the_application_is_left_alone() {
    let mut pair = asked(GET);
    pair.respond(
        &parts(200, &[("date", "today"), ("a", "b")]),
        BodyLength::Empty,
    )
    .unwrap();
    assert_eq!(
        pair.sent(),
        "HTTP/1.1 200 OK\r\ndate: today\r\na: b\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn a_length_of_the_application_wins() {
    let long = parts(200, &[("content-length", "10")]);
    // Trusted where the body knows its own length, as hyper does.
    let (sent, send) = head(GET, &long, BodyLength::Known(3));
    assert_eq!(sent, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n");
    assert_eq!(send, SendBody::Length(3));
    let (_, send) = head(GET, &long, BodyLength::Unknown);
    assert_eq!(send, SendBody::Length(10));
    let (sent, send) = head(GET, &long, BodyLength::Empty);
    assert_eq!(sent, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n");
    assert_eq!(send, SendBody::Nothing);
    let (sent, _) = head(HEAD, &long, BodyLength::Empty);
    assert_eq!(sent, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n");
    let (sent, send) = head(HEAD, &long, BodyLength::Known(0));
    assert_eq!(sent, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n");
    assert_eq!(send, SendBody::Nothing);
}

#[test]
fn framing_fields_that_contradict_each_other_are_refused() {
    for headers in [
        &[("content-length", "1"), ("transfer-encoding", "chunked")][..],
        &[("transfer-encoding", "chunked"), ("content-length", "1")],
        &[("content-length", "x")],
        &[("content-length", "1"), ("content-length", "2")],
    ] {
        let error = refused(GET, &parts(200, headers), BodyLength::Unknown);
        assert_eq!(error, RespondError::Framing);
    }
    let equal = parts(200, &[("content-length", "1"), ("content-length", "1")]);
    assert_eq!(
        head(GET, &equal, BodyLength::Unknown).0,
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n"
    );
    let connect = "CONNECT a:1 HTTP/1.1\r\n\r\n";
    for header in [("content-length", "0"), ("transfer-encoding", "chunked")] {
        let error = refused(connect, &parts(200, &[header]), BodyLength::Empty);
        assert_eq!(error, RespondError::Framing);
    }
}

#[test]
fn codings_of_the_application_end_in_chunked() {
    let coded = |values: &[&'static str]| {
        let headers: Vec<_> = values
            .iter()
            .map(|value| ("transfer-encoding", *value))
            .collect();
        let (head, send) = head(GET, &parts(200, &headers), BodyLength::Known(5));
        assert_eq!(send, SendBody::Chunked);
        head
    };
    let line = |value| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {value}\r\n");
    assert_eq!(coded(&["chunked"]), line("chunked"));
    assert_eq!(coded(&["gzip"]), line("gzip, chunked"));
    assert_eq!(coded(&["gzip", "chunked"]), line("gzip, chunked"));
    assert_eq!(coded(&["chunked", "gzip"]), line("chunked, gzip, chunked"));
    // HTTP/1.0 knows none.
    let gzip = parts(200, &[("transfer-encoding", "gzip")]);
    assert_eq!(
        head(GET_10, &gzip, BodyLength::Known(5)).0,
        "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n"
    );
}

#[test]
fn some_responses_have_no_body() {
    for (request, code) in [(HEAD, 200), (GET, 204), (GET, 304)] {
        let (sent, send) = head(request, &parts(code, &[]), BodyLength::Unknown);
        assert_eq!(send, SendBody::Nothing);
        assert!(
            !sent.contains("transfer-encoding") && !sent.contains("content-length"),
            "{sent}"
        );
        let (sent, send) = head(request, &parts(code, &[]), BodyLength::Known(5));
        assert_eq!(send, SendBody::Nothing);
        assert_eq!(sent.contains("content-length: 5\r\n"), request == HEAD);
        let (sent, _) = head(request, &parts(code, &[]), BodyLength::Empty);
        assert!(!sent.contains("content-length"), "{sent}");
    }
    let explicit = parts(204, &[("content-length", "1")]);
    let (sent, send) = head(GET, &explicit, BodyLength::Known(1));
    assert_eq!(sent, "HTTP/1.1 204 No Content\r\ncontent-length: 1\r\n");
    assert_eq!(send, SendBody::Nothing);
}

#[test]
fn an_interim_status_becomes_a_500() {
    for (request, line) in [
        (GET, "content-length: 0\r\n"),
        (GET_10, "content-length: 0\r\n"),
        (HEAD, ""),
    ] {
        let mut pair = asked(request);
        let error = pair.respond(&parts(103, &[("a", "b")]), BodyLength::Known(5));
        assert_eq!(error, Err(RespondError::Informational));
        assert_eq!(pair.conn.after_response(), Next::Close);
        assert_eq!(
            pair.sent(),
            format!("HTTP/1.1 500 Internal Server Error\r\n{line}{DATE}\r\n")
        );
    }
}

#[test]
fn a_response_that_is_taken_back_gives_way_to_another() {
    for (request, answer) in [
        (
            GET,
            "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n",
        ),
        (
            GET_10,
            "HTTP/1.0 500 Internal Server Error\r\ncontent-length: 0\r\n",
        ),
        (
            HEAD,
            "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n",
        ),
    ] {
        for had_begun in [false, true] {
            let mut pair = asked(request);
            if had_begun {
                let mark = pair.out.mark();
                let given = parts(200, &[("trailer", "a")]);
                pair.respond(&given, BodyLength::Unknown).unwrap();
                pair.send("lost");
                pair.out.rewind(mark);
            }
            assert_eq!(pair.conn.response_begun(), had_begun);
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            pair.conn.respond_instead(status, &pair.date, &mut pair.out);
            assert_eq!(pair.sent(), format!("{answer}{DATE}\r\n"));
            assert_eq!(pair.conn.after_response(), Next::Close);
        }
    }
}

#[test]
fn a_response_out_of_turn_is_refused() {
    let mut pair = asked("");
    let error = pair.respond(&parts(200, &[]), BodyLength::Empty);
    assert_eq!(error, Err(RespondError::OutOfTurn));
    let mut pair = asked(GET);
    pair.respond(&parts(200, &[]), BodyLength::Empty).unwrap();
    let error = pair.respond(&parts(200, &[]), BodyLength::Empty);
    assert_eq!(error, Err(RespondError::OutOfTurn));
}

/// A pair that has written the head of a response, and forgotten it.
fn begun(request: &str, headers: &[(&'static str, &'static str)], body: BodyLength) -> Pair {
    let mut pair = asked(request);
    pair.respond(&parts(200, headers), body).unwrap();
    pair.sent();
    pair
}

#[test]
fn chunks_have_sizes_and_an_end() {
    let mut pair = begun(GET, &[], BodyLength::Unknown);
    assert_eq!(pair.send("hello, wide world"), SendMore::More);
    assert_eq!(pair.send(""), SendMore::More);
    assert_eq!(pair.send("!"), SendMore::More);
    assert_eq!(pair.conn.finish(None, &mut pair.out), Ok(()));
    assert_eq!(
        pair.sent(),
        "11\r\nhello, wide world\r\n1\r\n!\r\n0\r\n\r\n"
    );
    assert_eq!(pair.conn.after_response(), Next::Keep);
}

#[test]
fn a_large_chunk_is_spliced_between_its_lines() {
    let mut pair = begun(GET, &[], BodyLength::Unknown);
    let data = bytes::Bytes::from(vec![b'x'; 70_000]);
    pair.conn.send_data(data, &mut pair.out);
    assert!(!pair.out.is_flat());
    let sent = pair.sent();
    assert!(sent.starts_with("11170\r\nx") && sent.ends_with("x\r\n"));
    assert_eq!(sent.len(), 70_000 + 9);
}

#[test]
fn a_long_body_is_cut_and_a_short_one_cuts_the_connection() {
    let mut pair = begun(GET, &[], BodyLength::Known(5));
    assert_eq!(pair.send("123"), SendMore::More);
    assert_eq!(pair.send("456"), SendMore::Complete);
    assert_eq!(pair.send("789"), SendMore::Complete);
    assert_eq!(pair.conn.finish(None, &mut pair.out), Ok(()));
    assert_eq!(pair.sent(), "12345");
    assert_eq!(pair.conn.after_response(), Next::Keep);

    let mut pair = begun(GET, &[], BodyLength::Known(5));
    pair.send("123");
    let short = Err(ShortBody { missing_bytes: 2 });
    assert_eq!(pair.conn.finish(None, &mut pair.out), short);
    assert_eq!(pair.conn.after_response(), Next::Close);
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let request = "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    let mut pair = asked(request);
    pair.respond(&parts(200, &[]), BodyLength::Unknown).unwrap();
    // hyper announces what it does not keep.
    assert!(pair.sent().contains("connection: keep-alive\r\n"));
    pair.send("data");
    assert_eq!(pair.conn.finish(None, &mut pair.out), Ok(()));
    assert_eq!(pair.sent(), "data");
    assert_eq!(pair.conn.after_response(), Next::Close);
}

#[test]
fn trailers_are_sent_if_wanted_announced_and_allowed() {
    const WANTS: &str = "GET / HTTP/1.1\r\nte: gzip, Trailers\r\n\r\n";
    let announced = [("trailer", "X-Sum, content-length"), ("trailer", "x-other")];
    let trailed = |request: &str, headers: &[(&'static str, &'static str)], body| {
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", "1".parse().unwrap());
        trailers.append("x-sum", "2".parse().unwrap());
        trailers.append("x-silent", "3".parse().unwrap());
        trailers.append("content-length", "4".parse().unwrap());
        let mut pair = begun(request, headers, body);
        pair.conn.finish(Some(&trailers), &mut pair.out).unwrap();
        assert_eq!(pair.conn.after_response(), Next::Keep);
        pair.sent()
    };
    let sent = trailed(WANTS, &announced, BodyLength::Unknown);
    assert_eq!(sent, "0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n");
    assert_eq!(trailed(GET, &announced, BodyLength::Unknown), "0\r\n\r\n");
    assert_eq!(trailed(WANTS, &[], BodyLength::Unknown), "0\r\n\r\n");
    assert_eq!(trailed(WANTS, &announced, BodyLength::Known(0)), "");
    let (sent, _) = head(GET, &parts(200, &announced), BodyLength::Unknown);
    assert!(
        sent.contains("trailer: X-Sum, content-length, x-other\r\n"),
        "{sent}"
    );
}

/// What is written in one go is what is written piece by piece, and leaves the same machine behind.
#[test]
fn a_whole_response_is_written_as_its_parts_are() {
    let requests = [
        GET,
        GET_10,
        HEAD,
        "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nupgrade: a\r\nconnection: upgrade\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n",
    ];
    let long = "x".repeat(1234);
    let mut written = 0;
    for request in requests {
        for code in (100..600).chain([999]) {
            let status = StatusCode::from_u16(code).unwrap();
            for (lines, payload) in [
                ("", ""),
                ("a: b\r\n", "seven"),
                ("", "0123456789"),
                ("", &long),
            ] {
                let mut whole = asked(request);
                let (lines, payload) = (lines.as_bytes(), payload.as_bytes());
                if !whole.respond_plainly(status, lines, payload) {
                    assert!(whole.out.is_empty());
                    continue;
                }
                written += 1;
                let mut parts = asked(request);
                parts.respond_lines(status, lines, payload);
                assert_eq!(whole.sent(), parts.sent());
                assert_eq!(format!("{:?}", whole.conn), format!("{:?}", parts.conn));
            }
        }
    }
    // Four bodies with each of 21 status codes, to three of these requests.
    assert_eq!(written, 4 * 21 * 3);
}
