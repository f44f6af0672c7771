//! Answers of handlers that waited while their shard slept: a worker gives them itself, and nobody can tell.

use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::CONNECTION;
use axum::routing::{get, post};
use zero_axum::{Config, Wakeup};

use crate::support::client::Client;
use crate::support::directory::Directory;
use crate::support::{Mode, PATIENCE, Server, in_modes, on_shards};

on_shards![what_a_worker_answers_is_what_the_shard_would,];

/// Makes a test of each `fn(Mode)` named, for where shards leave calls with whatever wakes them.
macro_rules! where_calls_are_left {
    ($($test:ident,)*) => {
        $(in_modes!($test:
            io_uring_adaptive IoUringAdaptive,
            io_uring_inline IoUringInline,
        );)*
    };
}

where_calls_are_left![
    a_worker_answers_for_a_shard_that_sleeps,
    a_connection_answered_by_a_worker_is_closed_when_it_idles,
    a_drain_finds_connections_answered_by_workers,
    a_unix_socket_is_answered_on,
];

// In others a shard that spins announces sleep now and then, for a moment.
in_modes!(a_shard_that_is_awake_answers_itself: io_uring_inline IoUringInline,);

in_modes!(calls_that_came_over_a_link_are_answered_over_it: io_uring_workers IoUringWorkers,);

async fn wait() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

fn app() -> Router {
    let waits = || async {
        wait().await;
        "waited"
    };
    let closes = || async {
        wait().await;
        ([(CONNECTION, "close")], "closed")
    };
    let echoes = |body: String| async {
        wait().await;
        body
    };
    let large = || async {
        wait().await;
        "x".repeat(100_000)
    };
    Router::new()
        .route("/quick", get(|| async { "quick" }))
        .route("/waits", get(waits))
        .route("/closes", get(closes))
        .route("/echoes", post(echoes))
        .route("/large", get(large))
}

fn config(mode: Mode) -> Config {
    mode.config().shards(1).workers(1).wakeup(Wakeup::Sleep)
}

/// Whether a worker may answer at all: not where it has a call from a link.
fn leaves_calls(mode: Mode) -> bool {
    !matches!(mode, Mode::IoUringWorkers)
}

/// Asks until a worker has answered. A machine that is busy may keep the shard awake for a while.
fn ask_until_answered_directly(server: &Server, client: &mut Client, ask: fn(&mut Client)) {
    let deadline = Instant::now() + PATIENCE;
    let before = server.stats().direct_replies;
    while server.stats().direct_replies == before {
        ask(client);
        assert!(Instant::now() < deadline, "{:?}", server.stats());
    }
}

fn get_waits(client: &mut Client) {
    assert_eq!(client.get("/waits").text(), "waited");
}

fn post_echoes(client: &mut Client) {
    assert_eq!(client.post("/echoes", b"a body").text(), "a body");
}

fn head_waits(client: &mut Client) {
    client.send("HEAD /waits HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.head();
    let length = head.header("content-length");
    assert_eq!((head.status, length), (200, Some("6")));
}

fn get_waits_as_of_old(client: &mut Client) {
    client.send("GET /waits HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!(response.header("connection"), Some("keep-alive"));
    assert_eq!(response.text(), "waited");
}

fn a_worker_answers_for_a_shard_that_sleeps(mode: Mode) {
    let server = mode.serve_with(config(mode), app());
    let mut client = server.connect();
    for _ in 0..3 {
        ask_until_answered_directly(&server, &mut client, get_waits);
        // Of what its shard may not know yet everything is counted.
        let stats = server.stats();
        assert_eq!(stats.requests, stats.responses);
        assert_eq!(client.get("/quick").text(), "quick");
    }
}

fn calls_that_came_over_a_link_are_answered_over_it(mode: Mode) {
    let server = mode.serve_with(config(mode), app());
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/waits").text(), "waited");
    }
    assert_eq!(server.stats().direct_replies, 0);
}

fn a_shard_that_is_awake_answers_itself(mode: Mode) {
    let server = mode.serve_with(config(mode).wakeup(Wakeup::Spin), app());
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for _ in 0..20 {
        for client in &mut clients {
            client.send_get("/waits");
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "waited");
        }
    }
    assert_eq!(server.stats().direct_replies, 0);
}

/// Answers of all kinds, on a connection whose waiting calls are a worker's more often than not.
fn what_a_worker_answers_is_what_the_shard_would(mode: Mode) {
    let server = mode.serve_with(config(mode), app());
    let mut client = server.connect();
    for ask in [get_waits, post_echoes, head_waits, get_waits_as_of_old] {
        match leaves_calls(mode) {
            true => ask_until_answered_directly(&server, &mut client, ask),
            false => (0..5).for_each(|_| ask(&mut client)),
        }
    }
    for round in 0..10 {
        let waited = client.get("/waits");
        let quick = client.get("/quick");
        assert_eq!(waited.text(), "waited");
        // But for the length they have the same head, field by field.
        let names = |head: &str| -> Vec<String> {
            let name = |line: &str| line.split(':').next().unwrap_or(line).to_owned();
            head.lines().map(name).collect()
        };
        assert_eq!(names(&waited.head), names(&quick.head));
        let body = format!("round {round}");
        assert_eq!(client.post("/echoes", body.as_bytes()).text(), body);
        head_waits(&mut client);
        assert_eq!(client.get("/large").text().len(), 100_000);
        // The second lies with the shard when the first is answered.
        client
            .send_get("/waits")
            .send_get("/quick")
            .send_get("/waits");
        for expected in ["waited", "quick", "waited"] {
            assert_eq!(client.response().text(), expected);
        }
    }
    client.send("GET /closes HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().text(), "closed");
    client.assert_closed();
    let mut client = server.connect();
    client.send("GET /waits HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert_eq!(client.response().header("connection"), Some("close"));
    client.assert_closed();
    let stats = server.stats();
    assert_eq!(stats.requests, stats.responses);
    assert_eq!(stats.direct_replies > 0, leaves_calls(mode));
}

fn a_connection_answered_by_a_worker_is_closed_when_it_idles(mode: Mode) {
    let config = config(mode).keep_alive_timeout(Duration::from_millis(1_500));
    let server = mode.serve_with(config, app());
    let mut client = server.connect();
    ask_until_answered_directly(&server, &mut client, get_waits);
    // Nothing else wakes the shard.
    client.assert_closed();
    assert_eq!(server.stats().timeouts_keep_alive, 1);
}

fn a_drain_finds_connections_answered_by_workers(mode: Mode) {
    let server = mode.serve_with(config(mode), app());
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        ask_until_answered_directly(&server, client, get_waits);
    }
    server.handle.shutdown();
    for client in &mut clients {
        client.assert_closed();
    }
    server.stop();
}

fn a_unix_socket_is_answered_on(mode: Mode) {
    let directory = Directory::new();
    let mut io = zero_axum::Io::new(config(mode)).unwrap();
    io.http_listen(crate::support::loopback()).unwrap();
    io.http_listen_unix(directory.socket()).unwrap();
    let server = mode.serve_io(io, app());
    let mut client = Client::connect_unix(directory.socket());
    ask_until_answered_directly(&server, &mut client, get_waits);
    server.stop();
}
