//! What a hostile or an unlucky peer, or a slow loop, could once do to a raw shard.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zero_runtime::raw::{ConnId, DisconnectReason, Event};
use zero_runtime::{Config, RawShard, ZeroResponse};

use crate::support::{PATIENCE, at_any_pace, data, http, opened, streams, until, until_true};

/// Polls for so long, once at least, and returns how often that was.
fn polls_in(shard: &mut RawShard, time: Duration) -> u64 {
    let end = Instant::now() + time;
    let mut polls = 0;
    while polls == 0 || Instant::now() < end {
        shard.poll(Some(Duration::from_millis(20))).unwrap();
        while shard.next_event().is_some() {}
        polls += 1;
    }
    polls
}

#[test]
fn a_shard_that_was_full_sleeps_again() {
    let (mut shard, addr) = streams(Config::default().connections_max(1));
    let first = TcpStream::connect(addr).unwrap();
    opened(&mut shard);
    let second = TcpStream::connect(addr).unwrap();
    polls_in(&mut shard, Duration::from_millis(50));
    let while_full = polls_in(&mut shard, Duration::from_millis(300));
    drop((first, second));
    polls_in(&mut shard, Duration::from_millis(50));
    let after = polls_in(&mut shard, Duration::from_millis(300));
    assert!(while_full < 100 && after < 100, "{while_full}, {after}");
}

/// Whether a request that is there in time is told though the loop looks only after the deadline.
fn is_told_late(config: Config, deadline: Duration, answered_first: bool) {
    let (mut shard, addr) = http(config);
    let mut peer = TcpStream::connect(addr).unwrap();
    opened(&mut shard);
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    if answered_first {
        peer.write_all(request).unwrap();
        let conn = until(&mut shard, |event| match event {
            Event::Request { conn, .. } => Some(conn),
            _ => None,
        });
        let response = ZeroResponse::ok().text("hi");
        shard.http_respond(conn, response).unwrap();
        polls_in(&mut shard, Duration::from_millis(20));
        assert!(peer.read(&mut [0; 4096]).unwrap() > 0);
    }
    peer.write_all(request).unwrap();
    std::thread::sleep(2 * deadline);
    until(&mut shard, |event| match event {
        Event::Request { .. } => Some(()),
        Event::Closed { why, .. } => panic!("closed: {why:?}"),
        _ => None,
    });
}

#[test]
fn what_came_in_time_is_told_by_a_loop_that_was_busy() {
    at_any_pace(|unit| {
        is_told_late(Config::default().head_timeout(unit), unit, false);
        is_told_late(Config::default().keep_alive_timeout(unit), unit, true);
    });
}

#[test]
fn a_body_that_came_in_time_is_told_by_a_loop_that_was_busy() {
    at_any_pace(|unit| {
        let (mut shard, addr) = http(Config::default().body_timeout(unit));
        let mut peer = TcpStream::connect(addr).unwrap();
        peer.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n")
            .unwrap();
        until(&mut shard, |event| match event {
            Event::Request { .. } => Some(()),
            _ => None,
        });
        peer.write_all(&[b'x'; 5000]).unwrap();
        std::thread::sleep(2 * unit);
        until(&mut shard, |event| match event {
            Event::Body { .. } => Some(()),
            Event::BodyFailed { error, .. } => panic!("{error:?}"),
            _ => None,
        });
    });
}

#[test]
fn a_paused_stream_that_trickles_is_not_read() {
    let (mut shard, addr) = streams(Config::default());
    let is_over = Arc::new(AtomicBool::new(false));
    let client = std::thread::spawn({
        let is_over = is_over.clone();
        move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                stream.write_all(b"0123456789").unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let conn = opened(&mut shard);
    data(&mut shard, 100);
    shard.stream_pause(conn, true).unwrap();
    // What had been received by then may be told still.
    let mut told = 0;
    let mut look = |shard: &mut RawShard| {
        for _ in 0..20 {
            shard.poll(Some(Duration::from_millis(5))).unwrap();
            while let Some(event) = shard.next_event() {
                if let Event::Data { data, .. } = event {
                    told += data.len();
                }
            }
        }
        told
    };
    let before = look(&mut shard);
    assert_eq!(look(&mut shard), before, "bytes come though nobody reads");
    shard.stream_pause(conn, false).unwrap();
    data(&mut shard, 10);
    is_over.store(true, Ordering::Relaxed);
    client.join().unwrap();
}

fn closed(shard: &mut RawShard) -> (DisconnectReason, Duration) {
    let began = Instant::now();
    let why = until(shard, |event| match event {
        Event::Closed { why, .. } => Some(why),
        _ => None,
    });
    (why, began.elapsed())
}

#[test]
fn a_handle_closes_at_once_what_lingers() {
    let config = Config::default().linger_timeout(Duration::from_secs(60));
    let (mut shard, addr) = streams(config);
    let _peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    shard.close_graceful(conn);
    polls_in(&mut shard, Duration::from_millis(30));
    shard.handle().close(conn).unwrap();
    assert!(closed(&mut shard).1 < Duration::from_secs(30));
}

/// A stream that is being connected: nobody has told the loop of it yet.
fn connecting(shard: &mut RawShard) -> (ConnId, TcpListener) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let conn = shard.tcp_connect(listener.local_addr().unwrap()).unwrap();
    (conn, listener)
}

#[test]
fn what_is_being_connected_can_be_closed_in_every_way() {
    let ways: [fn(&mut RawShard, ConnId); 4] = [
        |shard, conn| shard.close(conn),
        |shard, conn| shard.close_graceful(conn),
        |shard, conn| shard.handle().close(conn).unwrap(),
        |shard, conn| shard.handle().close_graceful(conn).unwrap(),
    ];
    for way in ways {
        let mut shard = RawShard::new(Config::default()).unwrap();
        let (conn, _listener) = connecting(&mut shard);
        way(&mut shard, conn);
        assert_eq!(closed(&mut shard).0, DisconnectReason::Closed);
    }
}

#[test]
fn an_order_that_finds_nobody_is_counted() {
    let mut shard = RawShard::new(Config::default()).unwrap();
    let (conn, _listener) = connecting(&mut shard);
    shard.close(conn);
    closed(&mut shard);
    shard.handle().send(conn, &b"too late"[..]).unwrap();
    until_true(&mut shard, |shard| shard.stats().orders_dropped == 1);
}

#[test]
fn streams_that_take_nothing_are_let_go_when_buffers_run_short() {
    let config = Config::default()
        .write_buffer_bytes(4096)
        .buffered_bytes_max(20 * 4096)
        .write_timeout(None);
    let (mut shard, addr) = streams(config);
    let mut conns = Vec::new();
    let _peers: Vec<_> = (0..4)
        .map(|_| {
            let peer = TcpStream::connect(addr).unwrap();
            conns.push(opened(&mut shard));
            peer
        })
        .collect();
    let end = Instant::now() + PATIENCE;
    loop {
        // The kernel takes megabytes of each before the first is stuck.
        for conn in &conns {
            let _ = shard.stream_write(*conn, &[0; 1 << 16]);
        }
        shard.poll(Some(Duration::from_millis(1))).unwrap();
        let mut is_shed = false;
        while let Some(event) = shard.next_event() {
            if let Event::Closed { why, .. } = event {
                assert_eq!(why, DisconnectReason::Shed);
                is_shed = true;
            }
        }
        if is_shed {
            break;
        }
        assert!(Instant::now() < end, "nobody is let go");
    }
    let stats = shard.stats();
    assert!(stats.shed_stalled > 0 && stats.overload_criticals > 0);
}
