//! A protocol of one's own: a machine, and nothing else.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::time::{Duration, Instant};

use zero_runtime::raw::{DisconnectReason, Happened, Opening, Step, Wire};
use zero_runtime::{Config, ProtocolHandler, ProtocolShard};

use crate::support::*;

/// Sends back what comes.
struct Echo;

impl ProtocolHandler for Echo {
    type Conn = ();
    type Event = Infallible;
    type Order = Infallible;

    fn open(&mut self, _opening: &Opening, _wire: &mut Wire<'_>) {}

    fn handle_input(&mut self, (): &mut (), input: &[u8], wire: &mut Wire<'_>) -> Step<Infallible> {
        let taken = wire.write(input);
        match taken == input.len() {
            true => Step::more(taken),
            false => Step::later(taken),
        }
    }

    fn handle_room(&mut self, (): &mut (), wire: &mut Wire<'_>) -> Option<Infallible> {
        wire.look_again();
        None
    }
}

#[test]
fn an_echo_holds_its_peer_back_rather_than_its_bytes() {
    const ALL: usize = 20 << 20;
    const WINDOW: usize = 64 * 1024;
    let config = Config::default()
        .response_window_bytes(WINDOW)
        .request_window_bytes(WINDOW)
        .head_bytes_max(WINDOW);
    let mut shard = ProtocolShard::new(config, Echo).unwrap();
    let endpoint = shard.tcp_listen(anywhere()).unwrap();
    let client = client(shard.local_addr(endpoint).unwrap(), |mut stream| {
        let mut reader = stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            let block: Vec<u8> = (0..1 << 20).map(|at| (at % 251) as u8).collect();
            for _ in 0..ALL >> 20 {
                stream.write_all(&block).unwrap();
            }
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        // Long enough for everything in between to fill up.
        std::thread::sleep(Duration::from_millis(300));
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        writer.join().unwrap();
        all
    });
    let give_up = Instant::now() + PATIENCE;
    while !client.is_finished() {
        assert!(Instant::now() < give_up);
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        assert!(shard.next_event().is_none());
    }
    let all = client.join().unwrap();
    assert_eq!(all.len(), ALL);
    assert!(all.chunks(1 << 20).all(|block| {
        let mut bytes = block.iter().enumerate();
        bytes.all(|(at, byte)| *byte == (at % 251) as u8)
    }));
}

/// Lines of at most eight bytes, told one by one; greets, times out, takes orders, and counts.
struct Lines {
    /// How long the first line may take.
    time: Duration,
    ended: Vec<DisconnectReason>,
    drained: usize,
}

#[derive(PartialEq, Eq, Debug)]
enum LineEvent {
    Line(Range<usize>),
    Silence,
    Woken,
}

impl ProtocolHandler for Lines {
    type Conn = u32;
    type Event = LineEvent;
    type Order = &'static str;

    fn open(&mut self, _opening: &Opening, wire: &mut Wire<'_>) -> u32 {
        wire.write(b"hello\n");
        wire.set_timeout(Some(self.time));
        0
    }

    fn handle_input(
        &mut self,
        count: &mut u32,
        input: &[u8],
        wire: &mut Wire<'_>,
    ) -> Step<LineEvent> {
        match input.iter().take(9).position(|byte| *byte == b'\n') {
            Some(end) => {
                *count += 1;
                wire.set_timeout(None);
                Step::event(end + 1, LineEvent::Line(0..end))
            }
            None if input.len() > 8 => {
                wire.write(b"too long\n");
                wire.close_graceful();
                Step::more(input.len())
            }
            None => Step::more(0),
        }
    }

    fn handle_timeout(&mut self, _count: &mut u32, _wire: &mut Wire<'_>) -> Option<LineEvent> {
        Some(LineEvent::Silence)
    }

    fn handle_wake(&mut self, _count: &mut u32, wire: &mut Wire<'_>) -> Option<LineEvent> {
        wire.before_send();
        Some(LineEvent::Woken)
    }

