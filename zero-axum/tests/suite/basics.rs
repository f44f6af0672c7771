//! Routing, extractors and the ways connections are kept or closed.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::header::SERVER;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::support::{Mode, in_every_mode};

in_every_mode![
    hello,
    unknown_paths_are_404,
    unknown_methods_are_405,
    path_params_are_decoded,
    json_goes_in_and_out,
    bad_json_is_refused_and_the_connection_lives,
    query_and_state_are_extracted,
    request_head_arrives_as_sent,
    no_extension_is_added,
    responses_keep_their_header_lines,
    keep_alive_serves_many,
    connection_close_is_obeyed,
    a_response_may_close_the_connection,
    pipelined_requests_are_answered_in_order,
    a_request_may_come_byte_by_byte,
    http10_closes,
    http10_keeps_alive_when_asked,
    head_has_no_body,
    no_content_has_no_body,
];

type Map = BTreeMap<String, String>;

fn app() -> Router {
    async fn sum(State(base): State<u64>, Query(query): Query<Map>) -> String {
        let n: u64 = query["n"].parse().unwrap();
        (base + n).to_string()
    }
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/users/{id}/{name}", get(user))
        .route("/json", post(|Json(map): Json<Map>| async { Json(map) }))
        .route("/sum", get(sum))
        .route("/seen/{*rest}", get(seen))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/bye", get(|| async { ([("connection", "close")], "bye") }))
        .with_state(40)
}

async fn user(Path((id, name)): Path<(u32, String)>) -> String {
    format!("{id}: {name}")
}

async fn seen(method: Method, uri: Uri, headers: HeaderMap) -> String {
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}={value}\n")
    });
    format!("{method} {uri}\n{}", headers.collect::<String>())
}

fn hello(mode: Mode) {
    let server = mode.serve(app());
    let response = server.connect().get("/");
    assert_eq!(response.status, 200);
    assert!(response.head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(response.header("content-length"), Some("5"));
    assert!(response.header("date").unwrap().ends_with(" GMT"));
    assert_eq!(response.header("connection"), None);
    assert_eq!(response.text(), "hello");
}

fn unknown_paths_are_404(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let response = client.get("/nowhere");
    assert_eq!((response.status, response.text()), (404, ""));
    assert_eq!(client.get("/").status, 200);
}

fn unknown_methods_are_405(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let response = client.send("BREW / HTTP/1.1\r\nhost: h\r\n\r\n").response();
    assert_eq!(response.status, 405);
    assert_eq!(response.header("allow"), Some("GET,HEAD"));
}

fn path_params_are_decoded(mode: Mode) {
    let server = mode.serve(app());
    let response = server.connect().get("/users/7/a%20b%C3%A9");
    assert_eq!(response.text(), "7: a bé");
    assert_eq!(server.connect().get("/users/x/y").status, 400);
}

fn json_goes_in_and_out(mode: Mode) {
    let server = mode.serve(app());
    let body = r#"{"name":"ann","pet":"cat"}"#;
    let length = body.len();
    let request = format!(
        "POST /json HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let response = server.connect().send(request).response();
    assert_eq!(response.header("content-type"), Some("application/json"));
    let echoed: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(echoed["pet"], "cat");
}

fn bad_json_is_refused_and_the_connection_lives(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send(
        "POST /json HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{1}",
    );
    assert_eq!(client.response().status, 400);
    assert_eq!(client.get("/").text(), "hello");
}

fn query_and_state_are_extracted(mode: Mode) {
    let server = mode.serve(app());
    assert_eq!(server.connect().get("/sum?n=2&other").text(), "42");
}

fn request_head_arrives_as_sent(mode: Mode) {
    let server = mode.serve(app());
    let mut request = b"GET /seen/a%2Fb?q=%20 HTTP/1.1\r\nHost: h\r\nX-One:  1 \r\n".to_vec();
    request.extend(b"x-two: \xff\r\nX-ONE: 2\r\nx-empty:\r\n\r\n");
    assert_eq!(
        server.connect().send(request).response().text(),
        "GET /seen/a%2Fb?q=%20\nhost=h\nx-one=1\nx-one=2\nx-two=\u{fffd}\nx-empty=\n"
    );
}

fn no_extension_is_added(mode: Mode) {
    async fn count(request: axum::extract::Request) -> String {
        request.extensions().len().to_string()
    }
    // A bare service: axum's router adds extensions of its own.
    let server = mode.serve(tower::service_fn(|request| async {
        Ok::<_, std::convert::Infallible>(count(request).await.into_response())
    }));
    assert_eq!(server.connect().get("/").text(), "0");
}

fn responses_keep_their_header_lines(mode: Mode) {
    async fn cookies() -> impl IntoResponse {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        headers.insert(SERVER, "mine".parse().unwrap());
        (StatusCode::IM_A_TEAPOT, headers, "short and stout")
    }
    let server = mode.serve(Router::new().route("/", get(cookies)));
    let response = server.connect().get("/");
    assert!(response.head.starts_with("HTTP/1.1 418 I'm a teapot\r\n"));
    assert!(
        response
            .head
            .contains("\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n")
    );
    assert!(response.head.contains("\r\nserver: mine\r\n"));
}

fn keep_alive_serves_many(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    for n in 0..100 {
        let response = client.get(&format!("/sum?n={n}"));
        assert_eq!(response.text(), (40 + n).to_string());
    }
}

fn connection_close_is_obeyed(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: Keep-Alive, Close\r\n\r\n");
    let response = client.response();
    assert_eq!(response.header("connection"), Some("close"));
    client.assert_closed();
}

fn a_response_may_close_the_connection(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let response = client.get("/bye");
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(response.text(), "bye");
    client.assert_closed();
}

fn pipelined_requests_are_answered_in_order(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let requests = (0..16).map(|n| match n % 3 {
        0 => format!("GET /sum?n={n} HTTP/1.1\r\nhost: h\r\n\r\n"),
        1 => format!("GET /users/{n}/x HTTP/1.1\r\nhost: h\r\n\r\n"),
        _ => format!("POST /json HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{{\"n\": \"{n:02}\"}}"),
    });
    client.send(requests.collect::<String>());
    for n in 0..16 {
        let expected = match n % 3 {
            0 => format!("{}", 40 + n),
            1 => format!("{n}: x"),
            _ => format!("{{\"n\":\"{n:02}\"}}"),
        };
        assert_eq!(client.response().text(), expected);
    }
    assert_eq!(client.get("/").text(), "hello");
}

fn a_request_may_come_byte_by_byte(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    for byte in b"\r\n\r\nGET /sum?n=1 HTTP/1.1\r\nhost: slow\r\n\r\n" {
        client.send([*byte]);
        std::thread::yield_now();
    }
    assert_eq!(client.response().text(), "41");
}

fn http10_closes(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let response = client.send("GET / HTTP/1.0\r\n\r\n").response();
    assert!(response.head.starts_with("HTTP/1.0 200 OK\r\n"));
    assert_eq!(response.text(), "hello");
    client.assert_closed();
}

fn http10_keeps_alive_when_asked(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(response.header("connection"), Some("keep-alive"));
        assert_eq!(response.text(), "hello");
    }
}

fn head_has_no_body(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let response = client.send("HEAD / HTTP/1.1\r\nhost: h\r\n\r\n").head();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-length"), Some("5"));
    assert_eq!(client.get("/").text(), "hello");
}

fn no_content_has_no_body(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let response = client.get("/empty");
    assert_eq!(response.status, 204);
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!(client.get("/").text(), "hello");
}
