//! How a shard waits must be felt by nobody but the clock: every strategy serves alike, and ends.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use zero_axum::{Config, Stats, Wakeup};

use crate::support::{Mode, PATIENCE, Server, eventually, in_modes, on_shards};

on_shards![
    a_shard_that_sleeps_never_spins,
    a_shard_that_spins_serves_and_ends,
    a_shard_without_traffic_does_not_spin,
];

// On the others the handler would block the shard, or has not blocked yet when its class comes there.
in_modes![nobody_waits_behind_a_handler_that_blocks_a_worker: io_uring_workers IoUringWorkers,];

fn app() -> Router {
    let waits = || async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        "waited"
    };
    Router::new()
        .route("/quick", get(|| async { "quick" }))
        .route("/waits", get(waits))
}

fn serve(mode: Mode, wakeup: Wakeup) -> Server {
    let config: Config = mode.config().shards(1).workers(1).wakeup(wakeup);
    mode.serve_with(config, app())
}

fn exercise(server: &Server) {
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for _ in 0..50 {
        for client in &mut clients {
            client.send_get("/quick");
        }
        for client in &mut clients {
            assert_eq!(client.response().text(), "quick");
        }
    }
    for client in &mut clients {
        assert_eq!(client.get("/waits").text(), "waited");
    }
}

fn spins(stats: Stats) -> u64 {
    stats.spins_found + stats.spins_in_vain
}

fn a_shard_that_sleeps_never_spins(mode: Mode) {
    let server = serve(mode, Wakeup::Sleep);
    exercise(&server);
    assert_eq!(spins(server.stats()), 0);
}

fn a_shard_that_spins_serves_and_ends(mode: Mode) {
    let server = serve(mode, Wakeup::Spin);
    exercise(&server);
    let stats = server.stats();
    assert!(stats.spins_found > 0, "{stats:?}");
    assert_eq!(stats.requests, stats.responses);
}

fn a_shard_without_traffic_does_not_spin(mode: Mode) {
    let server = serve(mode, Wakeup::Adaptive);
    let mut kept = server.connect();
    exercise(&server);
    assert_eq!(kept.get("/quick").text(), "quick");
    // Those that have begun end late on a machine that stalls.
    let mut before = u64::MAX;
    eventually("nobody spins for 300 ms", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = spins(server.stats());
        std::mem::replace(&mut before, now) == now
    });
}

/// Calls behind a blocking one are taken by a relief worker; if that blocks in the last of them, what it
/// answered before reaches its clients all the same.
fn nobody_waits_behind_a_handler_that_blocks_a_worker(mode: Mode) {
    let (enter, entered) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Arc::new(Mutex::new(may_go));
    let blocks = move || {
        enter.send(()).unwrap();
        let waited = may_go.lock().unwrap().recv_timeout(PATIENCE);
        waited.expect("it is let go");
        async { "blocked" }
    };
    // A thread for each worker that blocks, and one for the rest; few calls all take the first link.
    let config = mode.config().shards(1).workers(3);
    let server = mode.serve_with(config, app().route("/blocks", get(blocks)));
    let (mut first, mut quick, mut last) = (server.connect(), server.connect(), server.connect());
    first.send_get("/blocks");
    entered
        .recv_timeout(PATIENCE)
        .expect("the first one blocks");
    quick.send_get("/quick");
    last.send_get("/blocks");
    assert_eq!(quick.response().text(), "quick");
    eventually("a relief worker", || server.stats().relief_workers > 0);
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.response().text(), "blocked");
    assert_eq!(last.response().text(), "blocked");
}
