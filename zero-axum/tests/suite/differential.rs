//! The same bytes to `axum::serve` and to us; what comes back must be the same, but for dates.
//!
//! A case is what a client writes; it must lead to the server closing, so most end with a request
//! that says `connection: close`. Nothing here may depend on time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::OnceLock;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, Response, StatusCode, Version};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::stream;
use http_body_util::BodyExt;
use zero_axum::Conformance;

use crate::support::client::Client;
use crate::support::{Mode, in_every_mode};

in_every_mode![same_bytes_as_axum_serve,];

/// Ends a case that leaves the connection open.
const BYE: &str = "GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// Name and bytes; `~` at the end stands for [`BYE`].
const CASES: &[(&str, &str)] = &[
    ("hello", "GET / HTTP/1.1\r\nhost: h\r\n\r\n~"),
    (
        "close",
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    ),
    (
        "close among others",
        "GET / HTTP/1.1\r\nconnection: x, Close ,y\r\n\r\n",
    ),
    ("http/1.0", "GET / HTTP/1.0\r\n\r\n"),
    (
        "http/1.0 kept alive",
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    ),
    ("http/1.0 stream", "GET /stream HTTP/1.0\r\n\r\n"),
    (
        "http/1.0 stream kept alive",
        "GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    ),
    ("no host, odd method", "BREW /info HTTP/1.1\r\n\r\n~"),
    (
        "two hosts",
        "GET /info HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n~",
    ),
    (
        "absolute form",
        "GET http://a.b:1/info?x=1 HTTP/1.1\r\nhost: c\r\n\r\n~",
    ),
    ("asterisk form", "OPTIONS * HTTP/1.1\r\n\r\n~"),
    ("authority form", "CONNECT a.b:443 HTTP/1.1\r\n\r\n~"),
    ("no slash", "GET foo HTTP/1.1\r\n\r\n~"),
    ("fragment", "GET /info#frag HTTP/1.1\r\n\r\n~"),
    (
        "leading blank lines",
        "\r\n\r\n\nGET /info HTTP/1.1\r\n\r\n~",
    ),
    ("bare line feeds", "GET /info HTTP/1.1\na: 1\n\n~"),
    (
        "blanks around values",
        "GET /info HTTP/1.1\r\na:\t 1 \t\r\nb:\r\n\r\n~",
    ),
    (
        "not ASCII",
        "GET /info/\u{e9} HTTP/1.1\r\na: \u{fc}\r\n\r\n~",
    ),
    ("404", "GET /nowhere HTTP/1.1\r\n\r\n~"),
    ("405", "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n~"),
    ("HEAD", "HEAD / HTTP/1.1\r\n\r\n~"),
    ("HEAD stream", "HEAD /stream HTTP/1.1\r\n\r\n~"),
    ("HEAD of a 204", "HEAD /status/204 HTTP/1.1\r\n\r\n~"),
    ("204", "GET /status/204 HTTP/1.1\r\n\r\n~"),
    ("204 without a body", "GET /bare/204 HTTP/1.1\r\n\r\n~"),
    ("205", "GET /bare/205 HTTP/1.1\r\n\r\n~"),
    ("304", "GET /bare/304 HTTP/1.1\r\n\r\n~"),
    ("304 with a body", "GET /status/304 HTTP/1.1\r\n\r\n~"),
    ("1xx from a handler", "GET /bare/103 HTTP/1.1\r\n\r\n"),
    ("100 from a handler", "GET /bare/100 HTTP/1.1\r\n\r\n"),
    ("unknown status", "GET /status/599 HTTP/1.1\r\n\r\n~"),
    ("own reason", "GET /reason HTTP/1.1\r\n\r\n~"),
    ("response says 1.0", "GET /says/1.0 HTTP/1.1\r\n\r\n~"),
    ("response says 2", "GET /says/2 HTTP/1.1\r\n\r\n~"),
    ("many header lines", "GET /headers HTTP/1.1\r\n\r\n~"),
    ("own date and length", "GET /own HTTP/1.1\r\n\r\n~"),
    ("response closes", "GET /close HTTP/1.1\r\n\r\n"),
    ("response keeps alive", "GET /keep HTTP/1.1\r\n\r\n~"),
    ("stream", "GET /stream HTTP/1.1\r\n\r\n~"),
    ("empty stream", "GET /stream/empty HTTP/1.1\r\n\r\n~"),
    (
        "stream with trailers, unasked",
        "GET /trailers HTTP/1.1\r\n\r\n~",
    ),
    (
        "stream with trailers, asked",
        "GET /trailers HTTP/1.1\r\nte: trailers\r\n\r\n~",
    ),
    ("own transfer-encoding", "GET /gzip HTTP/1.1\r\n\r\n~"),
    ("longer than its length", "GET /long HTTP/1.1\r\n\r\n~"),
    ("shorter than its length", "GET /short HTTP/1.1\r\n\r\n"),
    (
        "upgrade refused",
        "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n~",
    ),
    (
        "pipelined",
        "GET /info HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET /stream HTTP/1.1\r\n\r\n~",
    ),
    (
        "post",
        "POST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "post chunked",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n~",
    ),
    (
        "post chunked in capitals",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\na: b\r\n\r\n~",
    ),
    ("post nothing", "POST /echo HTTP/1.1\r\n\r\n~"),
    (
        "post http/1.0",
        "POST /echo HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello",
    ),
    (
        "get with a body",
        "GET /info HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "expect",
        "POST /echo HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "expect on http/1.0",
        "POST /echo HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
    ),
    (
        "expect something else",
        "POST /echo HTTP/1.1\r\nexpect: 200-ok\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "two equal lengths",
        "POST /seen HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "length then chunked",
        "POST /seen HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked then length",
        "POST /seen HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "gzip, chunked",
        "POST /seen HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n~",
    ),
    (
        "unread body",
        "POST /ignore HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    ("malformed", "GARBAGE\r\n\r\n"),
    (
        "malformed after a good one",
        "GET / HTTP/1.1\r\n\r\nGARBAGE\r\n\r\n",
    ),
    ("space before colon", "GET / HTTP/1.1\r\na : 1\r\n\r\n"),
    ("folded", "GET / HTTP/1.1\r\na: 1\r\n 2\r\n\r\n"),
    ("http/1.2", "GET / HTTP/1.2\r\n\r\n"),
    (
        "two lengths",
        "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    ),
    (
        "signed length",
        "POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\nhello",
    ),
    (
        "list of lengths",
        "POST / HTTP/1.1\r\ncontent-length: 2, 2\r\n\r\nhi",
    ),
    (
        "empty length",
        "POST /seen HTTP/1.1\r\ncontent-length: \r\n\r\n",
    ),
    (
        "chunked is not last",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked, x\r\n\r\n",
    ),
    (
        "http/1.0 chunked",
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
];

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/info", get(info).fallback(info))
        .route("/info/{*rest}", get(info))
        .route("/seen", post(info))
        .route(
            "/status/{code}",
            get(|status| async { (code(status), "x") }),
        )
        .route("/bare/{code}", get(|status| async { bare(status) }))
        .route("/reason", get(reason))
        .route("/says/1.0", get(|| async { says(Version::HTTP_10) }))
        .route("/says/2", get(|| async { says(Version::HTTP_2) }))
        .route("/headers", get(headers))
        .route(
            "/own",
            get(|| async { ([("date", "today"), ("content-length", "3")], "own") }),
        )
        .route(
            "/close",
            get(|| async { ([("connection", "close")], "bye") }),
        )
        .route(
            "/keep",
            get(|| async { ([("connection", "keep-alive")], "on") }),
        )
        .route("/stream", get(|| async { streamed(&["one", "", "two"]) }))
        .route("/stream/empty", get(|| async { streamed(&[]) }))
        .route("/trailers", get(trailers))
        .route(
            "/gzip",
            get(|| async { ([("transfer-encoding", "gzip")], streamed(&["zip"])) }),
        )
        .route(
            "/long",
            get(|| async { ([("content-length", "3")], streamed(&["longer"])) }),
        )
        .route(
            "/short",
            get(|| async { ([("content-length", "10")], streamed(&["abc"])) }),
        )
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/ignore", post(|| async { "ignored" }))
}

/// The request as an application sees it.
async fn info(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let headers: HeaderMap = parts.headers;
    let hint = http_body::Body::size_hint(&body);
    let body = body.collect().await.map(|body| body.to_bytes().len());
    format!(
        "{} {} {:?} {headers:?} {:?}..{:?} {:?}",
        parts.method,
        parts.uri,
        parts.version,
        hint.lower(),
        hint.upper(),
        body.map_err(drop),
    )
}

fn code(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

fn bare(status: Path<u16>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code(status);
    response
}

async fn reason() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let reason = hyper::ext::ReasonPhrase::from_static(b"Quite All Right");
    response.extensions_mut().insert(reason);
    response
}

fn says(version: Version) -> Response<Body> {
    let mut response = Response::new(Body::from("said"));
    *response.version_mut() = version;
    response
}

async fn headers() -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-b", "1"),
        ("set-cookie", "a"),
        ("x-a", "2"),
        ("set-cookie", "b"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    headers.append("x-bytes", b"\xff".as_slice().try_into().unwrap());
    (headers, "many")
}

fn streamed(pieces: &'static [&'static str]) -> Body {
    let pieces = pieces.iter().map(|piece| Ok::<_, Infallible>(*piece));
    Body::from_stream(stream::iter(pieces))
}

async fn trailers() -> impl IntoResponse {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    trailers.insert("x-unannounced", "8".parse().unwrap());
    let body = streamed(&["data"]).with_trailers(async { Some(Ok(trailers)) });
    ([("trailer", "x-sum")], Body::new(body))
}

/// One real `axum::serve` for all tests of this process.
fn axum_serve() -> SocketAddr {
    static ADDR: OnceLock<SocketAddr> = OnceLock::new();
    *ADDR.get_or_init(|| {
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tx.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, app()).await.unwrap();
            });
        });
        rx.recv().unwrap()
    })
}

