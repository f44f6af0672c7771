//! The command line of a comparison.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::expected::Expected;
use super::measure::Phases;
use super::subject::{Subject, tell_apart};
use crate::args::{Failure, list};
use crate::case::Case;
use crate::scenario::{Traffic, unknown};
use crate::server::Backend;
use crate::stats::PAIRS_MIN;

/// What `--quick` measures unless it is told.
const QUICK: [&str; 10] = [
    "plain64", "plain1", "sat256", "hdr64", "json64", "users64", "echo1k", "echo64k", "big",
    "pipe16",
];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The rows.
    pub cases: Vec<Case>,
    /// The sides.
    pub subjects: Vec<Subject>,
    /// Cores of each server. With more than one it has a thread on each, and shares them with the load.
    pub cores: usize,
    /// Runs of each side in each row.
    pub runs: usize,
    /// How long each takes.
    pub phases: Phases,
    /// Shares of the slowest side's capacity at which latency is measured.
    pub shares: Vec<f64>,
    /// Whether allocations, system calls, memory of idle connections and the like are counted.
    pub counts: bool,
    /// Why instructions are not counted, which takes some seconds a row and side; `None` if they are.
    pub no_instructions: Option<&'static str>,
    /// Whether sizes of programs are told.
    pub sizes: bool,
    /// Whether a first look is enough, for which nothing more than the server is built.
    pub is_quick: bool,
    /// What memory of idle connections is measured with.
    pub idle: Idle,
    /// Where the reports go.
    pub out: PathBuf,
    /// Under which name the record is kept for later.
    pub save: Option<String>,
    /// The record of which name this one is held against.
    pub against: Option<String>,
    /// What must come out of it.
    pub expected: Option<Expected>,
}

/// Cases whose first request opens a connection that then does nothing.
#[derive(Clone, Debug, Default)]
pub struct Idle {
    /// That has been answered and is kept.
    pub connection: Option<Case>,
    /// That has become a WebSocket.
    pub websocket: Option<Case>,
}

impl Idle {
    /// The plainest of all rows there are, and the smallest of WebSockets.
    fn of(cases: &[Case]) -> Self {
        let is_kept = |case: &&Case| case.traffic == Traffic::KeepAlive;
        let plain = cases.iter().find(|case| case.name == "plain1");
        let is_websocket = |case: &&Case| matches!(case.traffic, Traffic::WebSocket(_));
        Idle {
            connection: plain.or_else(|| cases.iter().find(is_kept)).cloned(),
            websocket: cases.iter().find(is_websocket).cloned(),
        }
    }
}

/// What `--help` says.
pub const HELP: &str = "\
Compares backends by turns and writes report.html and report.json.

  --quick               a first look in under two minutes: ten scenarios, short runs, latency at half
                        load in one of them alone, no instructions
  --scenario A,B        only these, in this order (--list names them)
  --backend A,B         the sides; ratios are of the first to each other one
                        (--list names them; see below for what can be done to them; twice the same is
                        an A/A test)
  --cores N             servers with N threads, on cores that they share with the load (one on a core
                        of its own); an axum::serve is tokio's multi-thread runtime then
  --runs N              of each side in each scenario (7); verdicts need six
  --seconds S           that count, in each run (3)
  --warm-up S           before them (0.5)
  --rates 25,50,75,90   fixed rates, in percent of the slowest side's capacity, half as many runs at each;
                        'none' for none
  --no-counts           leave out allocations, system calls, instructions, idle memory and sizes of programs
  --out FOLDER          where the reports go (target/zero-bench)
  --save NAME           keep the record under this name
  --against NAME        hold this record against the one kept under that name
  --expect WHAT         end with an error unless this comes out: 'same', no verdict says otherwise;
                        'slower' or 'faster', the first side's CPU per request is judged so in every row
  --list                name scenarios and backends

  A side is NAME[@mimalloc][+LAYERS][+burnNANOSECONDS][+slowPERCENT]: with another allocator; with
  layers, tower-http or native, in full or one alone as in native:cors; made to waste so much time in every
  request, in nanoseconds or in percent of the CPU that it takes without.

  compare --render REPORT.JSON PAGE.HTML writes the page of an earlier record anew.";

