//! The real ring against real sockets of the loopback: each test a short story of one thread, its
//! ring, and peers with plain blocking sockets. Where the kernel refuses io_uring they say so and pass.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use bytes::Bytes;

use self::patience::{PATIENCE, at_any_pace};
use super::*;

#[path = "../../tests/support/patience.rs"]
mod patience;

// Accepting.

#[test]
fn one_arming_accepts_many() {
    let Some((mut world, addr)) = World::listening() else {
        return;
    };
    world.ring.arm_accept(LISTENER);
    let peers: Vec<_> = (0..10).map(|_| connect(addr)).collect();
    for _ in &peers {
        let (socket, more) = world.accepted();
        assert!(more);
        let seen = world.ring.peer_addr(&socket.unwrap()).unwrap();
        assert!(peers.iter().any(|peer| peer.local_addr().unwrap() == seen));
    }
}

#[test]
fn cancelled_accepting_ends_and_a_closed_listener_refuses() {
    let Some((mut world, addr)) = World::listening() else {
        return;
    };
    world.ring.arm_accept(LISTENER);
    world.turn(Wait::Poll);
    world.ring.cancel_accept(LISTENER);
    let (ended, more) = world.accepted();
    assert_eq!(ended.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    assert!(!more);
    world.ring.close_listener(LISTENER);
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

/// Runs [`child_without_descriptors`] in a process of its own: the limit is the process's.
#[test]
fn without_descriptors_accepting_ends_once_and_loses_nobody() {
    let me = std::env::current_exe().unwrap();
    let child = std::process::Command::new(me)
        .args(["ring::uring::tests::child_without_descriptors", "--exact"])
        .args(["--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{complaint}");
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "lowers the limit on descriptors: run by the test above, in its own process"]
fn child_without_descriptors() {
    let Some((mut world, addr)) = World::listening() else {
        return;
    };
    let peer = connect(addr);
    limit_descriptors(100);
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    world.ring.arm_accept(LISTENER);
    let (none, more) = world.accepted();
    assert_eq!(none.unwrap_err().raw_os_error(), Some(libc::EMFILE));
    assert!(!more);
    // Whoever does not arm again hears nothing more, however long the peer waits.
    let enters = world.ring.counters.enters.get();
    world.turn_for(Duration::from_millis(50));
    assert!(world.facts.is_empty());
    assert_eq!(world.ring.counters.enters.get(), enters + 1);
    drop(hoard);
    world.ring.arm_accept(LISTENER);
    let (socket, more) = world.accepted();
    assert!(more);
    let waited = world.ring.peer_addr(&socket.unwrap()).unwrap();
    assert_eq!(waited, peer.local_addr().unwrap());
}

// Receiving.

#[test]
fn bytes_and_the_end_arrive_unasked_once_armed() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    world.ring.arm_recv(A, &socket);
    for word in ["one", "two", "three"] {
        peer.write_all(word.as_bytes()).unwrap();
        let (lease, more) = world.received(A);
        assert_eq!(&*lease.unwrap().unwrap(), word.as_bytes());
        assert!(more);
    }
    peer.shutdown(Shutdown::Write).unwrap();
    let (end, more) = world.received(A);
    assert!(end.unwrap().is_none());
    assert!(!more);
}

#[test]
fn a_reset_is_an_error_and_ends_the_receive() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, peer) = pair();
    world.ring.arm_recv(A, &socket);
    world.turn(Wait::Poll);
    reset(peer);
    let (error, more) = world.received(A);
    assert_eq!(error.err().unwrap().kind(), io::ErrorKind::ConnectionReset);
    assert!(!more);
    // Sending there is an error too, and no signal.
    world.ring.send(A, &socket, flat(b"anyone?"));
    let (buf, result) = world.sent(A);
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(buf.len(), 7);
}

