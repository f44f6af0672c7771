//! A server that runs out of places or buffers gives way in order, goes on answering those who are at
//! work, and recovers. hyper has no such limits, so they are tested on shards only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use zero_axum::{Config, Stats};

use crate::support::client::Client;
use crate::support::log::Log;
use crate::support::{Mode, Server, eventually, on_shards};

on_shards![
    readers_that_stall_are_let_go_and_others_are_answered,
    uploads_wait_for_buffers_and_arrive_whole,
    with_no_buffers_left_requests_are_answered_and_uploads_arrive_whole,
    slow_heads_make_room,
    idle_connections_make_place_and_busy_ones_stay,
    silent_connections_make_place,
    one_idle_connection_makes_place_for_one_that_waits,
];

/// Handlers wait for it.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn new() -> Gate {
        Gate(Arc::new(Semaphore::new(0)))
    }

    fn open(&self) {
        self.0.close();
    }

    async fn pass(&self) {
        let _ = self.0.acquire().await;
    }
}

fn app(gate: &Gate) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/endless", get(endless))
        .route("/held", post(held))
        .route("/gate", get(gated))
        .with_state(gate.clone())
}

/// More than anybody reads here.
async fn endless() -> Body {
    let pieces = futures_util::stream::repeat_with(|| Bytes::from(vec![b'x'; 32 * 1024]));
    Body::from_stream(futures_util::StreamExt::map(pieces, Ok::<_, Infallible>))
}

/// Reads nothing of its body until it may.
async fn held(State(gate): State<Gate>, body: Body) -> String {
    gate.pass().await;
    let body = axum::body::to_bytes(body, usize::MAX).await;
    body.map_or("an error".into(), |body| body.len().to_string())
}

async fn gated(State(gate): State<Gate>) -> &'static str {
    gate.pass().await;
    "through"
}

fn one_shard(mode: Mode) -> Config {
    mode.config().shards(1)
}

fn rises(stats: &Stats) -> u64 {
    stats.overload_warnings + stats.overload_criticals + stats.overload_drains
}

/// Waits until nothing is short any more, by as many steps down as there were up.
fn recovers(server: &Server) {
    eventually("the server recovers", || {
        let stats = server.stats();
        stats.overload_level == 0 && stats.overload_recoveries == rises(&stats)
    });
    server.assert_serves("/");
}

fn readers_that_stall_are_let_go_and_others_are_answered(mode: Mode) {
    let config = one_shard(mode).buffered_bytes_max(1 << 20);
    let server = mode.serve_with(config, app(&Gate::new()));
    let mut polite = server.connect();
    let mut stalled: Vec<Client> = Vec::new();
    // So many that even the windows of the first level are too much together, 32 KiB each.
    for _ in 0..40 {
        let mut client = server.connect();
        client.send_get("/endless");
        stalled.push(client);
    }
    eventually("somebody is let go", || {
        assert_eq!(polite.get("/").text(), "hello");
        server.stats().shed_stalled > 0
    });
    let stats = server.stats();
    assert!(stats.overload_warnings > 0 && stats.overload_criticals > 0);
    eventually("buffers are not critical", || {
        assert_eq!(polite.get("/").text(), "hello");
        server.stats().overload_level < 2
    });
    drop(stalled);
    recovers(&server);
    assert_eq!(polite.get("/").text(), "hello");
    eventually("nothing is held", || server.stats().buffered_bytes == 0);
}

const UPLOAD_BYTES: usize = 1 << 20;

fn uploads_wait_for_buffers_and_arrive_whole(mode: Mode) {
    let config = one_shard(mode).buffered_bytes_max(1 << 20);
    let gate = Gate::new();
    let server = mode.serve_with(config, app(&gate));
    let mut polite = server.connect();
    let clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let uploads: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || client.post("/held", &vec![b'u'; UPLOAD_BYTES]).body)
        })
        .collect();
    eventually("buffers are critical", || {
        assert_eq!(polite.get("/").text(), "hello");
        server.stats().overload_criticals > 0
    });
    // Whatever else is still on its way: those at work are answered.
    for _ in 0..100 {
        assert_eq!(polite.get("/").text(), "hello");
    }
    gate.open();
    for upload in uploads {
        assert_eq!(upload.join().unwrap(), UPLOAD_BYTES.to_string().as_bytes());
    }
    recovers(&server);
    let stats = server.stats();
    assert_eq!((stats.shed_stalled, stats.shed_silent), (0, 0));
}

