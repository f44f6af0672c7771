//! A loop that goes on until something has happened, and clients that block.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zero_runtime::raw::{ConnId, DisconnectReason, Event};
use zero_runtime::{Config, RawShard};

pub use crate::patience::{PATIENCE, at_any_pace};

pub fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A shard that listens for streams.
pub fn streams(config: Config) -> (RawShard, SocketAddr) {
    let mut shard = RawShard::new(config).expect("io_uring");
    let endpoint = shard.tcp_listen(anywhere()).unwrap();
    let addr = shard.local_addr(endpoint).unwrap();
    (shard, addr)
}

/// A shard that listens for HTTP.
pub fn http(config: Config) -> (RawShard, SocketAddr) {
    let mut shard = RawShard::new(config).expect("io_uring");
    let endpoint = shard.http_listen(anywhere()).unwrap();
    let addr = shard.local_addr(endpoint).unwrap();
    (shard, addr)
}

/// Polls until `found` makes something of an event; others are dropped.
pub fn until<T>(shard: &mut RawShard, mut found: impl FnMut(Event<'_>) -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        while let Some(event) = shard.next_event() {
            if let Some(found) = found(event) {
                return found;
            }
        }
        assert!(Instant::now() < give_up, "nothing of the kind has happened");
        shard.poll(Some(Duration::from_millis(50))).unwrap();
    }
}

/// The next connection that is opened.
pub fn opened(shard: &mut RawShard) -> ConnId {
    until(shard, |event| match event {
        Event::Opened { conn, .. } => Some(conn),
        _ => None,
    })
}

/// Data of streams until there are `bytes` bytes of it.
pub fn data(shard: &mut RawShard, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        until(shard, |event| match event {
            Event::Data { data, .. } => {
                all.extend_from_slice(data);
                Some(())
            }
            _ => None,
        });
    }
    all
}

/// Polls until `done` is true, dropping events.
pub fn until_true(shard: &mut RawShard, mut done: impl FnMut(&mut RawShard) -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !done(shard) {
        assert!(Instant::now() < give_up, "it never came true");
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        while shard.next_event().is_some() {}
    }
}

/// Runs the shard until a thread has ended, and says what that returned. `react` is asked about each event.
pub fn while_runs<T>(
    shard: &mut RawShard,
    thread: JoinHandle<T>,
    mut react: impl FnMut(&mut RawShard, ConnId),
) -> T {
    let give_up = Instant::now() + PATIENCE;
    while !thread.is_finished() {
        assert!(Instant::now() < give_up, "the client does not end");
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        while let Some(event) = shard.next_event() {
            let conn = event.conn();
            react(shard, conn);
        }
    }
    thread.join().unwrap()
}

/// Runs the shard until a thread has ended, and then until `ends` connections have; says why they did.
pub fn while_runs_and_ends<T>(
    shard: &mut RawShard,
    thread: JoinHandle<T>,
    ends: usize,
) -> (T, Vec<DisconnectReason>) {
    let mut whys = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    while !thread.is_finished() || whys.len() < ends {
        assert!(Instant::now() < give_up, "{whys:?}");
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        while let Some(event) = shard.next_event() {
            if let Event::Closed { why, .. } = event {
                whys.push(why);
            }
        }
    }
    (thread.join().unwrap(), whys)
}

/// A client of its own thread.
pub fn client<T: Send + 'static>(
    addr: SocketAddr,
    act: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        act(stream)
    })
}

/// Sends all of it, and reads until the other end ends.
pub fn talk(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}
