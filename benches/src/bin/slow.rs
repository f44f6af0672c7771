//! Measures what thousands of slow clients do to live ones, and whether each is cut in time.
//!
//! Run: `cargo build --release -p zero-bench && target/release/slow` (`--clients 1000` of each kind,
//! `--seconds 10` without and with them, `--timeout 2` seconds, `--dispatch adaptive|inline|workers`).
//! Loopback only.
//!
//! The kinds: no byte; a head that drips, a byte a second; half a line; a body that drips; a reader that
//! takes a byte a second. The server cuts all of them after the timeout; each comes again at once, so a short
//! one measures a flood of connections more than their patience.
//!
//! See: live latency without the crowd, while it is at another server on the same cores, and with it, and
//! the ratios: the second shows what the crowd does to the machine, the last what it does to the server; a row per kind: how many were cut, and
//! the greatest age at which one was seen alive; memory. The exit code is 1 when a live request failed, a kind was
//! not cut, or one was cut late. Times are for reading: they depend on what else the machine does.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use lexopt::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use zero_axum::{BackendChoice, Config, Dispatch, Io};
use zero_bench::args::{Failure, program, warn_if_debug_build};
use zero_bench::{child, proc};

/// Clocks of bodies and writers run in spans of the timeout, so a client may be cut in the next one; so
/// much more is for a busy machine.
const SLACK: Duration = Duration::from_secs(2);
/// For an answer to a live client.
const PATIENCE: Duration = Duration::from_secs(2);
const LIVE: usize = 2;
/// Between two requests of a live client: what is measured is latency, not throughput.
const THINK: Duration = Duration::from_millis(1);
const LARGE_BYTES: usize = 16 << 20;
/// A kind's clients are looked at in so many portions a second. With few of them the crowd would come in
/// bursts, behind which the live ones queue whatever the server does.
const PORTIONS: usize = 100;

fn main() -> ExitCode {
    program(include_str!("slow.rs"), run)
}

struct Args {
    clients: usize,
    time: Duration,
    /// After this the server cuts who is slow.
    timeout: Duration,
    dispatch: String,
    serves: bool,
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, all)?;
    if args.serves {
        return serve(&args.dispatch, args.timeout);
    }
    warn_if_debug_build();
    println!("{}; {} clients of each kind", proc::machine(), args.clients);
    let mut server = Server::start(&args)?;
    let alone = live(server.addr, args.time)?;
    let before = server.resident_kib()?;
    println!("live alone: {alone}; resident KiB {before}");

    // The same crowd at another server's: it takes the same cores, and none of this server's time.
    let elsewhere = {
        let other = Server::start(&args)?;
        let crowds = KINDS.map(Crowd::new);
        beside(&crowds, other.addr, server.addr, &args)?
    };
    println!("live while they are at another server's: {elsewhere}");
    println!("ratio to alone: {}", elsewhere.over(&alone));

    let crowds = KINDS.map(Crowd::new);
    let here = beside(&crowds, server.addr, server.addr, &args)?;
    let most = server.resident_kib()?;
    println!("live beside them: {here}; resident KiB {most}");
    println!(
        "ratio to alone: {}; to elsewhere: {}",
        here.over(&alone),
        here.over(&elsewhere)
    );
    println!("\n| kind | cut | oldest seen alive |\n|---|---|---|");
    crowds.iter().for_each(Crowd::print);
    println!("\n{}", server.stats()?);
    let late = 2 * args.timeout + SLACK;
    match crowds.iter().all(|crowd| crowd.was_cut_by(late)) {
        true => Ok(()),
        false => Err("a kind of slow client was not cut, or cut late".into()),
    }
}

/// The latency of live clients of `addr` while the crowds are at `crowded`.
fn beside(
    crowds: &[Crowd],
    crowded: SocketAddr,
    addr: SocketAddr,
    args: &Args,
) -> Result<Latency, Failure> {
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for crowd in crowds {
            scope.spawn(move || crowd.gather(crowded, args.clients, over));
        }
        // Until the last of them has come, and the first has been cut.
        std::thread::sleep(Duration::from_secs(1) + 2 * args.timeout);
        let latency = live(addr, args.time);
        over.store(true, Ordering::Relaxed);
        latency
    })
}