    fn handle_flush(&mut self, count: &mut u32, wire: &mut Wire<'_>) {
        wire.write(format!("{count} lines\n").as_bytes());
    }

    fn handle_order(
        &mut self,
        _: &mut u32,
        order: &'static str,
        wire: &mut Wire<'_>,
    ) -> Option<LineEvent> {
        wire.write(order.as_bytes());
        None
    }

    fn handle_drain(&mut self, _: &mut u32, wire: &mut Wire<'_>) -> Option<LineEvent> {
        self.drained += 1;
        wire.write(b"bye\n");
        wire.close_graceful();
        None
    }

    fn handle_closed(&mut self, _count: u32, why: DisconnectReason) -> Option<LineEvent> {
        self.ended.push(why);
        None
    }
}

fn lines(time: Duration) -> (ProtocolShard<Lines>, std::net::SocketAddr) {
    let lines = Lines {
        time,
        ended: Vec::new(),
        drained: 0,
    };
    let config = Config::default().linger_timeout(PATIENCE);
    let mut shard = ProtocolShard::new(config, lines).unwrap();
    let endpoint = shard.tcp_listen(anywhere()).unwrap();
    let addr = shard.local_addr(endpoint).unwrap();
    (shard, addr)
}

fn next(shard: &mut ProtocolShard<Lines>) -> (zero_runtime::raw::ConnId, LineEvent, String) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(Happened { conn, event, input }) = shard.next_event() {
            let line = match &event {
                LineEvent::Line(range) => String::from_utf8(input[range.clone()].to_vec()).unwrap(),
                _ => String::new(),
            };
            return (conn, event, line);
        }
        assert!(Instant::now() < give_up);
        shard.poll(Some(Duration::from_millis(20))).unwrap();
    }
}

#[test]
fn every_line_is_told_however_it_comes() {
    let (mut shard, addr) = lines(PATIENCE);
    let text = "one\ntwo\n\nthree\n";
    for piece in 1..text.len() {
        let client = client(addr, move |mut stream| {
            for part in text.as_bytes().chunks(piece) {
                stream.write_all(part).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let mut told = Vec::new();
        while told.len() < 4 {
            let (_, event, line) = next(&mut shard);
            assert!(matches!(event, LineEvent::Line(_)), "{event:?}");
            told.push(line);
        }
        assert_eq!(told, ["one", "two", "", "three"], "in pieces of {piece}");
        client.join().unwrap();
    }
}

#[test]
fn a_machine_greets_times_out_is_woken_ordered_and_drained() {
    let (mut shard, addr) = lines(Duration::from_millis(100));
    let client = client(addr, |stream| talk(stream, b""));
    let (conn, event, _) = next(&mut shard);
    assert_eq!(event, LineEvent::Silence);
    let waker = shard.with(conn, |_, _, wire| wire.waker()).unwrap();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    assert_eq!(next(&mut shard).1, LineEvent::Woken);
    shard.handle().order(conn, "ordered\n").unwrap();
    shard.poll(Some(Duration::ZERO)).unwrap();
    assert!(shard.next_event().is_none());
    shard.shutdown();
    let give_up = Instant::now() + PATIENCE;
    while !shard.has_ended() {
        assert!(Instant::now() < give_up);
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        assert!(shard.next_event().is_none());
    }
    let all = String::from_utf8(client.join().unwrap()).unwrap();
    assert_eq!(all, "hello\n0 lines\nordered\nbye\n");
    assert_eq!(shard.handler().drained, 1);
    assert_eq!(shard.handler().ended, [DisconnectReason::Ended]);
}

#[test]
fn a_machine_that_has_heard_enough_closes_in_order() {
    let (mut shard, addr) = lines(PATIENCE);
    let client = client(addr, |stream| talk(stream, b"far too long a line"));
    let give_up = Instant::now() + PATIENCE;
    while !client.is_finished() {
        assert!(Instant::now() < give_up);
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        assert!(shard.next_event().is_none());
    }
    assert_eq!(client.join().unwrap(), b"hello\ntoo long\n");
}
