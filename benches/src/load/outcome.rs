//! What a load showed: counts, and latencies in an HDR histogram.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::args::Failure;

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
            histogram: self.packed(),
        }
    }

    /// The whole histogram as text, about a kilobyte of it.
    fn packed(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("writing to memory cannot fail");
        BASE64_STANDARD.encode(bytes)
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
    /// All of them, as [`histogram`](Self::histogram) reads it: HdrHistogram's compressed V2 format in base64,
    /// in nanoseconds. Empty when there are none, and in records from before this was kept.
    #[serde(default)]
    pub histogram: String,
}

impl LatencySummary {
    /// All the latencies, in nanoseconds to three digits: what the percentiles here were taken from.
    ///
    /// # Errors
    /// When what was kept is no histogram.
    pub fn histogram(&self) -> Result<Histogram<u64>, Failure> {
        if self.histogram.is_empty() {
            return Ok(Latencies::new().0);
        }
        let bytes = BASE64_STANDARD.decode(&self.histogram)?;
        Deserializer::new()
            .deserialize(&mut &bytes[..])
            .map_err(|error| format!("latencies that cannot be read: {error:?}").into())
    }
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
    /// Latencies by label, where there is more than one and not more than 64.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_read_as_it_was_kept() {
        let mut latencies = Latencies::new();
        for ns in [900, 1_000, 1_000, 70_000, 5_000_000, u64::MAX] {
            latencies.record(ns);
        }
        let kept = latencies.summary();
        let read = kept.histogram().expect("just written");
        assert_eq!(read, latencies.0);
        assert_eq!(read.len(), 6);
        assert!(kept.histogram.len() < 200, "{}", kept.histogram);
        let none = Latencies::new().summary();
        assert!(none.histogram.is_empty() && none.histogram().expect("none").is_empty());
        let spoilt = LatencySummary {
            histogram: "AAAA".into(),
            ..none
        };
        assert!(spoilt.histogram().is_err());
    }
}
