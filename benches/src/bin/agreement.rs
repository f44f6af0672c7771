//! Holds the load generator against wrk: the same server, the same connections, by turns.
//!
//! Run: `cargo build --release -p zero-bench && target/release/agreement --runs 6` (`--seconds 3`,
//! `--backend hyper`; `--spin`: ours looks for answers rather than sleep, which wrk cannot). Needs wrk.
//!
//! See: a row per scenario with medians, and the ratio of ours to wrk's with its interval. In all but
//! one the server is what limits; where the generator does, wrk's latency leaves out what a request waits in
//! wrk itself, as ours does, and the two queue differently. Last, CPU of the generator per request.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use zero_bench::args::{Failure, exit_code, list, warn_if_debug_build};
use zero_bench::case::Case;
use zero_bench::child::{CLIENT_CORE, Launch, Pinning, ServerProcess, bind_to_core, start_spinner};
use zero_bench::compare::measure::v4;
use zero_bench::compare::text::interval;
use zero_bench::load;
use zero_bench::proc::reaped_children_cpu;
use zero_bench::scenario::{self, Scenario};
use zero_bench::server::Backend;
use zero_bench::stats::{Ratio, median};
use zero_bench::wrk::Wrk;

const WARM_UP: Duration = Duration::from_millis(500);

/// What one run of a generator showed.
#[derive(Clone, Copy)]
struct Shown {
    per_second: f64,
    p50_us: f64,
    generator_us: f64,
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    warn_if_debug_build();
    let pinning = Pinning::probe();
    let scenarios = args
        .names
        .iter()
        .map(|name| scenario::find(name))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(other) = scenarios.iter().find(|s| !s.is_for_wrk()) {
        return Err(format!("wrk cannot send {}", other.name).into());
    }
    let wrk = Wrk::prepare(&scenarios, pinning.clone())?;
    println!("| scenario | | wrk | ours | ours / wrk |\n|---|---|---|---|---|");
    for scenario in scenarios {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for round in 0..args.runs {
            let with_wrk = || by_wrk(scenario, &args, &wrk, &pinning);
            let with_ours = || by_us(scenario, &args, &pinning);
            if round % 2 == 0 {
                theirs.push(with_wrk()?);
                ours.push(with_ours()?);
            } else {
                ours.push(with_ours()?);
                theirs.push(with_wrk()?);
            }
        }
        type Of = fn(&Shown) -> f64;
        let rows: [(&str, usize, Of); 3] = [
            ("req/s", 0, |s| s.per_second),
            ("p50 µs", 1, |s| s.p50_us),
            ("generator's CPU µs/req", 2, |s| s.generator_us),
        ];
        for (title, digits, of) in rows {
            let (a, b): (Vec<_>, Vec<_>) = (
                ours.iter().map(of).collect(),
                theirs.iter().map(of).collect(),
            );
            let ratio = Ratio::of_pairs(&a, &b).map_or("–".into(), |ratio| interval(&ratio));
            let name = scenario.name;
            println!(
                "| {name} | {title} | {:.digits$} | {:.digits$} | {ratio} |",
                median(&b),
                median(&a)
            );
        }
    }
    Ok(())
}

fn by_wrk(
    scenario: &Scenario,
    args: &Args,
    wrk: &Wrk,
    pinning: &Pinning,
) -> Result<Shown, Failure> {
    let server = ServerProcess::launch(&Launch::server(args.backend)?, pinning)?;
    let spinner = scenario
        .spinner
        .then(|| start_spinner(pinning, Duration::from_secs(60)))
        .transpose()?;
    wrk.run(scenario, server.addr, 1)?;
    let before = reaped_children_cpu()?;
    let report = wrk.run(scenario, server.addr, args.seconds)?;
    let cpu = reaped_children_cpu()? - before;
    drop(spinner);
    if let Some(problem) = report.problem {
        return Err(format!("wrk: {problem}").into());
    }
    Ok(Shown {
        per_second: report.requests_per_second,
        p50_us: report.p50.map_or(f64::NAN, |p50| p50.as_secs_f64() * 1e6),
        generator_us: cpu.as_secs_f64() * 1e6 / report.requests as f64,
    })
}

fn by_us(scenario: &Scenario, args: &Args, pinning: &Pinning) -> Result<Shown, Failure> {
    let server = ServerProcess::launch(&Launch::server(args.backend)?, pinning)?;
    let spinner = scenario
        .spinner
        .then(|| start_spinner(pinning, Duration::from_secs(60)))
        .transpose()?;
    let seconds = Duration::from_secs(args.seconds);
    let mut plan = Case::from(scenario).plan(v4(server.addr)?, WARM_UP, seconds)?;
    plan.spin = args.spin;
    let is_pinned = matches!(pinning, Pinning::Cores);
    let outcome = thread::spawn(move || {
        if is_pinned {
            bind_to_core(CLIENT_CORE)?;
        }
        load::run(&plan, |_| {})
    });
    let outcome = outcome
        .join()
        .map_err(|_| "the load generator panicked")??;
    drop(spinner);
    if let Some(first) = outcome.first_failure {
        return Err(format!("ours: {first}").into());
    }
    Ok(Shown {
        per_second: outcome.per_second(),
        p50_us: outcome.latency.p50_us,
        generator_us: outcome.generator_us(),
    })
}

struct Args {
    names: Vec<String>,
    backend: Backend,
    runs: usize,
    seconds: u64,
    spin: bool,
}

fn parse_args() -> Result<Args, Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let names = ["plain1", "hdr64", "echo64k", "plain64"];
    let mut args = Args {
        names: names.map(String::from).to_vec(),
        backend: Backend::Hyper,
        runs: 6,
        seconds: 3,
        spin: false,
    };
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("scenario") => args.names = list(&mut parser)?,
            Long("backend") => args.backend = parser.value()?.parse()?,
            Long("runs") => args.runs = parser.value()?.parse()?,
            Long("seconds") => args.seconds = parser.value()?.parse()?,
            Long("spin") => args.spin = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if args.runs == 0 || args.seconds == 0 {
        return Err("--runs and --seconds must be at least 1".into());
    }
    Ok(args)
}
