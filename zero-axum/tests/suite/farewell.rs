//! What would go on for ever, at a shutdown: told, waited for, and cut at the deadline.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use futures_util::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Sent;
use tokio_tungstenite::{WebSocketStream, client_async};
use zero_axum::{Draining, Io};

use crate::support::{Guard, Mode, PATIENCE, Server, eventually, in_every_mode, loopback, wait};

in_every_mode![
    an_event_stream_that_is_told_says_goodbye,
    an_event_stream_that_does_not_listen_is_cut_at_the_deadline,
    a_websocket_that_is_told_says_goodbye_and_is_waited_for,
    a_websocket_that_does_not_listen_is_cut_at_the_deadline,
    terminate_cuts_upgraded_connections,
    without_a_deadline_a_websocket_outlives_its_server,
    the_handle_tells_too,
];

/// Never reached, where the end is to come from elsewhere.
const NEVER_REACHED: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct App {
    draining: Draining,
    held: Arc<std::sync::Mutex<Option<Guard>>>,
    ends: mpsc::Sender<String>,
}

/// Events for ever, one at once; a last one for who listens to the server.
async fn events(
    State(app): State<App>,
) -> Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>> {
    let first = stream::iter([Ok(Event::default().data("first"))]);
    let draining = app.draining.clone();
    let last = stream::once(async move {
        draining.begun().await;
        Ok(Event::default().data("goodbye"))
    });
    Sse::new(first.chain(last))
}

/// As [`events`], deaf.
async fn deaf_events(
    State(app): State<App>,
) -> Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>> {
    let held = app.held.lock().unwrap().take();
    let first = stream::iter([Ok(Event::default().data("first"))]);
    Sse::new(first.chain(stream::pending()).map(move |event| {
        let _held = &held;
        event
    }))
}

async fn socket(upgrade: WebSocketUpgrade, State(app): State<App>) -> Response {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        socket.send("first".into()).await.unwrap();
        app.draining.begun().await;
        // Longer than the server has anything else to do.
        tokio::time::sleep(SOON).await;
        let away = CloseFrame {
            code: axum::extract::ws::close_code::AWAY,
            reason: "restarting".into(),
        };
        let _ = socket.send(Message::Close(Some(away))).await;
    })
}

/// Reads until that ends, and tells how.
async fn deaf_socket(upgrade: WebSocketUpgrade, State(app): State<App>) -> Response {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        socket.send("first".into()).await.unwrap();
        let how = match socket.recv().await {
            None => "end".into(),
            Some(Ok(message)) => format!("{message:?}"),
            Some(Err(error)) => error.to_string(),
        };
        let _ = app.ends.send(how);
    })
}

/// As [`deaf_socket`], without a protocol on it.
async fn tunnel(State(app): State<App>, mut request: axum::extract::Request) -> Response {
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let how = TokioIo::new(upgraded).read(&mut [0; 1]).await;
        let how = how.map_err(|error| error.kind());
        let _ = app.ends.send(format!("{how:?}"));
    });
    Response::builder()
        .status(101)
        .body(axum::body::Body::empty())
        .unwrap()
}

struct Told {
    server: Server,
    dropped: crate::support::Dropped,
    ends: mpsc::Receiver<String>,
}

