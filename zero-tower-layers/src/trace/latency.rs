//! Durations as they are logged, and the clock that measures them.

use std::fmt;
use std::time::{Duration, Instant};

/// The unit in which a hook logs durations.
#[non_exhaustive]
#[derive(Copy, Clone, Debug)]
pub enum LatencyUnit {
    /// Seconds, with a fraction: `0.0015 s`.
    Seconds,
    /// Whole milliseconds: `1 ms`.
    Millis,
    /// Whole microseconds: `1500 μs`.
    Micros,
    /// Nanoseconds: `1500000 ns`.
    Nanos,
}

/// A duration in its unit.
pub(super) struct Latency {
    pub(super) unit: LatencyUnit,
    pub(super) duration: Duration,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            LatencyUnit::Seconds => write!(f, "{} s", self.duration.as_secs_f64()),
            LatencyUnit::Millis => write!(f, "{} ms", self.duration.as_millis()),
            LatencyUnit::Micros => write!(f, "{} μs", self.duration.as_micros()),
            LatencyUnit::Nanos => write!(f, "{} ns", self.duration.as_nanos()),
        }
    }
}

/// A moment that some hook may want to measure from; nothing if none does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start(Option<Instant>);

impl Start {
    /// Now, if someone wants to know.
    pub(super) fn now_if(wanted: bool) -> Self {
        Start(wanted.then(Instant::now))
    }

    /// The time since. Zero if it was not wanted at first and is now: a subscriber came in between.
    pub(super) fn elapsed(self) -> Duration {
        self.0.map_or(Duration::ZERO, |start| start.elapsed())
    }

    /// The time since, and the moment from now on.
    pub(super) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let start = self.0.replace(now);
        start.map_or(Duration::ZERO, |start| now.saturating_duration_since(start))
    }
}
