//! Ending: gracefully, in time, at once, and by dropping the handle.

use std::future::pending;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream;
use tokio::sync::Semaphore;

use zero_axum::{Io, serve};

use crate::support::client::Client;
use crate::support::{
    Guard, Mode, PATIENCE, Server, at_any_pace, eventually, in_every_mode, in_modes, loopback, wait,
};

in_every_mode![
    requests_in_flight_are_finished,
    idle_connections_are_closed,
    streams_in_flight_are_finished,
    a_pipelined_request_after_the_last_answer_is_not_served,
    connections_that_never_spoke_do_not_hold_it_up,
    make_services_that_wait_do_not_hold_it_up,
    a_signal_shuts_down,
    dropping_the_handle_shuts_down,
    dropping_the_future_shuts_down,
    the_timeout_cuts_what_is_left,
    terminate_cuts_at_once,
    the_ports_are_free_afterwards,
    the_app_is_dropped_in_the_end,
    shutting_down_twice_is_no_different,
];

// hyper's queue is reset, as axum::serve's; a handler on a worker keeps no shard from accepting.
in_modes![what_waits_to_be_accepted_is_served: io_uring_inline IoUringInline,];
in_modes![what_waits_with_an_adopted_listener_is_served: io_uring_inline IoUringInline,];

/// An app whose `/wait` tells when it is entered and answers when it is let.
struct Held {
    entered: mpsc::Receiver<()>,
    go: Arc<Semaphore>,
}

fn held() -> (Router, Held) {
    let (tx, entered) = mpsc::channel();
    let go = Arc::new(Semaphore::new(0));
    let told = go.clone();
    let wait = move || async move {
        tx.send(()).unwrap();
        told.acquire().await.unwrap().forget();
        "waited"
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/wait", get(wait));
    (app, Held { entered, go })
}

impl Held {
    fn wait_until_entered(&self) {
        let entered = self.entered.recv_timeout(PATIENCE);
        entered.expect("the handler was not called");
    }
}

fn wait_until_refused(addr: SocketAddr) {
    eventually(
        "new connections are refused",
        || matches!(TcpStream::connect(addr), Err(error) if error.kind() == ErrorKind::ConnectionRefused),
    );
}

fn requests_in_flight_are_finished(mode: Mode) {
    at_pace_of(mode, |unit| {
        let (app, held) = held();
        let server = mode.serve(app);
        let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send_get("/wait");
            held.wait_until_entered();
        }
        server.handle.shutdown();
        wait_until_everybody_knows(mode, server.addr, unit);
        held.go.add_permits(clients.len());
        for client in &mut clients {
            let response = client.response();
            assert_eq!(response.text(), "waited");
            assert_eq!(response.header("connection"), Some("close"));
            client.assert_closed();
        }
        wait(server.handle);
    });
}

/// Only hyper's connections have to be given time: the story is told to a shard once, and must hold.
fn at_pace_of(mode: Mode, story: impl Fn(Duration)) {
    match mode {
        Mode::Hyper => at_any_pace(story),
        _ => story(Duration::ZERO),
    }
}

/// Waits until all connections know of a shutdown.
fn wait_until_everybody_knows(mode: Mode, addr: SocketAddr, unit: Duration) {
    wait_until_refused(addr);
    if mode == Mode::Hyper {
        // Each connection's task hears of it by itself, and none tells when it has.
        std::thread::sleep(unit);
    }
}

fn idle_connections_are_closed(mode: Mode) {
    let (app, _held) = held();
    let server = mode.serve(app);
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    server.handle.shutdown();
    for client in &mut clients {
        client.assert_closed();
    }
    wait(server.handle);
}

fn streams_in_flight_are_finished(mode: Mode) {
    let (tx, rx) = tokio::sync::mpsc::unbounded_channel::<Result<&str, std::io::Error>>();
    let rx = Arc::new(Mutex::new(Some(rx)));
    let streamed = move || async move {
        let mut rx = rx.lock().unwrap().take().expect("asked once");
        Body::from_stream(stream::poll_fn(move |cx| rx.poll_recv(cx)))
    };
    let server = mode.serve(Router::new().route("/", get(streamed)));
    let mut client = server.connect();
    client.send_get("/").head();
    tx.send(Ok("before")).unwrap();
    assert_eq!(client.chunk().unwrap(), b"before");
    server.handle.shutdown();
    wait_until_refused(server.addr);
    tx.send(Ok("after")).unwrap();
    assert_eq!(client.chunk().unwrap(), b"after");
    drop(tx);
    assert_eq!(client.chunk(), None);
    client.assert_closed();
    wait(server.handle);
}

fn a_pipelined_request_after_the_last_answer_is_not_served(mode: Mode) {
    at_pace_of(mode, |unit| {
        let (app, held) = held();
        let server = mode.serve(app);
        let mut client = server.connect();
        client.send("GET /wait HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n");
        held.wait_until_entered();
        server.handle.shutdown();
        wait_until_everybody_knows(mode, server.addr, unit);
        held.go.add_permits(1);
        let response = client.response();
        assert_eq!(response.header("connection"), Some("close"));
        client.assert_closed();
        wait(server.handle);
    });
}

fn connections_that_never_spoke_do_not_hold_it_up(mode: Mode) {
    let (app, _held) = held();
    let server = mode.serve(app);
    let mut silent: Vec<_> = (0..8).map(|_| server.connect()).collect();
    server.assert_serves("/");
    server.handle.shutdown();
    for client in &mut silent {
        client.assert_closed();
    }
    wait(server.handle);
}