fn parse_args() -> Result<Args, Failure> {
    let mut args = Args {
        clients: 1000,
        time: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        dispatch: "adaptive".into(),
        serves: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("clients") => args.clients = parser.value()?.parse()?,
            Long("seconds") => args.time = Duration::from_secs(parser.value()?.parse()?),
            Long("timeout") => args.timeout = Duration::from_secs(parser.value()?.parse()?),
            Long("dispatch") => args.dispatch = parser.value()?.string()?,
            Long("serve") => args.serves = true,
            arg => return Err(arg.unexpected().into()),
        }
    }
    Ok(args)
}

// The server, in a process of its own.

fn serve(dispatch: &str, timeout: Duration) -> Result<(), Failure> {
    static LARGE: [u8; LARGE_BYTES] = [b'x'; LARGE_BYTES];
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/large", get(|| async { Bytes::from_static(&LARGE) }));
    let config = Config::default()
        .backend(BackendChoice::IoUring)
        .head_timeout(timeout)
        .body_timeout(timeout)
        .write_timeout(timeout)
        .dispatch(match dispatch {
            "adaptive" => Dispatch::Adaptive,
            "inline" => Dispatch::Inline,
            "workers" => Dispatch::Workers,
            other => {
                return Err(format!("no dispatch {other:?}: adaptive, inline or workers").into());
            }
        });
    let mut io = Io::new(config)?;
    io.http_listen(([127, 0, 0, 1], 0).into())?;
    let server = zero_axum::serve(io, app)?;
    println!("{}", server.local_addr()?);
    // Until the parent, and with it the pipe, is gone.
    for _asked in std::io::stdin().lines() {
        println!("{:?}", server.stats());
    }
    Ok(())
}

struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Server {
    fn start(args: &Args) -> Result<Self, Failure> {
        let timeout = args.timeout.as_secs().to_string();
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "--serve",
                "--dispatch",
                &args.dispatch,
                "--timeout",
                &timeout,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let addr = line
            .trim()
            .parse()
            .map_err(|_| "the server did not start")?;
        Ok(Server { child, lines, addr })
    }

    fn resident_kib(&self) -> Result<u64, Failure> {
        Ok(proc::resident_bytes(self.child.id())? / 1024)
    }

    /// What the server counted of slow clients.
    fn stats(&mut self) -> Result<String, Failure> {
        writeln!(self.child.stdin.as_ref().ok_or("the server has no input")?)?;
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        let count = |name: &str| {
            let count = child::counter(&line, name);
            format!("{name} {}", count.unwrap_or(0))
        };
        let names = [
            "timeouts_head",
            "timeouts_body",
            "timeouts_write",
            "recv_starved",
        ];
        Ok(names.map(count).join(", "))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The child ends when its input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

// Live clients.

struct Latency {
    requests: usize,
    p50: Duration,
    p99: Duration,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Latency { requests, p50, p99 } = self;
        write!(f, "{requests} requests, p50 {p50:?}, p99 {p99:?}")
    }
}

impl Latency {
    fn over(&self, other: &Latency) -> String {
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        let (p50, p99) = (ratio(self.p50, other.p50), ratio(self.p99, other.p99));
        format!("p50 {p50:.2}, p99 {p99:.2}")
    }
}

/// Asks for `time`, one request after another on each of a few connections.
fn live(addr: SocketAddr, time: Duration) -> Result<Latency, Failure> {
    let ask = || -> std::io::Result<Vec<Duration>> {
        let until = Instant::now() + time;
        let mut stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut took = Vec::new();
        let mut answer = [0; 1024];
        while Instant::now() < until {
            let asked = Instant::now();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
            let got = stream.read(&mut answer)?;
            if !answer[..got].ends_with(b"hello") {
                return Err(std::io::Error::other("a live request was not answered"));
            }
            took.push(asked.elapsed());
            std::thread::sleep(THINK);
        }
        Ok(took)
    };
    let all = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..LIVE).map(|_| scope.spawn(ask)).collect();
        clients
            .into_iter()
            .map(|client| {
                client
                    .join()
                    .map_err(|_| "a live client panicked")?
                    .map_err(Failure::from)
            })
            .collect::<Result<Vec<_>, Failure>>()
    })?;
    let mut took = all.concat();
    took.sort_unstable();
    let at = |share: f64| took[(took.len() as f64 * share) as usize];
    Ok(Latency {
        requests: took.len(),
        p50: at(0.5),
        p99: at(0.99),
    })
}

