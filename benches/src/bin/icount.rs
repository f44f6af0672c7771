//! Counts the instructions of a request by callgrind and holds them against a baseline.
//!
//! Run: `cargo build --release -p zero-bench && target/release/icount --check FILE`
//! (`--backend zero-inline,hyper-alone`, `--scenario plain64,hdr64`; `--write FILE` makes a baseline). Needs
//! valgrind.
//!
//! See: a row per scenario and backend. With `--check` it fails when a count of zero's has risen by more
//! than 2 %: make it cheaper again, or change the baseline in the same commit and say why. Counts hold for
//! one version of the compiler and of the C library; the baseline names its compiler, and another one's
//! counts are told but fail nothing. Needs an otherwise idle machine: see `benches/README.md` on callgrind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};
use zero_bench::args::{Failure, exit_code, list, warn_if_debug_build};
use zero_bench::case::Case;
use zero_bench::compare::subject::Subject;
use zero_bench::icount::per_request;
use zero_bench::scenario;

/// How much a count may rise.
const ALLOWED_RISE: f64 = 0.02;

#[derive(Serialize, Deserialize)]
struct Baseline {
    /// What `rustc --version` said.
    compiler: String,
    /// Instructions per request, by `scenario/backend`.
    instructions: BTreeMap<String, f64>,
}

struct Args {
    scenarios: Vec<String>,
    subjects: Vec<Subject>,
    check: Option<PathBuf>,
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    warn_if_debug_build();
    let counted = Baseline {
        compiler: compiler()?,
        instructions: count(&args)?,
    };
    if let Some(path) = &args.write {
        std::fs::write(path, serde_json::to_string_pretty(&counted)? + "\n")?;
    }
    match &args.check {
        Some(path) => check(
            &counted,
            &serde_json::from_str(&std::fs::read_to_string(path)?)?,
        ),
        None => Ok(()),
    }
}

fn count(args: &Args) -> Result<BTreeMap<String, f64>, Failure> {
    let mut counts = BTreeMap::new();
    println!("| scenario | backend | instructions per request |\n|---|---|---|");
    for name in &args.scenarios {
        let case = Case::from(scenario::find(name)?);
        for subject in &args.subjects {
            let count = per_request(&case, &subject.launch(false)?)
                .map_err(|error| format!("{name} on {}: {error}", subject.label))?;
            println!("| {name} | {} | {count:.0} |", subject.label);
            counts.insert(format!("{name}/{}", subject.label), count.round());
        }
    }
    Ok(counts)
}

fn check(counted: &Baseline, baseline: &Baseline) -> Result<(), Failure> {
    let mut risen = Vec::new();
    for (name, now) in &counted.instructions {
        let Some(then) = baseline.instructions.get(name) else {
            continue;
        };
        let change = now / then - 1.0;
        println!(
            "{name}: {then:.0} in the baseline, {:+.1} %",
            change * 100.0
        );
        if change > ALLOWED_RISE && name.contains("/zero") {
            risen.push(format!("{name} {:+.1} %", change * 100.0));
        }
    }
    if risen.is_empty() {
        return Ok(());
    }
    if counted.compiler != baseline.compiler {
        println!(
            "counted with {}, the baseline with {}: no verdict",
            counted.compiler, baseline.compiler
        );
        return Ok(());
    }
    Err(format!(
        "instructions per request rose by more than 2 %: {}",
        risen.join(", ")
    )
    .into())
}

fn compiler() -> Result<String, Failure> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn parse_args() -> Result<Args, Failure> {
    use lexopt::{Arg::Long, Parser};

    let mut args = Args {
        scenarios: ["plain64", "hdr64", "json64", "users64"]
            .map(String::from)
            .to_vec(),
        subjects: vec!["zero-inline".parse()?],
        check: None,
        write: None,
    };
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("scenario") => args.scenarios = list(&mut parser)?,
            Long("backend") => args.subjects = list(&mut parser)?,
            Long("check") => args.check = Some(parser.value()?.into()),
            Long("write") => args.write = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(args)
}
