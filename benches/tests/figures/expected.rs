//! What the page of a record has to show, from its figures and its raw runs, written as the page writes it.

use std::collections::BTreeMap;

use zero_bench::compare::figures::{CaseFigures, Figures, METRICS, MetricFigures};
use zero_bench::compare::record::{CaseRecord, Record, Run};
use zero_bench::stats::{Ratio, Spread, Verdict};

use crate::page::Shown;
use crate::plain;

/// All that the page of a record has to show.
pub fn expected(record: &Record, figures: &Figures) -> Shown {
    let mut expected = Expected {
        record,
        shown: Shown::new(),
    };
    for (case, row) in record.cases.iter().zip(&figures.cases) {
        expected.tables(row);
        expected.counts(case);
        expected.bars(case);
        expected.curves(case);
        expected.by_load(case);
    }
    expected.ratios(figures);
    expected.against(figures);
    expected.memory();
    expected.shown
}

/// What the page has to show.
struct Expected<'a> {
    record: &'a Record,
    shown: Shown,
}

impl Expected<'_> {
    fn put(&mut self, place: [&str; 5], key: &str, text: String) {
        let place = place.iter().chain([&key]).map(|part| part.to_string());
        self.shown.insert(place.collect(), text);
    }

    fn side(&self, i: usize) -> String {
        self.record.subjects[i].label.clone()
    }

    fn tables(&mut self, row: &CaseFigures) {
        for i in 0..self.record.subjects.len() {
            let side = self.side(i);
            for figure in &row.closed {
                let place = ["closed", &row.name, "", &side, ""];
                self.put(place, &figure.key, cell(figure, i));
            }
            for paced in &row.paced {
                let rate = format!("{:.0}", paced.share * 100.0);
                let place = ["paced", &row.name, &rate, &side, ""];
                let per_second = format!("{rate} % = {:.0}/s", paced.per_second);
                self.put(place, "rate", per_second);
                for key in ["p50_us", "p90_us", "p99_us", "p999_us", "max_us", "cpu_us"] {
                    let mut metrics = paced.metrics.iter();
                    let figure = metrics.find(|m| m.key == key).expect(key);
                    self.put(place, key, cell(figure, i));
                }
            }
            let closed = ("closed".to_owned(), &row.labels);
            let paced = row
                .paced
                .iter()
                .map(|p| (format!("{:.0}", p.share * 100.0), &p.labels));
            for (rate, labels) in std::iter::once(closed).chain(paced) {
                for figure in labels {
                    let place = ["labels", &*row.name, &rate, &side, &figure.label];
                    self.put(place, "p50_us", spread(figure.p50_us[i], 1));
                    self.put(place, "p99_us", spread(figure.p99_us[i], 1));
                }
            }
        }
    }

    fn counts(&mut self, case: &CaseRecord) {
        let is_empty = case.counts.iter().all(|c| *c == Default::default());
        for (i, counts) in case.counts.iter().enumerate().filter(|_| !is_empty) {
            let side = self.side(i);
            let cells = [
                ("allocations", counts.allocations, 2),
                ("allocated_bytes", counts.allocated_bytes, 0),
                ("syscalls", counts.syscalls, 2),
                ("instructions", counts.instructions, 0),
            ];
            for (key, value, digits) in cells {
                let text = value.map_or("–".to_owned(), |v| format!("{v:.digits$}"));
                self.put(["counts", &case.name, "", &side, ""], key, text);
            }
        }
    }

    fn ratios(&mut self, figures: &Figures) {
        for i in 0..self.record.subjects.len() - 1 {
            let side = self.side(i + 1);
            let mut tally = BTreeMap::from([("better", 0), ("same", 0), ("worse", 0)]);
            for row in &figures.cases {
                let judged = |key: &str| {
                    let figure = row.closed.iter().find(|f| f.key == key).expect(key);
                    Some((figure.ratios[i]?, figure.verdicts[i]))
                };
                let Some((ratio, verdict)) = judged("cpu_us") else {
                    continue;
                };
                let place = ["ratio", &row.name, "", &side, ""];
                self.put(place, "cpu_us", interval(&ratio));
                self.put(place, "verdict", word(verdict, &ratio).into());
                for (key, title) in [
                    ("per_second", "req/s"),
                    ("p50_us", "p50"),
                    ("p99_us", "p99"),
                ] {
                    if let Some((ratio, _)) = judged(key) {
                        self.put(place, key, format!("{title} {:.2}", ratio.ratio));
                    }
                }
                let name = match verdict {
                    Verdict::Better => "better",
                    Verdict::Worse => "worse",
                    Verdict::NotShown => "same",
                };
                *tally.entry(name).or_default() += 1;
            }
            for (name, n) in tally {
                self.put(["tally", "", "", &side, ""], name, n.to_string());
            }
        }
    }

    fn against(&mut self, figures: &Figures) {
        let against = figures.against.as_ref().expect("held against another");
        assert!(!against.rows.is_empty());
        for row in &against.rows {
            let text = format!("{} {}", interval(&row.ratio), word(row.verdict, &row.ratio));
            let sides = against.rows.iter();
            let has = |key: &str| {
                let mut rows = sides.clone();
                rows.any(|r| r.case == row.case && r.side == row.side && r.key == key)
            };
            let place = ["against", &*row.case, "", &*row.side, ""];
            for key in ["per_second", "p50_us", "p99_us", "cpu_us"] {
                if !has(key) {
                    self.put(place, key, "–".into());
                }
            }
            self.put(place, &row.key, text);
        }
    }

    fn bars(&mut self, case: &CaseRecord) {
        for (i, runs) in case.closed.iter().enumerate() {
            let values = |key| plain::of_runs(key, runs);
            if values("cpu_us").is_empty() {
                continue;
            }
            let (user, system) = (
                plain::middle(&values("user_us")),
                plain::middle(&values("system_us")),
            );
            let side = self.side(i);
            let text = format!("{user:.2} + {system:.2}");
            self.put(["cpu", &case.name, "", "", ""], &side, text);
        }
    }

    fn memory(&mut self) {
        for (i, subject) in self.record.subjects.iter().enumerate() {
            let runs = self.record.cases.iter().flat_map(|case| &case.closed[i]);
            let starts: Vec<_> = runs.map(|run| run.start_up_seconds * 1e3).collect();
            let bars = [
                (
                    "Idle keep-alive connection",
                    "B",
                    subject.idle_connection_bytes,
                ),
                ("Idle WebSocket", "B", subject.idle_websocket_bytes),
                ("Start to first accept", "ms", Some(plain::middle(&starts))),
                ("Program", "B", subject.program_bytes.map(|n| n as f64)),
            ];
            for (title, unit, value) in bars {
                if let Some(value) = value {
                    let place = ["memory", title, "", "", ""];
                    self.put(place, &subject.label, in_few_digits(value, unit));
                }
            }
        }
    }

    fn curves(&mut self, case: &CaseRecord) {
        let last = case.paced.len().saturating_sub(1);
        let paced = case.paced.iter().enumerate();
        // The middle rate and the highest.
        let paced = paced.filter(|(at, _)| *at == last / 2 || *at == last);
        let paced = paced.map(|(_, p)| (format!("{:.0}", p.share * 100.0), &p.runs));
        for (rate, runs) in std::iter::once(("closed".into(), &case.closed)).chain(paced) {
            let lines: Vec<_> = runs.iter().map(|runs| curve(runs)).collect();
            let all = lines.iter().flatten().map(|(_, us)| *us);
            let (low, high) = ends(all);
            for (i, line) in lines.iter().enumerate().filter(|(_, l)| !l.is_empty()) {
                let side = self.side(i);
                // 0, 90, 99, 99.9 and 99.99 % are as far apart.
                let at = |share: f64| -(1.0 - share).log10() / 4.0;
                let points = line.iter().map(|&(share, us)| (at(share), us));
                let text = path(points, low, high);
                self.put(["curve", &case.name, &rate, "", ""], &side, text);
            }
        }
    }

    fn by_load(&mut self, case: &CaseRecord) {
        let keys = [("p50_us", "p50"), ("p99_us", "p99")];
        let points = |i: usize, key: &str| -> Vec<(f64, f64)> {
            let values = case
                .paced
                .iter()
                .map(|p| (p.share, plain::of_runs(key, &p.runs[i])));
            let known = values.filter(|(_, values)| !values.is_empty());
            known
                .map(|(share, values)| (share, plain::middle(&values)))
                .collect()
        };
        let sides = 0..self.record.subjects.len();
        let lines: Vec<_> = sides
            .flat_map(|i| keys.map(|(key, title)| (i, title, points(i, key))))
            .collect();
        let (low, high) = ends(lines.iter().flat_map(|(.., line)| line).map(|(_, us)| *us));
        for (i, title, line) in lines.iter().filter(|(.., line)| !line.is_empty()) {
            let name = format!("{} {title}", self.side(*i));
            // From 15 to 100 %.
            let points = line.iter().map(|&(share, us)| ((share - 0.15) / 0.85, us));
            let text = path(points, low, high);
            self.put(["by-load", &case.name, "", "", ""], &name, text);
        }
    }
}

