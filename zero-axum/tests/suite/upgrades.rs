//! Connections that stop being HTTP: what WebSockets and CONNECT proxies stand on.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Mode, in_every_mode};

in_every_mode![
    an_upgraded_connection_goes_both_ways,
    bytes_behind_the_upgrade_request_arrive,
    an_ordinary_request_cannot_be_upgraded,
    an_upgrade_may_be_refused,
    a_connect_tunnel_goes_both_ways,
    an_upgrade_that_nobody_takes_closes_the_connection,
    an_upgrade_behind_other_requests_works,
];

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/shout", get(shout))
        .route("/refuse", get(|| async { StatusCode::FORBIDDEN }))
        .route("/upgradable", get(upgradable))
        .route("/drop", get(|| async { StatusCode::SWITCHING_PROTOCOLS }))
        .fallback(tunnel)
}

async fn upgradable(request: Request) -> String {
    let on_upgrade = request.extensions().get::<hyper::upgrade::OnUpgrade>();
    on_upgrade.is_some().to_string()
}

/// Switches protocols, then answers all it reads in capitals, until the client half-closes.
async fn shout(mut request: Request) -> Response<axum::body::Body> {
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let mut stream = TokioIo::new(upgraded);
        let mut buffer = [0; 1024];
        while let Ok(got @ 1..) = stream.read(&mut buffer).await {
            buffer[..got].make_ascii_uppercase();
            stream.write_all(&buffer[..got]).await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.shutdown().await.unwrap();
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "shouting")
        .body(axum::body::Body::empty())
        .unwrap()
}

const UPGRADE_REQUEST: &str =
    "GET /shout HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: shouting\r\n\r\n";

fn an_upgraded_connection_goes_both_ways(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "hello");
    let head = client.send(UPGRADE_REQUEST).head();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("shouting"));
    for n in 0..10 {
        client.send(format!("line {n}"));
        assert_eq!(client.exactly(6), format!("LINE {n}").as_bytes());
    }
    client.half_close().assert_closed();
    server.assert_serves("/");
}

fn bytes_behind_the_upgrade_request_arrive(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send(format!("{UPGRADE_REQUEST}already here"));
    assert_eq!(client.head().status, 101);
    assert_eq!(client.exactly(12), b"ALREADY HERE");
}

fn an_upgrade_may_be_refused(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("GET /refuse HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(client.response().status, 403);
    assert_eq!(client.get("/").text(), "hello");
}

fn an_ordinary_request_cannot_be_upgraded(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    assert_eq!(client.get("/upgradable").text(), "false");
    client.send("GET /upgradable HTTP/1.1\r\nhost: h\r\nupgrade: x\r\n\r\n");
    assert_eq!(client.response().text(), "true");
    client.send("GET /upgradable HTTP/1.0\r\nupgrade: x\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!(client.response().text(), "false");
}

/// A proxy of CONNECT whose far end is itself.
async fn tunnel(mut request: Request) -> Response<axum::body::Body> {
    assert_eq!(request.method(), axum::http::Method::CONNECT);
    assert_eq!(request.uri().authority().unwrap(), "far.example:443");
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    Response::new(axum::body::Body::empty())
}

fn a_connect_tunnel_goes_both_ways(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("CONNECT far.example:443 HTTP/1.1\r\nhost: far.example:443\r\n\r\nearly");
    let head = client.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), None);
    assert_eq!(client.exactly(5), b"early");
    let large = crate::support::client::pattern(1 << 20);
    for piece in large.chunks(100_000) {
        client.send(piece);
        assert_eq!(client.exactly(piece.len()), piece);
    }
    client.half_close().assert_closed();
}

fn an_upgrade_that_nobody_takes_closes_the_connection(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("GET /drop HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(client.head().status, 101);
    client.assert_closed();
    server.assert_serves("/");
}

fn an_upgrade_behind_other_requests_works(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(format!("{get}{get}{UPGRADE_REQUEST}behind"));
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.head().status, 101);
    assert_eq!(client.exactly(6), b"BEHIND");
}
