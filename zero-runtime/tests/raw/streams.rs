//! Bytes as they come and go.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use zero_runtime::raw::{DetachError, Event, Pressure, SendError, StreamError};
use zero_runtime::{Config, RawShard};

use crate::support::*;

#[test]
fn what_an_event_lent_is_let_go_with_the_next_one_also_if_there_is_none() {
    let (mut shard, addr) = streams(Config::default());
    let mut peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    peer.write_all(b"abc").unwrap();
    assert_eq!(data(&mut shard, 3), b"abc");
    assert_eq!(shard.detach_event_data().unwrap()[..], *b"abc");
    assert!(shard.next_event().is_none());
    assert_eq!(shard.detach_event_data().unwrap_err(), DetachError::NoData);
    assert_eq!(shard.stream_forward(conn), Ok(0));
}

#[test]
fn what_is_sent_is_told_and_what_is_forwarded_comes_back() {
    let (mut shard, addr) = streams(Config::default());
    let client = client(addr, |mut stream| {
        for size in [1, 100, 20_000, 3] {
            let sent = vec![size as u8; size];
            stream.write_all(&sent).unwrap();
            let mut back = vec![0; size];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(sent, back);
        }
    });
    while_runs(&mut shard, client, |shard, conn| {
        if shard.detach_event_data().is_ok() {
            shard.stream_forward(conn).unwrap();
        }
    });
}