/// What the command line asks for besides a comparison.
#[derive(Debug)]
pub enum Asked {
    /// To compare.
    Compare(Box<Options>),
    /// To print this and end.
    Print(String),
}

impl Options {
    /// Reads the command line. `cases` are those there are; `backends` those that are compared unless
    /// others are named.
    ///
    /// # Errors
    /// When something is unknown or makes no sense.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        cases: Vec<Case>,
        backends: &[Backend],
    ) -> Result<Asked, Failure> {
        use lexopt::{Arg::Long, Arg::Short, Parser, ValueExt as _};

        let mut names: Vec<String> = Vec::new();
        let mut subjects: Vec<Subject> = backends.iter().map(|&b| b.into()).collect();
        let (mut quick, mut runs, mut seconds, mut warm_up) = (false, None, None, None);
        let mut shares = None;
        let mut options = Options {
            cases: Vec::new(),
            subjects: Vec::new(),
            cores: 1,
            runs: 0,
            phases: Phases {
                warm_up: Duration::ZERO,
                load: Duration::ZERO,
            },
            shares: Vec::new(),
            counts: true,
            no_instructions: None,
            sizes: false,
            is_quick: false,
            idle: Idle::of(&cases),
            out: PathBuf::from("target/zero-bench"),
            save: None,
            against: None,
            expected: None,
        };
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Long("help") | Short('h') => return Ok(Asked::Print(HELP.into())),
                Long("list") => return Ok(Asked::Print(catalogue(&cases))),
                Long("quick") => quick = true,
                Long("scenario") => names = list(&mut parser)?,
                Long("backend") => subjects = list(&mut parser)?,
                Long("cores") => options.cores = parser.value()?.parse()?,
                Long("runs") => runs = Some(parser.value()?.parse()?),
                Long("seconds") => seconds = Some(parser.value()?.parse()?),
                Long("warm-up") => warm_up = Some(parser.value()?.parse()?),
                Long("rates") => shares = Some(rates(&parser.value()?.string()?)?),
                Long("no-counts") => options.counts = false,
                Long("out") => options.out = parser.value()?.into(),
                Long("save") => options.save = Some(file_name(parser.value()?.string()?)?),
                Long("expect") => options.expected = Some(parser.value()?.parse()?),
                Long("against") => options.against = Some(file_name(parser.value()?.string()?)?),
                other => return Err(format!("{}; try --help", other.unexpected()).into()),
            }
        }
        if options.cores == 0 {
            return Err("--cores must be at least 1".into());
        }
        (options.sizes, options.is_quick) = (options.counts, quick);
        options.no_instructions = match (options.counts, quick, options.cores) {
            (false, ..) => Some("left out by --no-counts"),
            (_, true, _) => Some("left out by --quick"),
            (_, _, 1) => None,
            _ => Some(
                "not counted, for what several threads take turns at is not counted alike twice",
            ),
        };
        options.shares = shares.unwrap_or_else(|| match quick {
            true => vec![0.5],
            false => vec![0.25, 0.5, 0.75, 0.9],
        });
        options.runs = runs.unwrap_or(if quick { PAIRS_MIN } else { 7 });
        if options.runs == 0 {
            return Err("--runs must be at least 1".into());
        }
        if options.expected.is_some() && (options.runs < PAIRS_MIN || subjects.len() < 2) {
            let error = format!("--expect needs two sides and --runs of at least {PAIRS_MIN}");
            return Err(error.into());
        }
        options.phases = Phases {
            warm_up: time(warm_up.unwrap_or(if quick { 0.1 } else { 0.5 }))?,
            load: time(seconds.unwrap_or(if quick { 0.25 } else { 3.0 }))?,
        };
        if options.phases.load.is_zero() {
            return Err("--seconds must be more than 0".into());
        }
        if quick && names.is_empty() {
            names = QUICK.map(String::from).to_vec();
            names.retain(|name| cases.iter().any(|case| case.name == *name));
        }
        options.cases = choose(cases, &names)?;
        if !quick {
            for case in &mut options.cases {
                case.paced = case.can_be_paced();
            }
        }
        if options.cores > 1 {
            for subject in &mut subjects {
                subject.threads = options.cores;
            }
        }
        tell_apart(&mut subjects);
        options.subjects = subjects;
        Ok(Asked::Compare(Box::new(options)))
    }
}

