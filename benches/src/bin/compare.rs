//! Measures backends by turns (A B A B): throughput, latency, CPU per request, per scenario.
//!
//! Run: `cargo build --release -p zero-bench && target/release/compare --quick`
//! (all programs must be built: this one starts `server` and `spin` beside it) with
//!
//! * `--quick`: 2 runs of 2 s each, for a first look
//! * `--scenario plain64,sat256`: only these, in this order
//! * `--backend zero,hyper`: which to compare; ratios are of the first to the others. There are
//!   `zero`, `zero-inline`, `zero-workers`, `zero-sleep`, `zero-spin`, `hyper` (with TCP_NODELAY) and `hyper-default`
//! * `--runs 5`, `--seconds 4`: per scenario and backend; a warm-up of 1 s comes before each run
//!
//! Every run is a fresh server on core 0 and wrk on core 1. Before any, both backends must give
//! byte-identical answers, dates aside; scenarios in which they do not are left out and fail the
//! program at the end.
//!
//! See: a line per run on stderr with the time left, then one markdown table per scenario on stdout.
//! Figures are `median [min–max]` over the good runs.
//!
//! | column | is |
//! |---|---|
//! | bad | runs with errors, which count nowhere else |
//! | CPU µs/req | the server's time on a core, all threads, over wrk's requests |
//! | user, sys | its parts; the split is sampled, see `zero_bench::proc` |
//! | enters/req | calls of `io_uring_enter`, by zero's own counter |
//! | srv busy, gen busy | cores that each side used |
//! | srv waited | cores that the server wanted while something else had them: half of one by design in `sat256`, else a sign of a disturbed run |
//!
//! wrk itself saturates near 160 k req/s: compare CPU per request, and do not believe differences
//! under 15 % from fewer than ten runs. wrk's latencies of pipelined requests are wrong and left out.

use std::process::ExitCode;
use std::time::Duration;

use zero_bench::args::{Failure, exit_code, list, warn_if_debug_build};
use zero_bench::child::{Pinning, ServerProcess, sibling};
use zero_bench::measure::{self, Phases, Run};
use zero_bench::proc;
use zero_bench::report::{self, Results};
use zero_bench::scenario::{self, SCENARIOS, Scenario};
use zero_bench::server::Backend;
use zero_bench::wrk::Wrk;

struct Args {
    scenarios: Vec<&'static Scenario>,
    backends: Vec<Backend>,
    runs: usize,
    phases: Phases,
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    warn_if_debug_build();
    let pinning = Pinning::probe();
    if let Pinning::Off(reason) = &pinning {
        eprintln!("warning: nothing is bound to a core, so figures will wander: {reason}");
    }
    announce_server()?;
    let wrk = Wrk::prepare(&args.scenarios, pinning.clone())?;
    let (same, different) = split_by_answers(&args, &pinning)?;
    println!(
        "{}; {} runs of {} s\n",
        proc::machine(),
        args.runs,
        args.phases.seconds
    );
    let mut progress = Progress::new(&args, same.len());
    for scenario in same {
        let results = measure_all(scenario, &args, &wrk, &pinning, &mut progress);
        println!("{}", report::table(scenario, &results));
        if results.iter().any(|result| result.good.is_empty()) {
            progress.failed.push(scenario.name);
        }
    }
    let failed = [different, progress.failed].concat();
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("different answers or no good run in: {}", failed.join(", ")).into())
}

/// A stale server is the classic way to measure the wrong thing, so its age is shown.
fn announce_server() -> Result<(), Failure> {
    let server = sibling("server")?;
    let age = server.metadata()?.modified()?.elapsed().unwrap_or_default();
    eprintln!("{} was built {} ago", server.display(), minutes(age));
    Ok(())
}

/// Sorts the scenarios by whether all backends answer them alike.
fn split_by_answers(
    args: &Args,
    pinning: &Pinning,
) -> Result<(Vec<&'static Scenario>, Vec<&'static str>), Failure> {
    let servers = args
        .backends
        .iter()
        .map(|&backend| ServerProcess::start(backend, pinning))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut same, mut different) = (Vec::new(), Vec::new());
    for &scenario in &args.scenarios {
        match check_answers(scenario, args, &servers) {
            Ok(()) => same.push(scenario),
            Err(why) => {
                eprintln!("{}: left out: {why}", scenario.name);
                different.push(scenario.name);
            }
        }
    }
    eprintln!(
        "{} of {} scenarios are answered alike",
        same.len(),
        args.scenarios.len()
    );
    Ok((same, different))
}

