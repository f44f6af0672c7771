//! Every figure of a report, computed again from the raw runs of a recorded comparison: percentiles from the
//! latencies themselves, medians, ratios, intervals, verdicts; and each in its place on the page.

use std::path::Path;

use zero_bench::compare::figures::{Figures, METRICS};
use zero_bench::compare::record::{Record, Run};
use zero_bench::stats::{Spread, Verdict};

use crate::plain::of_run;

mod expected;
mod page;
mod plain;

fn recorded() -> Record {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded.json");
    Record::read(&path).expect("a record of this version")
}

/// All runs of a record.
fn runs(record: &Record) -> impl Iterator<Item = &Run> {
    record.cases.iter().flat_map(|case| {
        let paced = case.paced.iter().flat_map(|paced| &paced.runs);
        case.closed.iter().chain(paced).flatten()
    })
}

fn assert_spread(spread: &Spread, values: &[f64], what: &str) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    plain::assert_close(spread.median, plain::middle(values), what);
    plain::assert_close(spread.min, least, what);
    plain::assert_close(spread.max, most, what);
}

#[test]
fn percentiles_are_those_of_the_latencies() {
    let record = recorded();
    let earlier = &record.against.as_ref().expect("held against one").record;
    let mut seen = 0;
    for run in runs(&record).chain(runs(earlier)) {
        let kinds = run.outcome.by_label.iter().map(|(_, kind)| kind);
        for latency in kinds.chain([&run.outcome.latency]) {
            let histogram = latency.histogram().expect("it was kept");
            assert_eq!(histogram.len(), latency.count);
            if latency.count == 0 {
                continue;
            }
            let named = [
                (latency.p50_us, 0.5),
                (latency.p90_us, 0.9),
                (latency.p99_us, 0.99),
                (latency.p999_us, 0.999),
                (latency.max_us, 1.0),
            ];
            let curve = latency.curve_us.iter().map(|&(share, us)| (us, share));
            for (us, share) in named.into_iter().chain(curve) {
                let what = format!("{share} of {} latencies", latency.count);
                match share > 0.0 {
                    true => plain::assert_close(us, plain::percentile(latency, share), &what),
                    // The least, to the three digits that are kept.
                    false => plain::assert_within(us, plain::percentile(latency, 0.0), 2e-3, &what),
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 1000, "{seen} percentiles");
}

#[test]
fn requests_of_a_mix_have_their_own_percentiles() {
    let record = recorded();
    let figures = Figures::of(&record);
    let mut seen = 0;
    for (case, row) in record.cases.iter().zip(&figures.cases) {
        let paced = case.paced.iter().zip(&row.paced);
        let paced = paced.map(|(paced, figures)| (&paced.runs, &figures.labels));
        for (runs, labels) in std::iter::once((&case.closed, &row.labels)).chain(paced) {
            for figures in labels {
                for (i, runs) in runs.iter().enumerate() {
                    let good = runs.iter().filter(|run| run.problem.is_none());
                    let kinds = good.flat_map(|run| &run.outcome.by_label);
                    let kinds = kinds.filter(|(label, _)| *label == figures.label);
                    let kinds: Vec<_> = kinds.map(|(_, kind)| kind).collect();
                    for (spread, share) in [(&figures.p50_us[i], 0.5), (&figures.p99_us[i], 0.99)] {
                        let values = kinds.iter().map(|kind| plain::percentile(kind, share));
                        let values: Vec<f64> = values.collect();
                        match spread {
                            Some(spread) => assert_spread(spread, &values, &figures.label),
                            None => assert!(values.is_empty(), "{}", figures.label),
                        }
                        seen += usize::from(spread.is_some());
                    }
                }
            }
        }
    }
    assert!(seen >= 24, "{seen} figures of a mix");
}

/// Welch's method, in the plainest way.
#[test]
fn what_changed_since_an_earlier_record_follows_from_both() {
    let record = recorded();
    let earlier = &record.against.as_ref().expect("held against one").record;
    let figures = Figures::of(&record);
    let against = figures.against.expect("held against one");
    let mut rows = against.rows.iter();
    for case in &record.cases {
        let Some(old) = earlier.cases.iter().find(|old| old.name == case.name) else {
            continue;
        };
        for (i, side) in record.subjects.iter().enumerate() {
            let mut olds = earlier.subjects.iter();
            let Some(j) = olds.position(|old| old.label == side.label) else {
                continue;
            };
            for key in ["per_second", "p50_us", "p99_us", "cpu_us"] {
                let now = plain::of_runs(key, &case.closed[i]);
                let then = plain::of_runs(key, &old.closed[j]);
                if now.is_empty() || then.is_empty() {
                    continue;
                }
                let row = rows.next().expect("a row");
                assert_eq!(
                    (&*row.case, &*row.side, &*row.key),
                    (&*case.name, &*side.label, key)
                );
                let ((mean, variance), (old_mean, old_variance)) =
                    (plain::log_moments(&now), plain::log_moments(&then));
                plain::assert_close(row.ratio.ratio, (mean - old_mean).exp(), key);
                let (n, m) = (now.len() as f64, then.len() as f64);
                let (part, old_part) = (variance / n, old_variance / m);
                let error = (part + old_part).sqrt();
                let parts = part.powi(2) / (n - 1.0) + old_part.powi(2) / (m - 1.0);
                let freedom = (error.powi(4) / parts) as usize;
                // Student's t is outside of what the interval reaches one time in twenty.
                let middle = row.ratio.ratio.ln();
                for end in [row.ratio.low.ln(), row.ratio.high.ln()] {
                    let reach = (end - middle).abs() / error;
                    plain::assert_roughly(plain::outside(reach, freedom), 0.05, key);
                }
                let p = plain::outside(middle.abs() / error, freedom);
                plain::assert_roughly(1.0 - row.ratio.p, 1.0 - p, key);
                let is_certain = 1.0 - (1.0 - p).powf(against.rows.len() as f64) < 0.05;
                let verdict = match (middle < 0.0) == (key != "per_second") {
                    _ if !is_certain || now.len().min(then.len()) < 6 || middle.abs() < 0.01 => {
                        Verdict::NotShown
                    }
                    true => Verdict::Better,
                    false => Verdict::Worse,
                };
                assert_eq!(row.verdict, verdict, "{} {key}", case.name);
            }
        }
    }
    assert_eq!(rows.next(), None);
    assert!(against.rows.len() >= 16, "{} rows", against.rows.len());
}

/// What else differs is said, and so is that nothing can be compared.
#[test]
fn records_that_are_not_alike_are_told_apart() {
    let mut record = recorded();
    let of = |record: &Record| Figures::of(record).against.expect("held against one");
    let earlier = record.against.as_mut().expect("held against one");
    earlier.record = Record {
        against: None,
        ..recorded()
    };
    assert_eq!(of(&record).unlike, Vec::<String>::new());
    let earlier = &mut record.against.as_mut().expect("held against one").record;
    earlier.machine = "a slide rule".into();
    earlier.settings.build = "by hand".into();
    earlier.settings.seconds += 1.0;
    earlier.settings.pinning = "with pins".into();
    earlier.subjects[0].about = "somebody else".into();
    earlier.cases[1].title = "another load".into();
    let unlike = of(&record).unlike;
    let found = [
        "slide rule",
        "by hand",
        "warm-up",
        "with pins",
        "somebody else",
        "another load",
    ];
    assert_eq!(unlike.len(), found.len(), "{unlike:?}");
    for what in found {
        let said = unlike.iter().any(|line| line.contains(what));
        assert!(said, "{what}: {unlike:?}");
    }
    let page = |record: &Record| zero_bench::page::render(record, &Figures::of(record));
    assert!(page(&record).contains("with pins"));
    let earlier = &mut record.against.as_mut().expect("held against one").record;
    for subject in &mut earlier.subjects {
        subject.label += "-of-old";
    }
    let figures = Figures::of(&record);
    assert!(
        figures
            .against
            .as_ref()
            .expect("held against one")
            .rows
            .is_empty()
    );
    let text = zero_bench::compare::text::report(&record, &figures);
    for shown in [text, page(&record)] {
        assert!(
            shown.contains("Nothing here can be held against"),
            "{shown}"
        );
        assert!(shown.contains("zero-of-old"), "{shown}");
    }
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
                    let values = plain::of_runs(&figure.key, &runs[i]);
                    match spread {
                        None => assert!(values.is_empty(), "{} {}", case.name, figure.key),
                        Some(spread) => {
                            assert_spread(spread, &values, &figure.key);
                            seen += 1;
                        }
                    }
                }
                for (i, ratio) in figure.ratios.iter().enumerate() {
                    let Some(ratio) = ratio else { continue };
                    let pairs = runs[0].iter().zip(&runs[i + 1]);
                    let logs: Vec<f64> = pairs
                        .filter_map(|(a, b)| {
                            Some((of_run(&figure.key, a)? / of_run(&figure.key, b)?).ln())
                        })
                        .filter(|log| log.is_finite())
                        .collect();
                    assert_eq!(ratio.pairs, logs.len());
                    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
                    plain::assert_close(ratio.ratio, mean.exp(), &figure.key);
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
                    plain::assert_roughly(ratio.low, (mean - t * error).exp(), &figure.key);
                    plain::assert_roughly(ratio.high, (mean + t * error).exp(), &figure.key);
                    // A closed loop is judged, and latency at fixed rates is not.
                    if nth > 0 || !judged.contains(&&*figure.key) {
                        assert_eq!(figure.verdicts, []);
                        continue;
                    }
                    let p = plain::outside(mean.abs() / error, logs.len() - 1);
                    plain::assert_roughly(1.0 - ratio.p, 1.0 - p, &figure.key);
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
