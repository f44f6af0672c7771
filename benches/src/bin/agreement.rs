//! Holds the load generator against wrk: the same server process, the same connections, by turns.
//!
//! Run: `cargo build --release -p zero-bench && target/release/agreement` (`--help` tells the options). Needs
//! wrk.
//!
//! See: a row per scenario and figure: medians of both, the ratio of ours to wrk's with its interval, and what
//! that says. Where the server is what limits the two must agree; where a generator's own core is, they show
//! themselves, and `benches/README.md` tells why they differ.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use zero_bench::args::{Failure, exit_code, list, warn_if_debug_build};
use zero_bench::case::Case;
use zero_bench::child::{CLIENT_CORE, Guard, Pinning, ServerProcess, bind_to_core, start_spinner};
use zero_bench::compare::measure::v4;
use zero_bench::compare::subject::Subject;
use zero_bench::compare::text::interval;
use zero_bench::load;
use zero_bench::proc::{CpuReading, reaped_children_cpu};
use zero_bench::scenario::{self, Scenario};
use zero_bench::stats::{Ratio, median};
use zero_bench::wrk::Wrk;

/// What the two may differ by and still agree.
const TOLERANCE: f64 = 0.05;
/// Load of ours before anything is counted.
const WARM_UP: Duration = Duration::from_millis(200);
/// Longer than any round takes.
const SPINNER_LIMIT: Duration = Duration::from_secs(300);
/// Scenarios and servers: those in which it is the server that limits, and its own work that takes the time. In
/// three a handler computes for 50 µs, in one it waits for a timer, in one the layers take their part.
const DEFAULTS: [(&str, &str); 5] = [
    ("plain64", "hyper+burn50000"),
    ("api64", "hyper+burn50000"),
    ("echo1k", "hyper+burn50000"),
    ("sleep64", "hyper"),
    ("tower-http", "hyper"),
];

const HELP: &str = "\
Holds the load generator against wrk: the same server process, the same connections, by turns.

  --scenario A,B  which requests; wrk sends those of one kind on kept connections
  --backend NAME  what serves (hyper), as compare names it: hyper+burn50000, hyper+tower-http
  --runs N        of each generator in each scenario (12); each round has a fresh server for both
  --seconds N     that count in each run, whole ones (1)
  --spin          ours looks for answers rather than sleep, which wrk cannot

Without a scenario: plain64, api64 and echo1k where every request takes the server 50 µs more, and sleep64 and
tower-http as they are. In all of them it is the server that limits.

'agree within 5 %': the whole interval of the ratio does. 'agree, not certain': the ratio does, and its
interval does not; more runs narrow it.";

/// What one run of a generator showed.
#[derive(Clone, Copy)]
struct Shown {
    per_second: f64,
    p50_us: f64,
    generator_us: f64,
    server_us: f64,
}

/// A figure of a run, with its digits and what its ratio says.
struct Figure {
    title: &'static str,
    digits: usize,
    of: fn(&Shown) -> f64,
    verdict: fn(&Ratio) -> &'static str,
}

const FIGURES: [Figure; 4] = [
    Figure {
        title: "req/s",
        digits: 0,
        of: |shown| shown.per_second,
        verdict: agreement,
    },
    Figure {
        title: "p50 µs",
        digits: 1,
        of: |shown| shown.p50_us,
        verdict: agreement,
    },
    Figure {
        title: "generator's CPU µs/req",
        digits: 2,
        of: |shown| shown.generator_us,
        verdict: cost,
    },
    Figure {
        title: "server's CPU µs/req",
        digits: 2,
        of: |shown| shown.server_us,
        // On loopback a server also pays for waking who waits for its answer.
        verdict: |_| "",
    },
];

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Failure> {
    let Some(args) = parse_args()? else {
        println!("{HELP}");
        return Ok(());
    };
    warn_if_debug_build();
    let pinning = Pinning::probe();
    let (scenarios, subjects): (Vec<&Scenario>, Vec<Subject>) = args.rows()?.into_iter().unzip();
    if let Some(other) = scenarios.iter().find(|s| !s.is_for_wrk()) {
        return Err(format!("wrk cannot send {}", other.name).into());
    }
    let wrk = Wrk::prepare(&scenarios, pinning.clone())?;
    println!("| scenario | server | | wrk | ours | ours / wrk | |\n|---|---|---|---|---|---|---|");
    for (scenario, subject) in scenarios.into_iter().zip(subjects) {
        let rounds = Rounds {
            scenario,
            subject,
            args: &args,
            wrk: &wrk,
            pinning: &pinning,
        };
        rounds.run()?;
    }
    Ok(())
}

