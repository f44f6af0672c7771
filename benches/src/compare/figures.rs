//! What a record comes down to: medians, ratios and verdicts. Computed from the record and nothing else.

use serde::{Deserialize, Serialize};

use super::against::Against;
use super::labels::{self, LabelFigures};
use super::record::{CaseRecord, Paced, Record, Run};
use crate::stats::{Ratio, Spread, Verdict};

/// A figure of a run.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// What JSON calls it.
    pub key: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// Its unit, empty for a share.
    pub unit: &'static str,
    /// Digits behind the point that tables show.
    pub digits: usize,
    /// Whether less of it is better.
    pub less_is_better: bool,
    /// Whether it gets a verdict.
    pub is_judged: bool,
    /// Reads it from a run.
    pub of: fn(&Run) -> Option<f64>,
}

fn per_answer_us(seconds: f64, run: &Run) -> Option<f64> {
    (run.outcome.answers > 0).then(|| seconds * 1e6 / run.outcome.answers as f64)
}

fn per_answer(count: u64, run: &Run) -> Option<f64> {
    (run.outcome.answers > 0).then(|| count as f64 / run.outcome.answers as f64)
}

fn latency(run: &Run, us: f64) -> Option<f64> {
    (run.outcome.latency.count > 0).then_some(us)
}

/// The metric by which a row is judged as a whole.
pub const HEADLINE: &str = "cpu_us";

/// The metrics that are shown of runs at fixed rates.
pub const PACED: [&str; 6] = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us", HEADLINE];

/// Every figure of a run, in the order of tables.
pub const METRICS: [Metric; 17] = [
    metric("per_second", "req/s", "1/s", 0, |r| {
        Some(r.outcome.per_second())
    })
    .judged()
    .more_is_better(),
    metric("p50_us", "p50", "µs", 1, |r| {
        latency(r, r.outcome.latency.p50_us)
    })
    .judged(),
    metric("p90_us", "p90", "µs", 1, |r| {
        latency(r, r.outcome.latency.p90_us)
    }),
    metric("p99_us", "p99", "µs", 1, |r| {
        latency(r, r.outcome.latency.p99_us)
    })
    .judged(),
    metric("p999_us", "p99.9", "µs", 0, |r| {
        latency(r, r.outcome.latency.p999_us)
    }),
    metric("max_us", "max", "µs", 0, |r| {
        latency(r, r.outcome.latency.max_us)
    }),
    metric(HEADLINE, "CPU/req", "µs", 2, |r| {
        per_answer_us(r.cpu_seconds, r)
    })
    .judged(),
    metric("user_us", "user", "µs", 2, |r| {
        per_answer_us(r.user_seconds, r)
    }),
    metric("system_us", "system", "µs", 2, |r| {
        per_answer_us(r.cpu_seconds - r.user_seconds, r)
    }),
    metric("switches", "sleeps/req", "", 3, |r| {
        per_answer(r.switches, r)
    }),
    metric("preemptions", "preempted/req", "", 4, |r| {
        per_answer(r.preemptions, r)
    }),
    metric("enters", "enters/req", "", 3, |r| per_answer(r.enters?, r)),
    metric("resident_mib", "memory", "MiB", 1, |r| {
        Some(r.resident_bytes as f64 / f64::from(1 << 20))
    }),
    metric("start_up_ms", "start", "ms", 1, |r| {
        Some(r.start_up_seconds * 1e3)
    }),
    metric("server_busy", "srv busy", "", 2, |r| {
        Some(r.cpu_seconds / r.outcome.seconds)
    })
    .more_is_better(),
    metric("generator_busy", "gen busy", "", 2, |r| {
        Some(r.outcome.generator_cpu_seconds / r.outcome.seconds)
    }),
    metric("server_waited", "srv waited", "", 2, |r| {
        Some(r.waited_seconds / r.outcome.seconds)
    }),
];

const fn metric(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    digits: usize,
    of: fn(&Run) -> Option<f64>,
) -> Metric {
    Metric {
        key,
        title,
        unit,
        digits,
        less_is_better: true,
        is_judged: false,
        of,
    }
}

impl Metric {
    const fn judged(mut self) -> Self {
        self.is_judged = true;
        self
    }

    const fn more_is_better(mut self) -> Self {
        self.less_is_better = false;
        self
    }
}

/// All figures of a record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Of each case, in order.
    pub cases: Vec<CaseFigures>,
    /// How many verdicts there are, which decides how certain each must be.
    pub verdicts: usize,
    /// Beside an earlier record, if it is held against one.
    pub against: Option<Against>,
}

