//! Requests that are not HTTP, or too much of it: the same bytes that hyper answers.

use axum::Router;
use axum::routing::{get, post};

use crate::support::{Mode, Server, in_every_mode};

in_every_mode![
    malformed_heads_are_answered_400,
    malformed_heads_after_a_good_request,
    too_many_headers_are_answered_431,
    too_long_heads_are_answered_431,
    too_long_targets_are_answered_414,
    the_longest_allowed_is_served,
    configured_limits_hold,
    a_closed_half_request_is_closed_silently,
    others_are_served_meanwhile,
];

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: String| async { body }))
        .fallback(|| async { "elsewhere" })
}

/// Everything the server says until it closes, without the date's value.
fn answer(server: &Server, request: impl AsRef<[u8]>) -> String {
    let mut client = server.connect();
    client.send(request);
    masked(client.rest())
}

fn masked(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap();
    let lines = text.split("\r\n").map(|line| match line.get(..6) {
        Some("date: ") => "date: -",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

fn refusal(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: -\r\n\r\n")
}

const MALFORMED: &[&str] = &[
    "GARBAGE\r\n\r\n",
    "GET\r\n\r\n",
    "GET /\r\n\r\n",
    "GET / HTTP/1.2\r\n\r\n",
    "GET / HTTP/3.0\r\n\r\n",
    "GET / HTTP/1.1 \r\n\r\n",
    "GE(T / HTTP/1.1\r\nhost: h\r\n\r\n",
    "GET  / HTTP/1.1\r\nhost: h\r\n\r\n",
    "GET /a b HTTP/1.1\r\nhost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\nbad header: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\n: nameless\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\nspace : 1\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\na: 1\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\na: \x00\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\nno colon\r\n\r\n",
    "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: five\r\n\r\n",
    "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: +5\r\n\r\n",
    "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5, 5\r\n\r\n",
    "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
    "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: identity\r\n\r\n",
    "POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
];

fn malformed_heads_are_answered_400(mode: Mode) {
    let server = mode.serve(app());
    for request in MALFORMED {
        let answer = answer(&server, request);
        assert_eq!(answer, refusal("400 Bad Request"), "to {request:?}");
    }
}

fn malformed_heads_after_a_good_request(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\nGARBAGE\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(masked(client.rest()), refusal("400 Bad Request"));
}

fn too_many_headers_are_answered_431(mode: Mode) {
    let server = mode.serve(app());
    // Beside the host.
    let with = |headers: usize| {
        format!(
            "GET / HTTP/1.1\r\nhost: h\r\n{}\r\n",
            "a: 1\r\n".repeat(headers)
        )
    };
    assert_eq!(server.connect().send(with(99)).response().text(), "hello");
    let answer = answer(&server, with(100));
    assert_eq!(answer, refusal("431 Request Header Fields Too Large"));
}

fn too_long_heads_are_answered_431(mode: Mode) {
    let server = mode.serve(app());
    // Exactly the limit, and no end in sight: all of it is read before the refusal.
    let head = format!(
        "GET / HTTP/1.1\r\nhost: h\r\na: {}",
        "x".repeat(417_792 - 28)
    );
    let answer = answer(&server, head);
    assert_eq!(answer, refusal("431 Request Header Fields Too Large"));
}

fn too_long_targets_are_answered_414(mode: Mode) {
    let server = mode.serve(app());
    let request = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(65_534));
    let answer = answer(&server, request);
    assert_eq!(answer, refusal("414 URI Too Long"));
}

fn the_longest_allowed_is_served(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let long = |bytes| "x".repeat(bytes);
    let target = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", long(65_533));
    assert_eq!(client.send(target).response().text(), "elsewhere");
    let header = format!("GET / HTTP/1.1\r\nhost: h\r\na: {}\r\n\r\n", long(400_000));
    assert_eq!(client.send(header).response().text(), "hello");
    assert_eq!(client.get("/").text(), "hello");
}

fn configured_limits_hold(mode: Mode) {
    let config = mode.config().head_bytes_max(16 * 1024).headers_max(10);
    let server = mode.serve_with(config, app());
    let too_large = refusal("431 Request Header Fields Too Large");
    let headers = format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "a: 1\r\n".repeat(10));
    assert_eq!(answer(&server, headers), too_large);
    let head = format!(
        "GET / HTTP/1.1\r\nhost: h\r\na: {}",
        "x".repeat(16 * 1024 - 28)
    );
    assert_eq!(answer(&server, head), too_large);
    server.assert_serves("/");
}

fn a_closed_half_request_is_closed_silently(mode: Mode) {
    let server = mode.serve(app());
    for half in ["", "GET", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut client = server.connect();
        client.send(half).half_close().assert_closed();
    }
    server.assert_serves("/");
}

fn others_are_served_meanwhile(mode: Mode) {
    let server = mode.serve(app());
    let mut others: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for request in MALFORMED {
        answer(&server, request);
        for other in &mut others {
            assert_eq!(other.get("/").text(), "hello");
        }
    }
}