fn transcript(addr: SocketAddr, request: &[u8]) -> String {
    let mut client = Client::connect(addr);
    client.send(request);
    let (answer, closed) = client.rest_if_closed();
    let mut answer = String::from_utf8_lossy(&answer).into_owned();
    if !closed {
        answer += "<still open>";
    }
    let lines = answer.split("\r\n").map(|line| match line.get(..6) {
        Some("date: ") if line.ends_with(" GMT") => "date: -",
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

fn same_bytes_as_axum_serve(mode: Mode) {
    let config = mode.config().conformance(Conformance::Hyper);
    let server = mode.serve_with(config, app());
    let mut differences = String::new();
    for (name, request) in CASES {
        let request = match request.strip_suffix('~') {
            Some(request) => format!("{request}{BYE}"),
            None => request.to_string(),
        };
        // Latin-1, so that cases can hold any byte.
        let request: Vec<u8> = request.chars().map(|c| c as u8).collect();
        let expected = transcript(axum_serve(), &request);
        if expected.ends_with("<still open>") {
            differences += &format!("\n{name}\n  is no good case: {expected:?}\n");
            continue;
        }
        let got = transcript(server.addr, &request);
        if got != expected {
            differences += &format!("\n{name}\n  axum: {expected:?}\n  zero: {got:?}\n");
        }
    }
    assert!(differences.is_empty(), "answers differ:\n{differences}");
}
