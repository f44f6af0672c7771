//! Whose turn it is: keeping, draining, closing, half-closing, upgrading.

use http::{Response, StatusCode, response};

use super::pair::*;
use crate::proto::h1::{BodyLength, Conn, Eof, Next, ParseError, SendBody, SendMore};

fn ok() -> response::Parts {
    Response::new(()).into_parts().0
}

fn status(code: u16) -> response::Parts {
    let mut parts = ok();
    parts.status = StatusCode::from_u16(code).unwrap();
    parts
}

/// A connection with one empty response behind `input`.
fn answered(input: &str) -> Pair {
    let mut pair = Pair::new();
    pair.receive(input.as_bytes());
    assert_eq!(
        pair.respond(&ok(), BodyLength::Empty),
        Ok(SendBody::Nothing)
    );
    pair
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Conn>() <= 96, "{}", size_of::<Conn>());
}

#[test]
fn a_second_request_waits_for_the_first_response() {
    let mut pair = Pair::new();
    pair.receive(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
    assert_eq!(pair.said.len(), 1);
    assert!(!pair.conn.wants_input() && pair.conn.request_complete());
    pair.respond(&ok(), BodyLength::Known(2)).unwrap();
    pair.receive(b"");
    assert_eq!(pair.said.len(), 1);
    assert_eq!(pair.send("ok"), SendMore::Complete);
    assert_eq!(pair.conn.after_response(), Next::Keep);
    pair.receive(b"");
    assert_eq!(pair.said.len(), 2);
}

#[test]
fn http_11_is_kept_until_someone_says_close() {
    let keeps = |lines: &str| {
        let mut pair = answered(&format!("GET / HTTP/1.1\r\n{lines}\r\n"));
        let keeps = pair.conn.after_response() == Next::Keep;
        assert_eq!(pair.sent().contains("connection: close\r\n"), !keeps);
        keeps
    };
    assert!(keeps(""));
    assert!(keeps("connection: keep-alive\r\n"));
    assert!(keeps("connection: closed, x-close\r\n"));
    assert!(!keeps("connection: close\r\n"));
    assert!(!keeps("Connection: foo ,\tCLOSE, bar\r\n"));
    assert!(!keeps("connection: keep-alive\r\nconnection: close\r\n"));
    assert!(!keeps("connection: close\r\nconnection: keep-alive\r\n"));
    // A list with a byte beyond ASCII says nothing, to hyper.
    assert!(keeps("connection: close, \u{e9}\r\n"));
}

#[test]
fn http_10_is_kept_only_if_both_say_so() {
    let mut pair = answered("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(pair.conn.after_response(), Next::Close);
    assert_eq!(
        pair.sent(),
        format!("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n{DATE}\r\n")
    );

    let mut pair = answered("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n");
    assert_eq!(pair.conn.after_response(), Next::Keep);
    let head = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n";
    assert_eq!(pair.sent(), format!("{head}{DATE}\r\n"));
}

#[test]
fn a_body_nobody_reads_is_skipped_if_it_comes() {
    let mut pair = answered("POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n12");
    assert_eq!(pair.conn.after_response(), Next::Drain);
    pair.conn.abandon_body();
    let before = pair.said.len();
    pair.receive(b"345GET / HTTP/1.1\r\n\r\n");
    assert_eq!(pair.said[before..], [Said::End]);
    assert_eq!(pair.conn.after_response(), Next::Keep);
    pair.receive(b"");
    assert!(matches!(pair.said.last(), Some(Said::Head { .. })));
}

#[test]
fn a_body_that_does_not_come_to_its_end_costs_the_connection() {
    let mut pair = answered("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12");
    pair.conn.abandon_body();
    pair.receive(b"345\r\n7\r\n");
    assert_eq!(pair.conn.after_response(), Next::Drain);
    assert_eq!(pair.conn.handle_eof(), Eof::MidBody);
    assert_eq!(pair.conn.after_response(), Next::Close);
}

#[test]
fn a_broken_body_may_still_be_answered() {
    let mut pair = Pair::new();
    pair.receive(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nX");
    assert_eq!(pair.said[1], Said::Error(ParseError::ChunkSize));
    assert!(!pair.conn.keep_alive());
    pair.respond(&status(422), BodyLength::Empty).unwrap();
    assert_eq!(pair.conn.after_response(), Next::Close);
    let head = "HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 0\r\n";
    assert_eq!(pair.sent(), format!("{head}{DATE}\r\n"));
}

#[test]
fn the_end_of_the_stream_is_told_by_its_place() {
    let eof = |input: &str| {
        let mut pair = Pair::new();
        pair.receive(input.as_bytes());
        pair.conn.handle_eof()
    };
    assert_eq!(eof(""), Eof::Idle);
    assert_eq!(eof("\r\n\r"), Eof::Idle);
    assert_eq!(eof("G"), Eof::MidHead);
    assert_eq!(eof("GET / HTTP/1.1\r\n"), Eof::MidHead);
    assert_eq!(eof("GET / HTTP/1.1\r\n\r\n"), Eof::AfterRequest);
    assert_eq!(
        eof("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n1"),
        Eof::MidBody
    );
    assert_eq!(
        eof("POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n12"),
        Eof::AfterRequest
    );
    let mut pair = answered("GET / HTTP/1.1\r\n\r\n");
    pair.conn.after_response();
    assert_eq!(pair.conn.handle_eof(), Eof::Idle);
}

#[test]
fn a_half_closed_connection_ends_behind_its_response() {
    let mut pair = Pair::new();
    pair.receive(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(pair.conn.handle_eof(), Eof::AfterRequest);
    assert!(!pair.conn.keep_alive() && pair.conn.request_complete());
    pair.respond(&ok(), BodyLength::Empty).unwrap();
    assert_eq!(pair.conn.after_response(), Next::Close);
    assert!(!pair.sent().contains("connection"));
}

#[test]
fn a_graceful_end_says_close_once() {
    let mut pair = Pair::new();
    pair.receive(b"GET / HTTP/1.1\r\n\r\n");
    pair.conn.close_after_response();
    let mut parts = ok();
    parts.headers.insert("connection", "x".parse().unwrap());
    parts.headers.insert("a", "b".parse().unwrap());
    pair.respond(&parts, BodyLength::Empty).unwrap();
    let head = "HTTP/1.1 200 OK\r\nconnection: x, close\r\na: b\r\ncontent-length: 0\r\n";
    assert_eq!(pair.sent(), format!("{head}{DATE}\r\n"));
    assert_eq!(pair.conn.after_response(), Next::Close);
    let mut idle = Conn::new();
    idle.close_after_response();
    assert!(idle.is_idle() && !idle.keep_alive());
}

#[test]
fn a_close_of_the_application_is_obeyed() {
    let mut pair = Pair::new();
    pair.receive(b"GET / HTTP/1.1\r\n\r\n");
    let mut parts = ok();
    parts.headers.append("connection", "x".parse().unwrap());
    parts.headers.append("connection", "Close".parse().unwrap());
    pair.respond(&parts, BodyLength::Empty).unwrap();
    let head = "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n";
    assert_eq!(pair.sent(), format!("{head}{DATE}\r\n"));
    assert_eq!(pair.conn.after_response(), Next::Close);
}

const EXPECTING: &[u8] = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";

#[test]
fn continue_is_said_once_when_the_body_is_asked_for() {
    let mut pair = Pair::new();
    pair.receive(EXPECTING);
    assert!(pair.conn.owes_continue());
    assert!(!pair.conn.poll_continue(&mut pair.out));
    assert!(pair.conn.ask_for_body());
    assert!(pair.conn.poll_continue(&mut pair.out));
    assert!(!pair.conn.ask_for_body());
    assert!(!pair.conn.poll_continue(&mut pair.out));
    assert!(!pair.conn.owes_continue());
    assert_eq!(pair.sent(), "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn continue_is_not_said_behind_a_response_or_an_abandoned_body() {
    let mut pair = Pair::new();
    pair.receive(EXPECTING);
    pair.respond(&ok(), BodyLength::Known(1)).unwrap();
    assert!(!pair.conn.owes_continue());
    assert!(!pair.conn.ask_for_body());
    assert!(!pair.conn.poll_continue(&mut pair.out));
    let mut pair = Pair::new();
    pair.receive(EXPECTING);
    pair.conn.abandon_body();
    assert!(!pair.conn.ask_for_body());
    assert!(!pair.conn.poll_continue(&mut pair.out));
    let mut pair = Pair::new();
    pair.receive(b"GET / HTTP/1.1\r\n\r\n");
    assert!(!pair.conn.ask_for_body());
    assert!(!pair.conn.poll_continue(&mut pair.out));
}

#[test]
fn a_response_takes_the_place_of_a_continue_that_was_not_yet_said() {
    let mut pair = Pair::new();
    pair.receive(EXPECTING);
    assert!(pair.conn.ask_for_body());
    pair.respond(&ok(), BodyLength::Known(1)).unwrap();
    assert!(!pair.conn.poll_continue(&mut pair.out));
    assert!(pair.sent().starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn who_sends_the_body_does_not_wait_for_a_continue() {
    const CHUNKED: &[u8] =
        b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n";
    for (head, body) in [(EXPECTING, &b"a"[..]), (CHUNKED, b"5")] {
        let mut pair = Pair::new();
        pair.receive(&[head, body].concat());
        assert!(!pair.conn.owes_continue());
        assert!(!pair.conn.ask_for_body());
    }
    // A body that comes after the question takes it back.
    let mut pair = Pair::new();
    pair.receive(EXPECTING);
    assert!(pair.conn.ask_for_body());
    pair.receive(b"a");
    assert!(!pair.conn.poll_continue(&mut pair.out));
}

#[test]
fn an_upgrade_leaves_the_bytes_behind_it_alone() {
    let mut pair = Pair::new();
    pair.receive(b"GET / HTTP/1.1\r\nupgrade: x\r\n\r\nfirst frame");
    let mut parts = status(101);
    parts.headers.insert("upgrade", "x".parse().unwrap());
    assert_eq!(
        pair.respond(&parts, BodyLength::Known(0)),
        Ok(SendBody::Nothing)
    );
    assert!(pair.conn.is_upgraded());
    assert_eq!(pair.conn.after_response(), Next::Close);
    assert_eq!(pair.input, b"first frame");
    let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n";
    assert_eq!(pair.sent(), format!("{head}{DATE}\r\n"));
}

#[test]
fn a_tunnel_opens_on_success_alone() {
    for (code, opens) in [(200, true), (204, true), (403, false)] {
        let mut pair = Pair::new();
        pair.receive(b"CONNECT a:1 HTTP/1.1\r\n\r\n");
        pair.respond(&status(code), BodyLength::Empty).unwrap();
        assert_eq!(pair.conn.is_upgraded(), opens);
        assert_eq!(pair.conn.after_response() == Next::Close, opens);
        assert_eq!(pair.sent().contains("content-length: 0"), !opens);
    }
    // Nobody asked for this one.
    let mut pair = answered("GET / HTTP/1.1\r\n\r\n");
    assert!(!pair.conn.is_upgraded());
    assert_eq!(pair.conn.after_response(), Next::Keep);
}

#[test]
fn refusals_are_answered_byte_for_byte_as_hyper_does() {
    let refusal = |input: &str| {
        let mut pair = Pair::new();
        pair.receive(input.as_bytes());
        pair.serve();
        assert!(pair.conn.response_complete() && !pair.conn.keep_alive());
        assert_eq!(pair.conn.after_response(), Next::Close);
        pair.sent()
    };
    let head = "connection: close\r\ncontent-length: 0\r\n";
    let bad = format!("HTTP/1.1 400 Bad Request\r\n{head}{DATE}\r\n");
    assert_eq!(refusal("GET / HTTP/1.2\r\n"), bad);
    assert_eq!(refusal("HEAD http:// HTTP/1.0\r\n\r\n"), bad);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(65_534));
    assert_eq!(
        refusal(&long),
        format!("HTTP/1.1 414 URI Too Long\r\n{head}{DATE}\r\n")
    );
    let large = format!("GET / HTTP/1.1\r\na: {}", "a".repeat(417_792));
    let answer = "HTTP/1.1 431 Request Header Fields Too Large\r\n";
    assert_eq!(refusal(&large), format!("{answer}{head}{DATE}\r\n"));
    assert_eq!(refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
}

/// hyper answers in the version of the request before.
#[test]
fn a_refusal_speaks_the_version_of_the_last_request() {
    let mut pair = Pair::new();
    pair.receive(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\nX");
    pair.serve();
    pair.sent();
    pair.receive(b"\r\n");
    let answer = "HTTP/1.0 400 Bad Request\r\ncontent-length: 0\r\n";
    assert_eq!(pair.sent(), format!("{answer}{DATE}\r\n"));
}
