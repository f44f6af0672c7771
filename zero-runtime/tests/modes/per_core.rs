//! What is `run_per_core`'s own: futures that are not `Send`, and never leave their shard.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use zero_runtime::{Config, HttpOwnedRequest, ZeroResponse};

use crate::client::Client;
use crate::listening;
use crate::patience::eventually;

fn name() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

#[test]
fn what_a_core_counts_is_its_own_and_needs_no_lock() {
    let (runtime, client) = listening(Config::default());
    let factory = || {
        let count = Rc::new(Cell::new(0));
        move |_request: HttpOwnedRequest| {
            let count = count.clone();
            async move {
                let before = name();
                tokio::time::sleep(Duration::from_millis(1)).await;
                tokio::task::yield_now().await;
                assert_eq!(before, name());
                count.set(count.get() + 1);
                ZeroResponse::ok().text(format!("{} {}", name(), count.get()))
            }
        }
    };
    let handle = runtime.run_per_core(factory).unwrap();
    let mut conn = client.connect();
    for n in 1..=20 {
        conn.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(conn.answer().text(), format!("zero-shard-0 {n}"));
    }
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn many_wait_at_once_and_tokio_wakes_them() {
    let (runtime, client) = listening(Config::default());
    let gate = Arc::new(Notify::new());
    let waiting = Arc::new(AtomicUsize::new(0));
    let (entry, arrived) = (gate.clone(), waiting.clone());
    let factory = move || {
        let (entry, arrived) = (entry.clone(), arrived.clone());
        move |request: HttpOwnedRequest| {
            let (entry, arrived) = (entry.clone(), arrived.clone());
            async move {
                let entered = entry.notified();
                arrived.fetch_add(1, Ordering::SeqCst);
                // A task of the runtime, which runs elsewhere and wakes this one.
                tokio::spawn(async {}).await.unwrap();
                entered.await;
                ZeroResponse::ok().text(request.path())
            }
        }
    };
    let handle = runtime.run_per_core(factory).unwrap();
    let mut conns: Vec<_> = (0..50).map(|_| client.connect()).collect();
    for (n, conn) in conns.iter_mut().enumerate() {
        conn.send(format!("GET /{n} HTTP/1.1\r\nhost: h\r\n\r\n"));
    }
    while waiting.load(Ordering::SeqCst) < 50 {
        std::thread::yield_now();
    }
    // Whoever was not yet waiting is let in by a later call.
    let open = std::thread::spawn({
        let gate = gate.clone();
        move || {
            while Arc::strong_count(&gate) > 1 {
                gate.notify_waiters();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for (n, conn) in conns.iter_mut().enumerate() {
        assert_eq!(conn.answer().text(), format!("/{n}"));
    }
    drop(gate);
    handle.shutdown();
    handle.wait().unwrap();
    open.join().unwrap();
}

/// Counts itself as long as it lives.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        assert_eq!(name(), "zero-shard-0");
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server whose handlers wait for ever, and how many of them do.
fn endless() -> (zero_runtime::ShutdownHandle, Client, Arc<AtomicUsize>) {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let (runtime, client) =
        listening(Config::default().shutdown_timeout(Duration::from_millis(50)));
    let factory = move || {
        let counted = counted.clone();
        move |_request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let alive = Alive(counted.clone());
            async move {
                let _alive = alive;
                std::future::pending::<ZeroResponse>().await
            }
        }
    };
    (runtime.run_per_core(factory).unwrap(), client, alive)
}

fn until(alive: &AtomicUsize, count: usize) {
    eventually("so many live", || alive.load(Ordering::SeqCst) == count);
}

#[test]
fn a_handler_whose_client_goes_away_is_dropped_on_its_shard() {
    let (handle, client, alive) = endless();
    let mut conn = client.connect();
    conn.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    until(&alive, 1);
    drop(conn);
    until(&alive, 0);
    eventually("it is counted", || handle.stats().handlers_cancelled == 1);
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn a_handler_that_waits_when_the_deadline_of_a_shutdown_passes_is_dropped_on_its_shard() {
    let (handle, client, alive) = endless();
    let mut conn = client.connect();
    conn.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    until(&alive, 1);
    handle.shutdown();
    handle.wait().unwrap();
    until(&alive, 0);
}

#[test]
fn a_response_larger_than_the_window_waits_here_for_its_reader() {
    let (runtime, client) = listening(Config::default());
    let factory = || {
        |_request| async {
            let pieces = (0..400).map(|n| bytes::Bytes::from(vec![n as u8; 10_000]));
            ZeroResponse::ok().stream(crate::common::Pieces(pieces.collect()))
        }
    };
    let handle = runtime.run_per_core(factory).unwrap();
    let mut conn = client.connect();
    conn.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    std::thread::sleep(Duration::from_millis(50));
    let body = conn.answer().body;
    assert_eq!(body.len(), 4_000_000);
    assert!(
        body.chunks(10_000)
            .enumerate()
            .all(|(n, piece)| piece.iter().all(|&b| b == n as u8))
    );
    handle.shutdown();
    handle.wait().unwrap();
}
