//! HTTP/2 with prior knowledge: a connection that opens with its preface is served by hyper on the
//! same port, with the same application.

use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{Method, Request, StatusCode, Version};
use axum::routing::{any, get, post};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::support::directory::Directory;
use crate::support::{Guard, Mode, PATIENCE, Server, in_every_mode, run, wait};

in_every_mode![
    requests_of_every_kind_are_answered,
    streams_share_a_connection,
    large_bodies_flow_both_ways,
    the_preface_may_come_in_pieces,
    a_preface_behind_a_request_is_refused,
    extended_connect_is_offered,
    a_graceful_shutdown_finishes_its_streams,
    a_terminated_server_cuts_its_streams,
    unix_sockets,
];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn app() -> Router {
    let wait = async |Path(ms): Path<u64>| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        format!("{ms} ms")
    };
    Router::new()
        .route("/", get(async |version: Version| format!("{version:?}")))
        .route("/wait/{ms}", get(wait))
        .route("/echo", post(async |body: Bytes| body))
        .route("/method", any(async |method: Method| method.to_string()))
        .layer(DefaultBodyLimit::disable())
}

async fn connect<B>(server: &Server) -> SendRequest<B>
where
    B: hyper::body::Body<Data: Send, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    speak(TcpStream::connect(server.addr).await.unwrap()).await
}

async fn speak<T, B>(stream: T) -> SendRequest<B>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: hyper::body::Body<Data: Send, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    let (sender, conn) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(conn);
    sender
}

fn request<B>(method: &str, path: &str, body: B) -> Request<B> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://zero.test{path}"));
    request.body(body).unwrap()
}

async fn text<B>(sender: &mut SendRequest<B>, request: Request<B>) -> String
where
    B: hyper::body::Body + Send + 'static,
{
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn requests_of_every_kind_are_answered(mode: Mode) {
    let server = mode.serve(app());
    run(async {
        let mut sender = connect(&server).await;
        for method in ["GET", "DELETE", "PROPFIND"] {
            let answer = text(&mut sender, request(method, "/method", Full::default())).await;
            assert_eq!(answer, method);
        }
        let answer = text(&mut sender, request("GET", "/", Full::default())).await;
        assert_eq!(answer, "HTTP/2.0");
        let body = Full::new(Bytes::from_static(b"there and back"));
        let answer = text(&mut sender, request("POST", "/echo", body)).await;
        assert_eq!(answer, "there and back");
    });
    // HTTP/1.1 on the same port, as ever.
    assert_eq!(server.connect().get("/").text(), "HTTP/1.1");
    if mode.is_io_uring() {
        assert_eq!(server.stats().connections_handed_over, 1);
        assert_eq!(server.stats().parse_errors, 0);
    }
}

fn streams_share_a_connection(mode: Mode) {
    let server = mode.serve(app());
    run(async {
        let sender = connect::<Empty<Bytes>>(&server).await;
        let streams = (0..100).map(|n| {
            let mut sender = sender.clone();
            async move {
                let path = format!("/wait/{}", 200 - n);
                text(&mut sender, request("GET", &path, Empty::new())).await
            }
        });
        let answers = futures_util::future::join_all(streams).await;
        assert_eq!(answers[99], "101 ms");
    });
}

fn large_bodies_flow_both_ways(mode: Mode) {
    let server = mode.serve(app());
    run(async {
        let mut sender = connect(&server).await;
        let large = crate::support::client::pattern(8 << 20);
        let body = Full::new(Bytes::from(large.clone()));
        let echoed = sender.send_request(request("POST", "/echo", body)).await;
        let echoed = echoed.unwrap().into_body().collect().await.unwrap();
        assert!(echoed.to_bytes() == large, "8 MiB differ");
    });
}

fn the_preface_may_come_in_pieces(mode: Mode) {
    let server = mode.serve(app());
    let mut stream = std::net::TcpStream::connect(server.addr).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in PREFACE {
        stream.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    // An empty SETTINGS frame; the server's own begins with its length and type.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
    let mut client = crate::support::client::Client::over(stream);
    assert_eq!(client.exactly(9)[3], 4, "a SETTINGS frame");
}

fn a_preface_behind_a_request_is_refused(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "HTTP/1.1");
    client.send(PREFACE);
    client.rest();
    server.assert_serves("/");
}

fn extended_connect_is_offered(mode: Mode) {
    let server = mode.serve(app());
    run(async {
        let mut sender = connect(&server).await;
        // The server's settings are there once it has answered.
        text(&mut sender, request("GET", "/", Empty::<Bytes>::new())).await;
        let mut connect = request("CONNECT", "/method", Empty::new());
        let protocol = hyper::ext::Protocol::from_static("websocket");
        connect.extensions_mut().insert(protocol);
        let response = sender.send_request(connect).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    });
}

fn a_graceful_shutdown_finishes_its_streams(mode: Mode) {
    let (enter, entered) = std::sync::mpsc::channel();
    let go = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let may_go = go.clone();
    let held = async move || {
        enter.send(()).unwrap();
        may_go.acquire().await.unwrap().forget();
        "finished"
    };
    let server = mode.serve(app().route("/held", get(held)));
    let (answered, answer) = std::sync::mpsc::channel();
    let addr = server.addr;
    std::thread::spawn(move || {
        run(async {
            let stream = TcpStream::connect(addr).await.unwrap();
            let (mut sender, conn) = handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
            tokio::spawn(conn);
            let held = request("GET", "/held", Empty::<Bytes>::new());
            answered.send(text(&mut sender, held).await).unwrap();
        });
    });
    entered.recv_timeout(PATIENCE).unwrap();
    server.handle.shutdown();
    std::thread::sleep(Duration::from_millis(100));
    go.add_permits(1);
    let answer = answer
        .recv_timeout(PATIENCE)
        .expect("the stream is finished");
    assert_eq!(answer, "finished");
    wait(server.handle);
}

fn a_terminated_server_cuts_its_streams(mode: Mode) {
    let (guard, dropped) = Guard::new();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(guard)));
    let endless = move || {
        let guard = body.lock().unwrap().take();
        async move {
            let ticks = futures_util::stream::unfold(guard, async |guard| {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, Infallible>("tick"), guard))
            });
            Body::from_stream(ticks)
        }
    };
    let config = mode.config().shutdown_timeout(Duration::from_millis(50));
    let server = mode.serve_with(config, Router::new().route("/", get(endless)));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sender, response) = runtime.block_on(async {
        let mut sender = connect(&server).await;
        let response = sender
            .send_request(request("GET", "/", Empty::<Bytes>::new()))
            .await;
        (sender, response.unwrap())
    });
    server.stop();
    dropped.wait("the body of a stream that was cut");
    drop((sender, response));
}

fn unix_sockets(mode: Mode) {
    let directory = Directory::new();
    let mut io = mode.io();
    io.http_listen_unix(directory.socket()).unwrap();
    let handle = zero_axum::serve(io, app()).unwrap();
    run(async {
        let stream = UnixStream::connect(directory.socket()).await.unwrap();
        let mut sender = speak(stream).await;
        let body = Bytes::from(vec![7; 1 << 20]);
        let request = request("POST", "/echo", Full::new(body.clone()));
        let response = sender.send_request(request).await.unwrap();
        let echoed = response.into_body().collect().await.unwrap().to_bytes();
        assert!(echoed == body);
    });
    handle.shutdown();
    crate::support::wait(handle);
}
