//! Tells what is going on and how long it will go on.

use std::time::{Duration, Instant};

use super::options::Options;
use super::record::Run;
use crate::load::Pace;

/// Counts runs.
pub(super) struct Progress {
    done: usize,
    total: usize,
    started: Instant,
    guess: Duration,
}

impl Progress {
    pub fn new(options: &Options) -> Self {
        let sides = options.subjects.len();
        let paced = options.cases.iter().filter(|case| case.paced).count();
        let paced_runs = paced * options.shares.len() * options.runs.div_ceil(2);
        Progress {
            done: 0,
            total: sides * (options.cases.len() * options.runs + paced_runs),
            started: Instant::now(),
            guess: options.phases.total(),
        }
    }

    /// Some runs will not be.
    pub fn skip(&mut self, runs: usize) {
        self.total = self.total.saturating_sub(runs);
    }

    pub fn tell(&mut self, case: &str, label: &str, pace: Pace, run: &Run) {
        self.done += 1;
        // At first by what was asked for, then by what it really took.
        let each = match self.done {
            0..4 => self.guess,
            done => self.started.elapsed() / done as u32,
        };
        let left = each * self.total.saturating_sub(self.done) as u32;
        let rate = match pace {
            Pace::Closed => String::new(),
            Pace::Open(rate) => format!(" at {rate:.0}/s"),
        };
        let what = run
            .problem
            .as_ref()
            .map_or_else(|| summary(run), |problem| format!("BAD: {problem}"));
        eprintln!(
            "[{}/{}, {} left] {case} {label}{rate}: {what}",
            self.done,
            self.total.max(self.done),
            minutes(left)
        );
    }
}

fn summary(run: &Run) -> String {
    let outcome = &run.outcome;
    let cpu_us = run.cpu_seconds * 1e6 / outcome.answers.max(1) as f64;
    format!(
        "{:>7.0} req/s, p50 {:.0} µs, p99 {:.0} µs, CPU {cpu_us:.2} µs/req",
        outcome.per_second(),
        outcome.latency.p50_us,
        outcome.latency.p99_us
    )
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
