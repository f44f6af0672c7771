//! Two shards that have one core between them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::ZeroRuntime;
use crate::config::{Config, Dispatch};
use crate::lifecycle::ShutdownHandle;
use crate::message::{HttpOwnedRequest, ZeroResponse};
use crate::server::Io;
use crate::stats::Stats;
use crate::{cpus, sys};

/// Serves from two threads that are bound to one core. Answers say how many requests the connection has asked.
fn serve() -> (SocketAddr, ShutdownHandle) {
    sys::pin_current_thread(cpus::usable()[0]).unwrap();
    let config = Config::default().shards(2).workers(1);
    let mut io = Io::new(config.dispatch(Dispatch::Inline)).unwrap();
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    let service = tower::service_fn(async |request: HttpOwnedRequest| {
        let number = request.header("number").unwrap_or_default();
        Ok::<_, std::convert::Infallible>(ZeroResponse::ok().text(format!("{number}!")))
    });
    (addr, ZeroRuntime::new(io).run_tower(service).unwrap())
}

/// Asks over one connection, three requests at once, until told to stop; how often.
fn ask(addr: SocketAddr, is_over: &AtomicBool) -> usize {
    let connection = TcpStream::connect(addr).unwrap();
    let patience = Some(Duration::from_secs(60));
    connection.set_read_timeout(patience).unwrap();
    let mut connection = BufReader::new(connection);
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        let numbers = number..number + 3;
        let ask = |n| format!("GET / HTTP/1.1\r\nhost: a\r\nnumber: {n}\r\n\r\n");
        let requests: String = numbers.clone().map(ask).collect();
        connection.get_mut().write_all(requests.as_bytes()).unwrap();
        let mut answers = Vec::new();
        for _ in 0..3 {
            let count = connection.read_until(b'!', &mut answers).unwrap();
            assert!(count > 0, "the connection goes on");
        }
        let answers = String::from_utf8(answers).unwrap();
        let mut rest = &*answers;
        for n in numbers {
            let at = rest.find(&format!("\r\n\r\n{n}!"));
            rest = &rest[at.unwrap_or_else(|| panic!("no answer to {n} in {answers}"))..];
        }
        number += 3;
    }
    number
}

#[test]
fn one_of_two_shards_on_a_core_leaves_its_connections_to_the_other() {
    let (addr, server) = thread::spawn(serve).join().unwrap();
    let is_over = AtomicBool::new(false);
    let until = Instant::now() + Duration::from_secs(60);
    let asked: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| ask(addr, &is_over)))
            .collect();
        // Kernels that give no account of threads let every shard keep what it has.
        let has_moved = |stats: Stats| stats.standbys > 0 && stats.connections_moved >= 8;
        while !has_moved(server.stats()) && is_told() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    let stats = server.stats();
    assert!(stats.connections_moved >= 8 || !is_told(), "{stats:?}");
    assert!(stats.standbys > 0 || !is_told(), "{stats:?}");
    assert_eq!(stats.requests, asked as u64);
    assert_eq!(stats.responses, asked as u64);
    assert_eq!(stats.connections_accepted, 16);
    server.shutdown();
    server.wait().unwrap();
}

/// Whether a thread can know how long it waited for its core.
fn is_told() -> bool {
    std::path::Path::new("/proc/thread-self/schedstat").exists()
}
