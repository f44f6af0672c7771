//! Request bodies: framing, size, pace, and what happens to those nobody reads.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{get, post};
use http_body_util::BodyExt;

use crate::support::client::{chunked, pattern};
use crate::support::{Mode, in_every_mode, on_shards};

in_every_mode![
    bodies_with_a_length_are_echoed,
    chunked_bodies_are_echoed,
    a_body_may_come_in_dribbles,
    chunks_may_be_split_anywhere,
    many_bodies_on_one_connection,
    large_bodies_follow_each_other_in_any_pieces,
    large_and_small_bodies_in_turn_and_at_once,
    a_client_of_large_bodies_may_leave_in_the_middle_of_one,
    size_hint_tells_the_length,
    trailers_reach_the_handler,
    full_duplex,
    expect_continue_is_answered_when_the_body_is_read,
    expect_continue_is_not_answered_behind_or_along_with_the_response,
    expect_continue_is_not_answered_when_the_body_is_not_read,
    a_small_unread_body_does_not_end_the_connection,
    an_early_answer_goes_out_while_the_client_still_sends,
    the_default_limit_answers_413,
    a_cut_off_body_is_an_error_to_the_handler,
    a_broken_chunk_is_an_error_to_the_handler,
];

on_shards![expect_continue_is_not_answered_to_who_does_not_wait,];

const SIZES: [usize; 5] = [0, 1, 1024, 64 * 1024, 1024 * 1024];

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/stream", post(|body: Body| async { body }))
        .route("/ignore", post(|| async { "ignored" }))
        .route("/hint", post(hint))
        .route("/trailers", post(trailers))
        .route("/outcome", post(outcome))
}

async fn hint(request: Request) -> String {
    let hint = http_body::Body::size_hint(request.body());
    request.into_body().collect().await.unwrap();
    format!("{:?}", hint.exact())
}

async fn trailers(body: Body) -> String {
    let body = body.collect().await.unwrap();
    format!("{:?}", body.trailers())
}

async fn outcome(body: Body) -> &'static str {
    match body.collect().await {
        Ok(_) => "whole",
        Err(_) => "error",
    }
}

fn bodies_with_a_length_are_echoed(mode: Mode) {
    let server = mode.serve(app());
    for size in SIZES {
        let body = pattern(size);
        let echo = server.connect().post("/echo", &body);
        assert_eq!(echo.status, 200);
        assert!(echo.body == body, "{size} bytes came back changed");
    }
}

fn chunked_bodies_are_echoed(mode: Mode) {
    let server = mode.serve(app());
    for size in SIZES {
        for chunk_bytes in [1000, 16 * 1024, 300_000] {
            let body = pattern(size);
            let mut client = server.connect();
            client.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
            client.send(chunked(&body, chunk_bytes));
            assert!(client.response().body == body, "{size} by {chunk_bytes}");
        }
    }
}

fn a_body_may_come_in_dribbles(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let body = pattern(2_000);
    client.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 2000\r\n\r\n");
    for piece in body.chunks(7) {
        client.send(piece);
        std::thread::yield_now();
    }
    assert_eq!(client.response().body, body);
    assert_eq!(client.get("/").text(), "hello");
}

fn chunks_may_be_split_anywhere(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    for byte in b"5;name=value\r\nhello\r\n00001\r\n \r\n5\r\nworld\r\n0\r\nx-sum: 11\r\n\r\n" {
        client.send([*byte]);
        std::thread::yield_now();
    }
    assert_eq!(client.response().text(), "hello world");
    assert_eq!(client.get("/").text(), "hello");
}

fn many_bodies_on_one_connection(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    for n in 0..50 {
        let body = pattern(n * 997);
        assert!(client.post("/echo", &body).body == body);
        assert!(client.post("/stream", &body).body == body);
    }
}

