//! Unix sockets: the same application, reached through a file.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get, post};
use futures_util::{SinkExt, StreamExt, stream};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, mpsc};
use tokio::sync::Semaphore;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use zero_axum::{IntoApp, Io, PeerCred, ShutdownHandle, UnixPeer, serve};

use crate::support::client::{Client, pattern};
use crate::support::directory::Directory;
use crate::support::{Guard, Mode, PATIENCE, at_any_pace, in_every_mode, in_modes, loopback, wait};

in_every_mode![
    requests_are_answered,
    large_bodies_flow_both_ways,
    a_handler_is_dropped_with_its_client,
    many_connections_at_once,
    connections_beyond_the_limit_wait,
    websockets,
    one_app_on_tcp_and_unix,
    a_path_in_use_is_refused,
    the_socket_of_an_ended_server_is_replaced,
    the_umask_decides_on_permissions,
    adopted_listeners_of_every_kind,
    addresses_and_paths_are_told_apart,
    there_is_no_ip_address,
    the_peer_is_known,
    a_peer_over_tcp_has_no_credentials,
    a_graceful_shutdown_finishes_what_runs,
];

// The default configuration picks the backend: once is enough.
in_modes![serve_itself_takes_listeners: as_it_comes Hyper,];

/// A server at a socket of its own.
struct Server {
    handle: ShutdownHandle,
    directory: Directory,
}

impl Server {
    fn start<M>(mode: Mode, app: impl IntoApp<M>) -> Server {
        Self::start_on(mode.io(), app)
    }

    fn start_on<M>(mut io: Io, app: impl IntoApp<M>) -> Server {
        let directory = Directory::new();
        io.http_listen_unix(directory.socket()).unwrap();
        Server {
            handle: serve(io, app).unwrap(),
            directory,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.socket()
    }

    fn connect(&self) -> Client {
        Client::connect_unix(self.path())
    }

    fn stop(self) {
        stop(self.handle);
    }
}

fn stop(handle: ShutdownHandle) {
    handle.shutdown();
    wait(handle);
}

fn app() -> Router {
    let pieces = async || {
        let pieces = ["one, ", "two, ", "three"].map(Ok::<_, Infallible>);
        Body::from_stream(stream::iter(pieces))
    };
    Router::new()
        .route("/", get(async || "hello"))
        .route("/pieces", get(pieces))
        .route("/echo", post(async |body: Body| body))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .layer(DefaultBodyLimit::disable())
}

fn requests_are_answered(mode: Mode) {
    let server = Server::start(mode, app());
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "hello");
        assert_eq!(client.get("/pieces").text(), "one, two, three");
        assert_eq!(client.post("/length", b"12345").text(), "5");
        assert_eq!(client.get("/nowhere").status, 404);
    }
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(16));
    for _ in 0..16 {
        assert_eq!(client.response().text(), "hello");
    }
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    client.assert_closed();
    server.stop();
}

fn large_bodies_flow_both_ways(mode: Mode) {
    let server = Server::start(mode, app());
    let body = pattern(8 << 20);
    let mut client = server.connect();
    assert_eq!(client.post("/length", &body).text(), body.len().to_string());
    // Echoed while it is sent: the client must read meanwhile.
    let mut sender = client.try_clone();
    let length = body.len();
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        sender.send(head).send(sent);
    });
    assert!(client.response().body == body);
    sending.join().unwrap();
}

fn a_handler_is_dropped_with_its_client(mode: Mode) {
    let (guard, dropped) = Guard::new();
    let guard = Arc::new(Mutex::new(Some(guard)));
    let wait_for_ever = async |State(guard): State<Arc<Mutex<Option<Guard>>>>| {
        let _guard = guard.lock().unwrap().take();
        std::future::pending::<()>().await;
    };
    let app = Router::new().route("/", get(wait_for_ever));
    let server = Server::start(mode, app.with_state(guard.clone()));
    let mut client = server.connect();
    client.send_get("/");
    crate::support::eventually("the handler runs", || guard.lock().unwrap().is_none());
    assert!(!dropped.happened());
    drop(client);
    dropped.wait("the handler's future");
}