fn make_services_that_wait_do_not_hold_it_up(mode: Mode) {
    let (tx, entered) = mpsc::channel();
    let make = tower::service_fn(move |_: zero_axum::IncomingStream<'static>| {
        tx.send(()).unwrap();
        pending::<Result<Router, std::convert::Infallible>>()
    });
    let server = mode.serve(make);
    let mut client = server.connect();
    client.send_get("/");
    entered.recv_timeout(PATIENCE).unwrap();
    server.handle.shutdown();
    client.assert_closed();
    wait(server.handle);
}

fn a_signal_shuts_down(mode: Mode) {
    let (app, held) = held();
    let Server { handle, addr } = mode.serve(app);
    let (signal, signalled) = tokio::sync::oneshot::channel::<()>();
    let handle = handle.with_graceful_shutdown(async { signalled.await.unwrap() });
    let mut client = Client::connect(addr);
    client.send_get("/wait");
    held.wait_until_entered();
    signal.send(()).unwrap();
    wait_until_refused(addr);
    held.go.add_permits(1);
    assert_eq!(client.response().text(), "waited");
    wait(handle);
}

fn dropping_the_handle_shuts_down(mode: Mode) {
    let (app, held) = held();
    let server = mode.serve(app);
    let addr = server.addr;
    let mut client = server.connect();
    client.send_get("/wait");
    held.wait_until_entered();
    drop(server);
    wait_until_refused(addr);
    held.go.add_permits(1);
    assert_eq!(client.response().text(), "waited");
    client.assert_closed();
}

fn dropping_the_future_shuts_down(mode: Mode) {
    let (app, _held) = held();
    let Server { handle, addr } = mode.serve(app);
    drop(handle.into_future());
    wait_until_refused(addr);
}

/// An app whose `/` never answers and holds a guard meanwhile.
fn stuck() -> (Router, mpsc::Receiver<()>, crate::support::Dropped) {
    let (tx, entered) = mpsc::channel();
    let (guard, dropped) = Guard::new();
    let guard = Arc::new(Mutex::new(Some(guard)));
    let wait = move || async move {
        let _guard = guard.lock().unwrap().take();
        tx.send(()).unwrap();
        pending::<()>().await;
    };
    (Router::new().route("/", get(wait)), entered, dropped)
}

fn the_timeout_cuts_what_is_left(mode: Mode) {
    let (app, entered, dropped) = stuck();
    let config = mode.config().shutdown_timeout(Duration::from_millis(200));
    let server = mode.serve_with(config, app);
    let mut client = server.connect();
    client.send_get("/");
    entered.recv_timeout(PATIENCE).unwrap();
    server.handle.shutdown();
    client.assert_closed();
    dropped.wait("the handler that was cut off");
    wait(server.handle);
}

fn terminate_cuts_at_once(mode: Mode) {
    let (app, entered, dropped) = stuck();
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/");
    entered.recv_timeout(PATIENCE).unwrap();
    server.handle.terminate();
    client.assert_closed();
    dropped.wait("the handler that was cut off");
    wait(server.handle);
}

fn the_ports_are_free_afterwards(mode: Mode) {
    let (app, _held) = held();
    let server = mode.serve(app.clone());
    let addr = server.addr;
    server.assert_serves("/");
    server.stop();
    let mut io = mode.io();
    io.http_listen(addr).expect("the port is free again");
    mode.serve_io(io, app).assert_serves("/");
}

fn the_app_is_dropped_in_the_end(mode: Mode) {
    let (guard, dropped) = Guard::new();
    let guard = Arc::new(guard);
    let hello = move || async move {
        let _held = guard;
        "hello"
    };
    let server = mode.serve(Router::new().route("/", get(hello)));
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "hello");
    assert!(!dropped.happened());
    server.stop();
    dropped.wait("the application");
}

fn shutting_down_twice_is_no_different(mode: Mode) {
    let (app, held) = held();
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/wait");
    held.wait_until_entered();
    server.handle.shutdown();
    server.handle.shutdown();
    held.go.add_permits(1);
    assert_eq!(client.response().text(), "waited");
    wait(server.handle);
}

fn what_waits_to_be_accepted_is_served(mode: Mode) {
    let mut io = Io::new(mode.config().shards(1)).unwrap();
    let endpoint = io.http_listen(loopback()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    who_waits_is_served(io, addr);
}

fn what_waits_with_an_adopted_listener_is_served(mode: Mode) {
    let mut io = Io::new(mode.config().shards(1)).unwrap();
    let listener = TcpListener::bind(loopback()).unwrap();
    let addr = listener.local_addr().unwrap();
    io.http_adopt(listener).unwrap();
    who_waits_is_served(io, addr);
}

/// Blocks the only shard of a server, lets clients come, and shuts it down.
fn who_waits_is_served(io: Io, addr: SocketAddr) {
    let (entered, is_entered) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Arc::new(Mutex::new(may_go));
    // Blocks its shard, so that it does not accept.
    let block = move || {
        entered.send(()).unwrap();
        let _ = may_go.lock().unwrap().recv_timeout(PATIENCE);
        async { "blocked" }
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/block", get(block));
    let handle = serve(io, app).unwrap();
    let mut blocked = Client::connect(addr);
    blocked.send_get("/block");
    is_entered.recv_timeout(PATIENCE).unwrap();
    let mut waiting: Vec<_> = (0..50).map(|_| Client::connect(addr)).collect();
    waiting.iter_mut().for_each(|client| {
        client.send_get("/");
    });
    let silent = Client::connect(addr);
    handle.shutdown();
    go.send(()).unwrap();
    assert_eq!(blocked.response().text(), "blocked");
    for client in &mut waiting {
        let answer = client.response();
        assert_eq!(
            (answer.text(), answer.header("connection")),
            ("hello", Some("close"))
        );
    }
    wait(handle);
    drop(silent);
}