#[test]
fn more_data_than_buffers_starves_and_loses_nothing() {
    let Some(mut world) = World::with_buffers(2, 1024) else {
        return;
    };
    let (socket, mut peer) = pair();
    let data = pattern(7, 50_000);
    peer.write_all(&data).unwrap();
    let mut got = Vec::new();
    let mut starved = 0;
    world.ring.arm_recv(A, &socket);
    while got.len() < data.len() {
        let (received, more) = world.received(A);
        match received {
            Ok(lease) => got.extend_from_slice(&lease.expect("no end yet")),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
                starved += 1;
            }
        }
        // The shard's rule: armed again once this turn's leases are home.
        if !more {
            assert!(world.facts.is_empty());
            world.ring.arm_recv(A, &socket);
        }
    }
    assert!(got == data);
    assert!(starved >= 10, "two buffers lasted: starved {starved} times");
}

#[test]
fn a_hoarded_buffer_starves_others_until_it_is_home() {
    let Some(mut world) = World::with_buffers(1, 1024) else {
        return;
    };
    let ((slow, mut slow_peer), (other, mut other_peer)) = (pair(), pair());
    slow_peer.write_all(b"mine").unwrap();
    world.ring.arm_recv(A, &slow);
    let hoarded = world.received(A).0.unwrap().unwrap();
    other_peer.write_all(b"yours").unwrap();
    world.ring.arm_recv(B, &other);
    let (starved, more) = world.received(B);
    assert_eq!(starved.err().unwrap().raw_os_error(), Some(libc::ENOBUFS));
    assert!(!more);
    assert_eq!(&*hoarded, b"mine");
    drop(hoarded);
    world.ring.arm_recv(B, &other);
    assert_eq!(&*world.received(B).0.unwrap().unwrap(), b"yours");
}

#[test]
fn recv_into_appends_and_never_passes_the_capacity() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    let data = pattern(3, 10_000);
    peer.write_all(&data).unwrap();
    let mut got = Vec::new();
    while got.len() < data.len() {
        let mut buf = BytesMut::with_capacity(700);
        buf.extend_from_slice(b"kept");
        let capacity = buf.capacity();
        world.ring.recv_into(A, &socket, buf);
        let (buf, result) = world.received_into(A);
        assert_eq!(result.unwrap(), buf.len() - 4);
        assert_eq!((buf.capacity(), &buf[..4]), (capacity, &b"kept"[..]));
        got.extend_from_slice(&buf[4..]);
    }
    assert!(got == data);
    drop(peer);
    world.ring.recv_into(A, &socket, BytesMut::with_capacity(8));
    let (buf, result) = world.received_into(A);
    assert_eq!((buf.len(), result.unwrap()), (0, 0));
}

#[test]
fn a_watch_tells_of_bytes_and_of_the_end_and_takes_nothing() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    world.ring.watch(A, &socket);
    world.turn(Wait::Poll);
    assert!(world.facts.is_empty());
    peer.write_all(b"later").unwrap();
    world.readable(A).unwrap();
    // Once is once, and what is there already is told of, too.
    world.settles_to(WAKEUP_ALONE);
    world.ring.watch(A, &socket);
    world.readable(A).unwrap();
    world.ring.recv_into(A, &socket, BytesMut::with_capacity(8));
    assert_eq!(&world.received_into(A).0[..], b"later");
    world.ring.watch(A, &socket);
    drop(peer);
    world.readable(A).unwrap();
    world.ring.recv_into(A, &socket, BytesMut::with_capacity(8));
    assert_eq!(world.received_into(A).1.unwrap(), 0);
}

#[test]
fn a_cancelled_receive_ends_with_its_own_completion() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    world.ring.arm_recv(A, &socket);
    world.turn(Wait::Poll);
    world.ring.cancel_recv(A);
    let (ended, more) = world.received(A);
    assert_eq!(ended.err().unwrap().raw_os_error(), Some(libc::ECANCELED));
    assert!(!more);
    world.ring.recv_into(A, &socket, BytesMut::with_capacity(8));
    world.turn(Wait::Poll);
    world.ring.cancel_recv(A);
    let (buf, ended) = world.received_into(A);
    assert_eq!(ended.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    assert!(buf.is_empty() && buf.capacity() >= 8);
    world.ring.watch(A, &socket);
    world.turn(Wait::Poll);
    world.ring.cancel_recv(A);
    let ended = world.readable(A).unwrap_err();
    assert_eq!(ended.raw_os_error(), Some(libc::ECANCELED));
    // Cancelling what is not there is no operation.
    world.settles_to(WAKEUP_ALONE);
    world.ring.cancel_recv(A);
    assert_eq!(world.ring.in_flight, WAKEUP_ALONE);
    peer.write_all(b"still here").unwrap();
    world.ring.arm_recv(A, &socket);
    assert_eq!(&*world.received(A).0.unwrap().unwrap(), b"still here");
}

