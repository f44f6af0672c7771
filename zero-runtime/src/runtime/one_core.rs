//! A server that has one core for its shard and its workers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::ZeroRuntime;
use crate::config::{Config, Dispatch};
use crate::lifecycle::ShutdownHandle;
use crate::message::{HttpOwnedRequest, ZeroResponse};
use crate::server::Io;
use crate::{cpus, sys};

/// Serves from threads that are all bound to one core, with handlers that wait for a timer.
fn serve() -> (SocketAddr, ShutdownHandle) {
    sys::pin_current_thread(cpus::usable()[0]).unwrap();
    let config = Config::default().shards(1).workers(1);
    let mut io = Io::new(config.dispatch(Dispatch::Inline)).unwrap();
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    let service = tower::service_fn(async |_: HttpOwnedRequest| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<_, std::convert::Infallible>(ZeroResponse::ok().text("woken"))
    });
    (addr, ZeroRuntime::new(io).run_tower(service).unwrap())
}

/// Asks `count` times over one connection.
fn ask(addr: SocketAddr, count: usize) {
    let connection = TcpStream::connect(addr).unwrap();
    let patience = Some(Duration::from_secs(60));
    connection.set_read_timeout(patience).unwrap();
    let mut connection = BufReader::new(connection);
    for _ in 0..count {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        connection.get_mut().write_all(request).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"woken") {
            let count = connection.read_until(b'n', &mut answer).unwrap();
            assert!(count > 0, "the connection goes on");
        }
    }
}

/// Timers fire for many handlers at once, so that there is something to take turns for.
#[test]
fn shard_and_workers_take_turns_and_everybody_is_answered() {
    let (addr, server) = thread::spawn(serve).join().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let mut requests = 0;
    // Where a quota makes shards sleep at once, they take no turns either.
    while server.stats().turns_given == 0 && !cpus::are_rationed() {
        assert!(Instant::now() < until, "nobody gives its core away");
        thread::scope(|scope| {
            (0..16).for_each(|_| drop(scope.spawn(|| ask(addr, 20))));
        });
        requests += 16 * 20;
    }
    assert_eq!(server.stats().responses, requests);
    server.terminate();
    server.wait().unwrap();
}
