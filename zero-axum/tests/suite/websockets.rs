//! axum's own `WebSocketUpgrade` against a real WebSocket client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Sent;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{Mode, eventually, in_every_mode, on_shards, run};

in_every_mode![
    messages_of_every_kind_come_back,
    a_large_message_streams_both_ways,
    a_frame_sent_with_the_handshake_arrives,
    a_subprotocol_is_agreed_on,
    the_server_may_speak_first_and_last,
    many_sockets_live_beside_requests,
    a_sender_is_held_back_by_a_slow_reader,
    a_refused_handshake_leaves_the_connection_usable,
    a_client_that_vanishes_ends_its_socket,
    a_graceful_shutdown_does_not_wait_for_sockets,
];

on_shards![sockets_count_towards_the_limit_of_connections,];

/// Sockets open on the server now.
type Open = Arc<AtomicUsize>;

struct Counted(Open);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn echo(upgrade: WebSocketUpgrade, State(open): State<Open>) -> Response {
    upgrade
        .protocols(["echo.v1"])
        .max_message_size(64 << 20)
        .max_frame_size(64 << 20)
        .on_upgrade(async |mut socket: WebSocket| {
            open.fetch_add(1, Ordering::SeqCst);
            let _counted = Counted(open);
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Text(_) | Message::Binary(_))
                    && socket.send(message).await.is_err()
                {
                    return;
                }
            }
        })
}

async fn speak(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket: WebSocket| {
        let close = CloseFrame {
            code: 4000,
            reason: "enough".into(),
        };
        socket.send("first".into()).await.unwrap();
        socket.send(Message::Close(Some(close))).await.unwrap();
    })
}

/// Sends as fast as it can, and counts what was taken.
async fn flood(upgrade: WebSocketUpgrade, State(taken): State<Open>) -> Response {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        while socket.send(vec![7; 64 * 1024].into()).await.is_ok() {
            taken.fetch_add(1, Ordering::SeqCst);
        }
    })
}

fn app(open: &Open) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", any(echo))
        .route("/speak", any(speak))
        .route("/flood", any(flood))
        .route("/busy", get(std::future::pending::<()>))
        .with_state(open.clone())
}

