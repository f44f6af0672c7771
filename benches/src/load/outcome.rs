//! What a load showed: counts, and latencies in an HDR histogram.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The quantiles that are kept of a run, for curves.
const CURVE: [f64; 22] = [
    0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995, 0.9975,
    0.999, 0.9995, 0.9999, 0.99995, 0.99999, 1.0,
];

/// Longest latency that is told apart, in nanoseconds; longer ones count as this.
const LONGEST_NS: u64 = 60_000_000_000;

/// Latencies of one kind of request, in nanoseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> Self {
        Latencies(Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("constant and valid"))
    }

    pub(super) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(super) fn add(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("made with the same bounds");
    }

    /// What is kept of them.
    pub fn summary(&self) -> LatencySummary {
        let us = |ns: u64| ns as f64 / 1e3;
        let quantile = |q| us(self.0.value_at_quantile(q));
        let curve = CURVE.map(|q| (q, quantile(q)));
        LatencySummary {
            count: self.0.len(),
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: us(self.0.max()),
            curve_us: if self.0.is_empty() {
                Vec::new()
            } else {
                curve.to_vec()
            },
        }
    }
}

/// Latencies in microseconds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many there are.
    pub count: u64,
    /// The median.
    pub p50_us: f64,
    /// The 90th percentile.
    pub p90_us: f64,
    /// The 99th percentile.
    pub p99_us: f64,
    /// The 99.9th percentile.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Pairs of quantile (0 to 1) and latency; empty when there are none.
    pub curve_us: Vec<(f64, f64)>,
}

/// What a load showed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Time counted, in seconds.
    pub seconds: f64,
    /// Answers within it that were as they should be.
    pub answers: u64,
    /// Bytes received within it.
    pub received_bytes: u64,
    /// Connections opened within it.
    pub connects: u64,
    /// Connections that broke and answers that were not as they should be, warm-up included.
    pub failures: u64,
    /// The first of the failures.
    pub first_failure: Option<String>,
    /// Requests due that had no answer at the end, a second of grace included. Only at a fixed rate.
    pub unanswered: u64,
    /// Latencies of all requests.
    pub latency: LatencySummary,
    /// Latencies by label, where there is more than one.
    pub by_label: Vec<(String, LatencySummary)>,
    /// CPU time the generator took while it counted, in seconds.
    pub generator_cpu_seconds: f64,
}

impl Outcome {
    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// CPU time the generator took per answer, in microseconds.
    pub fn generator_us(&self) -> f64 {
        self.generator_cpu_seconds * 1e6 / self.answers.max(1) as f64
    }
}