fn serve(mode: Mode, deadline: Option<Duration>) -> Told {
    let config = mode.config().shutdown_timeout(deadline);
    let mut io = Io::new(config).unwrap();
    io.http_listen(loopback()).unwrap();
    let (guard, dropped) = Guard::new();
    let (ends_tx, ends) = mpsc::channel();
    let state = App {
        draining: io.draining(),
        held: Arc::new(std::sync::Mutex::new(Some(guard))),
        ends: ends_tx,
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/events", get(events))
        .route("/deaf-events", get(deaf_events))
        .route("/socket", any(socket))
        .route("/deaf-socket", any(deaf_socket))
        .route("/tunnel", get(tunnel))
        .with_state(state);
    let server = mode.serve_io(io, app);
    Told {
        server,
        dropped,
        ends,
    }
}

impl Told {
    fn ended(&self) -> String {
        self.ends
            .recv_timeout(PATIENCE)
            .expect("the socket's task ends")
    }
}

fn assert_ended(handle: zero_axum::ShutdownHandle, is_io_uring: bool) {
    let stats = move |handle: &zero_axum::ShutdownHandle| handle.stats().connections_open;
    if is_io_uring {
        eventually("no connection is open", || stats(&handle) == 0);
    }
    wait(handle);
}

fn an_event_stream_that_is_told_says_goodbye(mode: Mode) {
    let told = serve(mode, None);
    let mut client = told.server.connect();
    client.send_get("/events").head();
    assert_eq!(client.chunk().unwrap(), b"data: first\n\n");
    told.server.handle.shutdown();
    assert_eq!(client.chunk().unwrap(), b"data: goodbye\n\n");
    assert_eq!(client.chunk(), None, "a whole response");
    client.assert_closed();
    assert_ended(told.server.handle, mode.is_io_uring());
}

fn an_event_stream_that_does_not_listen_is_cut_at_the_deadline(mode: Mode) {
    let told = serve(mode, Some(SOON));
    let mut client = told.server.connect();
    client.send_get("/deaf-events").head();
    assert_eq!(client.chunk().unwrap(), b"data: first\n\n");
    assert!(!told.dropped.happened());
    told.server.handle.shutdown();
    told.dropped.wait("the body that was cut");
    let (rest, closed) = client.rest_if_closed();
    assert!(closed);
    assert_eq!(
        rest, b"",
        "no last chunk: who reads it knows that it was cut"
    );
    assert_ended(told.server.handle, mode.is_io_uring());
}

fn open(told: &Told, path: &str) -> (tokio::runtime::Runtime, WebSocketStream<TcpStream>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let addr = told.server.addr;
    let mut socket = runtime.block_on(async {
        let stream = TcpStream::connect(addr).await.unwrap();
        client_async(format!("ws://{addr}{path}"), stream)
            .await
            .unwrap()
            .0
    });
    assert_eq!(next(&runtime, &mut socket).unwrap(), Sent::text("first"));
    (runtime, socket)
}

/// The next message; `None` when there is none but an end.
fn next(
    runtime: &tokio::runtime::Runtime,
    socket: &mut WebSocketStream<TcpStream>,
) -> Option<Sent> {
    let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, socket.next()).await });
    next.expect("in time")?.ok()
}

fn a_websocket_that_is_told_says_goodbye_and_is_waited_for(mode: Mode) {
    let told = serve(mode, Some(NEVER_REACHED));
    let (runtime, mut socket) = open(&told, "/socket");
    told.server.handle.shutdown();
    wait(told.server.handle);
    // What it said last was said before the server's end: it is here already, however slow we are.
    let Some(Sent::Close(Some(close))) = next(&runtime, &mut socket) else {
        panic!("it said goodbye");
    };
    assert_eq!(
        (u16::from(close.code), &*close.reason),
        (1001, "restarting")
    );
}

fn a_websocket_that_does_not_listen_is_cut_at_the_deadline(mode: Mode) {
    let told = serve(mode, Some(SOON));
    let (runtime, mut socket) = open(&told, "/deaf-socket");
    told.server.handle.shutdown();
    assert!(told.ended().contains("has been shut down"));
    assert_eq!(next(&runtime, &mut socket), None, "cut");
    assert_ended(told.server.handle, mode.is_io_uring());
}

fn terminate_cuts_upgraded_connections(mode: Mode) {
    let told = serve(mode, None);
    let mut client = told.server.connect();
    client.send("GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(client.head().status, 101);
    told.server.handle.terminate();
    // Not an end, which would pass for the client's.
    assert_eq!(
        told.ended(),
        format!("{:?}", Err::<usize, _>(ErrorKind::ConnectionAborted))
    );
    client.assert_closed();
    wait(told.server.handle);
}

fn without_a_deadline_a_websocket_outlives_its_server(mode: Mode) {
    // In the caller's runtime, as under axum::serve; one of the server's own ends with it.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = {
        let _entered = runtime.enter();
        serve(mode, None)
    };
    let (client, mut socket) = open(&told, "/deaf-socket");
    told.server.handle.shutdown();
    wait(told.server.handle);
    client.block_on(async {
        use futures_util::SinkExt;
        socket.send(Sent::text("still here")).await.unwrap();
    });
    let how = told.ends.recv_timeout(PATIENCE).unwrap();
    assert!(how.contains("still here"), "{how}");
}

fn the_handle_tells_too(mode: Mode) {
    let told = serve(mode, None);
    let draining = told.server.handle.draining();
    assert!(!draining.has_begun());
    told.server.handle.shutdown();
    assert!(draining.has_begun());
    crate::support::run(async move { draining.begun().await });
    wait(told.server.handle);
}
