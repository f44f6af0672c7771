//! Orders from other threads.

use std::time::{Duration, Instant};

use bytes::Bytes;
use zero_runtime::raw::{Event, OrderError};
use zero_runtime::{Config, IoHandle, ZeroResponse};

use crate::support::*;

#[test]
fn a_handle_goes_anywhere() {
    fn anywhere<T: Send + Sync + Clone + 'static>() {}
    anywhere::<IoHandle>();
}

#[test]
fn other_threads_send_while_the_loop_sleeps() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    let (mut shard, addr) = streams(Config::default());
    let client = client(addr, |stream| talk(stream, b"x"));
    let conn = opened(&mut shard);
    let handle = shard.handle();
    let senders: Vec<_> = (0..THREADS)
        .map(|_| {
            let handle = handle.clone();
            std::thread::spawn(move || {
                for count in 0..EACH {
                    let mut order = Bytes::from(vec![count as u8]);
                    // The loop takes 4,096 at most between two polls.
                    while let Err(error) = handle.send(conn, order) {
                        assert!(matches!(error, OrderError::Full(_)));
                        order = error.into_inner();
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let give_up = Instant::now() + PATIENCE;
    while shard.conn_stats(conn).unwrap().bytes_out < (THREADS * EACH) as u64 {
        assert!(Instant::now() < give_up);
        // Without end: whoever sends has to wake it.
        shard.poll(Some(PATIENCE)).unwrap();
        while shard.next_event().is_some() {}
    }
    senders
        .into_iter()
        .for_each(|sender| sender.join().unwrap());
    handle.close_graceful(conn).unwrap();
    let all = while_runs(&mut shard, client, |_, _| {});
    assert_eq!(all.len(), THREADS * EACH);
}

#[test]
fn a_wake_ends_a_poll_whether_it_has_begun_or_not() {
    let (mut shard, _) = streams(Config::default());
    let handle = shard.handle();
    handle.wake();
    shard.poll(None).unwrap();
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        handle.wake();
    });
    shard.poll(None).unwrap();
    waker.join().unwrap();
}

#[test]
fn a_request_is_answered_by_another_thread() {
    let (mut shard, addr) = http(Config::default());
    let client = client(addr, |stream| {
        talk(
            stream,
            b"GET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        )
    });
    let conn = until(&mut shard, |event| match event {
        Event::Request { conn, .. } => Some(conn),
        _ => None,
    });
    let request = shard.detach_http_request().unwrap();
    let handle = shard.handle();
    let answerer = std::thread::spawn(move || {
        let text = format!("elsewhere: {}", request.path());
        handle.respond(conn, ZeroResponse::ok().text(text)).unwrap();
        // A second answer to one request is dropped.
        handle
            .respond(conn, ZeroResponse::ok().text("twice"))
            .unwrap();
    });
    let answer = while_runs(&mut shard, client, |_, _| {});
    answerer.join().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nelsewhere: /a"), "{answer}");
}

#[test]
fn what_a_stream_has_no_room_for_comes_back_to_the_loop() {
    let (mut shard, addr) = streams(Config::default().response_window_bytes(1000));
    let _peer = std::net::TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    let handle = shard.handle();
    for _ in 0..3 {
        handle.send(conn, vec![1; 900]).unwrap();
    }
    let refused = until(&mut shard, |event| match event {
        Event::Refused { bytes, .. } => Some(bytes),
        _ => None,
    });
    assert_eq!(refused, vec![1; 900]);
    assert!(shard.conn_stats(conn).unwrap().unsent_bytes <= 1900);
}

#[test]
fn bytes_for_a_connection_that_is_no_stream_come_back_to_the_loop() {
    let (mut shard, addr) = http(Config::default());
    let _peer = std::net::TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    shard.handle().send(conn, &b"no response"[..]).unwrap();
    let refused = until(&mut shard, |event| match event {
        Event::Refused { conn, bytes } => Some((conn, bytes)),
        _ => None,
    });
    assert_eq!(refused, (conn, Bytes::from_static(b"no response")));
    assert_eq!(shard.conn_stats(conn).unwrap().unsent_bytes, 0);
}

#[test]
fn orders_are_bounded_and_end_with_the_shard() {
    let (mut shard, addr) = streams(Config::default());
    let _peer = std::net::TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    let handle = shard.handle();
    let taken = (0..10_000)
        .take_while(|_| handle.send(conn, &b"x"[..]).is_ok())
        .count();
    assert_eq!(taken, 4096);
    shard.poll(Some(Duration::ZERO)).unwrap();
    while shard.next_event().is_some() {}
    handle.send(conn, &b"x"[..]).unwrap();
    drop(shard);
    assert_eq!(
        handle.send(conn, &b"x"[..]),
        Err(OrderError::Closed(Bytes::from_static(b"x")))
    );
}
