//! The modes where hyper serves: where handlers run, what ends, and that the handle tells.

use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zero_runtime::{Backend, BackendChoice, Config, Io, ZeroResponse, ZeroRuntime};

use crate::listening;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";

fn config() -> Config {
    Config::default().backend(BackendChoice::Hyper)
}

fn thread_name() -> ZeroResponse {
    let thread = std::thread::current();
    ZeroResponse::ok().text(thread.name().unwrap_or_default())
}

#[test]
fn the_handle_tells_who_serves_and_shuts_down_in_order() {
    let (runtime, client) = listening(config());
    let handle = runtime.run_sync(|_| thread_name()).unwrap();
    assert_eq!(handle.backend(), Backend::Hyper);
    let mut conn = client.connect();
    conn.send(GET);
    assert_eq!(conn.answer().text(), "zero-hyper-0");
    handle.shutdown();
    // It was between requests.
    assert_eq!(conn.rest(), b"");
    handle.wait().unwrap();
}

#[test]
fn handlers_of_other_modes_run_on_the_runtimes_workers() {
    let (runtime, client) = listening(config().workers(2));
    let handle = runtime.run_async(async |_| thread_name()).unwrap();
    assert!(client.ask(GET).text().starts_with("zero-worker"));
    handle.shutdown();
    handle.wait().unwrap();
}

/// What is not `Send` stays on its thread, over awaits that other threads end, as it does on a shard.
#[test]
fn a_factory_is_called_once_a_thread_and_what_it_makes_stays_there() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let (runtime, client) = listening(config());
    let handle = runtime
        .run_per_core(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let calls = Rc::new(Cell::new(0));
            move |_| {
                let calls = calls.clone();
                async move {
                    tokio::spawn(async {}).await.unwrap();
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    calls.set(calls.get() + 1);
                    ZeroResponse::ok().text(calls.get().to_string())
                }
            }
        })
        .unwrap();
    for n in 1..=3 {
        assert_eq!(client.ask(GET).text(), n.to_string());
    }
    assert_eq!(made.load(Ordering::Relaxed), 1);
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn a_handler_that_panics_costs_its_own_connection() {
    let (runtime, client) = listening(config());
    let handle = runtime
        .run_sync(|request| match request.path() {
            "/panic" => panic!("as asked"),
            _ => ZeroResponse::ok(),
        })
        .unwrap();
    let mut other = client.connect();
    other.send(GET);
    assert_eq!(other.answer().status, 200);
    let mut conn = client.connect();
    conn.send("GET /panic HTTP/1.1\r\nhost: h\r\n\r\n");
    // As under hyper itself: no answer.
    assert_eq!(conn.rest(), b"");
    other.send(GET);
    assert_eq!(other.answer().status, 200);
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn what_is_left_at_the_deadline_of_a_shutdown_is_cut() {
    let (runtime, client) = listening(config());
    let handle = runtime
        .run_per_core(|| |_| std::future::pending::<ZeroResponse>())
        .unwrap();
    let mut conn = client.connect();
    conn.send(GET);
    std::thread::sleep(std::time::Duration::from_millis(20));
    handle.terminate();
    assert_eq!(conn.rest(), b"");
    handle.wait().unwrap();
}

#[test]
fn a_half_closed_connection_is_answered_if_the_configuration_says_so() {
    let (runtime, client) = listening(config().half_close(true));
    let handle = runtime.run_async(async |_| ZeroResponse::ok()).unwrap();
    let mut conn = client.connect();
    conn.send(GET);
    conn.half_close();
    assert_eq!(conn.answer().status, 200);
    assert_eq!(conn.rest(), b"");
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn unix_sockets_are_served_with_their_tap_called() {
    use std::io::{Read, Write};
    let path = std::env::temp_dir().join(format!("zero-modes-{}.sock", std::process::id()));
    let tapped = Arc::new(AtomicUsize::new(0));
    let counted = tapped.clone();
    let mut io = Io::new(config().shards(2)).unwrap();
    io.http_listen_unix(&path).unwrap();
    io.tap(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let handle = ZeroRuntime::new(io)
        .run_sync(|request| ZeroResponse::ok().text(request.path()).close())
        .unwrap();
    let mut conn = UnixStream::connect(&path).unwrap();
    conn.write_all(b"GET /way HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    conn.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n/way"), "{answer}");
    assert_eq!(tapped.load(Ordering::Relaxed), 1);
    handle.shutdown();
    handle.wait().unwrap();
    std::fs::remove_file(path).unwrap();
}
