//! Counts instructions by callgrind, of requests and of the parts of their way, and holds them against the
//! committed baseline.
//!
//! Run: `cargo build --release -p zero-bench --bin server --bin icount && target/release/icount --check`
//! (`--help` tells the options). Needs valgrind; takes about half a minute.
//!
//! See: a row per scenario and backend, and one per part. With `--check` it fails when a count of the
//! baseline has risen by more than 2 %, or was not made any more though nothing was left out: make it cheaper again,
//! or run `icount --save --why REASON`, which puts the reason beside the counts, and commit the baseline together
//! with the change. Counts hold for one compiler and one C library;
//! the baseline names its own, and with others differences are told but fail nothing. Some counts also have a
//! ceiling, which no baseline raises.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use zero_bench::args::{Failure, exit_code, list, warn_if_debug_build};
use zero_bench::case::Case;
use zero_bench::compare::subject::Subject;
use zero_bench::icount::{Baseline, Change};
use zero_bench::{icount, ops, scenario};

/// The baseline that is committed.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/icount.json");
/// What is counted unless the command line says otherwise. Modes sixteen requests at a time: one at a time their
/// counts differ by a tenth from run to run, as do those of the other modes either way.
const ROWS: [(&str, &[&str]); 5] = [
    ("plain64", &["zero-inline-sleep"]),
    ("hdr64", &["zero-inline-sleep"]),
    ("json64", &["zero-inline-sleep"]),
    ("users64", &["zero-inline-sleep"]),
    ("pipe16", &["zero-inline-sleep", "zero-sync-sleep"]),
];
/// Parts are counted so often, and the least is taken: what chance there is only adds to it.
const PART_RUNS: usize = 5;
/// What `--help` says.
const HELP: &str = "\
Counts instructions by callgrind: of a request, and of each part of its way. Needs valgrind.

  --check            fail when a count of the baseline has risen by more than 2 %
  --save             make the baseline anew, to be committed with the change
  --why TEXT         the reason, kept beside each count that has risen by more than 2 %; none rises without
  --baseline FILE    in place of benches/icount.json
  --scenario A,B     requests (plain64,hdr64,json64,users64,pipe16)
  --backend A,B      servers, as compare names them, for all of them (zero-inline-sleep, and the modes without
                     axum: those do the same for the same requests whatever the clock says)
  --no-parts         requests alone, without the parts

It starts `server` beside it: cargo build --release -p zero-bench --bin server --bin icount";
/// Tells this program that it is run by itself, under valgrind.
const WITHIN: &str = "--within-valgrind";

struct Args {
    rows: Vec<(String, Vec<Subject>)>,
    /// Nothing is left out.
    is_whole: bool,
    parts: bool,
    check: bool,
    save: bool,
    why: Option<String>,
    baseline: PathBuf,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(WITHIN) {
        return count_within();
    }
    exit_code(run())
}