#[test]
fn a_cancel_that_races_with_data_loses_none() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    let data = pattern(5, 200 * 997);
    let mut written = data.chunks(997);
    let writer = std::thread::spawn({
        let mut peer = peer.try_clone().unwrap();
        let late: Vec<u8> = data[100 * 997..].to_vec();
        let early: Vec<Vec<u8>> = written.by_ref().take(100).map(<[u8]>::to_vec).collect();
        move || {
            for piece in early {
                peer.write_all(&piece).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
            peer.write_all(&late).unwrap();
        }
    });
    let mut got = Vec::new();
    let mut cancelled = 0;
    while got.len() < data.len() {
        world.ring.arm_recv(A, &socket);
        world.turn_for(Duration::from_micros(300));
        world.ring.cancel_recv(A);
        loop {
            let (received, more) = world.received(A);
            match received {
                Ok(lease) => got.extend_from_slice(&lease.expect("no end yet")),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ECANCELED) => cancelled += 1,
                    // More has come at once than the buffers hold that are in use at first.
                    Some(libc::ENOBUFS) => {}
                    other => panic!("{other:?}"),
                },
            }
            if !more {
                break;
            }
        }
        assert!(
            world.facts.is_empty(),
            "nothing follows the last completion"
        );
    }
    assert!(got == data);
    assert!(cancelled > 0);
    writer.join().unwrap();
    peer.write_all(b"!").unwrap();
}

#[test]
fn a_late_cancel_misses_the_slots_next_tenant() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    let next_tenant = Key {
        index: A.index,
        generation: A.generation + 1,
    };
    world.ring.arm_recv(next_tenant, &socket);
    world.ring.cancel(OpName::new(Kind::Recv, A));
    world.turn(Wait::Poll);
    peer.write_all(b"mine").unwrap();
    let (lease, more) = world.received(next_tenant);
    assert_eq!(&*lease.unwrap().unwrap(), b"mine");
    assert!(more);
}

#[test]
#[should_panic(expected = "one receive at a time")]
fn a_second_receive_is_refused() {
    let Some(mut world) = World::new() else {
        panic!("one receive at a time (not tried)");
    };
    let (socket, _peer) = pair();
    world.ring.arm_recv(A, &socket);
    world.ring.recv_into(A, &socket, BytesMut::with_capacity(8));
}

// Sending.

#[test]
fn flat_and_vectored_sends_arrive_in_order() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    world.ring.send(A, &socket, flat(b"hello, "));
    let (buf, result) = world.sent(A);
    assert_eq!((buf.len(), result.unwrap()), (0, 7));
    let mut vectored = flat(b"head ");
    vectored.put_bytes(Bytes::from(vec![b'x'; 5000]));
    vectored.put_slice(b" tail");
    world.ring.send(A, &socket, vectored);
    let (buf, result) = world.sent(A);
    assert_eq!((buf.len(), result.unwrap()), (0, 5010));
    let mut got = vec![0; 7 + 5010];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(
        (&got[..12], &got[5012..]),
        (&b"hello, head "[..], &b" tail"[..])
    );
}

#[test]
fn a_send_of_more_slices_than_one_message_takes_goes_on() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, peer) = pair();
    let (buf, expected) = striped(40, 5000);
    assert!(buf.slices(usize::MAX).count() > 2 * SLICES_MAX);
    let first: usize = buf.slices(SLICES_MAX).map(<[u8]>::len).sum();
    let reader = read_all(peer, Duration::ZERO);
    let sends = world.send_all(&socket, buf);
    assert!(sends.len() >= 3, "{sends:?}");
    assert!(sends[0] <= first);
    drop(socket);
    assert!(reader.join().unwrap() == expected);
}