fn check_answers(
    scenario: &Scenario,
    args: &Args,
    servers: &[ServerProcess],
) -> Result<(), Failure> {
    let mut first: Option<Vec<u8>> = None;
    for (backend, server) in args.backends.iter().zip(servers) {
        let answers = measure::answers(scenario, server).map_err(|e| format!("{backend}: {e}"))?;
        match &first {
            None => first = Some(answers),
            Some(expected) if *expected == answers => {}
            Some(expected) => {
                return Err(difference(args.backends[0], expected, *backend, &answers));
            }
        }
    }
    Ok(())
}

/// Shows where two answers part.
fn difference(a: Backend, expected: &[u8], b: Backend, found: &[u8]) -> Failure {
    let at = expected
        .iter()
        .zip(found)
        .take_while(|(x, y)| x == y)
        .count();
    let from = at.saturating_sub(20);
    let show = |bytes: &[u8]| {
        let end = bytes.len().min(at + 60);
        String::from_utf8_lossy(&bytes[from..end]).into_owned()
    };
    format!(
        "from byte {at}, {a}: {:?}, {b}: {:?}",
        show(expected),
        show(found)
    )
    .into()
}

fn measure_all(
    scenario: &Scenario,
    args: &Args,
    wrk: &Wrk,
    pinning: &Pinning,
    progress: &mut Progress,
) -> Vec<Results> {
    let mut results: Vec<_> = args
        .backends
        .iter()
        .map(|&backend| Results {
            backend,
            good: Vec::new(),
            bad: 0,
        })
        .collect();
    for _ in 0..args.runs {
        for result in &mut results {
            let run = measure::run(scenario, result.backend, wrk, pinning, args.phases);
            progress.tell(scenario, result.backend, &run);
            match run {
                Ok(run) if run.problem.is_none() => result.good.push(run),
                _ => result.bad += 1,
            }
        }
    }
    results
}

/// Counts runs, to say how long the rest will take.
struct Progress {
    done: usize,
    total: usize,
    each: Duration,
    failed: Vec<&'static str>,
}

impl Progress {
    fn new(args: &Args, scenarios: usize) -> Self {
        Progress {
            done: 0,
            total: scenarios * args.backends.len() * args.runs,
            each: args.phases.total(),
            failed: Vec::new(),
        }
    }

    fn tell(&mut self, scenario: &Scenario, backend: Backend, run: &Result<Run, Failure>) {
        self.done += 1;
        let left = self.each * (self.total - self.done) as u32;
        let what = match run {
            Err(failure) => format!("BAD: {failure}"),
            Ok(Run {
                problem: Some(problem),
                ..
            }) => format!("BAD: {problem}"),
            Ok(run) => summary(run),
        };
        let Progress { done, total, .. } = self;
        eprintln!(
            "[{done}/{total}, {} left] {} {backend}: {what}",
            minutes(left),
            scenario.name
        );
    }
}

fn summary(run: &Run) -> String {
    let latency = run
        .p99_us
        .map_or(String::new(), |p99| format!(" p99 {p99:.0} µs,"));
    format!(
        "{:>7.0} req/s,{latency} CPU {:.2} µs/req (user {:.2}, sys {:.2})",
        run.requests_per_second, run.cpu_us, run.user_us, run.system_us
    )
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

fn parse_args() -> Result<Args, Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let mut names: Vec<String> = Vec::new();
    let mut backends = Backend::defaults();
    let (mut quick, mut runs, mut seconds) = (false, None, None);
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("quick") => quick = true,
            Long("scenario") => names = list(&mut parser)?,
            Long("backend") => backends = list(&mut parser)?,
            Long("runs") => runs = Some(parser.value()?.parse()?),
            Long("seconds") => seconds = Some(parser.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let scenarios = if names.is_empty() {
        SCENARIOS.iter().collect()
    } else {
        names
            .iter()
            .map(|name| scenario::find(name))
            .collect::<Result<_, _>>()?
    };
    let args = Args {
        scenarios,
        backends,
        runs: runs.unwrap_or(if quick { 2 } else { 5 }),
        phases: Phases {
            warm_up_seconds: 1,
            seconds: seconds.unwrap_or(if quick { 2 } else { 4 }),
        },
    };
    if args.runs == 0 || args.phases.seconds == 0 {
        return Err("--runs and --seconds must be at least 1".into());
    }
    Ok(args)
}
