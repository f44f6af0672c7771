//! Hurts a server for a while, and verifies every valid answer it gives meanwhile byte for byte.
//!
//! Run: `cargo build --release -p zero-bench && target/release/chaos` (`--seconds 20`, `--seed 1`,
//! `--dispatch adaptive|inline|workers`). Loopback only, and bounded in time.
//!
//! Honest clients upload, download and pipeline; hostile ones abort in every phase, stop reading, drip,
//! send garbage, make handlers panic, and take more connections than the server has descriptors for.
//!
//! See: a line of counts. `lost` (a valid request without its whole answer) and `corrupt` (another's
//! bytes) must be 0, else the exit code is 1; so must what is still open when all have gone. A refused
//! or reset *connect*, as when descriptors have run out, is tried again and is no loss.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::routing::{get, post};
use lexopt::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zero_axum::{BackendChoice, Config, Dispatch, Io};
use zero_bench::args::{Failure, program};

/// What the server may open; the hoarders take more.
const DESCRIPTORS: u64 = 200;
const HONEST: u64 = 8;
const HOSTILE: u64 = 8;
/// An honest client waits so long for bytes before it calls them lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the server waits for of a client: longer than a machine stands still, which would cut honest ones.
const SERVER_PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    program(include_str!("chaos.rs"), run)
}

struct Args {
    seconds: u64,
    seed: u64,
    dispatch: String,
    serves: bool,
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    if args.serves {
        return serve(&args.dispatch);
    }
    let mut server = Server::start(&args.dispatch)?;
    let before = server.state()?;
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let client = |number: u64| {
        let (tally, addr) = (tally.clone(), server.addr);
        let mut rng = Rng(args.seed.wrapping_mul(0x9e37_79b9).wrapping_add(number) | 1);
        std::thread::spawn(move || {
            while Instant::now() < until {
                match number < HONEST {
                    true => ask_honestly(addr, &mut rng, &tally),
                    false => do_harm(addr, &mut rng, &tally),
                }
            }
        })
    };
    let clients: Vec<_> = (0..HONEST + HOSTILE).map(client).collect();
    for client in clients {
        client.join().map_err(|_| "a client panicked")?;
    }
    // What lingers or waits for a timeout goes home.
    let settled = Instant::now() + PATIENCE;
    let mut after = server.state()?;
    while after.0 > before.0 && Instant::now() < settled {
        std::thread::sleep(Duration::from_millis(200));
        after = server.state()?;
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "seed {}: ok {}, lost {}, corrupt {}, faults injected {}; descriptors {} -> {}, resident KiB {} -> {}",
        args.seed,
        count(&tally.ok),
        count(&tally.lost),
        count(&tally.corrupt),
        count(&tally.faults),
        before.0,
        after.0,
        before.1,
        after.1
    );
    let is_whole = count(&tally.lost) == 0 && count(&tally.corrupt) == 0 && after.0 <= before.0;
    let has_run = count(&tally.ok) > 0 && count(&tally.faults) > 0;
    match is_whole && has_run {
        true => Ok(()),
        false => Err("answers were lost or corrupt, or something is left open".into()),
    }
}

fn parse_args() -> Result<Args, Failure> {
    let mut args = Args {
        seconds: 20,
        seed: std::process::id().into(),
        dispatch: "adaptive".into(),
        serves: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seconds") => args.seconds = parser.value()?.parse()?,
            Long("seed") => args.seed = parser.value()?.parse()?,
            Long("dispatch") => args.dispatch = parser.value()?.string()?,
            Long("serve") => args.serves = true,
            arg => return Err(arg.unexpected().into()),
        }
    }
    Ok(args)
}

#[derive(Default)]
struct Tally {
    ok: AtomicU64,
    lost: AtomicU64,
    corrupt: AtomicU64,
    faults: AtomicU64,
}

// The server, in a process of its own, for its descriptors and its memory to be its own.