#[test]
fn a_slow_reader_gets_8_mib_by_short_sends() {
    for vectored in [false, true] {
        let Some(mut world) = World::new() else {
            return;
        };
        let (socket, peer) = pair();
        let (buf, expected) = match vectored {
            false => (flat(&pattern(9, 8 << 20)), pattern(9, 8 << 20)),
            true => striped(16, 512 << 10),
        };
        let reader = read_all(peer, Duration::from_micros(500));
        world.send_all(&socket, buf);
        assert!(world.ring.counters.short_sends.get() > 0);
        drop(socket);
        assert!(reader.join().unwrap() == expected);
    }
}

#[test]
fn a_cancelled_send_gives_the_rest_back() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, peer) = pair();
    let data = pattern(2, 16 << 20);
    let mut buf = flat(&data);
    let mut sent = 0;
    // The peer takes nothing: sooner or later a send stays.
    while let Some((rest, result)) = {
        world.ring.send(A, &socket, buf);
        world.sent_within(A, Duration::from_millis(300))
    } {
        sent += result.unwrap();
        assert_eq!(rest.len(), data.len() - sent);
        buf = rest;
    }
    world.ring.cancel_send(A);
    let (rest, result) = world.sent(A);
    sent += result.unwrap_or_else(|error| {
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        0
    });
    assert_eq!(rest.len(), data.len() - sent);
    let unsent = rest.slices(1).next().unwrap();
    assert!(unsent == &data[sent..]);
    drop(socket);
    let got = read_all(peer, Duration::ZERO).join().unwrap();
    assert!(got == data[..sent], "the kernel took just what it said");
}

// Sockets' ends.

#[test]
fn the_write_side_ends_alone_and_a_reset_is_seen() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    world.ring.shutdown_write(&socket);
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    peer.write_all(b"still").unwrap();
    world.ring.arm_recv(A, &socket);
    assert_eq!(&*world.received(A).0.unwrap().unwrap(), b"still");
    world.ring.cancel_recv(A);
    assert!(!world.received(A).1);
    let (socket, mut peer) = pair();
    world.ring.reset_on_close(&socket);
    world.ring.close(socket);
    let error = peer.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

// Waiting.

#[test]
fn the_wakeup_ends_a_wait_again_and_again() {
    let Some(mut world) = World::new() else {
        return;
    };
    for wakes in 1..=3 {
        let wakeup = world.ring.wakeup.clone();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            wakeup.write().unwrap();
        });
        world.turn(Wait::Forever);
        assert!(matches!(world.facts.pop_front(), Some(Completion::Woken)));
        assert_eq!(world.ring.counters.wakes.get(), wakes);
        waker.join().unwrap();
    }
    // Rung before the wait, and twice: one wake is enough.
    world.ring.wakeup.write().unwrap();
    world.ring.wakeup.write().unwrap();
    world.turn(Wait::Forever);
    world.turn(Wait::Poll);
    assert_eq!(world.facts.len(), 1);
}

#[test]
fn an_enter_that_fails_in_passing_is_counted_and_loses_nothing() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    // What is to be submitted stays queued while the kernel refuses to take it.
    world.ring.arm_recv(A, &socket);
    world.ring.refusals = vec![libc::EAGAIN, libc::EBUSY, libc::EINTR];
    for retries in 1..=3 {
        world.turn(Wait::Forever);
        assert!(world.facts.is_empty());
        assert_eq!(world.ring.counters.enter_retries.get(), retries);
    }
    peer.write_all(b"after all").unwrap();
    let (lease, _) = world.received(A);
    assert_eq!(&*lease.unwrap().unwrap(), b"after all");
    // What has been posted is reaped all the same.
    peer.write_all(b"posted").unwrap();
    world.turn_for(Duration::ZERO);
    world.ring.refusals = vec![libc::EBUSY];
    let (lease, _) = world.received(A);
    assert_eq!(&*lease.unwrap().unwrap(), b"posted");
}

#[test]
fn an_enter_that_can_never_succeed_is_an_error() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.ring.refusals = vec![libc::EBADF];
    let error = world.ring.turn(Wait::Forever).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert_eq!(world.ring.counters.enter_retries.get(), 0);
}

