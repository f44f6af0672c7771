//! What is `run_sync`'s own: the handler runs on the shard, and sees whole bodies only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zero_runtime::{Config, ZeroResponse};

use crate::listening;

#[test]
fn the_handler_runs_on_the_shard_whatever_way_the_request_came() {
    let (runtime, client) = listening(Config::default());
    let handle = runtime
        .run_sync(|_| {
            let thread = std::thread::current();
            ZeroResponse::ok().text(thread.name().unwrap_or_default())
        })
        .unwrap();
    let mut conn = client.connect();
    conn.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(conn.answer().text(), "zero-shard-0");
    conn.send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    std::thread::sleep(std::time::Duration::from_millis(20));
    conn.send("2\r\nhi\r\n0\r\n\r\n");
    assert_eq!(conn.answer().text(), "zero-shard-0");
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn a_request_without_its_body_is_not_handled() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let (runtime, client) = listening(Config::default());
    let handle = runtime
        .run_sync(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            ZeroResponse::ok()
        })
        .unwrap();
    let mut conn = client.connect();
    conn.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf");
    std::thread::sleep(std::time::Duration::from_millis(20));
    conn.half_close();
    // The peer's own fault, and told so while there is somebody to tell.
    let rest = conn.rest();
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"),
        "{rest:?}"
    );
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn requests_are_counted() {
    let (runtime, client) = listening(Config::default().requests_per_connection_max(2));
    let handle = runtime.run_sync(|_| ZeroResponse::ok()).unwrap();
    let mut conn = client.connect();
    conn.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(3));
    assert_eq!(conn.answer().header("connection"), None);
    assert_eq!(conn.answer().header("connection"), Some("close"));
    assert_eq!(conn.rest(), b"");
    let stats = handle.stats();
    assert_eq!((stats.requests, stats.responses), (2, 2));
    handle.shutdown();
    handle.wait().unwrap();
}
