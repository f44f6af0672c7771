//! What a server takes from those beside it: from everybody while nobody asks, from another process that computes on
//! its core, and from its own fast routes while slow ones hold threads up.
//!
//! Run: `cargo build --release -p zero-bench && target/release/neighbours` with
//!
//! * `--backend zero,zero-sleep,hyper`: ratios are to the last one
//! * `--runs 8`, `--seconds 1`: of each side, by turns
//! * `--idle-seconds 10`: how long nobody asks
//! * `--rate 20000`: of the fast route, in requests a second over 64 connections
//! * `--table idle,steady,process,routes`: only these
//!
//! See: tables of medians, ratios with 95 % intervals beside them. `idle` and `steady` have the server's CPU,
//! in percent of a core and in microseconds a request. `process` has what a process that computes gets of the server's
//! core, in percent. `routes` has the fast route's latencies alone and beside four clients of a slow one, as many
//! requests a second each time, and how many of them were answered in time; ratios are to the same server's without
//! slow ones.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lexopt::{Arg::Long, Parser, ValueExt as _};
use zero_bench::args::{Failure, list, program, seconds, warn_if_debug_build};
use zero_bench::child::{CLIENT_CORE, Pinning, ServerProcess, bind_to_core, start_spinner};
use zero_bench::client::Client;
use zero_bench::compare::measure::v4;
use zero_bench::compare::text::interval;
use zero_bench::load::{self, Exchange, Moment, Outcome, Pace, Plan, Reply, probe};
use zero_bench::proc::CpuReading;
use zero_bench::server::Backend;
use zero_bench::stats::{Ratio, median};

/// Measures a table.
type Measure = fn(&Machine) -> Result<Table, Failure>;
const TABLES: [(&str, Measure); 4] = [
    ("idle", Machine::idle),
    ("steady", Machine::steady),
    ("process", Machine::process),
    ("routes", Machine::routes),
];

const FAST: &str = "/plaintext";
/// Routes whose handlers hold a thread up for 50 ms: asleep, computing, and asleep where tokio knows of it.
const SLOW: [&str; 3] = ["/block/50", "/spin/50", "/inplace/50"];
const SLOW_CLIENTS: usize = 4;
const CONNECTIONS: usize = 64;
/// Requests a second of the client that does not hurry.
const STEADY: f64 = 1_000.0;
/// Load before anything is counted: what is learnt is learnt by then.
const WARM_UP: Duration = Duration::from_millis(500);
/// Between the last request and a server that counts as idle.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest a spinner outlives what it is for.
const SPINNER_LIMIT: Duration = Duration::from_secs(120);

struct Args {
    backends: Vec<Backend>,
    runs: usize,
    run: Duration,
    idle: Duration,
    rate: f64,
    tables: Vec<Measure>,
}

/// What is measured of several sides by turns: one number for each figure.
struct Table {
    title: String,
    figures: &'static [&'static str],
    sides: Vec<Side>,
}

struct Side {
    name: String,
    /// The side that its ratios are to.
    against: usize,
    /// Of each figure, run by run.
    runs: Vec<Vec<f64>>,
}

fn main() -> ExitCode {
    program(include_str!("neighbours.rs"), run)
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    warn_if_debug_build();
    let pinning = Pinning::probe();
    println!("{}", pinning.describe());
    // The generator is this thread; whom it starts is put elsewhere.
    if let Pinning::Cores = pinning {
        bind_to_core(CLIENT_CORE)?;
    }
    let machine = Machine { args, pinning };
    for measure in &machine.args.tables {
        measure(&machine)?.print();
    }
    Ok(())
}

struct Machine {
    args: Args,
    pinning: Pinning,
}

impl Machine {
    fn idle(&self) -> Result<Table, Failure> {
        let idle = self.args.idle;
        let title = format!("idle: without a request for {idle:?}, after a load");
        let mut table = Table::of_backends(title, &["CPU %"], &self.args.backends);
        table.run(1, |side| {
            let server = ServerProcess::start(self.args.backends[side], &self.pinning)?;
            self.load(&server, CONNECTIONS, Pace::Closed)?;
            thread::sleep(SETTLE);
            let before = CpuReading::of(server.pid())?;
            thread::sleep(idle);
            let cpu = CpuReading::of(server.pid())?.since(&before).total;
            Ok(vec![100.0 * cpu.as_secs_f64() / idle.as_secs_f64()])
        })?;
        Ok(table)
    }

