//! Servers that have ended leave no descriptor and no thread behind. A process of its own, one test
//! at a time: the counts are the process's.

mod support;

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::routing::get;

use support::client::Client;
use support::directory::Directory;
use support::{Mode, eventually, in_every_mode, wait};

in_every_mode![
    ended_servers_leave_nothing,
    refused_listeners_leave_nothing,
    ended_unix_servers_leave_nothing,
    adopted_listeners_leave_nothing,
];

static ALONE: Mutex<()> = Mutex::new(());

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

fn fds_and_threads() -> (usize, usize) {
    (entries("/proc/self/fd"), entries("/proc/self/task"))
}

/// Servers that come and go in a test; `ZERO_LEAK_ROUNDS` asks for more.
fn rounds() -> usize {
    let asked = std::env::var("ZERO_LEAK_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(50)
}

/// Runs `act` once to fill what is made once, then many times; the counts must come back.
fn leaves_nothing(act: impl Fn()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let clean = fds_and_threads();
    act();
    let mut before = clean;
    eventually("the first server leaves (almost) nothing", || {
        before = fds_and_threads();
        before.0 <= clean.0 + 4 && before.1 <= clean.1 + 4
    });
    for _ in 0..rounds() {
        act();
    }
    let mut now = before;
    eventually("the counts come back", || {
        now = fds_and_threads();
        // The test runner's own threads come and go; as many leaks as rounds would be more.
        now.0 <= before.0 + 4 && now.1 <= before.1 + 4
    });
}

fn ended_servers_leave_nothing(mode: Mode) {
    leaves_nothing(|| {
        let app = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/wait", get(std::future::pending::<()>));
        let server = mode.serve(app);
        let mut idle = server.connect();
        assert_eq!(idle.get("/").text(), "hello");
        let mut waiting = server.connect();
        waiting.send_get("/wait");
        server.handle.terminate();
        server.stop();
    });
}

fn refused_listeners_leave_nothing(mode: Mode) {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = server.local_addr().unwrap();
    leaves_nothing(|| {
        let mut io = mode.io();
        io.http_listen(support::loopback()).unwrap();
        io.http_listen(taken).unwrap_err();
    });
}

fn ended_unix_servers_leave_nothing(mode: Mode) {
    let directory = Directory::new();
    leaves_nothing(|| {
        let mut io = mode.io();
        io.http_listen_unix(directory.socket()).unwrap();
        io.http_listen_unix(directory.socket()).unwrap_err();
        let app = Router::new().route("/", get(|| async { "hello" }));
        let handle = zero_axum::serve(io, app).unwrap();
        let mut idle = Client::connect_unix(directory.socket());
        assert_eq!(idle.get("/").text(), "hello");
        handle.terminate();
        wait(handle);
    });
}

fn adopted_listeners_leave_nothing(mode: Mode) {
    leaves_nothing(|| {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [own, shared] = listeners;
        let mut io = mode.io();
        io.http_adopt(own).unwrap();
        io.http_adopt_shared(shared).unwrap();
        let app = Router::new().route("/", get(|| async { "hello" }));
        let server = mode.serve_io(io, app);
        assert_eq!(server.connect().get("/").text(), "hello");
        server.handle.terminate();
        server.stop();
    });
}