fn time(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("{seconds} is no time in seconds").into())
}

fn choose(cases: Vec<Case>, names: &[String]) -> Result<Vec<Case>, Failure> {
    if names.is_empty() {
        return Ok(cases);
    }
    let find = |name: &String| {
        let found = cases.iter().find(|case| case.name == *name).cloned();
        found.ok_or_else(|| {
            let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
            unknown(name, &names).into()
        })
    };
    names.iter().map(find).collect()
}

fn rates(text: &str) -> Result<Vec<f64>, Failure> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let share = |percent: &str| match percent.trim().parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(percent / 100.0),
        _ => Err(format!("--rates takes percentages between 0 and 100, not {percent:?}").into()),
    };
    text.split(',').map(share).collect()
}

/// A name that can be part of a file's.
fn file_name(name: String) -> Result<String, Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain) {
        true => Ok(name),
        false => Err(format!("{name:?} is no name of letters, digits, '-', '_' and '.'").into()),
    }
}

fn catalogue(cases: &[Case]) -> String {
    let mut text = String::from("scenarios\n");
    for case in cases {
        let Case {
            name,
            about,
            connections,
            ..
        } = case;
        text += &format!("  {name:<12} {about} ({connections} connections)\n");
    }
    text += "backends\n";
    for backend in Backend::ALL {
        text += &format!("  {:<14} {}\n", backend.name(), backend.about());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    fn parse(line: &str) -> Result<Asked, Failure> {
        let args = line.split_whitespace().map(OsString::from);
        let cases = SCENARIOS.iter().map(Case::from).collect();
        Options::parse(args, cases, &[Backend::Zero, Backend::Hyper])
    }

    fn options(line: &str) -> Options {
        match parse(line) {
            Ok(Asked::Compare(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn everything_is_compared_unless_told_otherwise() {
        let all = options("");
        assert_eq!(all.cases.len(), SCENARIOS.len());
        assert_eq!(all.runs, 7);
        let unpaced = all.cases.iter().filter(|case| !case.paced);
        let unpaced: Vec<_> = unpaced.map(|case| case.name.as_str()).collect();
        assert_eq!(unpaced, ["pipe16", "events", "churn"]);
        let quick = options("--quick");
        assert_eq!(quick.cases.len(), QUICK.len());
        assert_eq!(quick.cases.iter().filter(|case| case.paced).count(), 1);
        assert!(quick.runs >= PAIRS_MIN, "verdicts need as many");
        let some = options("--scenario echo1k,plain1 --backend hyper,hyper --runs 3 --seconds 0.5");
        assert_eq!(some.cases[0].name, "echo1k");
        assert_eq!(some.subjects[1].label, "hyper (2)");
        assert_eq!(some.phases.load, Duration::from_millis(500));
        let several = options("--backend zero-sleep,hyper --cores 2");
        assert!(several.subjects.iter().all(|subject| subject.threads == 2));
        assert_eq!(several.expected, None);
        assert_eq!(options("--expect same").expected, Some(Expected::Same));
        assert!(several.no_instructions.is_some() && all.no_instructions.is_none());
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let lines = [
            ("--scenario none", "there are plain64"),
            ("--backend none", "there are zero"),
            ("--runs 0", "at least 1"),
            ("--cores 0", "at least 1"),
            ("--seconds 0", "more than 0"),
            ("--seconds -1", "no time"),
            ("--rates 120", "between 0 and 100"),
            ("--save ../x", "no name"),
            ("--expect luck", "same, slower or faster"),
            ("--expect same --runs 5", "at least 6"),
            ("--expect same --backend zero", "two sides"),
            ("--sceanrio x", "try --help"),
        ];
        for (line, expected) in lines {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