#[test]
fn a_limited_wait_ends_in_time_and_a_poll_at_once() {
    let Some(mut world) = World::new() else {
        return;
    };
    let started = Instant::now();
    world.turn_for(Duration::from_millis(30));
    assert!(started.elapsed() >= Duration::from_millis(30));
    for wait in [Wait::Until(0), Wait::Poll] {
        world.turn(wait);
        assert!(world.facts.is_empty());
    }
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn an_alarm_ends_waits_and_outlives_those_that_end_before_it() {
    let Some(mut world) = World::new() else {
        return;
    };
    let started = Instant::now();
    let until_ns = world.ring.now().deadline(Duration::from_millis(120));
    let bell = world.ring.wakeup.clone();
    std::thread::spawn(move || bell.write().unwrap());
    assert!(matches!(world.next(), Completion::Woken));
    world.turn(Wait::Until(until_ns));
    // Once, unless somebody stops this process.
    while world.ring.now().mono_ns < until_ns || world.ring.alarm_at_ns.is_some() {
        world.turn(Wait::Until(until_ns + 1_000_000_000));
        assert!(started.elapsed() < PATIENCE);
    }
    assert!(world.facts.is_empty());
    // A wait that ends before the alarm does not wait for it.
    let far_ns = world.ring.now().deadline(Duration::from_secs(3600));
    assert_eq!(world.ring.set_alarm(far_ns), Wait::Forever);
    world.turn_for(Duration::from_millis(60));
    assert_eq!(world.ring.alarm_at_ns, Some(far_ns));
    drop(world);
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn polling_alone_brings_facts() {
    let Some(mut world) = World::new() else {
        return;
    };
    let (socket, mut peer) = pair();
    world.ring.arm_recv(A, &socket);
    world.turn(Wait::Poll);
    peer.write_all(b"x").unwrap();
    let give_up = Instant::now() + PATIENCE;
    while world.facts.is_empty() {
        assert!(
            Instant::now() < give_up,
            "a shard that never sleeps is deaf"
        );
        world.turn(Wait::Poll);
    }
    assert!(
        world.ring.counters.enters.get() < 10,
        "an idle poll does not enter"
    );
}

// Full queues.

#[test]
fn what_finds_the_queue_full_is_staged_in_order() {
    let Some((mut world, _addr)) = World::listening() else {
        return;
    };
    let (socket, mut peer) = pair();
    for _ in 0..2 * SQ_ENTRIES {
        world.ring.cancel(OpName::new(Kind::Recv, B));
    }
    // Were the order lost, the cancel would find nothing to cancel.
    world.ring.arm_accept(LISTENER);
    world.ring.cancel_accept(LISTENER);
    world.ring.send(A, &socket, flat(b"last"));
    assert!(world.ring.staged.len() > SQ_ENTRIES as usize);
    let (mut ended, mut sent) = (false, false);
    while !(ended && sent) {
        match world.next() {
            Completion::Accepted { result, more, .. } => {
                assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
                ended = !more;
            }
            Completion::Sent { result, .. } => sent = result.unwrap() == 4,
            other => panic!("nobody asked: {}", name(&other)),
        }
    }
    let mut got = [0; 4];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"last");
    world.settles_to(WAKEUP_ALONE);
}

#[test]
fn completions_beyond_the_queue_are_kept_and_counted() {
    let Some(mut world) = World::new() else {
        return;
    };
    let asked = CQ_ENTRIES as usize + 2000;
    for _ in 0..asked {
        world.ring.cancel(OpName::new(Kind::Recv, B));
        if !world.ring.staged.is_empty() {
            world.ring.enter(Wait::Poll).unwrap();
            world.ring.unstage();
        }
    }
    world.ring.enter(Wait::Poll).unwrap();
    assert_eq!(world.ring.in_flight, asked + WAKEUP_ALONE);
    let overflowed = world.ring.ring.submission().cq_overflow();
    world.settles_to(WAKEUP_ALONE);
    assert_eq!(world.ring.counters.cq_overflows.get() > 0, overflowed);
    assert!(
        overflowed,
        "the kernel has a larger queue than it was asked for"
    );
}

#[test]
fn received_bytes_survive_an_overflow_within_one_turn() {
    const CONNS: u32 = 300;
    const PIECE: usize = 64;
    // Each receive posts as many pieces as the kernel takes in one go: more than the queue holds.
    const EACH: usize = 40 * PIECE;
    let Some(mut world) = World::with_buffers(16_384, PIECE as u32) else {
        return;
    };
    let sockets: Vec<_> = (0..CONNS)
        .map(|conn| {
            let (socket, mut peer) = pair();
            peer.write_all(&pattern(conn, EACH)).unwrap();
            (socket, peer)
        })
        .collect();
    let mut got: HashMap<u32, Vec<u8>> = HashMap::new();
    for (index, (socket, _)) in (0..).zip(&sockets) {
        world.ring.arm_recv(conn(index), socket);
    }
    while got.len() < sockets.len() || got.values().any(|got| got.len() < EACH) {
        let Completion::Received { conn, result, more } = world.next() else {
            panic!("only receives are in flight");
        };
        match result {
            Ok(lease) => {
                let got = got.entry(conn.index).or_default();
                got.extend_from_slice(&lease.expect("no end yet"));
            }
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS)),
        }
        if !more {
            world.ring.arm_recv(conn, &sockets[conn.index as usize].0);
        }
    }
    for (index, got) in got {
        assert!(got == pattern(index, EACH), "connection {index}");
    }
    assert!(world.ring.counters.cq_overflows.get() > 0);
}

