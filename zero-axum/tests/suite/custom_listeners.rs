//! Listeners that are no sockets of ours: served by hyper, steered and limited as all others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::routing::get;
use axum::serve::{Listener, ListenerExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use zero_axum::{Backend, BackendChoice, Config, IncomingStream, serve_listener};

use crate::support::client::Client;
use crate::support::directory::Directory;
use crate::support::{Guard, PATIENCE, loopback};

/// A transport in memory.
struct InMemory(mpsc::UnboundedReceiver<(DuplexStream, Visitor)>);

/// What this transport knows of a peer.
#[derive(Clone, PartialEq, Debug)]
struct Visitor(&'static str);

impl Listener for InMemory {
    type Io = DuplexStream;
    type Addr = Visitor;

    async fn accept(&mut self) -> (DuplexStream, Visitor) {
        match self.0.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Visitor> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[derive(Clone)]
struct Door(mpsc::UnboundedSender<(DuplexStream, Visitor)>);

impl Door {
    fn new() -> (Door, InMemory) {
        let (tx, rx) = mpsc::unbounded_channel();
        (Door(tx), InMemory(rx))
    }

    fn enter(&self, who: &'static str) -> DuplexStream {
        let (ours, theirs) = duplex(1024);
        self.0.send((theirs, Visitor(who))).unwrap();
        ours
    }
}

/// What a handler may know of the peer, found through our stream.
#[derive(Clone)]
struct Seen {
    visitor: Option<Visitor>,
    addr: SocketAddr,
}

impl Connected<IncomingStream<'_>> for Seen {
    fn connect_info(stream: IncomingStream<'_>) -> Self {
        Seen {
            visitor: stream.listener_addr().cloned(),
            addr: *stream.remote_addr(),
        }
    }
}

async fn greet(ConnectInfo(seen): ConnectInfo<Seen>) -> String {
    format!("{:?} {}", seen.visitor, seen.addr)
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/wait", get(std::future::pending::<()>))
}

/// Sends a request and reads what comes until the end.
async fn ask(mut stream: DuplexStream, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
    ended.expect("the test ends in time");
}

#[test]
fn a_transport_in_memory_is_served_and_its_addresses_are_known() {
    run(async {
        let (door, listener) = Door::new();
        let app = Router::new().route("/", get(greet));
        let app = app.into_make_service_with_connect_info::<Seen>();
        let server = serve_listener(listener, Config::default(), app).unwrap();
        assert_eq!(server.backend(), Backend::Hyper);
        assert!(server.local_addr().is_err());
        for who in ["Ada", "Grace"] {
            let answer = ask(door.enter(who), "/").await;
            let expected = format!("{:?} 0.0.0.0:0", Some(Visitor(who)));
            assert!(answer.ends_with(&expected), "{answer}");
        }
        server.shutdown();
        server.await.unwrap();
        assert!(door.0.is_closed(), "the listener is dropped");
    });
}

#[test]
fn the_handle_drains_and_terminates() {
    run(async {
        let (door, listener) = Door::new();
        let config = Config::default().shutdown_timeout(Duration::from_millis(200));
        let server = serve_listener(listener, config, app()).unwrap();
        assert!(ask(door.enter("Ada"), "/").await.ends_with("hello"));
        let mut stuck = door.enter("Grace");
        let request = b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n";
        stuck.write_all(request).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.shutdown();
        server.await.unwrap();
        let mut rest = Vec::new();
        stuck.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
    });
}

#[test]
fn limits_hold() {
    run(async {
        let (door, listener) = Door::new();
        let config = Config::default().head_timeout(Duration::from_millis(100));
        let _server = serve_listener(listener, config, app()).unwrap();
        let mut slow = door.enter("Ada");
        slow.write_all(b"GET / HT").await.unwrap();
        let mut rest = Vec::new();
        slow.read_to_end(&mut rest).await.unwrap();
    });
}

/// A handshake in `accept` takes its time while connections come and go.
#[test]
fn an_accept_that_takes_time_is_not_cut_short() {
    struct Slow(InMemory);

    impl Listener for Slow {
        type Io = DuplexStream;
        type Addr = Visitor;

        async fn accept(&mut self) -> (DuplexStream, Visitor) {
            let accepted = self.0.accept().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            accepted
        }

        fn local_addr(&self) -> io::Result<Visitor> {
            self.0.local_addr()
        }
    }

    run(async {
        let (door, listener) = Door::new();
        let server = serve_listener(Slow(listener), Config::default(), app()).unwrap();
        let visits = (0..20).map(|_| ask(door.enter("Ada"), "/"));
        for answer in futures_util::future::join_all(visits).await {
            assert!(answer.ends_with("hello"), "{answer}");
        }
        server.shutdown();
        server.await.unwrap();
    });
}

#[test]
fn a_tapped_tcp_listener_knows_its_address() {
    run(async {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (guard, tapped) = Guard::new();
        let mut guard = Some(guard);
        let listener = listener.tap_io(move |socket| {
            socket.set_nodelay(true).unwrap();
            drop(guard.take());
        });
        let show = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
        let app = Router::new().route("/", get(show));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let server = serve_listener(listener, Config::default(), app).unwrap();
        assert_eq!(server.local_addr().unwrap(), addr);
        let visit = tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(addr);
            let own = client.stream.local_addr().unwrap();
            assert_eq!(client.get("/").text(), own.to_string());
        });
        visit.await.unwrap();
        tapped.wait("the tap");
    });
}

#[test]
fn a_unix_listener_knows_its_path() {
    run(async {
        let directory = Directory::new();
        let listener = UnixListener::bind(directory.socket()).unwrap();
        let server = serve_listener(listener, Config::default(), app()).unwrap();
        let paths: Vec<_> = server.local_paths().collect();
        assert_eq!(paths, [directory.socket()]);
    });
}

#[test]
fn io_uring_is_not_to_be_had() {
    let (_door, listener) = Door::new();
    let config = Config::default().backend(BackendChoice::IoUring);
    let error = serve_listener(listener, config, app()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}
