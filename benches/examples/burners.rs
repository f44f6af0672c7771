//! What a shard's spinning costs handlers that compute: as many of them as cores, beside a client that asks in
//! bursts, which is what shards spin for. `Wakeup::Adaptive` against `Wakeup::Sleep`, by turns.
//!
//! Run: `cargo run --release -p zero-bench --example burners`, with `--pairs 8`, `--seconds 1`
//!
//! See: a line a pair, then the mean ratio of what was computed; 1.00 is a spin that costs nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use lexopt::{Arg::Long, ValueExt as _};
use zero_axum::{Config, Io, Wakeup};
use zero_bench::args::Failure;

/// Units of work in one request: some 5 ms.
const UNITS: u64 = 1000;
/// Requests of a burst, and the pause between two.
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(2);

static COMPUTED: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<(), Failure> {
    let (mut pairs, mut seconds) = (8, 1.0);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("pairs") => pairs = args.value()?.parse()?,
            Long("seconds") => seconds = args.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let time = Duration::from_secs_f64(seconds);
    let mut sum = 0.0;
    for pair in 0..pairs {
        let order = [Wakeup::Sleep, Wakeup::Adaptive];
        let first = pair % 2;
        let mut computed = [(0, 0, 0); 2];
        for side in [first, 1 - first] {
            computed[side] = measure(order[side], time)?;
        }
        let [sleep, adaptive] = computed;
        let ratio = adaptive.0 as f64 / sleep.0 as f64;
        println!("computed, answered, spins: sleep {sleep:?}, adaptive {adaptive:?}: {ratio:.3}");
        sum += ratio.ln();
    }
    println!("mean ratio {:.3}", (sum / f64::from(pairs as u32)).exp());
    Ok(())
}

/// Units computed and bursts' requests answered in `time`, and how often a shard spun.
fn measure(wakeup: Wakeup, time: Duration) -> Result<(u64, u64, u64), Failure> {
    let cores = thread::available_parallelism()?.get();
    let mut io = Io::new(Config::default().shards(1).workers(cores).wakeup(wakeup))?;
    io.http_listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let app = Router::new()
        .route("/fast", get(async || "done"))
        .route("/burn", get(burn));
    let server = zero_axum::serve(io, app)?;
    let addr = server.local_addr()?;
    let (ends, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let computed = thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| ask(addr, "/burn", 1, Duration::ZERO, &ends, &AtomicU64::new(0)));
        }
        scope.spawn(|| ask(addr, "/fast", BURST, PAUSE, &ends, &answered));
        thread::sleep(Duration::from_millis(200));
        let before = COMPUTED.load(Ordering::Relaxed);
        thread::sleep(time);
        let computed = COMPUTED.load(Ordering::Relaxed) - before;
        ends.store(true, Ordering::Relaxed);
        computed
    });
    let stats = server.stats();
    server.shutdown();
    let spins = stats.spins_found + stats.spins_in_vain;
    Ok((computed, answered.into_inner(), spins))
}

/// Computes behind an await, as a task of its own.
async fn burn() -> &'static str {
    tokio::task::yield_now().await;
    let mut state = 1_u64;
    for _ in 0..UNITS {
        for _ in 0..5_000 {
            state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) + 1);
        }
        COMPUTED.fetch_add(1, Ordering::Relaxed);
    }
    "done"
}

/// Asks in bursts until it `ends`.
fn ask(
    addr: SocketAddr,
    path: &str,
    burst: usize,
    pause: Duration,
    ends: &AtomicBool,
    answered: &AtomicU64,
) {
    let mut connection = TcpStream::connect(addr).expect("the server listens");
    connection.set_nodelay(true).expect("a TCP socket");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    while !ends.load(Ordering::Relaxed) {
        for _ in 0..burst {
            connection
                .write_all(request.as_bytes())
                .expect("it is taken");
            let mut answer = Vec::new();
            while !answer.ends_with(b"done") {
                let mut piece = [0; 512];
                let count = connection.read(&mut piece).expect("it is answered");
                assert!(count > 0, "the connection goes on");
                answer.extend_from_slice(&piece[..count]);
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        thread::sleep(pause);
    }
}
