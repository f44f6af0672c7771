//! The comparison as a whole, on tiny durations: that it works and what it writes, never how fast anything is.
#![cfg(feature = "zero")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zero_bench::compare::figures::{Figures, METRICS};
use zero_bench::compare::record::{Record, Run};
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
        .arg(out);
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

#[test]
fn bad_arguments_are_answered_with_a_line() {
    let out = folder("refused");
    for (arguments, expected) in [
        ("--backend nobody", "there are zero"),
        ("--scenario nothing", "there are plain64"),
        ("--against never-saved", "never-saved.json cannot be read"),
        ("--backend actix-web+burn1", "runs as it is"),
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

/// The figures of a recorded comparison, computed here in the plainest way.
#[test]
fn every_figure_follows_from_the_recorded_runs() {
    let record = recorded();
    let figures = Figures::of(&record);
    assert_eq!(figures.cases.len(), record.cases.len());
    let mut seen = 0;
    for (case, row) in record.cases.iter().zip(&figures.cases) {
        let tables = std::iter::once((&case.closed, &row.closed)).chain(
            case.paced
                .iter()
                .zip(&row.paced)
                .map(|(paced, figures)| (&paced.runs, &figures.metrics)),
        );
        for (runs, metrics) in tables {
            assert_eq!(metrics.len(), METRICS.len());
            for figure in metrics {
                for (i, spread) in figure.spreads.iter().enumerate() {
                    let values: Vec<f64> = runs[i]
                        .iter()
                        .filter_map(|run| plainly(&figure.key, run))
                        .collect();
                    match spread {
                        None => assert!(values.is_empty(), "{} {}", case.name, figure.key),
                        Some(spread) => {
                            let mut sorted = values.clone();
                            sorted.sort_by(f64::total_cmp);
                            let middle =
                                (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
                            assert_close(spread.median, middle, &figure.key);
                            assert_close(spread.min, sorted[0], &figure.key);
                            assert_close(spread.max, sorted[sorted.len() - 1], &figure.key);
                            seen += 1;
                        }
                    }
                }
                for (i, ratio) in figure.ratios.iter().enumerate() {
                    let Some(ratio) = ratio else { continue };
                    let pairs = runs[0].iter().zip(&runs[i + 1]);
                    let logs: Vec<f64> = pairs
                        .filter_map(|(a, b)| {
                            Some((plainly(&figure.key, a)? / plainly(&figure.key, b)?).ln())
                        })
                        .filter(|log| log.is_finite())
                        .collect();
                    assert_eq!(ratio.pairs, logs.len());
                    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
                    assert_close(ratio.ratio, mean.exp(), &figure.key);
                    // The interval lies around the ratio, equally far on both sides in logarithms.
                    assert_close(
                        ratio.ratio * ratio.ratio,
                        ratio.low * ratio.high,
                        &figure.key,
                    );
                }
            }
        }
    }
    assert!(seen > 100, "{seen} figures");
}

fn assert_close(a: f64, b: f64, key: &str) {
    assert!(
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9),
        "{key}: {a} and {b}"
    );
}

/// A figure of one good run, written out again so that the two can be held against each other.
fn plainly(key: &str, run: &Run) -> Option<f64> {
    if run.problem.is_some() {
        return None;
    }
    let outcome = &run.outcome;
    let (n, latency) = (outcome.answers as f64, &outcome.latency);
    let timed = |us| (latency.count > 0).then_some(us);
    match key {
        "per_second" => Some(n / outcome.seconds),
        "p50_us" => timed(latency.p50_us),
        "p90_us" => timed(latency.p90_us),
        "p99_us" => timed(latency.p99_us),
        "p999_us" => timed(latency.p999_us),
        "max_us" => timed(latency.max_us),
        "cpu_us" => Some(run.cpu_seconds / n * 1e6),
        "user_us" => Some(run.user_seconds / n * 1e6),
        "system_us" => Some((run.cpu_seconds - run.user_seconds) / n * 1e6),
        "switches" => Some(run.switches as f64 / n),
        "preemptions" => Some(run.preemptions as f64 / n),
        "enters" => Some(run.enters? as f64 / n),
        "resident_mib" => Some(run.resident_bytes as f64 / 1024.0 / 1024.0),
        "server_busy" => Some(run.cpu_seconds / outcome.seconds),
        "generator_busy" => Some(outcome.generator_cpu_seconds / outcome.seconds),
        "server_waited" => Some(run.waited_seconds / outcome.seconds),
        other => panic!("a figure that this test does not know: {other}"),
    }
}

#[test]
fn the_page_shows_all_of_it_and_needs_nothing_else() {
    let record = recorded();
    let page = page::render(&record, &Figures::of(&record));
    assert_page(&page, &record);
    let figures = Figures::of(&record);
    for case in &figures.cases {
        let headline = case.metric("cpu_us").expect("a metric");
        for ratio in headline.ratios.iter().flatten() {
            let shown = format!("data-figure=\"{}/cpu_us\">{:.3}", case.name, ratio.ratio);
            assert!(page.contains(&shown), "{shown}");
        }
    }
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
