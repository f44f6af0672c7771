//! The comparison as a whole, on tiny durations: that it works and what it writes, never how fast anything is.
#![cfg(feature = "zero")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zero_bench::compare::figures::Figures;
use zero_bench::compare::record::Record;
use zero_bench::page;

use crate::patience::at_any_pace;

#[path = "../../zero-runtime/tests/support/patience.rs"]
mod patience;

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

fn compare(arguments: &str, out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command
        .args(arguments.split_whitespace())
        .arg("--out")
        .arg(out)
        // Run by cargo it would build what it starts, which the test's own build has done.
        .env_remove("CARGO");
    command.output().expect("compare can be run")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_refused(output: &Output) -> bool {
    let said = stderr(output);
    said.contains("cannot use io_uring") || said.contains("io_uring is")
}

/// One small run of every kind of traffic, with every backend of this package that serves it.
#[test]
fn a_comparison_measures_and_reports() {
    // In a run that is shorter than a machine stands still nothing may be answered.
    at_any_pace(|unit| measures_and_reports(unit.as_secs_f64() / 2.0));
}

fn measures_and_reports(seconds: f64) {
    let out = folder("report");
    let scenarios = "plain64,pipe16,echo64k,sleep1,churn,ws64,events";
    let tiny = format!(
        "--scenario {scenarios} --backend zero,hyper,uring-floor --runs 1 --seconds {seconds} --warm-up 0.05 --rates 50 --no-counts --save first"
    );
    let output = compare(&tiny, &out);
    if is_refused(&output) {
        eprintln!("SKIPPED: io_uring is refused");
        return;
    }
    assert!(output.status.success(), "{}", stderr(&output));
    let record = Record::read(&out.join("report.json")).expect("it was written");
    assert_eq!(record.cases.len(), 7);
    for case in &record.cases {
        for (subject, runs) in record.subjects.iter().zip(&case.closed) {
            // The floor knows plaintext alone, and says so of the rest.
            let serves =
                subject.label != "uring-floor" || ["plain64", "pipe16"].contains(&&*case.name);
            assert_eq!(
                runs.len(),
                usize::from(serves),
                "{} on {}",
                case.name,
                subject.label
            );
            for run in runs {
                assert_eq!(run.problem, None, "{} on {}", case.name, subject.label);
                assert!(run.outcome.answers > 0 && run.cpu_seconds > 0.0);
            }
        }
        let left_out = case.left_out.iter().map(|(label, _)| label.as_str());
        assert!(left_out.into_iter().all(|label| label == "uring-floor"));
    }
    assert_eq!(record.cases[0].paced.len(), 1);
    assert!(out.join("saved/first.json").exists());
    let page = fs::read_to_string(out.join("report.html")).expect("it was written");
    assert_page(&page, &record);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("### zero / hyper: ratio [95 % interval], verdict"),
        "{text}"
    );
    let shorter = seconds / 2.0;
    let again = format!(
        "--scenario plain64 --runs 1 --seconds {shorter} --warm-up 0 --rates none --no-counts --against first"
    );
    let again = compare(&again, &out);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(String::from_utf8_lossy(&again.stdout).contains("### now / first"));
}

/// The whole of `--quick`, on shorter runs, with all that is counted.
#[test]
fn a_first_look_measures_and_counts() {
    at_any_pace(|unit| measures_and_counts(unit.as_secs_f64() / 4.0));
}

fn measures_and_counts(seconds: f64) {
    let out = folder("quick");
    let quick = format!("compare --quick --runs 1 --seconds {seconds} --warm-up 0.05");
    let output = compare(&quick, &out);
    if is_refused(&output) {
        eprintln!("SKIPPED: io_uring is refused");
        return;
    }
    assert!(output.status.success(), "{}", stderr(&output));
    let record = Record::read(&out.join("report.json")).expect("it was written");
    assert_eq!(record.cases.len(), 10);
    assert_eq!(record.subjects.len(), 2);
    for case in &record.cases {
        assert_eq!(case.left_out, [], "{}", case.name);
        let runs = case.closed.iter().flatten();
        let paced = case
            .paced
            .iter()
            .flat_map(|paced| paced.runs.iter().flatten());
        for run in runs.chain(paced) {
            assert_eq!(run.problem, None, "{}", case.name);
        }
        for counts in &case.counts {
            let allocations = counts.allocations.zip(counts.allocated_bytes);
            assert!(allocations.is_some(), "{}", case.name);
        }
    }
    assert_eq!(
        record.cases.iter().filter(|c| !c.paced.is_empty()).count(),
        1
    );
    for subject in &record.subjects {
        assert!(subject.program_bytes.is_some(), "{}", subject.label);
        let idle = subject
            .idle_connection_bytes
            .zip(subject.idle_websocket_bytes);
        // Ten thousand connections are more than some machines allow a process.
        let is_allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .maximum
            .is_none_or(|fds| fds > 12_000);
        assert_eq!(idle.is_some(), is_allowed, "{}", subject.label);
    }
    let page = fs::read_to_string(out.join("report.html")).expect("it was written");
    assert_page(&page, &record);
    let said = stderr(&output);
    assert!(said.contains(" left] "), "no time left is told: {said}");
}

#[test]
fn bad_arguments_are_answered_with_a_line() {
    let out = folder("refused");
    for (arguments, expected) in [
        ("--backend nobody", "there are zero"),
        ("--scenario nothing", "there are plain64"),
        ("--against never-saved", "never-saved.json cannot be read"),
        ("--backend actix-web+burn1", "runs as it is"),
        ("compare compare", "try --help"),
    ] {
        let output = compare(arguments, &out);
        assert!(!output.status.success());
        assert!(
            stderr(&output).contains(expected),
            "{arguments}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).lines().count() <= 2,
            "{arguments}: {}",
            stderr(&output)
        );
    }
}

fn recorded() -> Record {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded.json");
    Record::read(&path).expect("a record of this version")
}

#[test]
fn a_page_made_from_a_record_needs_nothing_else() {
    let record = recorded();
    assert_page(&page::render(&record, &Figures::of(&record)), &record);
}

fn assert_page(page: &str, record: &Record) {
    for part in [
        "class=\"tally\"",
        "class=\"ratios\"",
        "class=\"latency\"",
        "class=\"cpu\"",
        "class=\"memory\"",
        "class=\"tables\"",
    ] {
        assert!(page.contains(part), "the page has no {part}");
    }
    for subject in &record.subjects {
        assert!(page.contains(&subject.label));
    }
    for case in &record.cases {
        assert!(
            page.contains(&case.title.replace('&', "&amp;")),
            "{}",
            case.title
        );
    }
    // A curve per case that has latencies, none of them empty.
    let timed = |case: &&zero_bench::compare::record::CaseRecord| {
        case.closed
            .iter()
            .flatten()
            .any(|run| run.outcome.latency.count > 0)
    };
    let curves = page.matches("aria-label=\"latency by percentile").count();
    assert!(
        curves >= record.cases.iter().filter(timed).count(),
        "{curves} curves"
    );
    assert!(page.matches("class=\"line c0").count() >= curves);
    assert!(
        !page.contains("NaN") && !page.contains("inf\""),
        "a figure that is none was drawn"
    );
    for outside in ["http://", "https://", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page refers to {outside}");
    }
}
