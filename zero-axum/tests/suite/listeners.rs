//! What can be listened on.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::sync::Semaphore;
use zero_axum::{Io, serve};

use crate::support::client::Client;
use crate::support::{Mode, in_every_mode, in_modes, loopback, wait};

in_every_mode![
    port_0_is_any_free_port,
    several_listeners_share_one_app,
    ipv6,
    an_adopted_std_listener,
    an_adopted_nonblocking_listener,
    who_waits_with_an_adopted_listener_is_served,
    a_shared_listener_goes_on_with_the_next_server,
    an_adopted_listener_keeps_its_options,
    a_socket_that_does_not_listen_is_refused,
    an_address_in_use_is_refused,
    many_connections_at_once,
    connections_beyond_the_limit_wait,
];

// The default configuration picks the backend: once is enough.
in_modes![an_adopted_tokio_listener: as_it_comes Hyper,];

fn app() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

fn hello(addr: SocketAddr) {
    assert_eq!(Client::connect(addr).get("/").text(), "hello");
}

fn port_0_is_any_free_port(mode: Mode) {
    let mut io = mode.io();
    let endpoint = io.http_listen(loopback()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    assert_ne!(addr.port(), 0);
    let server = mode.serve_io(io, app());
    assert_eq!(server.addr, addr);
    hello(addr);
}

fn several_listeners_share_one_app(mode: Mode) {
    let mut io = mode.io();
    let endpoints: Vec<_> = (0..3)
        .map(|_| io.http_listen(loopback()).unwrap())
        .collect();
    let addrs: Vec<_> = endpoints
        .into_iter()
        .map(|endpoint| io.local_addr(endpoint).unwrap())
        .collect();
    let server = mode.serve_io(io, app());
    assert_eq!(server.handle.local_addrs(), addrs);
    for addr in addrs {
        (0..4).for_each(|_| hello(addr));
    }
    server.stop();
}

fn ipv6(mode: Mode) {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("SKIPPED ipv6 ({mode:?}): this machine has no ::1: {error}");
        return;
    }
    let mut io = mode.io();
    io.http_listen("[::1]:0".parse().unwrap()).unwrap();
    let server = mode.serve_io(io, app());
    assert!(server.addr.is_ipv6());
    hello(server.addr);
}

fn an_adopted_std_listener(mode: Mode) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut io = mode.io();
    let endpoint = io.http_adopt(listener).unwrap();
    assert_eq!(io.local_addr(endpoint).unwrap(), addr);
    // Connected before anybody accepts.
    let mut early = Client::connect(addr);
    let server = mode.serve_io(io, app());
    assert_eq!(early.get("/").text(), "hello");
    (0..8).for_each(|_| hello(addr));
    server.stop();
}

fn an_adopted_nonblocking_listener(mode: Mode) {
    let listener = TcpListener::bind(loopback()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut io = mode.io();
    io.http_adopt(listener).unwrap();
    let server = mode.serve_io(io, app());
    (0..8).for_each(|_| hello(server.addr));
}

fn who_waits_with_an_adopted_listener_is_served(mode: Mode) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let addr = listener.local_addr().unwrap();
    let connect = |_| Client::connect(addr);
    let mut early: Vec<_> = (0..32).map(connect).collect();
    let mut io = mode.io();
    io.http_adopt(listener).unwrap();
    // These may already wait with its siblings.
    early.extend((0..32).map(connect));
    let server = mode.serve_io(io, app());
    for client in &mut early {
        assert_eq!(client.get("/").text(), "hello");
    }
    server.stop();
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

fn a_shared_listener_goes_on_with_the_next_server(mode: Mode) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting: Vec<Client> = Vec::new();
    for _ in 0..3 {
        let mut io = mode.io();
        io.http_adopt_shared(listener.try_clone().unwrap()).unwrap();
        let server = mode.serve_io(io, app());
        for mut client in waiting.drain(..) {
            assert_eq!(client.get("/").text(), "hello");
        }
        (0..4).for_each(|_| hello(addr));
        server.stop();
        // Nobody accepts these now; nobody resets them either.
        waiting.extend((0..16).map(|_| Client::connect(addr)));
    }
}

fn an_adopted_listener_keeps_its_options(mode: Mode) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let socket = socket2::SockRef::from(&listener);
    socket
        .set_tcp_user_timeout(Some(Duration::from_secs(7)))
        .unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut io = mode.io();
    io.http_adopt(listener).unwrap();
    let timeouts = seen.clone();
    io.tap(move |socket, _| {
        timeouts
            .lock()
            .unwrap()
            .push(socket.tcp_user_timeout().unwrap())
    });
    let server = mode.serve_io(io, app());
    (0..16).for_each(|_| hello(server.addr));
    assert_eq!(*seen.lock().unwrap(), [Some(Duration::from_secs(7)); 16]);
}

fn a_socket_that_does_not_listen_is_refused(mode: Mode) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let connected = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut io = mode.io();
    for adopted in [
        io.http_adopt(OwnedFd::from(connected()).into()),
        io.http_adopt_shared(OwnedFd::from(connected()).into()),
        io.http_adopt_unix(OwnedFd::from(connected()).into()),
    ] {
        assert_eq!(
            adopted.unwrap_err().kind(),
            std::io::ErrorKind::InvalidInput
        );
    }
}

/// `serve` itself takes listeners and addresses, with the default configuration.
fn an_adopted_tokio_listener(_: Mode) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind(loopback()));
    let server = serve(listener.unwrap(), app()).unwrap();
    hello(server.local_addr().unwrap());
    let plain = serve(TcpListener::bind(loopback()).unwrap(), app()).unwrap();
    hello(plain.local_addr().unwrap());
    let addr = serve(loopback(), app()).unwrap();
    hello(addr.local_addr().unwrap());
    for handle in [server, plain, addr] {
        handle.shutdown();
        wait(handle);
    }
}

fn an_address_in_use_is_refused(mode: Mode) {
    let server = mode.serve(app());
    let mut io = mode.io();
    let error = io.http_listen(server.addr).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

fn many_connections_at_once(mode: Mode) {
    let server = mode.serve(app());
    let mut clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            client.send_get("/");
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "hello");
        }
    }
}

fn connections_beyond_the_limit_wait(mode: Mode) {
    let config = mode.config().shards(1).connections_max(4);
    let mut io = Io::new(config).unwrap();
    io.http_listen(loopback()).unwrap();
    // Idle ones would make place.
    let go = Arc::new(Semaphore::new(0));
    let may_go = go.clone();
    let busy = async move || {
        may_go.acquire().await.unwrap().forget();
        "busy"
    };
    let server = mode.serve_io(io, app().route("/busy", get(busy)));
    let mut served: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut served {
        assert_eq!(client.get("/").text(), "hello");
        client.send_get("/busy");
    }
    // The kernel accepts it into the backlog; nobody serves it.
    let mut waiting = Client::over(TcpStream::connect(server.addr).unwrap());
    waiting.send_get("/");
    assert!(waiting.is_silent_for(Duration::from_millis(200)));
    go.add_permits(served.len());
    for client in &mut served {
        assert_eq!(client.response().text(), "busy");
    }
    drop(served);
    assert_eq!(waiting.response().text(), "hello");
}