fn many_connections_at_once(mode: Mode) {
    let server = Server::start(mode, app());
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            client.send_get("/");
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello");
        }
    }
    if mode.is_io_uring() {
        assert_eq!(server.handle.stats().connections_open, 200);
    }
}

fn connections_beyond_the_limit_wait(mode: Mode) {
    let config = mode.config().shards(1).connections_max(2);
    // Idle ones would make place.
    let app = app().route("/busy", get(std::future::pending::<()>));
    let server = Server::start_on(Io::new(config).unwrap(), app);
    let mut served: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for client in &mut served {
        assert_eq!(client.get("/").text(), "hello");
        client.send_get("/busy");
    }
    let mut waiting = server.connect();
    waiting.send_get("/");
    assert!(waiting.is_silent_for(Duration::from_millis(200)));
    drop(served);
    assert_eq!(waiting.response().text(), "hello");
}

async fn echo_messages(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

fn websockets(mode: Mode) {
    let server = Server::start(mode, Router::new().route("/ws", any(echo_messages)));
    let path = server.path();
    let talk = async {
        let stream = tokio::net::UnixStream::connect(path).await.unwrap();
        let (mut socket, _) = client_async("ws://test/ws", stream).await.unwrap();
        for size in [1, 100, 100_000, 3 << 20] {
            let message = Message::binary(pattern(size));
            let (mut tx, mut rx) = (&mut socket).split();
            let (sent, came_back) = tokio::join!(tx.send(message.clone()), rx.next());
            sent.unwrap();
            assert!(came_back.unwrap().unwrap() == message);
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(talk);
    server.stop();
}

fn one_app_on_tcp_and_unix(mode: Mode) {
    let mut io = mode.io();
    io.http_listen(loopback()).unwrap();
    let server = Server::start_on(io, app());
    let addr = server.handle.local_addr().unwrap();
    for _ in 0..4 {
        assert_eq!(server.connect().get("/").text(), "hello");
        assert_eq!(Client::connect(addr).get("/").text(), "hello");
    }
    server.stop();
}

fn a_path_in_use_is_refused(mode: Mode) {
    let server = Server::start(mode, app());
    let error = mode.io().http_listen_unix(server.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(server.connect().get("/").text(), "hello");

    let file = server.directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let error = mode.io().http_listen_unix(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

fn the_socket_of_an_ended_server_is_replaced(mode: Mode) {
    let directory = Directory::new();
    for _ in 0..3 {
        let mut io = mode.io();
        io.http_listen_unix(directory.socket()).unwrap();
        let handle = serve(io, app()).unwrap();
        let mut client = Client::connect_unix(directory.socket());
        assert_eq!(client.get("/").text(), "hello");
        stop(handle);
        // As under axum::serve: the file stays, and nobody answers.
        let error = UnixStream::connect(directory.socket()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

fn the_umask_decides_on_permissions(mode: Mode) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let umask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .unwrap();
    let umask = u32::from_str_radix(umask.trim(), 8).unwrap();
    let server = Server::start(mode, app());
    let permissions = std::fs::metadata(server.path()).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o777 & !umask);
}

fn adopted_listeners_of_every_kind(mode: Mode) {
    let directory = Directory::new();
    let plain = UnixListener::bind(directory.path().join("plain")).unwrap();
    let nonblocking = UnixListener::bind(directory.path().join("nonblocking")).unwrap();
    nonblocking.set_nonblocking(true).unwrap();
    let name = format!("zero-{}-{mode:?}", std::process::id());
    let abstract_name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let unnamed = UnixListener::bind_addr(&abstract_name).unwrap();
    // Connected before anybody accepts.
    let mut early = Client::connect_unix(directory.path().join("plain"));

    let mut io = mode.io();
    for listener in [plain, nonblocking, unnamed] {
        io.http_adopt_unix(listener).unwrap();
    }
    let handle = serve(io, app()).unwrap();
    assert_eq!(early.get("/").text(), "hello");
    for _ in 0..4 {
        for name in ["plain", "nonblocking"] {
            let mut client = Client::connect_unix(directory.path().join(name));
            assert_eq!(client.get("/").text(), "hello");
        }
        let stream = UnixStream::connect_addr(&abstract_name).unwrap();
        assert_eq!(Client::over_unix(stream).get("/").text(), "hello");
    }
    assert_eq!(handle.local_paths().count(), 2);
    stop(handle);
}

/// `serve` itself takes listeners, with the default configuration.
fn serve_itself_takes_listeners(_: Mode) {
    let directory = Directory::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entered = runtime.enter();
    let tokios = tokio::net::UnixListener::bind(directory.path().join("tokio")).unwrap();
    drop(entered);
    let std = UnixListener::bind(directory.path().join("std")).unwrap();
    let handles = [serve(tokios, app()).unwrap(), serve(std, app()).unwrap()];
    for name in ["tokio", "std"] {
        let mut client = Client::connect_unix(directory.path().join(name));
        assert_eq!(client.get("/").text(), "hello");
    }
    handles.into_iter().for_each(stop);
}

fn addresses_and_paths_are_told_apart(mode: Mode) {
    let directory = Directory::new();
    let mut io = mode.io();
    let unix = io.http_listen_unix(directory.socket()).unwrap();
    let tcp = io.http_listen(loopback()).unwrap();
    assert_eq!(io.local_path(unix).unwrap(), directory.socket());
    assert_ne!(io.local_addr(tcp).unwrap().port(), 0);
    for error in [
        io.local_addr(unix).unwrap_err(),
        io.local_path(tcp).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("ask for local_"), "{error}");
    }
    let addr = io.local_addr(tcp).unwrap();
    let handle = serve(io, app()).unwrap();
    assert_eq!(handle.local_addr().unwrap(), addr);
    assert_eq!(handle.local_addrs(), [addr]);
    assert_eq!(
        handle.local_paths().collect::<Vec<_>>(),
        [directory.socket()]
    );

    let only_unix = Server::start(mode, app());
    let error = only_unix.handle.local_addr().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("local_paths"), "{error}");
}

fn there_is_no_ip_address(mode: Mode) {
    let show = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    let app = Router::new().route("/", get(show));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = Server::start(mode, app);
    assert_eq!(server.connect().get("/").text(), "0.0.0.0:0");
}

/// Shows whatever was found out of the peer.
async fn who(ConnectInfo(UnixPeer(peer)): ConnectInfo<UnixPeer>) -> String {
    format!("{peer:?}")
}

fn the_peer_is_known(mode: Mode) {
    let app = Router::new().route("/", get(who));
    let app = app.into_make_service_with_connect_info::<UnixPeer>();
    let server = Server::start(mode, app);
    // Whoever made a file is who we are.
    let us = std::fs::metadata(server.directory.path()).unwrap();
    let us = PeerCred {
        pid: Some(std::process::id()),
        uid: us.uid(),
        gid: us.gid(),
    };
    for _ in 0..4 {
        assert_eq!(server.connect().get("/").text(), format!("{:?}", Some(us)));
    }
}

fn a_peer_over_tcp_has_no_credentials(mode: Mode) {
    let app = Router::new().route("/", get(who));
    let app = app.into_make_service_with_connect_info::<UnixPeer>();
    assert_eq!(mode.serve(app).connect().get("/").text(), "None");
}

fn a_graceful_shutdown_finishes_what_runs(mode: Mode) {
    at_any_pace(|unit| {
        let (enter, entered) = mpsc::channel();
        let go = Arc::new(Semaphore::new(0));
        let may_go = go.clone();
        let slow = async move || {
            enter.send(()).unwrap();
            may_go.acquire().await.unwrap().forget();
            "done"
        };
        let server = Server::start(mode, app().route("/slow", get(slow)));
        let mut idle = server.connect();
        assert_eq!(idle.get("/").text(), "hello");
        let mut busy = server.connect();
        busy.send_get("/slow");
        entered.recv_timeout(PATIENCE).unwrap();
        server.handle.shutdown();
        // Nobody tells when each connection has heard of it.
        std::thread::sleep(unit);
        go.add_permits(1);
        let response = busy.response();
        assert_eq!(response.text(), "done");
        assert_eq!(response.header("connection"), Some("close"));
        idle.assert_closed();
        busy.assert_closed();
        wait(server.handle);
    });
}
