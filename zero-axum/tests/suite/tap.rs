//! The hook on every accepted socket.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use zero_axum::Io;

use crate::support::client::Client;
use crate::support::directory::Directory;
use crate::support::{Mode, in_every_mode, loopback, wait};

in_every_mode![
    it_sees_every_socket_before_its_requests,
    it_knows_the_listener,
    it_has_the_last_word_on_nodelay,
    its_panic_ends_one_connection,
    its_panics_free_their_places,
    unix_sockets_are_tapped_too,
];

fn app() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

fn listening(mode: Mode) -> Io {
    let mut io = mode.io();
    io.http_listen(loopback()).unwrap();
    io
}

fn it_sees_every_socket_before_its_requests(mode: Mode) {
    let mut io = listening(mode);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let peers = seen.clone();
    io.tap(move |socket, _| {
        let peer = socket.peer_addr().unwrap().as_socket().unwrap();
        peers.lock().unwrap().push(peer);
    });
    let server = mode.serve_io(io, app());
    for _ in 0..8 {
        let mut client = server.connect();
        for _ in 0..2 {
            assert_eq!(client.get("/").text(), "hello");
            // Once a connection, not once a request.
            let own = client.stream.local_addr().unwrap();
            let count = seen
                .lock()
                .unwrap()
                .iter()
                .filter(|&&peer| peer == own)
                .count();
            assert_eq!(count, 1);
        }
    }
}

fn it_knows_the_listener(mode: Mode) {
    let mut io = mode.io();
    let endpoints = [(); 3].map(|()| io.http_listen(loopback()).unwrap());
    let addrs = endpoints.map(|endpoint| io.local_addr(endpoint).unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let through = seen.clone();
    io.tap(move |_, endpoint| through.lock().unwrap().push(endpoint));
    let _server = mode.serve_io(io, app());
    for addr in [2, 0, 1].map(|index: usize| addrs[index]) {
        assert_eq!(Client::connect(addr).get("/").text(), "hello");
    }
    let expected = [2, 0, 1].map(|index: usize| endpoints[index]);
    assert_eq!(*seen.lock().unwrap(), expected);
}

fn it_has_the_last_word_on_nodelay(mode: Mode) {
    let mut io = listening(mode);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let before = seen.clone();
    io.tap(move |socket, _| {
        let nodelay = socket.tcp_nodelay().unwrap();
        socket.set_tcp_nodelay(false).unwrap();
        before
            .lock()
            .unwrap()
            .extend([nodelay, socket.tcp_nodelay().unwrap()]);
    });
    let server = mode.serve_io(io, app());
    assert_eq!(server.connect().get("/").text(), "hello");
    assert_eq!(*seen.lock().unwrap(), [true, false]);
}

fn its_panic_ends_one_connection(mode: Mode) {
    let mut io = listening(mode);
    let count = AtomicUsize::new(0);
    io.tap(move |_, _| {
        let odd = count.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        assert!(!odd, "a test's panic");
    });
    let server = mode.serve_io(io, app());
    for _ in 0..4 {
        let mut spared = server.connect();
        assert_eq!(spared.get("/").text(), "hello");
        let mut struck = server.connect();
        struck.assert_closed();
        assert_eq!(spared.get("/").text(), "hello");
    }
    if mode.is_io_uring() {
        assert_eq!(server.stats().handler_panics, 4);
    }
}

fn its_panics_free_their_places(mode: Mode) {
    let mut io = Io::new(mode.config().shards(1).connections_max(1)).unwrap();
    io.http_listen(loopback()).unwrap();
    let count = AtomicUsize::new(0);
    io.tap(move |_, _| {
        let served = matches!(count.fetch_add(1, Ordering::SeqCst), 0 | 4);
        assert!(served, "a test's panic");
    });
    let server = mode.serve_io(io, app());
    let mut first = server.connect();
    assert_eq!(first.get("/").text(), "hello");
    // All wait for the one place; three of them panic when they get it.
    let mut others: Vec<_> = (0..4).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(50));
    drop(first);
    for struck in &mut others[..3] {
        struck.assert_closed();
    }
    assert_eq!(others[3].get("/").text(), "hello");
}

fn unix_sockets_are_tapped_too(mode: Mode) {
    let directory = Directory::new();
    let mut io = mode.io();
    let unix = io.http_listen_unix(directory.socket()).unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    io.tap(move |socket, endpoint| {
        assert_eq!(endpoint, unix);
        // Options of TCP are not a Unix socket's.
        let error = socket.tcp_nodelay().unwrap_err();
        assert_ne!(error.kind(), ErrorKind::NotFound);
        count.fetch_add(1, Ordering::SeqCst);
    });
    let handle = zero_axum::serve(io, app()).unwrap();
    for _ in 0..4 {
        let mut client = Client::connect_unix(directory.socket());
        assert_eq!(client.get("/").text(), "hello");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 4);
    handle.shutdown();
    wait(handle);
}