/// Of each quantile the median over good runs.
fn curve(runs: &[Run]) -> Vec<(f64, f64)> {
    let good: Vec<_> = runs.iter().filter(|run| run.problem.is_none()).collect();
    let Some(first) = good.first() else {
        return Vec::new();
    };
    let shares = first.outcome.latency.curve_us.iter().map(|(q, _)| *q);
    let of = |run: &&Run, share: f64| {
        let mut curve = run.outcome.latency.curve_us.iter();
        curve
            .find(|(q, _)| *q == share)
            .expect("the same quantiles")
            .1
    };
    shares
        .filter(|share| *share < 0.9999)
        .map(|share| {
            let values: Vec<f64> = good.iter().map(|run| of(run, share)).collect();
            (share, plain::middle(&values))
        })
        .collect()
}

/// The ends of an axis that holds these values.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    (0.85 * low, 1.15 * high)
}

/// Points as a path on a plot whose area is 304 by 182, at (46, 10).
fn path(points: impl Iterator<Item = (f64, f64)>, low: f64, high: f64) -> String {
    let points = points.map(|(x, us)| {
        let y = (us / low).ln() / (high / low).ln();
        format!("{:.1} {:.1}", 46.0 + 304.0 * x, 192.0 - 182.0 * y)
    });
    format!("M{}", points.collect::<Vec<_>>().join("L"))
}

fn cell(figure: &MetricFigures, i: usize) -> String {
    let metric = METRICS.iter().find(|m| m.key == figure.key).expect("known");
    spread(figure.spreads.get(i).copied().flatten(), metric.digits)
}

fn spread(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => "–".into(),
        Some(s) if s.min == s.max => format!("{:.digits$}", s.median),
        Some(s) => format!(
            "{:.digits$} [{:.digits$}–{:.digits$}]",
            s.median, s.min, s.max
        ),
    }
}

fn interval(ratio: &Ratio) -> String {
    let Ratio {
        ratio: middle,
        low,
        high,
        ..
    } = ratio;
    match high.is_finite() {
        true => format!("{middle:.3} [{low:.3}–{high:.3}]"),
        false => format!("{middle:.3}"),
    }
}

fn word(verdict: Verdict, ratio: &Ratio) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NotShown if ratio.pairs < 6 => "too few runs",
        Verdict::NotShown => "no difference shown",
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