fn large_post(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn large_bodies_follow_each_other_in_any_pieces(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let body = pattern(100_000);
    let request = large_post("/echo", &body);
    for n in 0..24 {
        // From a byte of the head to all but a byte of the body; the rest at once, soon or late.
        let at = [
            1,
            30,
            70,
            1000,
            40_000,
            70_000,
            request.len() - 1,
            request.len(),
        ][n % 8];
        client.send(&request[..at]);
        match n / 8 {
            0 => {}
            1 => std::thread::sleep(Duration::from_micros(300)),
            _ => std::thread::sleep(Duration::from_millis(15)),
        }
        client.send(&request[at..]);
        assert!(client.response().body == body);
        let path = if n % 2 == 0 { "/stream" } else { "/echo" };
        assert!(client.post(path, &body).body == body);
    }
}

fn large_and_small_bodies_in_turn_and_at_once(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    for round in 0..12 {
        let large = pattern(60_000 + 20_000 * round);
        for _ in 0..3 {
            assert!(client.post("/echo", &large).body == large);
        }
        for _ in 0..round {
            assert_eq!(client.get("/").text(), "hello");
            assert_eq!(client.post("/echo", b"small").text(), "small");
        }
        // Pipelined, small ones in front of, between and behind large ones.
        let small = large_post("/echo", b"small");
        let both = large_post("/echo", &large);
        let mut sender = client.try_clone();
        let all = [&small[..], &both, &small, &both, &both, &small].concat();
        let sending = std::thread::spawn(move || {
            sender.send(all);
        });
        for is_large in [false, true, false, true, true, false] {
            let expected = if is_large { &large[..] } else { b"small" };
            assert!(client.response().body == expected);
        }
        sending.join().unwrap();
    }
}

fn a_client_of_large_bodies_may_leave_in_the_middle_of_one(mode: Mode) {
    let server = mode.serve(app());
    let body = pattern(80_000);
    let request = large_post("/outcome", &body);
    for at in [1, 100, 50_000, request.len() - 1] {
        for resets in [false, true] {
            let mut client = server.connect();
            for _ in 0..3 {
                assert!(client.post("/echo", &body).body == body);
            }
            client.send(&request[..at]);
            match resets {
                true => client.reset(),
                false => drop(client),
            }
        }
    }
    assert_eq!(server.connect().get("/").text(), "hello");
}

fn size_hint_tells_the_length(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    assert_eq!(client.post("/hint", b"12345").text(), "Some(5)");
    assert_eq!(client.post("/hint", b"").text(), "Some(0)");
    client.send(
        "POST /hint HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    );
    assert_eq!(client.response().text(), "None");
}

fn trailers_reach_the_handler(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("POST /trailers HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("1\r\nx\r\n0\r\nX-Sum: 120\r\n\r\n");
    assert_eq!(client.response().text(), r#"Some({"x-sum": "120"})"#);
    assert_eq!(client.get("/").text(), "hello");
}

/// Each piece comes back before the next is sent.
fn full_duplex(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("POST /stream HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    for n in 0..20 {
        let piece = format!("piece {n:02}");
        client.send(format!("8\r\n{piece}\r\n"));
        if n == 0 {
            assert_eq!(client.head().status, 200);
        }
        assert_eq!(client.chunk().unwrap(), piece.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.chunk(), None);
    assert_eq!(client.get("/").text(), "hello");
}

fn expect_continue_is_answered_when_the_body_is_read(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send(
        "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.head().head, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.get("/").text(), "hello");
}

/// HAProxy 2.6 takes a response that comes in one segment with a 100 to end with that segment.
fn expect_continue_is_not_answered_behind_or_along_with_the_response(mode: Mode) {
    let server = mode.serve(app());
    for _ in 0..20 {
        let mut client = server.connect();
        client.send(
            "POST /stream HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n",
        );
        let head = client.head();
        assert_eq!(head.status, 200, "{}", head.head);
        for piece in ["hello", "world"] {
            client.send(format!("5\r\n{piece}\r\n"));
            assert_eq!(client.chunk().unwrap(), piece.as_bytes());
        }
        client.send("0\r\n\r\n");
        assert_eq!(client.chunk(), None);
        assert_eq!(client.get("/").text(), "hello");
    }
}

/// hyper says it, when the body is there, too.
fn expect_continue_is_not_answered_to_who_does_not_wait(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let lines = [
        "content-length: 5\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for lines in lines {
        client.send(format!(
            "POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n{lines}"
        ));
        assert_eq!(client.response().text(), "hello");
    }
}

fn expect_continue_is_not_answered_when_the_body_is_not_read(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send(
        "POST /ignore HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "ignored"));
    client.assert_closed();
}

fn a_small_unread_body_does_not_end_the_connection(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.post("/ignore", b"small").text(), "ignored");
    }
    assert_eq!(client.get("/").text(), "hello");
}

fn an_early_answer_goes_out_while_the_client_still_sends(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("POST /ignore HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\nonly this");
    assert_eq!(client.response().text(), "ignored");
    client.assert_closed();
}

fn the_default_limit_answers_413(mode: Mode) {
    const LIMIT: usize = 64 * 1024;
    let app = app().layer(DefaultBodyLimit::max(LIMIT));
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    // All of it, and no last chunk: the answer must not wait for one.
    client.send(format!("{:x}\r\n", LIMIT + 1));
    client.send(pattern(LIMIT + 1));
    assert_eq!(client.response().status, 413);
}

fn a_cut_off_body_is_an_error_to_the_handler(mode: Mode) {
    let (tx, rx) = std::sync::mpsc::channel();
    let app = Router::new().route(
        "/",
        post(move |body: Body| {
            let tx = tx.clone();
            async move { tx.send(body.collect().await.is_err()).unwrap() }
        }),
    );
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n12345");
    client.half_close();
    assert!(rx.recv_timeout(crate::support::PATIENCE).unwrap());
}

fn a_broken_chunk_is_an_error_to_the_handler(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send(
        "POST /outcome HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\nZZ\r\n",
    );
    assert_eq!(client.response().text(), "error");
    client.assert_closed();
}