    fn steady(&self) -> Result<Table, Failure> {
        let title = format!("steady: one client, {STEADY} requests a second");
        let figures = &["CPU µs/req", "p50 µs", "p99 µs"];
        let mut table = Table::of_backends(title, figures, &self.args.backends);
        table.run(self.args.runs, |side| {
            let server = ServerProcess::start(self.args.backends[side], &self.pinning)?;
            let (outcome, cpu) = self.load(&server, 1, Pace::Open(STEADY))?;
            let cpu_us = cpu.as_secs_f64() * 1e6 / outcome.answers as f64;
            let latency = outcome.latency;
            Ok(vec![cpu_us, latency.p50_us, latency.p99_us])
        })?;
        Ok(table)
    }

    fn process(&self) -> Result<Table, Failure> {
        let rate = self.args.rate;
        let title = format!(
            "process: what one that computes gets of the server's core, beside a lone client in a closed loop, and \
             beside {rate} requests a second"
        );
        let figures = &["lone: its %", "req/s", "paced: its %", "p50 µs", "p99 µs"];
        let mut table = Table::of_backends(title, figures, &self.args.backends);
        table.run(self.args.runs, |side| {
            let server = ServerProcess::start(self.args.backends[side], &self.pinning)?;
            let spinner = start_spinner(&self.pinning, SPINNER_LIMIT)?;
            let share = |connections, pace| {
                let before = CpuReading::of(spinner.0.id())?;
                let from = Instant::now();
                let (outcome, _) = self.load(&server, connections, pace)?;
                let got = CpuReading::of(spinner.0.id())?.since(&before).total;
                let share = 100.0 * got.as_secs_f64() / from.elapsed().as_secs_f64();
                Ok::<_, Failure>((share, outcome))
            };
            let (lone, one) = share(1, Pace::Closed)?;
            let (paced, many) = share(CONNECTIONS, Pace::Open(rate))?;
            let latency = &many.latency;
            Ok(vec![
                lone,
                one.per_second(),
                paced,
                latency.p50_us,
                latency.p99_us,
            ])
        })?;
        Ok(table)
    }

    fn routes(&self) -> Result<Table, Failure> {
        let rate = self.args.rate;
        let mut sides = Vec::new();
        let mut asked = Vec::new();
        for backend in &self.args.backends {
            let against = sides.len();
            sides.push(Side::new(format!("{backend}, alone"), against));
            asked.push((*backend, None));
            for slow in SLOW {
                sides.push(Side::new(format!("{backend}, {slow}"), against));
                asked.push((*backend, Some(slow)));
            }
        }
        let mut table = Table {
            title: format!("routes: {FAST} at {rate} requests a second, beside slow ones"),
            figures: &["p50 µs", "p90 µs", "p99 µs", "answered %"],
            sides,
        };
        table.run(self.args.runs, |side| {
            let (backend, slow) = asked[side];
            let server = ServerProcess::start(backend, &self.pinning)?;
            let ends = AtomicBool::new(false);
            let outcome = thread::scope(|scope| {
                for _ in 0..slow.map_or(0, |_| SLOW_CLIENTS) {
                    scope.spawn(|| ask_until(&ends, server.addr, slow.unwrap_or_default()));
                }
                let outcome = self.load(&server, CONNECTIONS, Pace::Open(rate));
                ends.store(true, Ordering::Relaxed);
                outcome
            });
            let (Outcome { latency, .. }, _) = &outcome?;
            let due = rate * self.args.run.as_secs_f64();
            let answered = 100.0 * latency.count as f64 / due;
            let (p50, p90, p99) = (latency.p50_us, latency.p90_us, latency.p99_us);
            Ok(vec![p50, p90, p99, answered])
        })?;
        Ok(table)
    }

    /// Asks for the fast route from this thread; with what came of it goes the server's CPU meanwhile.
    fn load(
        &self,
        server: &ServerProcess,
        connections: usize,
        pace: Pace,
    ) -> Result<(Outcome, Duration), Failure> {
        let addr = v4(server.addr)?;
        let request = request(addr.into(), FAST);
        let exchange = Exchange {
            label: FAST.into(),
            reply: Reply::Http(probe::learn(addr, &request)?),
            request,
            weight: 1,
        };
        let plan = Plan {
            connections,
            pace,
            warm_up: WARM_UP,
            duration: self.args.run,
            ..Plan::new(addr, vec![exchange])
        };
        let mut readings = Vec::new();
        let outcome = load::run(&plan, |_: Moment| {
            readings.push(CpuReading::of(server.pid()));
        })?;
        if outcome.answers == 0 {
            let first = outcome.first_failure.as_deref();
            return Err(first.unwrap_or("nothing was answered").into());
        }
        let mut readings = readings.into_iter();
        let mut next = || readings.next().ok_or("the load did not start or end");
        let (before, after) = (next()??, next()??);
        Ok((outcome, after.since(&before).total))
    }
}