async fn connect(addr: SocketAddr, path: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let url = format!("ws://{addr}{path}");
    let (socket, _) = client_async(url, stream).await.expect("an upgrade");
    socket
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Sent {
    socket.next().await.expect("a message").expect("in order")
}

fn messages_of_every_kind_come_back(mode: Mode) {
    let server = mode.serve(app(&Open::default()));
    run(async {
        let mut socket = connect(server.addr, "/echo").await;
        for n in 0..100 {
            socket.send(Sent::text(format!("text {n}"))).await.unwrap();
            socket.send(Sent::binary(vec![n; 100])).await.unwrap();
            socket.send(Sent::Ping(vec![n].into())).await.unwrap();
        }
        let mut echoed = Vec::new();
        while echoed.len() < 200 {
            match next(&mut socket).await {
                Sent::Pong(_) => {}
                message => echoed.push(message),
            }
        }
        assert_eq!(echoed[0], Sent::text("text 0"));
        assert_eq!(echoed[199], Sent::binary(vec![99; 100]));
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    });
    server.assert_serves("/");
}

fn a_large_message_streams_both_ways(mode: Mode) {
    let server = mode.serve(app(&Open::default()));
    run(async {
        let socket = connect(server.addr, "/echo").await;
        let config = tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default()
            .max_frame_size(None)
            .max_message_size(None);
        let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
        let stream = socket.into_inner();
        let mut socket = WebSocketStream::from_raw_socket(stream, role, Some(config)).await;
        let large: Vec<u8> = (0..16 << 20).map(|n: u32| (n % 251) as u8).collect();
        socket.send(Sent::binary(large.clone())).await.unwrap();
        assert!(
            next(&mut socket).await == Sent::binary(large),
            "16 MiB differ"
        );
    });
}

fn a_frame_sent_with_the_handshake_arrives(mode: Mode) {
    let server = mode.serve(app(&Open::default()));
    run(async {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let mut first = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
        // A text frame "hi", masked with zeros.
        first.extend([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        stream.write_all(&first).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(&[0x81, 2, b'h', b'i']) {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0, "{got:?}");
        }
        let text = String::from_utf8_lossy(&got);
        assert!(
            text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{text}"
        );
        // RFC 6455 gives the answer to its sample key.
        assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
    });
}

fn a_subprotocol_is_agreed_on(mode: Mode) {
    let server = mode.serve(app(&Open::default()));
    run(async {
        let mut request = format!("ws://{}/echo", server.addr)
            .into_client_request()
            .unwrap();
        let offer = "other, echo.v1".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", offer);
        let stream = TcpStream::connect(server.addr).await.unwrap();
        let (_, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "echo.v1");
    });
}

fn the_server_may_speak_first_and_last(mode: Mode) {
    let server = mode.serve(app(&Open::default()));
    run(async {
        let mut socket = connect(server.addr, "/speak").await;
        assert_eq!(next(&mut socket).await, Sent::text("first"));
        let Sent::Close(Some(close)) = next(&mut socket).await else {
            panic!("a close frame was sent");
        };
        assert_eq!((u16::from(close.code), &*close.reason), (4000, "enough"));
    });
}

fn many_sockets_live_beside_requests(mode: Mode) {
    const SOCKETS: usize = 300;
    let open = Open::default();
    let server = mode.serve(app(&open));
    run(async {
        let mut sockets = Vec::new();
        for _ in 0..SOCKETS {
            sockets.push(connect(server.addr, "/echo").await);
        }
        for (n, socket) in sockets.iter_mut().enumerate() {
            socket.send(Sent::text(n.to_string())).await.unwrap();
        }
        for (n, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(next(socket).await, Sent::text(n.to_string()));
        }
        assert_eq!(open.load(Ordering::SeqCst), SOCKETS);
        let addr = server.addr;
        tokio::task::spawn_blocking(move || {
            let mut client = crate::support::client::Client::connect(addr);
            (0..20).for_each(|_| assert_eq!(client.get("/").text(), "hello"));
        })
        .await
        .unwrap();
    });
    eventually("all sockets are closed", || {
        open.load(Ordering::SeqCst) == 0
    });
    if mode.is_io_uring() {
        assert_eq!(server.stats().connections_handed_over, SOCKETS as u64);
    }
}

fn a_sender_is_held_back_by_a_slow_reader(mode: Mode) {
    let taken = Open::default();
    let server = mode.serve(app(&taken));
    run(async {
        let mut socket = connect(server.addr, "/flood").await;
        // Until nothing more goes into the buffers on the way.
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = taken.load(Ordering::SeqCst);
            if now == before && now > 0 {
                break;
            }
            before = now;
        }
        assert!(before < 1000, "{before} messages of 64 KiB are in flight");
        for _ in 0..before + 10 {
            assert_eq!(next(&mut socket).await.len(), 64 * 1024);
        }
    });
}

fn a_refused_handshake_leaves_the_connection_usable(mode: Mode) {
    let server = mode.serve(app(&Open::default()));
    let mut client = server.connect();
    client.send(
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().status, 400);
    // Without an upgrade in it, axum says what was missing.
    assert_eq!(client.get("/echo").status, 400);
    assert_eq!(client.get("/").text(), "hello");
}

fn a_client_that_vanishes_ends_its_socket(mode: Mode) {
    let open = Open::default();
    let server = mode.serve(app(&open));
    run(async {
        let mut socket = connect(server.addr, "/echo").await;
        socket.send(Sent::text("here")).await.unwrap();
        next(&mut socket).await;
        assert_eq!(open.load(Ordering::SeqCst), 1);
    });
    eventually("the socket's task ends", || {
        open.load(Ordering::SeqCst) == 0
    });
}

fn a_graceful_shutdown_does_not_wait_for_sockets(mode: Mode) {
    let open = Open::default();
    let server = mode.serve(app(&open));
    let addr = server.addr;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let socket = runtime.block_on(connect(addr, "/echo"));
    eventually("the socket is open", || open.load(Ordering::SeqCst) == 1);
    server.stop();
    drop(socket);
}

/// Listed in DIFFERENCES.md: hyper's own places are free after the upgrade.
fn sockets_count_towards_the_limit_of_connections(mode: Mode) {
    let open = Open::default();
    let config = mode.config().shards(1).connections_max(2);
    let server = mode.serve_with(config, app(&open));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let first = runtime.block_on(connect(server.addr, "/echo"));
    let second = runtime.block_on(connect(server.addr, "/echo"));
    let mut third = server.connect();
    third.send_get("/");
    assert!(third.is_silent_for(Duration::from_millis(100)));
    drop(first);
    assert_eq!(third.response().text(), "hello");
    // An idle one would make place.
    third.send_get("/busy");
    let mut fourth = server.connect();
    fourth.send_get("/");
    assert!(fourth.is_silent_for(Duration::from_millis(100)));
    drop(second);
    assert_eq!(fourth.response().text(), "hello");
}
