//! Connections that stop being HTTP: what WebSockets and CONNECT proxies stand on.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Mode, in_every_mode};

/// The same for what shards cannot do yet: listed in DIFFERENCES.md.
macro_rules! on_hyper_only {
    ($($test:ident,)*) => {
        $(
            mod $test {
                use crate::support::Mode;

                #[test]
                fn hyper() {
                    Mode::Hyper.run(stringify!($test), super::$test);
                }
            }
        )*
    };
}

on_hyper_only![
    an_upgraded_connection_goes_both_ways,
    bytes_behind_the_upgrade_request_arrive,
    an_ordinary_request_cannot_be_upgraded,
];

in_every_mode![an_upgrade_may_be_refused,];

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/shout", get(shout))
        .route("/refuse", get(|| async { StatusCode::FORBIDDEN }))
        .route("/upgradable", get(upgradable))
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