/// The figures of one case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CaseFigures {
    /// Its name.
    pub name: String,
    /// In a closed loop.
    pub closed: Vec<MetricFigures>,
    /// Of each kind of request of a mix, in a closed loop.
    pub labels: Vec<LabelFigures>,
    /// At each rate.
    pub paced: Vec<PacedFigures>,
}

/// The figures of one case at one rate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PacedFigures {
    /// The rate as a share of the slowest side's capacity.
    pub share: f64,
    /// The rate.
    pub per_second: f64,
    /// The figures.
    pub metrics: Vec<MetricFigures>,
    /// Of each kind of request of a mix.
    pub labels: Vec<LabelFigures>,
}

impl PacedFigures {
    /// Those that tables show, in the order of [`PACED`].
    pub fn shown(&self) -> impl Iterator<Item = &MetricFigures> {
        let of = |key: &&str| self.metrics.iter().find(|m| m.key == **key);
        PACED.iter().filter_map(of)
    }
}

/// One metric of one case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MetricFigures {
    /// Which metric.
    pub key: String,
    /// Of each subject; none without a good run.
    pub spreads: Vec<Option<Spread>>,
    /// Of the first subject to each other one.
    pub ratios: Vec<Option<Ratio>>,
    /// What each ratio says, when the metric is judged.
    pub verdicts: Vec<Verdict>,
}

impl Figures {
    /// Computes them.
    pub fn of(record: &Record) -> Self {
        let others = record.subjects.len().saturating_sub(1);
        let judged = METRICS.iter().filter(|metric| metric.is_judged).count();
        let verdicts = record.cases.len() * others * judged;
        let cases = record
            .cases
            .iter()
            .map(|case| CaseFigures::of(case, verdicts));
        Figures {
            cases: cases.collect(),
            verdicts,
            against: Against::of(record),
        }
    }
}

impl CaseFigures {
    fn of(case: &CaseRecord, verdicts: usize) -> Self {
        let paced = |paced: &Paced| PacedFigures {
            share: paced.share,
            per_second: paced.per_second,
            // Latency at a rate is drawn, and not judged: the closed loop's verdicts are enough.
            metrics: figures_of(&paced.runs, usize::MAX),
            labels: labels::of(&paced.runs),
        };
        CaseFigures {
            name: case.name.clone(),
            closed: figures_of(&case.closed, verdicts),
            labels: labels::of(&case.closed),
            paced: case.paced.iter().map(paced).collect(),
        }
    }

    /// One metric of the closed loop.
    pub fn metric(&self, key: &str) -> Option<&MetricFigures> {
        self.closed.iter().find(|figures| figures.key == key)
    }
}

fn figures_of(runs: &[Vec<Run>], verdicts: usize) -> Vec<MetricFigures> {
    METRICS
        .iter()
        .map(|metric| MetricFigures::of(metric, runs, verdicts))
        .collect()
}

impl MetricFigures {
    fn of(metric: &Metric, runs: &[Vec<Run>], verdicts: usize) -> Self {
        let spread = |runs: &Vec<Run>| {
            let good = runs.iter().filter(|run| run.problem.is_none());
            Spread::of(&good.filter_map(metric.of).collect::<Vec<_>>())
        };
        let others = runs.get(1..).unwrap_or_default();
        let ratios: Vec<_> = others
            .iter()
            .map(|other| ratio(metric, &runs[0], other))
            .collect();
        let verdict = |ratio: &Option<Ratio>| match ratio {
            Some(ratio) => ratio.verdict(metric.less_is_better, verdicts),
            None => Verdict::NotShown,
        };
        MetricFigures {
            key: metric.key.into(),
            spreads: runs.iter().map(spread).collect(),
            verdicts: match metric.is_judged && verdicts != usize::MAX {
                true => ratios.iter().map(verdict).collect(),
                false => Vec::new(),
            },
            ratios,
        }
    }
}

/// The ratio over the pairs of which both runs are good.
fn ratio(metric: &Metric, a: &[Run], b: &[Run]) -> Option<Ratio> {
    let pairs = a
        .iter()
        .zip(b)
        .filter(|(a, b)| a.problem.is_none() && b.problem.is_none());
    let (a, b): (Vec<_>, Vec<_>) = pairs
        .filter_map(|(a, b)| Some(((metric.of)(a)?, (metric.of)(b)?)))
        .unzip();
    Ratio::of_pairs(&a, &b)
}

/// A metric by its key.
///
/// # Panics
/// When there is none; keys are constants.
pub fn metric_of(key: &str) -> &'static Metric {
    METRICS
        .iter()
        .find(|metric| metric.key == key)
        .expect("a key of METRICS")
}