/// Half of them have sent all they will, half of them not: neither is read.
fn with_no_buffers_left_requests_are_answered_and_uploads_arrive_whole(mode: Mode) {
    const BODY_BYTES: usize = 64 * 1024;
    let half = vec![b'u'; BODY_BYTES / 2];
    let log = Log::of_all();
    // Nobody else's changes name this number.
    let buffered_bytes_max = (1 << 20) + 8 + mode as usize;
    let config = one_shard(mode).buffered_bytes_max(buffered_bytes_max);
    let gate = Gate::new();
    let server = mode.serve_with(config, app(&gate));
    let mut polite = server.connect();
    assert_eq!(polite.get("/").text(), "hello");
    // So many that one buffer for each is more than there is.
    let mut clients: Vec<Client> = (0..160).map(|_| server.connect()).collect();
    let head = format!("POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&head).send(&half);
        if number % 2 == 0 {
            client.send(&half);
        }
    }
    eventually("next to nothing is left", || {
        assert_eq!(polite.get("/").text(), "hello");
        server.stats().overload_drains > 0
    });
    for _ in 0..100 {
        assert_eq!(polite.get("/").text(), "hello");
    }
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 2 == 1 {
            client.send(&half);
        }
        assert_eq!(client.response().text(), BODY_BYTES.to_string());
        assert_eq!(polite.get("/").text(), "hello");
    }
    recovers(&server);
    let stats = server.stats();
    assert_eq!((stats.shed_stalled, stats.shed_silent), (0, 0));
    let told = |what: &str, level: &str| {
        let max = format!("max={buffered_bytes_max}");
        let level = format!("level={level}");
        log.count(&[what, "of=\"buffers\"", &level, &max])
    };
    let rises = ["Warning", "Critical", "Drain"].map(|level| told("is running out", level));
    let counted = [
        stats.overload_warnings,
        stats.overload_criticals,
        stats.overload_drains,
    ];
    assert_eq!(rises, counted);
    let falls = ["Critical", "Warning", "Healthy"].map(|level| told("recovers", level));
    assert_eq!(falls.iter().sum::<u64>(), stats.overload_recoveries);
    assert!(falls.iter().all(|count| *count > 0), "{falls:?}");
}

fn slow_heads_make_room(mode: Mode) {
    let config = one_shard(mode)
        .buffered_bytes_max(1 << 20)
        .connections_max(1024);
    let server = mode.serve_with(config, app(&Gate::new()));
    let mut polite = server.connect();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(100_000));
    let slow: Vec<Client> = (0..30)
        .map(|_| {
            let mut client = server.connect();
            client.send(&head);
            client
        })
        .collect();
    eventually("slow heads are let go", || {
        assert_eq!(polite.get("/").text(), "hello");
        server.stats().shed_silent > 0
    });
    drop(slow);
    recovers(&server);
    let stats = server.stats();
    assert!(stats.heads_paused > 0, "{stats:?}");
    assert_eq!(stats.shed_idle, 0);
}

fn idle_connections_make_place_and_busy_ones_stay(mode: Mode) {
    let gate = Gate::new();
    let config = one_shard(mode).connections_max(40);
    let server = mode.serve_with(config, app(&gate));
    let mut busy: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut busy {
        client.send_get("/gate");
    }
    let mut all = Vec::new();
    for _ in 0..100 {
        let mut client = server.connect();
        assert_eq!(client.get("/").text(), "hello");
        all.push(client);
    }
    let stats = server.stats();
    assert!(
        stats.overload_drains > 0 && stats.shed_idle >= 60,
        "{stats:?}"
    );
    assert!(stats.connections_open <= 40);
    gate.open();
    for client in &mut busy {
        assert_eq!(client.response().text(), "through");
    }
    drop(all);
    drop(busy);
    recovers(&server);
}

fn silent_connections_make_place(mode: Mode) {
    let config = one_shard(mode).connections_max(40);
    let server = mode.serve_with(config, app(&Gate::new()));
    let silent: Vec<Client> = (0..60).map(|_| server.connect()).collect();
    let mut late = server.connect();
    assert_eq!(late.get("/").text(), "hello");
    assert!(server.stats().shed_silent >= 20, "{:?}", server.stats());
    drop(silent);
    drop(late);
    recovers(&server);
}

fn one_idle_connection_makes_place_for_one_that_waits(mode: Mode) {
    let config = one_shard(mode).connections_max(2);
    let server = mode.serve_with(config, app(&Gate::new()));
    let mut first: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut first {
        assert_eq!(client.get("/").text(), "hello");
    }
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(server.stats().shed_idle, 0);
    assert_eq!(server.connect().get("/").text(), "hello");
    assert_eq!(server.stats().shed_idle, 1);
    let stats = server.stats();
    assert_eq!(rises(&stats), 0, "two are no use in percent");
}
