//! How connections end, and the shard.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;
use zero_runtime::raw::{DisconnectReason, Event};
use zero_runtime::{Config, RawShard, ZeroResponse};

use crate::support::*;

fn closed(shard: &mut RawShard) -> DisconnectReason {
    until(shard, |event| match event {
        Event::Closed { why, .. } => Some(why),
        _ => None,
    })
}

#[test]
fn a_reset_is_told_as_one() {
    let (mut shard, addr) = streams(Config::default());
    let peer = TcpStream::connect(addr).unwrap();
    opened(&mut shard);
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    assert_eq!(
        closed(&mut shard),
        DisconnectReason::Failed(ErrorKind::ConnectionReset)
    );
    assert_eq!(shard.stats().connections_open, 0);
}

#[test]
fn a_peer_that_had_ended_its_side_and_is_gone_breaks_the_pipe() {
    let (mut shard, addr) = streams(Config::default());
    let peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    peer.shutdown(Shutdown::Write).unwrap();
    until(&mut shard, |event| {
        matches!(event, Event::HalfClosed { .. }).then_some(())
    });
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    shard.stream_write(conn, b"to nobody").unwrap();
    assert_eq!(
        closed(&mut shard),
        DisconnectReason::Failed(ErrorKind::BrokenPipe)
    );
}

#[test]
fn closing_is_told_and_drops_what_is_unsent() {
    let (mut shard, addr) = streams(Config::default());
    let client = client(addr, |mut stream| {
        let mut all = Vec::new();
        let read = stream.read_to_end(&mut all);
        (read.map_err(|error| error.kind()), all)
    });
    let conn = opened(&mut shard);
    shard.stream_write(conn, b"never seen").unwrap();
    shard.close(conn);
    assert_eq!(closed(&mut shard), DisconnectReason::Closed);
    assert_eq!(client.join().unwrap(), (Ok(0), Vec::new()));
}

#[test]
fn a_shutdown_waits_for_no_head_that_has_not_come_whole() {
    let (mut shard, addr) = http(Config::default().head_timeout(Duration::from_secs(3600)));
    let begun = b"GET / HT";
    let clients = [&b""[..], begun].map(|sent| client(addr, move |stream| talk(stream, sent)));
    let ids = [opened(&mut shard), opened(&mut shard)];
    until_true(&mut shard, |shard| {
        shard.stats().bytes_in == begun.len() as u64
    });
    assert!(ids.iter().all(|id| shard.conn_stats(*id).is_some()));
    shard.shutdown();
    for client in clients {
        assert_eq!(while_runs(&mut shard, client, |_, _| {}), b"");
    }
    until_true(&mut shard, |shard| shard.has_ended());
}

#[test]
fn a_peer_that_takes_nothing_is_cut() {
    let config = Config::default().write_timeout(Duration::from_millis(200));
    let (mut shard, addr) = streams(config);
    let _peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    let began = Instant::now();
    let why = loop {
        let _ = shard.stream_write(conn, &[0; 1 << 16]);
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        let event = shard.next_event();
        if let Some(Event::Closed { why, .. }) = event {
            break why;
        }
        assert!(began.elapsed() < PATIENCE);
    };
    assert_eq!(why, DisconnectReason::TimedOut);
}

#[test]
fn a_graceful_close_is_not_destroyed_by_what_was_not_read() {
    let (mut shard, addr) = streams(Config::default().linger_timeout(PATIENCE));
    let client = client(addr, |mut stream| {
        stream.write_all(&[1; 100_000]).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let conn = opened(&mut shard);
    shard.stream_write(conn, b"enough").unwrap();
    shard.close_graceful(conn);
    let (all, whys) = while_runs_and_ends(&mut shard, client, 1);
    assert_eq!(all, b"enough");
    assert_eq!(whys, [DisconnectReason::Ended]);
}

#[test]
fn a_shutdown_ends_what_is_open_and_then_the_shard() {
    let config = Config::default().linger_timeout(Duration::from_millis(100));
    let (mut shard, addr) = streams(config);
    let http = shard.http_listen(anywhere()).unwrap();
    let http = shard.local_addr(http).unwrap();
    let mut idle = TcpStream::connect(http).unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    let asked = until(&mut shard, |event| match event {
        Event::Request { conn, .. } => Some(conn),
        _ => None,
    });
    let stream = client(addr, |stream| talk(stream, b"hi"));
    data(&mut shard, 2);
    shard.shutdown();
    until_true(&mut shard, |_| TcpStream::connect(addr).is_err());
    assert!(!shard.has_ended(), "a request is unanswered");
    shard
        .http_respond(asked, ZeroResponse::ok().text("last"))
        .unwrap();
    until_true(&mut shard, |shard| shard.has_ended());
    let mut answer = String::new();
    idle.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("last"), "{answer}");
    assert_eq!(stream.join().unwrap(), b"");
}

#[test]
fn a_termination_cuts_what_is_left() {
    let (mut shard, addr) = streams(Config::default());
    let _peers: Vec<_> = (0..3).map(|_| TcpStream::connect(addr).unwrap()).collect();
    (0..3).for_each(|_| _ = opened(&mut shard));
    shard.terminate();
    let ends = (0..3).map(|_| closed(&mut shard));
    assert!(ends.into_iter().all(|why| why == DisconnectReason::Closed));
    until_true(&mut shard, |shard| shard.has_ended());
}

#[test]
fn a_shard_may_be_dropped_with_anything_in_flight() {
    for turn in 0..4 {
        let (mut shard, addr) = streams(Config::default());
        let mut peers: Vec<_> = (0..8).map(|_| TcpStream::connect(addr).unwrap()).collect();
        let conns: Vec<_> = (0..8).map(|_| opened(&mut shard)).collect();
        // Sends that cannot end, receives that have not, input that is held, a connect that goes nowhere.
        for conn in &conns {
            for _ in 0..40 {
                let _ = shard.stream_send(*conn, vec![turn; 200_000]);
            }
        }
        let _ = shard.tcp_connect(addr).unwrap();
        peers
            .iter_mut()
            .for_each(|peer| peer.write_all(b"unread").unwrap());
        if turn > 0 {
            shard.poll(Some(Duration::from_millis(10))).unwrap();
        }
        let slot = match turn {
            2 | 3 => {
                until(&mut shard, |event| {
                    matches!(event, Event::Data { .. }).then_some(())
                });
                shard.detach_event_data().ok()
            }
            _ => None,
        };
        let handle = shard.handle();
        drop(shard);
        assert!(handle.close(conns[0]).is_err());
        assert!(slot.is_none_or(|slot| b"unread".starts_with(&slot)));
        // Nobody serves them any more.
        for mut peer in peers {
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut rest = Vec::new();
            let _ = peer.read_to_end(&mut rest);
        }
    }
}