#[test]
fn a_unix_socket_is_a_stream_like_any_other() {
    let dir = std::env::temp_dir().join(format!("zero-raw-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("echo.sock");
    let mut shard = RawShard::new(Config::default()).unwrap();
    let endpoint = shard.unix_listen(&path).unwrap();
    assert!(shard.local_addr(endpoint).is_err());
    let other = shard.unix_connect(&path).unwrap();
    let mut peer = UnixStream::connect(&path).unwrap();
    peer.write_all(b"from outside").unwrap();
    let mut all = data(&mut shard, 12);
    assert_eq!(all, b"from outside");
    // The one that was connected from here is a stream as well.
    until_true(&mut shard, |shard| {
        shard.stream_write(other, b"from here").is_ok()
    });
    all = data(&mut shard, 9);
    assert_eq!(all, b"from here");
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn a_path_that_is_longer_than_the_kernel_takes_is_no_address() {
    let mut shard = RawShard::new(Config::default()).unwrap();
    let error = shard.unix_connect("/tmp/".to_owned() + &"x".repeat(200));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_socket_of_an_open_connection_has_its_options_set() {
    let (mut shard, addr) = streams(Config::default().nodelay(false));
    let _peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    let socket = shard.socket(conn).unwrap();
    assert!(!socket.tcp_nodelay().unwrap());
    socket.set_tcp_nodelay(true).unwrap();
    assert!(shard.socket(conn).unwrap().tcp_nodelay().unwrap());
    shard.close(conn);
    until_true(&mut shard, |shard| shard.socket(conn).is_none());
}

#[test]
fn a_connection_counts_what_it_has_received_and_how_old_it_is() {
    let (mut shard, addr) = streams(Config::default());
    let mut peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    let young = shard.conn_stats(conn).unwrap();
    assert_eq!(young.bytes_in, 0);
    peer.write_all(&[1; 1000]).unwrap();
    assert_eq!(data(&mut shard, 1000).len(), 1000);
    let waited = Duration::from_millis(20);
    std::thread::sleep(waited);
    shard.poll(Some(Duration::ZERO)).unwrap();
    let old = shard.conn_stats(conn).unwrap();
    assert_eq!(old.bytes_in, 1000);
    assert!(old.age >= young.age + waited, "{young:?} {old:?}");
}

#[test]
fn a_stream_that_is_connected_says_so_and_one_that_cannot_be_says_why() {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let mut shard = RawShard::new(Config::default()).unwrap();
    let conn = shard.tcp_connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(
        shard.stream_write(conn, b"too early"),
        Err(StreamError::NotOpen)
    );
    let opened = until(&mut shard, |event| match event {
        Event::Opened {
            conn,
            endpoint,
            peer_addr,
        } => Some((conn, endpoint, peer_addr)),
        _ => None,
    });
    assert_eq!(opened, (conn, None, listener.local_addr().unwrap()));
    shard.stream_write(conn, b"hello").unwrap();
    shard.poll(Some(Duration::ZERO)).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let mut hello = [0; 5];
    peer.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");

    let nobody = listener.local_addr().unwrap();
    drop((listener, peer));
    let refused = shard.tcp_connect(nobody).unwrap();
    let why = until(&mut shard, |event| match event {
        Event::Closed { conn, why } if conn == refused => Some(format!("{why:?}")),
        _ => None,
    });
    assert_eq!(why, "ConnectFailed(ConnectionRefused)");
}

#[test]
fn an_answer_behind_the_peers_end_arrives_whole() {
    let (mut shard, addr) = streams(Config::default());
    let client = client(addr, |mut stream| {
        stream.write_all(b"question").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let asked = data(&mut shard, 8);
    assert_eq!(asked, b"question");
    let conn = until(&mut shard, |event| match event {
        Event::HalfClosed { conn } => Some(conn),
        _ => None,
    });
    assert!(shard.conn_stats(conn).unwrap().peer_has_ended);
    shard.stream_write(conn, b"answer").unwrap();
    shard.stream_end(conn).unwrap();
    assert_eq!(shard.stream_write(conn, b"more"), Err(StreamError::NotOpen));
    let why = until(&mut shard, |event| match event {
        Event::Closed { why, .. } => Some(format!("{why:?}")),
        _ => None,
    });
    assert_eq!(why, "Ended");
    assert_eq!(client.join().unwrap(), b"answer");
}

#[test]
fn our_end_leaves_the_peers_side_open() {
    let (mut shard, addr) = streams(Config::default());
    let client = client(addr, |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        // Its end was seen; ours is still open.
        stream.write_all(b"late words").unwrap();
        all
    });
    let conn = opened(&mut shard);
    shard.stream_write(conn, b"all I have to say").unwrap();
    shard.stream_end(conn).unwrap();
    assert_eq!(shard.stream_write(conn, b"x"), Err(StreamError::Ended));
    assert_eq!(data(&mut shard, 10), b"late words");
    let why = until(&mut shard, |event| match event {
        Event::Closed { why, .. } => Some(format!("{why:?}")),
        _ => None,
    });
    assert_eq!(why, "Ended");
    assert_eq!(client.join().unwrap(), b"all I have to say");
}

#[test]
fn a_stream_holds_no_more_than_its_window_and_says_when_there_is_room() {
    const WINDOW: usize = 64 * 1024;
    const ALL: usize = 40 << 20;
    let (mut shard, addr) = streams(Config::default().response_window_bytes(WINDOW));
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let client = client(addr, move |mut stream| {
        wait.recv().unwrap();
        let mut buffer = vec![0; 1 << 16];
        let mut count = 0;
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return count,
                n => {
                    let expected = |at: usize| ((count + at) / 1000) as u8;
                    assert!((0..n).all(|at| buffer[at] == expected(at)));
                    count += n;
                }
            }
        }
    });
    let conn = opened(&mut shard);
    let content: Vec<u8> = (0..ALL).map(|at| (at / 1000) as u8).collect();
    let mut at = 0;
    let mut cuts = 0;
    let mut go = Some(go);
    while at < ALL {
        let taken = shard.stream_write(conn, &content[at..]).unwrap();
        at += taken;
        let unsent_bytes = shard.conn_stats(conn).unwrap().unsent_bytes;
        assert!(unsent_bytes <= WINDOW, "{unsent_bytes}");
        if at == ALL {
            break;
        }
        cuts += 1;
        if cuts == 100
            && let Some(go) = go.take()
        {
            // It has been written for a while, and a while is nothing to a peer that does not read.
            assert!(at < ALL);
            go.send(()).unwrap();
        }
        shard.poll(Some(Duration::from_millis(20))).unwrap();
        while shard.next_event().is_some() {}
    }
    drop(go);
    shard.close_graceful(conn);
    let count = while_runs(&mut shard, client, |_, _| {});
    assert_eq!(count, ALL);
}

#[test]
fn writable_is_told_once_there_is_room_again() {
    let (mut shard, addr) = streams(Config::default().response_window_bytes(4096));
    let peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    // More than sockets hold.
    let mut taken = 1;
    let mut idle = 0;
    while idle < 20 {
        taken = shard.stream_write(conn, &[7; 1 << 16]).unwrap();
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        idle = if taken == 0 { idle + 1 } else { 0 };
        while shard.next_event().is_some() {}
    }
    assert_eq!(taken, 0);
    match shard.stream_send(conn, vec![1; 100]) {
        Err(SendError::NoRoom(bytes)) => assert_eq!(bytes.len(), 100),
        other => panic!("{other:?}"),
    }
    let reader = std::thread::spawn(move || {
        let mut peer = peer;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(1..) = peer.read(&mut buffer) {}
    });
    let writable = until(&mut shard, |event| match event {
        Event::Writable { conn } => Some(conn),
        _ => None,
    });
    assert_eq!(writable, conn);
    shard.stream_send(conn, vec![1; 100]).unwrap();
    shard.close(conn);
    while_runs(&mut shard, reader, |_, _| {});
}

#[test]
fn slots_run_out_one_by_one_and_come_home_from_any_thread() {
    let config = Config::default().recv_buffers(4).recv_buffer_bytes(4096);
    let (mut shard, addr) = streams(config);
    let mut peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    assert_eq!(shard.detach_event_data().unwrap_err(), DetachError::NoData);
    let mut slots = Vec::new();
    for (count, pressure) in [
        (1, Pressure::Healthy),
        (2, Pressure::Healthy),
        (3, Pressure::Warning),
        (4, Pressure::Drain),
    ] {
        peer.write_all(&[count as u8; 10]).unwrap();
        until(&mut shard, |event| {
            matches!(event, Event::Data { .. }).then_some(())
        });
        slots.push(shard.detach_event_data().unwrap());
        assert_eq!(shard.pool_stats().slots_free, 4 - count);
        assert_eq!(shard.pool_pressure(), pressure);
    }
    peer.write_all(b"fifth").unwrap();
    until(&mut shard, |event| {
        matches!(event, Event::Data { .. }).then_some(())
    });
    assert_eq!(
        shard.detach_event_data().unwrap_err(),
        DetachError::Exhausted
    );
    // The event's bytes are still there.
    assert_eq!(shard.stream_forward(conn), Ok(5));
    let first = slots.remove(0);
    let sum = std::thread::spawn(move || first.iter().map(|&byte| u32::from(byte)).sum::<u32>());
    assert_eq!(sum.join().unwrap(), 10);
    assert_eq!(&shard.detach_event_data().unwrap()[..], b"fifth");
    shard.poll(Some(Duration::ZERO)).unwrap();
    assert_eq!(shard.detach_event_data().unwrap_err(), DetachError::NoData);
    // A slot may be sent, too, and is home when it is.
    for slot in slots.drain(..) {
        shard.stream_send(conn, slot).unwrap();
    }
    let mut back = vec![0; 5 + 30];
    let reader = std::thread::spawn(move || {
        peer.read_exact(&mut back).unwrap();
        (peer, back)
    });
    until_true(&mut shard, |shard| shard.pool_stats().slots_free == 4);
    let (_peer, back) = while_runs(&mut shard, reader, |_, _| {});
    assert_eq!(&back[..5], b"fifth");
    assert_eq!(&back[5..], [[2; 10], [3; 10], [4; 10]].concat());
}

#[test]
fn large_pieces_are_sent_from_where_they_lie() {
    let (mut shard, addr) = streams(Config::default().response_window_bytes(1 << 20));
    let client = client(addr, |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let conn = opened(&mut shard);
    let bytes = Bytes::from(vec![3; 100_000]);
    let mut buffer = shard.send_buffer(8192);
    buffer.put_slice(&[4; 8192]);
    shard.stream_send(conn, bytes.clone()).unwrap();
    shard.stream_send(conn, buffer.freeze()).unwrap();
    shard.stream_write(conn, b"end").unwrap();
    shard.close_graceful(conn);
    let all = while_runs(&mut shard, client, |_, _| {});
    assert_eq!(all.len(), 108_195);
    assert!(all[..100_000].iter().all(|byte| *byte == 3));
    assert!(all[100_000..108_192].iter().all(|byte| *byte == 4));
    assert_eq!(&all[108_192..], b"end");
    assert!(bytes.is_unique(), "nobody holds it any more");
}

#[test]
fn a_paused_stream_is_not_read() {
    let (mut shard, addr) = streams(Config::default());
    let client = client(addr, |mut stream| {
        stream
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let block = vec![9; 1 << 20];
        let mut sent = 0;
        // Until nobody takes any more.
        while let Ok(n) = stream.write(&block) {
            sent += n;
        }
        (stream, sent)
    });
    let conn = opened(&mut shard);
    shard.stream_pause(conn, true).unwrap();
    let mut seen = 0;
    let give_up = std::time::Instant::now() + PATIENCE;
    while !client.is_finished() {
        assert!(std::time::Instant::now() < give_up);
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        while let Some(event) = shard.next_event() {
            if let Event::Data { data, .. } = event {
                seen += data.len();
            }
        }
    }
    let (stream, sent) = client.join().unwrap();
    assert!(seen < sent, "{seen} of {sent} were read");
    shard.stream_pause(conn, false).unwrap();
    until_true(&mut shard, |_| true);
    drop(stream);
    while seen < sent {
        until(&mut shard, |event| match event {
            Event::Data { data, .. } => {
                seen += data.len();
                Some(())
            }
            _ => None,
        });
    }
    assert_eq!(seen, sent);
}

#[test]
fn more_streams_than_there_are_places_wait_their_turn() {
    let (mut shard, addr) = streams(Config::default().connections_max(2));
    let peers: Vec<_> = (0..4).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let first = opened(&mut shard);
    let _second = opened(&mut shard);
    let error = shard.tcp_connect(addr).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::QuotaExceeded);
    shard.close(first);
    let third = opened(&mut shard);
    assert_ne!(first, third);
    // The name of one that is gone names nothing, though its place is in use.
    assert_eq!(shard.stream_write(first, b"x"), Err(StreamError::NotOpen));
    assert!(shard.conn_stats(first).is_none());
    drop(peers);
}