/// The rounds of one scenario.
struct Rounds<'a> {
    scenario: &'a Scenario,
    subject: Subject,
    args: &'a Args,
    wrk: &'a Wrk,
    pinning: &'a Pinning,
}

impl Rounds<'_> {
    fn run(&self) -> Result<(), Failure> {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for round in 0..self.args.runs {
            // One server for both: processes differ by more than the generators do.
            let (server, _spinner) = self.start()?;
            if round % 2 == 0 {
                theirs.push(self.by_wrk(&server)?);
                ours.push(self.by_us(&server)?);
            } else {
                ours.push(self.by_us(&server)?);
                theirs.push(self.by_wrk(&server)?);
            }
        }
        for Figure {
            title,
            digits,
            of,
            verdict,
        } in FIGURES
        {
            let a: Vec<f64> = ours.iter().map(of).collect();
            let b: Vec<f64> = theirs.iter().map(of).collect();
            let ratio = Ratio::of_pairs(&a, &b);
            let shown = ratio.as_ref().map_or("–".into(), interval);
            let says = ratio.as_ref().map_or("–", verdict);
            println!(
                "| {} | {} | {title} | {:.digits$} | {:.digits$} | {shown} | {says} |",
                self.scenario.name,
                self.subject.label,
                median(&b),
                median(&a)
            );
        }
        Ok(())
    }

    fn start(&self) -> Result<(ServerProcess, Option<Guard>), Failure> {
        let server = ServerProcess::launch(&self.subject.launch(false)?, self.pinning)?;
        let spinner = self.scenario.spinner;
        let spinner = spinner.then(|| start_spinner(self.pinning, SPINNER_LIMIT));
        Ok((server, spinner.transpose()?))
    }

    fn by_wrk(&self, server: &ServerProcess) -> Result<Shown, Failure> {
        let before = reaped_children_cpu()?;
        let server_before = CpuReading::of(server.pid())?;
        let report = self
            .wrk
            .run(self.scenario, server.addr, self.args.seconds)?;
        let server_cpu = CpuReading::of(server.pid())?.since(&server_before).total;
        let cpu = reaped_children_cpu()? - before;
        if let Some(problem) = report.problem {
            return Err(format!("wrk: {problem}").into());
        }
        Ok(Shown {
            per_second: report.requests_per_second,
            p50_us: report.p50.map_or(f64::NAN, |p50| p50.as_secs_f64() * 1e6),
            generator_us: cpu.as_secs_f64() * 1e6 / report.requests as f64,
            server_us: server_cpu.as_secs_f64() * 1e6 / report.requests as f64,
        })
    }

    fn by_us(&self, server: &ServerProcess) -> Result<Shown, Failure> {
        let seconds = Duration::from_secs(self.args.seconds);
        let mut plan = Case::from(self.scenario).plan(v4(server.addr)?, WARM_UP, seconds)?;
        plan.spin = self.args.spin;
        let is_pinned = matches!(self.pinning, Pinning::Cores);
        let pid = server.pid();
        let loading = thread::spawn(move || -> Result<_, Failure> {
            if is_pinned {
                bind_to_core(CLIENT_CORE)?;
            }
            let mut readings = Vec::new();
            let outcome = load::run(&plan, |_| readings.push(CpuReading::of(pid)))?;
            Ok((outcome, readings))
        });
        let loaded = loading.join();
        let (outcome, readings) = loaded.map_err(|_| "the load generator panicked")??;
        let [before, after] = <[_; 2]>::try_from(readings).map_err(|_| "a load has two ends")?;
        let server_cpu = after?.since(&before?).total;
        if let Some(first) = outcome.first_failure {
            return Err(format!("ours: {first}").into());
        }
        Ok(Shown {
            per_second: outcome.per_second(),
            p50_us: outcome.latency.p50_us,
            generator_us: outcome.generator_us(),
            server_us: server_cpu.as_secs_f64() * 1e6 / outcome.answers as f64,
        })
    }
}