/// On a thread of its own: where the first one's stack begins depends on the environment and the arguments,
/// and how bytes are copied depends on that.
fn count_within() -> ExitCode {
    let counting = std::thread::spawn(|| {
        ops::silence();
        icount::count_here(&ops::all());
    });
    match counting.join() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> Result<(), Failure> {
    let Some(args) = parse_args()? else {
        println!("{HELP}");
        return Ok(());
    };
    warn_if_debug_build();
    let mut counted = Baseline::here(count(&args)?)?;
    let read = || -> Result<Baseline, Failure> {
        let baseline = std::fs::read_to_string(&args.baseline)
            .map_err(|error| format!("{}: {error}", args.baseline.display()))?;
        Ok(serde_json::from_str(&baseline)?)
    };
    if args.check {
        check(&counted, &read()?, args.is_whole)?;
    }
    if args.save {
        if args.baseline.exists() {
            counted.follow(&read()?, args.why.as_deref())?;
        }
        let text = serde_json::to_string_pretty(&counted)? + "\n";
        std::fs::write(&args.baseline, text)?;
    }
    Ok(())
}

fn count(args: &Args) -> Result<BTreeMap<String, f64>, Failure> {
    let mut counts = BTreeMap::new();
    println!("| scenario | backend | instructions per request |\n|---|---|---|");
    for (name, subjects) in &args.rows {
        let case = Case::from(scenario::find(name)?);
        for subject in subjects {
            let count = icount::between_marks(&case, &subject.launch(false)?)
                .map_err(|error| format!("{name} on {}: {error}", subject.label))?;
            println!("| {name} | {} | {count:.0} |", subject.label);
            counts.insert(format!("{name}/{}", subject.label), count.round());
        }
    }
    if args.parts {
        println!("\n| part | instructions |\n|---|---|");
        let ops = ops::all();
        let program = std::env::current_exe()?;
        let mut each = icount::parts(&ops, &program, &[WITHIN])?;
        for _ in 1..PART_RUNS {
            let again = icount::parts(&ops, &program, &[WITHIN])?;
            for (least, count) in each.iter_mut().zip(again) {
                *least = least.min(count);
            }
        }
        for (op, count) in ops.iter().zip(each) {
            println!("| {} | {count:.0} |", op.name);
            counts.insert(op.name.into(), count.round());
        }
    }
    Ok(counts)
}

fn check(counted: &Baseline, baseline: &Baseline, is_whole: bool) -> Result<(), Failure> {
    println!();
    let changes = baseline.changes(counted);
    for Change { name, then, rise } in &changes {
        println!("{name}: {then:.0} in the baseline, {:+.1} %", rise * 100.0);
    }
    let missing = baseline.missing(counted);
    if is_whole && !missing.is_empty() {
        return Err(format!("in the baseline, and not counted: {}", missing.join(", ")).into());
    }
    let risen: Vec<_> = changes
        .iter()
        .filter(|change| change.is_too_much())
        .map(|change| format!("{} {:+.1} %", change.name, change.rise * 100.0))
        .collect();
    let above = counted.above_ceilings();
    if risen.is_empty() && above.is_empty() {
        return Ok(());
    }
    if let Some(reason) = baseline.differs_from(counted) {
        println!("{reason}: no verdict");
        return Ok(());
    }
    if !above.is_empty() {
        return Err(format!(
            "more instructions than there may ever be: {}",
            above.join(", ")
        )
        .into());
    }
    Err(format!(
        "instructions rose by more than 2 %: {}. Make it cheaper, or run icount --save --why REASON and commit \
         the baseline",
        risen.join(", ")
    )
    .into())
}

/// The command line; none when it asks for help.
fn parse_args() -> Result<Option<Args>, Failure> {
    use lexopt::{Arg::Long, Arg::Short, Parser, ValueExt as _};

    let mut scenarios: Option<Vec<String>> = None;
    let mut subjects: Option<Vec<Subject>> = None;
    let mut args = Args {
        rows: Vec::new(),
        is_whole: false,
        parts: true,
        check: false,
        save: false,
        why: None,
        baseline: BASELINE.into(),
    };
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") | Short('h') => return Ok(None),
            Long("scenario") => scenarios = Some(list(&mut parser)?),
            Long("backend") => subjects = Some(list(&mut parser)?),
            Long("no-parts") => args.parts = false,
            Long("check") => args.check = true,
            Long("save") => args.save = true,
            Long("why") => args.why = Some(parser.value()?.string()?),
            Long("baseline") => args.baseline = parser.value()?.into(),
            other => return Err(format!("{}; try --help", other.unexpected()).into()),
        }
    }
    args.is_whole = args.parts && scenarios.is_none() && subjects.is_none();
    for (name, backends) in ROWS {
        if scenarios
            .as_ref()
            .is_none_or(|asked| asked.iter().any(|asked| asked == name))
        {
            let backends: Result<Vec<_>, _> = backends.iter().map(|name| name.parse()).collect();
            args.rows.push((name.to_owned(), backends?));
        }
    }
    if let Some(names) = scenarios {
        // Others than usual are counted, too.
        let others = names
            .into_iter()
            .filter(|name| !ROWS.iter().any(|(row, _)| row == name));
        let usual = || "zero-inline-sleep".parse();
        for name in others {
            args.rows.push((name, vec![usual()?]));
        }
    }
    if let Some(subjects) = subjects {
        args.rows
            .iter_mut()
            .for_each(|(_, of)| *of = subjects.clone());
    }
    Ok(Some(args))
}