// The ring's end.

#[test]
fn a_dropped_ring_takes_all_its_operations_along() {
    // A stall as long as a drop's patience looks like operations that do not end.
    at_any_pace(|_| dropped_with_operations());
}

fn dropped_with_operations() {
    let Some((mut world, addr)) = World::listening() else {
        return;
    };
    let (receiving, mut receiving_peer) = pair();
    let (direct, mut direct_peer) = pair();
    let (blocked, blocked_peer) = pair();
    world.ring.arm_accept(LISTENER);
    world.ring.arm_recv(A, &receiving);
    world
        .ring
        .recv_into(B, &direct, BytesMut::with_capacity(1 << 16));
    let mut buf = flat(&pattern(4, 16 << 20));
    while let Some((rest, _)) = {
        world.ring.send(C, &blocked, buf);
        world.sent_within(C, Duration::from_millis(300))
    } {
        buf = rest;
    }
    let accepted_in_vain = connect(addr);
    let started = Instant::now();
    drop(world);
    assert!(started.elapsed() < DROP_PATIENCE, "some were left");
    assert_ends(accepted_in_vain);
    TcpStream::connect(addr).unwrap_err();
    // Its connections are not the ring's: they live, and nobody else takes their bytes.
    for (socket, peer) in [(receiving, &mut receiving_peer), (direct, &mut direct_peer)] {
        peer.write_all(&pattern(6, 30_000)).unwrap();
        let mut got = vec![0; 30_000];
        TcpStream::from(socket).read_exact(&mut got).unwrap();
        assert!(got == pattern(6, 30_000));
    }
    // Nor does anything more of the blocked send follow.
    drop(blocked);
    let sent = read_all(blocked_peer, Duration::ZERO).join().unwrap();
    assert!(sent == pattern(4, 16 << 20)[..sent.len()]);
    assert!(sent.len() < 16 << 20);
}

#[test]
fn a_ring_dropped_with_all_unreaped_gives_it_all_back() {
    let Some((mut world, addr)) = World::listening() else {
        return;
    };
    let (socket, mut peer) = pair();
    peer.write_all(b"unheard").unwrap();
    let waiting = connect(addr);
    world.ring.arm_accept(LISTENER);
    world.ring.arm_recv(A, &socket);
    // One enter, nothing taken; and a send that nobody entered for.
    world.ring.turn(Wait::Poll).unwrap();
    world.ring.send(A, &socket, flat(b"unsaid"));
    drop(world);
    assert_ends(waiting);
    TcpStream::from(socket).write_all(b"|").unwrap();
    // Dropping may still submit what was asked for, whole; it is over when the drop returns.
    let said = read_all(peer, Duration::ZERO).join().unwrap();
    assert!([&b"|"[..], b"unsaid|"].contains(&&said[..]), "{said:?}");
}