fn agreement(ratio: &Ratio) -> &'static str {
    let is_within = |value: f64| (value - 1.0).abs() <= TOLERANCE;
    match (
        is_within(ratio.ratio),
        is_within(ratio.low) && is_within(ratio.high),
    ) {
        (true, true) => "agree within 5 %",
        (true, false) => "agree, not certain",
        (false, _) if (ratio.low..=ratio.high).contains(&1.0) => "nothing shown",
        (false, _) => "**differ**",
    }
}

fn cost(ratio: &Ratio) -> &'static str {
    match ratio {
        ratio if ratio.high < 1.0 => "cheaper",
        ratio if ratio.low > 1.0 => "**dearer**",
        _ => "nothing shown",
    }
}

struct Args {
    names: Vec<String>,
    subject: Option<Subject>,
    runs: usize,
    seconds: u64,
    spin: bool,
}

impl Args {
    /// What is measured, on what.
    fn rows(&self) -> Result<Vec<(&'static Scenario, Subject)>, Failure> {
        let defaults = || DEFAULTS.iter().map(|(name, server)| (*name, *server));
        let names: Vec<(&str, &str)> = match self.names.is_empty() {
            true => defaults().collect(),
            false => self.names.iter().map(|name| (&**name, "hyper")).collect(),
        };
        let row = |(name, server): (&str, &str)| {
            let subject = self.subject.clone().map_or_else(|| server.parse(), Ok)?;
            Ok((scenario::find(name)?, subject))
        };
        names.into_iter().map(row).collect()
    }
}

/// The command line; none when it asks for help.
fn parse_args() -> Result<Option<Args>, Failure> {
    use lexopt::{Arg::Long, Arg::Short, Parser, ValueExt as _};

    let mut args = Args {
        names: Vec::new(),
        subject: None,
        runs: 12,
        seconds: 1,
        spin: false,
    };
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(None),
            Long("scenario") => args.names = list(&mut parser)?,
            Long("backend") => args.subject = Some(parser.value()?.parse()?),
            Long("runs") => args.runs = parser.value()?.parse()?,
            Long("seconds") => args.seconds = parser.value()?.parse()?,
            Long("spin") => args.spin = true,
            other => return Err(format!("{}; try --help", other.unexpected()).into()),
        }
    }
    if args.runs == 0 || args.seconds == 0 {
        return Err("--runs and --seconds must be at least 1".into());
    }
    Ok(Some(args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_what_its_interval_allows() {
        let ratio = |low, ratio, high| Ratio {
            ratio,
            low,
            high,
            p: 0.5,
            pairs: 12,
        };
        assert_eq!(agreement(&ratio(0.97, 1.0, 1.04)), "agree within 5 %");
        assert_eq!(agreement(&ratio(0.9, 1.0, 1.1)), "agree, not certain");
        assert_eq!(agreement(&ratio(0.9, 1.07, 1.2)), "nothing shown");
        assert_eq!(agreement(&ratio(1.02, 1.07, 1.2)), "**differ**");
        assert_eq!(cost(&ratio(0.7, 0.8, 0.9)), "cheaper");
        assert_eq!(cost(&ratio(0.7, 0.8, 1.1)), "nothing shown");
        assert_eq!(cost(&ratio(1.1, 1.2, 1.3)), "**dearer**");
    }
}
