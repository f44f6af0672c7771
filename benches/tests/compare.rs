//! The comparison as a whole, on tiny durations: that it works and what it writes, never how fast anything is.
#![cfg(feature = "zero")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use zero_bench::compare::figures::{Figures, METRICS};
use zero_bench::compare::record::{Record, Run};
use zero_bench::page;
use zero_bench::stats::Verdict;

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

/// The figures of a recorded comparison, computed here in the plainest way.
#[test]
fn every_figure_follows_from_the_recorded_runs() {
    let record = recorded();
    let figures = Figures::of(&record);
    assert_eq!(figures.cases.len(), record.cases.len());
    // What is judged is named here again, too.
    let judged = ["per_second", "p50_us", "p99_us", "cpu_us"];
    let verdicts = record.cases.len() * (record.subjects.len() - 1) * judged.len();
    assert_eq!(figures.verdicts, verdicts);
    let (mut seen, mut shown) = (0, 0);
    for (case, row) in record.cases.iter().zip(&figures.cases) {
        let tables = std::iter::once((&case.closed, &row.closed)).chain(
            case.paced
                .iter()
                .zip(&row.paced)
                .map(|(paced, figures)| (&paced.runs, &figures.metrics)),
        );
        for (nth, (runs, metrics)) in tables.enumerate() {
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
                    let squares = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
                    let error = (squares / (logs.len() - 1) as f64 / logs.len() as f64).sqrt();
                    // Student's t of 95 %, as tables of it give it, by the number of pairs.
                    let t = match logs.len() {
                        1 => {
                            assert_eq!((ratio.low, ratio.high), (0.0, f64::INFINITY));
                            continue;
                        }
                        2 => 12.706_204_736,
                        3 => 4.302_652_730,
                        4 => 3.182_446_305,
                        5 => 2.776_445_105,
                        6 => 2.570_581_836,
                        pairs => panic!("{} of {} has {pairs} pairs", figure.key, case.name),
                    };
                    assert_roughly(ratio.low, (mean - t * error).exp(), &figure.key);
                    assert_roughly(ratio.high, (mean + t * error).exp(), &figure.key);
                    // A closed loop is judged, and latency at fixed rates is not.
                    if nth > 0 || !judged.contains(&&*figure.key) {
                        assert_eq!(figure.verdicts, []);
                        continue;
                    }
                    let p = outside(mean.abs() / error, logs.len() - 1);
                    assert_roughly(1.0 - ratio.p, 1.0 - p, &figure.key);
                    let is_certain = 1.0 - (1.0 - p).powf(verdicts as f64) < 0.05;
                    let is_less_better = figure.key != "per_second";
                    let verdict = match (mean < 0.0) == is_less_better {
                        _ if !is_certain || logs.len() < 6 || mean.abs() < 0.01 => {
                            Verdict::NotShown
                        }
                        true => Verdict::Better,
                        false => Verdict::Worse,
                    };
                    assert_eq!(figure.verdicts[i], verdict, "{} {}", case.name, figure.key);
                    shown += usize::from(verdict != Verdict::NotShown);
                }
            }
        }
    }
    assert!(seen > 100, "{seen} figures");
    assert!(shown > 0, "no verdict but that nothing is shown");
}

/// How likely Student's t is to lie outside ±`t`, by adding the area under its curve up: with t = √n tan θ
/// that is cos^(n-1) θ.
fn outside(t: f64, freedom: usize) -> f64 {
    let area = |from: f64, to: f64| -> f64 {
        let steps = 20_000;
        let step = (to - from) / f64::from(steps);
        let at = |k: i32| {
            (from + step * (f64::from(k) + 0.5))
                .cos()
                .powi(freedom as i32 - 1)
        };
        step * (0..steps).map(at).sum::<f64>()
    };
    let end = std::f64::consts::FRAC_PI_2;
    area((t / (freedom as f64).sqrt()).atan(), end) / area(0.0, end)
}

fn assert_roughly(a: f64, b: f64, key: &str) {
    assert!(
        (a - b).abs() <= 1e-6 * a.abs().max(b.abs()),
        "{key}: {a} and {b}"
    );
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
        "start_up_ms" => Some(run.start_up_seconds * 1000.0),
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
        // Every cell of the tables: the median, the least and the most of each metric and side.
        for (figure, metric) in case.closed.iter().zip(&METRICS) {
            for spread in figure.spreads.iter().flatten() {
                let digits = metric.digits;
                let cell = match spread.min == spread.max {
                    true => format!("<td>{:.digits$}</td>", spread.median),
                    false => format!(
                        "<td>{:.digits$} [{:.digits$}–{:.digits$}]</td>",
                        spread.median, spread.min, spread.max
                    ),
                };
                assert!(page.contains(&cell), "{} {}: {cell}", case.name, figure.key);
            }
        }
    }
    for (i, subject) in record.subjects.iter().enumerate() {
        let runs = record.cases.iter().flat_map(|case| &case.closed[i]);
        let mut starts: Vec<_> = runs.map(|run| run.start_up_seconds * 1e3).collect();
        starts.sort_by(f64::total_cmp);
        let middle = (starts[(starts.len() - 1) / 2] + starts[starts.len() / 2]) / 2.0;
        let bytes = [
            subject.idle_connection_bytes,
            subject.idle_websocket_bytes,
            subject.program_bytes.map(|n| n as f64),
        ];
        let bytes = bytes.into_iter().flatten().map(|n| (n, "B"));
        for (value, unit) in bytes.chain([(middle, "ms")]) {
            let shown = format!("<span>{}</span>", in_few_digits(value, unit));
            assert!(page.contains(&shown), "{}: {shown}", subject.label);
        }
    }
}

/// 950 B, 1.2 kB, 35 kB, 2.1 MB.
fn in_few_digits(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match value {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    match scaled {
        10.0.. => format!("{scaled:.0} {prefix}{unit}"),
        1.0.. => format!("{scaled:.1} {prefix}{unit}"),
        _ => format!("{scaled:.2} {prefix}{unit}"),
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