#[test]
fn a_lease_outlives_its_ring() {
    let Some(mut world) = World::with_buffers(2, 1024) else {
        return;
    };
    let (socket, mut peer) = pair();
    peer.write_all(b"keep me").unwrap();
    world.ring.arm_recv(A, &socket);
    let lease = world.received(A).0.unwrap().unwrap();
    drop(world);
    peer.write_all(b"too late").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(&*lease, b"keep me");
}

// Helpers.

/// What is in flight when nothing was asked for.
const WAKEUP_ALONE: usize = 1;
const LISTENER: ListenerId = ListenerId(0);
const A: Key = conn(0);
const B: Key = conn(1);
const C: Key = conn(2);

const fn conn(index: u32) -> Key {
    Key {
        index,
        generation: 0,
    }
}

/// A ring and the facts it has brought, oldest first.
struct World {
    ring: Uring,
    facts: VecDeque<Completion<Uring>>,
}

impl World {
    fn new() -> Option<World> {
        Self::with_buffers(64, 4096)
    }

    fn with_buffers(recv_buffers: u16, recv_buffer_bytes: u32) -> Option<World> {
        Self::build(recv_buffers, recv_buffer_bytes, Vec::new())
    }

    fn listening() -> Option<(World, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        Some((Self::build(64, 4096, vec![listener])?, addr))
    }

    /// `None` where the kernel refuses io_uring.
    fn build(buffers: u16, buffer_bytes: u32, listeners: Vec<TcpListener>) -> Option<World> {
        let config = UringConfig {
            listeners: listeners.into_iter().map(of_its_own).collect(),
            recv_buffers: buffers,
            recv_buffer_bytes: buffer_bytes,
            huge_pages: Toggle::Off,
            wakeup: Arc::new(EventFd::new().unwrap()),
            counters: Arc::default(),
        };
        match Uring::new(config) {
            Ok(ring) => Some(World {
                ring,
                facts: VecDeque::new(),
            }),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                eprintln!("SKIPPED: io_uring is refused: {error}");
                None
            }
            Err(error) => panic!("no ring: {error}"),
        }
    }

    fn turn(&mut self, wait: Wait) {
        self.ring.turn(wait).unwrap();
        while let Some(fact) = self.ring.next_completion() {
            self.facts.push_back(fact);
        }
    }

    fn turn_for(&mut self, time: Duration) {
        self.turn(Wait::Until(self.ring.now().deadline(time)));
    }

    fn next(&mut self) -> Completion<Uring> {
        self.next_within(PATIENCE).expect("a fact comes in time")
    }

    fn next_within(&mut self, time: Duration) -> Option<Completion<Uring>> {
        let give_up = Instant::now() + time;
        while self.facts.is_empty() && Instant::now() < give_up {
            self.turn_for(time.min(Duration::from_millis(100)));
        }
        self.facts.pop_front()
    }

    fn accepted(&mut self) -> (io::Result<OwnedFd>, bool) {
        match self.next() {
            Completion::Accepted { result, more, .. } => (result, more),
            other => panic!("not accepted but {}", name(&other)),
        }
    }

    fn received(&mut self, from: Key) -> (io::Result<Option<Lease>>, bool) {
        match self.next() {
            Completion::Received { conn, result, more } if conn == from => (result, more),
            other => panic!("not received but {}", name(&other)),
        }
    }

    fn readable(&mut self, of: Key) -> io::Result<()> {
        match self.next() {
            Completion::Readable { conn, result } if conn == of => result,
            other => panic!("not readable but {}", name(&other)),
        }
    }

    fn received_into(&mut self, from: Key) -> (BytesMut, io::Result<usize>) {
        match self.next() {
            Completion::ReceivedInto { conn, buf, result } if conn == from => (buf, result),
            other => panic!("not received into a buffer but {}", name(&other)),
        }
    }

    fn sent(&mut self, to: Key) -> (Box<WriteBuf>, io::Result<usize>) {
        self.sent_within(to, PATIENCE).expect("a send ends in time")
    }

    fn sent_within(
        &mut self,
        to: Key,
        time: Duration,
    ) -> Option<(Box<WriteBuf>, io::Result<usize>)> {
        match self.next_within(time)? {
            Completion::Sent { conn, buf, result } if conn == to => Some((buf, result)),
            other => panic!("not sent but {}", name(&other)),
        }
    }

    /// Sends all of `buf` on connection A, checking each step; returns what each one took.
    fn send_all(&mut self, socket: &OwnedFd, mut buf: Box<WriteBuf>) -> Vec<usize> {
        let mut sends = Vec::new();
        while !buf.is_empty() {
            let before = buf.len();
            self.ring.send(A, socket, buf);
            let (rest, result) = self.sent(A);
            let sent = result.unwrap();
            assert_eq!(rest.len(), before - sent);
            sends.push(sent);
            buf = rest;
        }
        sends
    }

    /// Turns until this many operations are in flight, none of which says anything.
    fn settles_to(&mut self, in_flight: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.ring.in_flight > in_flight {
            assert!(
                Instant::now() < give_up,
                "{} in flight",
                self.ring.in_flight
            );
            self.turn(Wait::Poll);
        }
        assert!(self.facts.is_empty());
        assert_eq!(self.ring.in_flight, in_flight);
    }
}