impl Table {
    /// One of a side for each backend, whose ratios are to the last.
    fn of_backends(title: String, figures: &'static [&'static str], backends: &[Backend]) -> Self {
        let last = backends.len() - 1;
        let side = |backend: &Backend| Side::new(backend.to_string(), last);
        Table {
            title,
            figures,
            sides: backends.iter().map(side).collect(),
        }
    }

    /// Measures every side so often, by turns, each time in the other order.
    fn run(
        &mut self,
        runs: usize,
        mut measure: impl FnMut(usize) -> Result<Vec<f64>, Failure>,
    ) -> Result<(), Failure> {
        for run in 0..runs {
            for turn in 0..self.sides.len() {
                let side = match run % 2 {
                    0 => turn,
                    _ => self.sides.len() - 1 - turn,
                };
                let figures =
                    measure(side).map_err(|error| format!("{}: {error}", self.sides[side].name))?;
                self.sides[side].runs.push(figures);
            }
        }
        Ok(())
    }

    fn print(&self) {
        println!("\n{}\n\n| | {} |", self.title, self.figures.join(" | "));
        println!("|---|{}", "---|".repeat(self.figures.len()));
        for (index, side) in self.sides.iter().enumerate() {
            let cells = (0..self.figures.len()).map(|figure| {
                let ours = side.figure(figure);
                let shown = format!("{:.2}", median(&ours));
                let theirs = self.sides[side.against].figure(figure);
                match Ratio::of_pairs(&ours, &theirs).filter(|ratio| ratio.high.is_finite()) {
                    Some(ratio) if index != side.against => {
                        format!("{shown} ({})", interval(&ratio))
                    }
                    _ => shown,
                }
            });
            println!(
                "| {} | {} |",
                side.name,
                cells.collect::<Vec<_>>().join(" | ")
            );
        }
    }
}

impl Side {
    fn new(name: String, against: usize) -> Self {
        Side {
            name,
            against,
            runs: Vec::new(),
        }
    }

    fn figure(&self, figure: usize) -> Vec<f64> {
        self.runs.iter().map(|run| run[figure]).collect()
    }
}

/// One client of a slow route. It does not mind how it is answered, or that it is not.
fn ask_until(ends: &AtomicBool, server: SocketAddr, path: &str) {
    let request = request(server, path);
    while !ends.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(server) else {
            continue;
        };
        while !ends.load(Ordering::Relaxed)
            && client.send(&request).is_ok()
            && client.receive().is_ok()
        {}
    }
}

fn request(server: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n").into_bytes()
}

fn parse_args() -> Result<Args, Failure> {
    let mut args = Args {
        backends: vec![Backend::Zero, Backend::ZeroSleep, Backend::Hyper],
        runs: 8,
        run: Duration::from_secs(1),
        idle: Duration::from_secs(10),
        rate: 20_000.0,
        tables: TABLES.map(|(_, measure)| measure).to_vec(),
    };
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("backend") => args.backends = list(&mut parser)?,
            Long("runs") => args.runs = parser.value()?.parse()?,
            Long("seconds") => args.run = seconds(&mut parser)?,
            Long("idle-seconds") => args.idle = seconds(&mut parser)?,
            Long("rate") => args.rate = parser.value()?.parse()?,
            Long("table") => args.tables = tables(&list(&mut parser)?)?,
            other => return Err(other.unexpected().into()),
        }
    }
    match args.backends.is_empty() || args.runs == 0 {
        true => Err("there is nothing to measure; give --backend and --runs".into()),
        false => Ok(args),
    }
}

fn tables(names: &[String]) -> Result<Vec<Measure>, Failure> {
    let find = |name: &String| {
        let found = TABLES.iter().find(|(known, _)| known == name);
        found.map(|(_, measure)| *measure).ok_or_else(|| {
            let known = TABLES.map(|(known, _)| known).join(", ");
            format!("no table {name:?}; there are {known}").into()
        })
    };
    names.iter().map(find).collect()
}