fn serve(dispatch: &str) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let low = Rlimit {
        current: Some(DESCRIPTORS),
        ..limit
    };
    setrlimit(Resource::Nofile, low)?;
    let download = |Path((seed, length)): Path<(u64, usize)>| async move { pattern(seed, length) };
    let app = Router::new()
        .route("/bytes/{seed}/{length}", get(download))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/pipe", post(|body: Body| async { body }))
        .route(
            "/panic",
            get(|| async { panic!("as asked") as &'static str }),
        )
        .route("/never", get(std::future::pending::<&'static str>));
    let config = Config::default()
        .backend(BackendChoice::IoUring)
        .shards(2)
        .head_timeout(SERVER_PATIENCE)
        .keep_alive_timeout(SERVER_PATIENCE)
        .write_timeout(SERVER_PATIENCE)
        .body_timeout(SERVER_PATIENCE)
        .dispatch(match dispatch {
            "adaptive" => Dispatch::Adaptive,
            "inline" => Dispatch::Inline,
            "workers" => Dispatch::Workers,
            other => {
                return Err(format!("no dispatch {other:?}: adaptive, inline or workers").into());
            }
        });
    std::panic::set_hook(Box::new(|_| {}));
    let mut io = Io::new(config)?;
    io.http_listen(([127, 0, 0, 1], 0).into())?;
    let server = zero_axum::serve(io, app.layer(axum::extract::DefaultBodyLimit::disable()))?;
    println!("{}", server.local_addr()?);
    // Until the parent, and with it the pipe, is gone.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(dispatch: &str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", "--dispatch", dispatch])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line
            .trim()
            .parse()
            .map_err(|_| "the server did not start")?;
        // What is made once is made before anything is counted.
        let mut client = TcpStream::connect(addr)?;
        client.write_all(b"GET /bytes/1/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        client.read_to_end(&mut Vec::new())?;
        drop(client);
        std::thread::sleep(Duration::from_millis(300));
        Ok(Server { child, addr })
    }

    /// Descriptors open, and resident memory in KiB.
    fn state(&mut self) -> Result<(usize, u64), Failure> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the server has ended: {status}").into());
        }
        let pid = self.child.id();
        let is_account = |fd: &std::io::Result<std::fs::DirEntry>| {
            let file = fd.as_ref().map(|fd| std::fs::read_link(fd.path()));
            file.is_ok_and(|file| file.is_ok_and(|file| file.ends_with("schedstat")))
        };
        let all = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
        let (accounts, others): (Vec<_>, Vec<_>) = all.partition(is_account);
        // A thread opens its account with the scheduler at its first slow poll, and keeps it.
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"))?.count();
        let open = others.len() + accounts.len().saturating_sub(threads);
        Ok((open, zero_bench::proc::resident_bytes(pid)? / 1024))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The child ends when its input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

// Honest clients.

fn ask_honestly(addr: SocketAddr, rng: &mut Rng, tally: &Tally) {
    let Ok(mut stream) = TcpStream::connect(addr) else {
        return std::thread::sleep(Duration::from_millis(20));
    };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(match stream.try_clone() {
        Ok(stream) => stream,
        Err(_) => return,
    });
    for _ in 0..rng.below(20) + 1 {
        let wanted = ask(&mut stream, rng);
        for body in wanted {
            let counter = match read_answer(&mut reader) {
                Some(answer) if answer == body => &tally.ok,
                Some(_) => &tally.corrupt,
                None => &tally.lost,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            if std::ptr::eq(counter, &tally.lost) {
                return;
            }
        }
    }
}

/// Sends a request, or several at once; returns the bodies that must come back.
fn ask(stream: &mut TcpStream, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let mut wanted = Vec::new();
    match rng.below(4) {
        0 => {
            // An echo that streams must be read while it is sent; a short one fits into the buffers.
            let (path, most) = match rng.below(2) {
                0 => ("/echo", 300_000),
                _ => ("/pipe", 20_000),
            };
            let body = pattern(rng.next(), rng.below(most) as usize);
            let length = body.len();
            let head =
                format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
            text.extend(head.into_bytes());
            text.extend(&body);
            wanted.push(body);
        }
        _ => {
            for _ in 0..rng.below(8) + 1 {
                let (seed, length) = (rng.next() >> 1, rng.below(40_000));
                let get = format!("GET /bytes/{seed}/{length} HTTP/1.1\r\nhost: a\r\n\r\n");
                text.extend(get.into_bytes());
                wanted.push(pattern(seed, length as usize));
            }
        }
    }
    // Whether it was taken shows in the answers.
    let _ = stream.write_all(&text);
    wanted
}

/// A whole answer's body; `None` when the connection ends before.
fn read_answer(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = None;
    let mut is_chunked = false;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length: ") {
            length = value.parse::<usize>().ok();
        }
        is_chunked |= field == "transfer-encoding: chunked";
    }
    if !is_chunked {
        let mut body = vec![0; length?];
        reader.read_exact(&mut body).ok()?;
        return Some(body);
    }
    let mut body = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        let before = body.len();
        body.resize(before + size, 0);
        reader.read_exact(&mut body[before..]).ok()?;
        reader.read_exact(&mut [0; 2]).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}

// Hostile ones.

fn do_harm(addr: SocketAddr, rng: &mut Rng, tally: &Tally) {
    tally.faults.fetch_add(1, Ordering::Relaxed);
    let Ok(mut stream) = TcpStream::connect(addr) else {
        return std::thread::sleep(Duration::from_millis(20));
    };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let nap = Duration::from_millis(rng.below(30));
    // Peers that have gone already refuse what is sent: all the better.
    let _ = match rng.below(9) {
        0 => stream.write_all(&head.as_bytes()[..rng.below(head.len() as u64) as usize]),
        1 => stream.write_all(&[head.as_bytes(), &pattern(1, rng.below(99_999) as usize)].concat()),
        2 => stream.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n"),
        3 => stream.write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n"),
        4 => stream.write_all(&pattern(rng.next(), rng.below(5_000) as usize)),
        5 => {
            let large = b"GET /bytes/1/3000000 HTTP/1.1\r\nhost: a\r\n\r\n";
            stream.write_all(&large.repeat(rng.below(4) as usize + 1))
        }
        6 => (0..20).try_for_each(|_| {
            std::thread::sleep(nap / 10);
            stream.write_all(b"x")
        }),
        7 => {
            let hoard: Vec<_> = (0..60)
                .map_while(|_| TcpStream::connect(addr).ok())
                .collect();
            std::thread::sleep(10 * nap);
            drop(hoard);
            Ok(())
        }
        _ => stream
            .write_all(b"GET /bytes/1/9000 HTTP/1.1\r\nhost: a\r\n\r\n")
            .and_then(|()| stream.shutdown(std::net::Shutdown::Write)),
    };
    std::thread::sleep(nap);
    if rng.below(2) == 0 {
        // Unread input makes the close a reset.
        let _ = stream.read(&mut [0; 100]);
    }
}

/// Bytes that tell their seed and their place.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let byte = |at: usize| {
        (seed
            .wrapping_add(at as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 56) as u8
    };
    (0..length).map(byte).collect()
}

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