fn name(fact: &Completion<Uring>) -> String {
    match fact {
        Completion::Accepted { result, .. } => format!("accepted {result:?}"),
        Completion::Received { conn, result, more } => {
            let result = result
                .as_ref()
                .map(|lease| lease.as_ref().map(|lease| lease.len()));
            format!("received {conn:?} {result:?} {more}")
        }
        Completion::ReceivedInto { conn, result, .. } => {
            format!("received into {conn:?} {result:?}")
        }
        Completion::Readable { conn, result } => format!("readable {conn:?} {result:?}"),
        Completion::Sent { conn, result, .. } => format!("sent {conn:?} {result:?}"),
        Completion::Connected { conn, result } => format!("connected {conn:?} {result:?}"),
        Completion::Woken => "woken".into(),
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection: the server's end and the peer's.
fn pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = connect(listener.local_addr().unwrap());
    let (socket, _) = listener.accept().unwrap();
    (socket.into(), peer)
}

fn reset(peer: TcpStream) {
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// The other end is closed: in order, or by a reset for what it had not read.
fn assert_ends(mut peer: TcpStream) {
    match peer.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        other => panic!("not at its end: {other:?}"),
    }
}

/// Bytes that show when some are lost, doubled or swapped, and whose they are.
fn pattern(seed: u32, length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8 ^ seed as u8)
        .collect()
}

fn of_its_own(listener: TcpListener) -> ListenSocket {
    ListenSocket {
        fd: listener.into(),
        is_ours: true,
    }
}

fn flat(bytes: &[u8]) -> Box<WriteBuf> {
    let mut buf = Box::<WriteBuf>::default();
    buf.put_slice(bytes);
    buf
}

/// `count` times a short head and a large body spliced in, and the bytes these make.
fn striped(count: u32, body_bytes: usize) -> (Box<WriteBuf>, Vec<u8>) {
    let (mut buf, mut all) = (Box::<WriteBuf>::default(), Vec::new());
    for stripe in 0..count {
        let (head, body) = (stripe.to_be_bytes(), pattern(stripe, body_bytes));
        buf.put_slice(&head);
        all.extend_from_slice(&head);
        all.extend_from_slice(&body);
        buf.put_bytes(Bytes::from(body));
    }
    (buf, all)
}

/// Reads to the end on a thread of its own, pausing after every 64 KiB.
fn read_all(mut peer: TcpStream, pause: Duration) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match peer.read(&mut piece).unwrap() {
                0 => return all,
                got => all.extend_from_slice(&piece[..got]),
            }
            std::thread::sleep(pause);
        }
    })
}

fn limit_descriptors(count: u64) {
    let limit = libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    };
    // SAFETY: the kernel only reads `limit`, which outlives the call.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(done, 0);
}
