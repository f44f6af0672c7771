//! Servers that have ended leave no descriptor and no thread behind. A process of its own, one test
//! at a time: the counts are the process's.

mod support;

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_util::stream;

use support::client::Client;
use support::directory::Directory;
use support::{Mode, eventually, in_every_mode, wait};

in_every_mode![
    ended_servers_leave_nothing,
    refused_listeners_leave_nothing,
    ended_unix_servers_leave_nothing,
    adopted_listeners_leave_nothing,
    clients_that_vanish_leave_nothing,
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

const SHARDS: usize = 2;

/// What each of them sends before it vanishes; the server goes on.
const VANISHING: [&str; 9] = [
    "",
    "GET / HTTP/1.1\r\nhost: t",
    "GET / HTTP/1.1\r\nhost: t\r\n\r\n",
    "GET /wait HTTP/1.1\r\nhost: t\r\n\r\n",
    "GET /endless HTTP/1.1\r\nhost: t\r\n\r\n",
    "GET /broken HTTP/1.1\r\nhost: t\r\n\r\n",
    "GET /panic HTTP/1.1\r\nhost: t\r\n\r\n",
    "POST /read HTTP/1.1\r\nhost: t\r\ncontent-length: 100000\r\n\r\na part of it",
    "POST /read HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
];

/// Descriptors, tasks, connections and bytes held are counted back to what they were. Buffers to receive
/// into are so few that a server that lost any would soon hear nobody.
fn clients_that_vanish_leave_nothing(mode: Mode) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let entered = runtime.enter();
    let server = mode.serve_with(mode.config().shards(SHARDS).recv_buffers(8), of_all_kinds());
    drop(entered);
    let held = || {
        let stats = server.stats();
        let fds = entries("/proc/self/fd");
        let tasks = runtime.metrics().num_alive_tasks();
        (fds, tasks, stats.connections_open, stats.buffered_bytes)
    };
    let vanish = |rounds| {
        for (nth, first) in (0..rounds).flat_map(|_| VANISHING).enumerate() {
            let mut client = server.connect();
            client.send(first);
            // Some vanish before they are heard, others behind their answer.
            if nth % 2 == 0 {
                server.assert_serves("/");
            }
        }
    };
    vanish(2);
    let mut before = held();
    eventually("what is left is what is kept for reuse", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = held();
        now.2 == 0 && std::mem::replace(&mut before, now) == now
    });
    vanish(rounds().div_ceil(2));
    let mut now = before;
    eventually("everything comes back", || {
        now = held();
        // A shard opens its thread's account with the scheduler when it first wants to know.
        now.0 <= before.0 + SHARDS && now.1 <= before.1 && (now.2, now.3) == (0, 0)
    });
    server.assert_serves("/");
    server.stop();
}

/// Handlers that answer, wait, read, stream, fail half-way, and panic.
fn of_all_kinds() -> Router {
    let piece = || Ok::<_, std::io::Error>("piece ".repeat(1000));
    let endless = move || async move { Body::from_stream(stream::repeat_with(piece)) };
    let broken = move || async move {
        let error = Err(std::io::Error::other("half-way"));
        Body::from_stream(stream::iter([piece(), error]))
    };
    let wait = || std::future::pending::<()>();
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/wait", get(wait))
        .route("/read", post(|body: String| async { body }))
        .route("/endless", get(endless))
        .route("/broken", get(broken))
        .route("/panic", get(|| async { panic!("of a test") as &str }))
}
