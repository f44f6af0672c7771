//! An echo in two ways, on one ring and without a runtime: at a port by events of a loop of ours, at a Unix
//! socket by a protocol of ours.
//!
//! Run:  `cargo run --release -p zero-examples --bin raw_echo [PORT [PATH]]`
//! See:  printf 'hello\n' | nc -N 127.0.0.1 3000
//!       printf 'hello\n' | nc -N -U raw_echo.sock

use std::convert::Infallible;
use std::io;
use std::thread;

use zero_runtime::raw::{Event, Opening, Step, Wire};
use zero_runtime::{Config, ProtocolHandler, ProtocolShard, RawShard};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().unwrap_or_else(|| "3000".into());
    let path = args.next().unwrap_or_else(|| "raw_echo.sock".into());
    let by_protocol = thread::spawn(move || serve_protocol(&path));
    by_events(format!("127.0.0.1:{port}").parse()?)?;
    Ok(by_protocol.join().expect("it does not panic")?)
}

/// The loop is told what has come, where it was received, and sends it back.
fn by_events(addr: std::net::SocketAddr) -> io::Result<()> {
    let mut shard = RawShard::new(Config::default())?;
    shard.tcp_listen(addr)?;
    println!("echoing at {addr}");
    loop {
        shard.poll(None)?;
        while let Some(event) = shard.next_event() {
            match event {
                Event::Data { conn, data } => {
                    let bytes = data.len();
                    // A peer that does not read what it is sent back is let go.
                    if shard.stream_forward(conn) != Ok(bytes) {
                        shard.close(conn);
                    }
                }
                Event::HalfClosed { conn } => shard.close_graceful(conn),
                Event::Closed { conn, why } => println!("{conn:?} is gone: {why:?}"),
                _ => {}
            }
        }
    }
}

/// The same as a machine: bytes in, bytes out. A peer that does not read is held back.
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

fn serve_protocol(path: &str) -> io::Result<()> {
    let mut shard = ProtocolShard::new(Config::default(), Echo)?;
    shard.unix_listen(path)?;
    println!("echoing at {path}");
    loop {
        shard.poll(None)?;
        // It answers by itself: there is nothing to be told.
        while shard.next_event().is_some() {}
    }
}