// Slow ones.

struct Kind {
    name: &'static str,
    /// Sent at once.
    first: &'static [u8],
    /// Sent a byte a second.
    drips: bool,
    /// Takes a byte a second; others take all, to see the end.
    sips: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "no byte",
        first: b"",
        drips: false,
        sips: false,
    },
    Kind {
        name: "dripping head",
        first: b"GET / HTTP/1.1\r\nhost: a\r\n",
        drips: true,
        sips: false,
    },
    Kind {
        name: "half a line",
        first: b"GET / HT",
        drips: false,
        sips: false,
    },
    Kind {
        name: "dripping body",
        first: b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n",
        drips: true,
        sips: false,
    },
    Kind {
        name: "slow reader",
        first: b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n",
        drips: false,
        sips: true,
    },
];

/// All clients of one kind.
struct Crowd {
    kind: Kind,
    cut: AtomicU64,
    oldest_ms: AtomicU64,
}

struct SlowClient {
    stream: TcpStream,
    since: Instant,
    /// The age at which it was last seen alive. It was cut later; when, is not seen.
    alive_at: Duration,
}

impl Crowd {
    fn new(kind: Kind) -> Self {
        Crowd {
            kind,
            cut: AtomicU64::new(0),
            oldest_ms: AtomicU64::new(0),
        }
    }

    /// Keeps `clients` connections open until it is over. They come a portion at a time, so that they
    /// are not all cut in one moment.
    fn gather(&self, addr: SocketAddr, clients: usize, over: &AtomicBool) {
        // The crowd is elsewhere: what it takes to be one is not to be taken from those who are measured.
        // On Linux this is the thread's, and it may always be nicer.
        let _ = nice(19);
        let mut all: Vec<Option<SlowClient>> = (0..clients).map(|_| None).collect();
        for portion in (0..PORTIONS).cycle() {
            if over.load(Ordering::Relaxed) {
                return;
            }
            for client in all.iter_mut().skip(portion).step_by(PORTIONS) {
                if client.as_mut().is_some_and(|client| !self.is_alive(client)) {
                    let age = client.take().map_or(Duration::ZERO, |cut| cut.alive_at);
                    self.cut.fetch_add(1, Ordering::Relaxed);
                    self.oldest_ms
                        .fetch_max(age.as_millis() as u64, Ordering::Relaxed);
                }
                if client.is_none() {
                    *client = self.connect(addr).ok();
                }
            }
            std::thread::sleep(Duration::from_secs(1) / PORTIONS as u32);
        }
    }

    fn connect(&self, addr: SocketAddr) -> std::io::Result<SlowClient> {
        let mut stream = TcpStream::connect(addr)?;
        stream.write_all(self.kind.first)?;
        stream.set_nonblocking(true)?;
        Ok(SlowClient {
            stream,
            since: Instant::now(),
            alive_at: Duration::ZERO,
        })
    }

    /// Does what it does every second; whether the server has let it.
    fn is_alive(&self, client: &mut SlowClient) -> bool {
        let age = client.since.elapsed();
        let is_alive = self.go_on(client);
        if is_alive {
            client.alive_at = age;
        }
        is_alive
    }

    fn go_on(&self, client: &mut SlowClient) -> bool {
        if self.kind.drips && client.stream.write(b"x").is_err() {
            return false;
        }
        let mut taken = [0; 4096];
        let most = if self.kind.sips { 1 } else { taken.len() };
        loop {
            match client.stream.read(&mut taken[..most]) {
                Ok(0) => return false,
                Ok(_) if self.kind.sips => return !self.was_reset(client),
                // A 408, say; the end is behind it.
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Whether the server has reset the connection, which may still have bytes to be read.
    fn was_reset(&self, client: &SlowClient) -> bool {
        client.stream.take_error().ok().flatten().is_some() || client.stream.peer_addr().is_err()
    }

    fn print(&self) {
        let oldest = Duration::from_millis(self.oldest_ms.load(Ordering::Relaxed));
        println!(
            "| {} | {} | {oldest:?} |",
            self.kind.name,
            self.cut.load(Ordering::Relaxed)
        );
    }

    fn was_cut_by(&self, late: Duration) -> bool {
        self.cut.load(Ordering::Relaxed) > 0
            && self.oldest_ms.load(Ordering::Relaxed) <= late.as_millis() as u64
    }
}
