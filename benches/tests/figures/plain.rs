//! Every figure once more, in the plainest way, so that two computations can be held against each other.

use zero_bench::compare::record::Run;
use zero_bench::load::LatencySummary;

/// A figure of one good run.
pub fn of_run(key: &str, run: &Run) -> Option<f64> {
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

/// The figures of good runs.
pub fn of_runs(key: &str, runs: &[Run]) -> Vec<f64> {
    runs.iter().filter_map(|run| of_run(key, run)).collect()
}

pub fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// The latency, in microseconds, that so large a share of all did not exceed, by counting them from the shortest.
pub fn percentile(latency: &LatencySummary, share: f64) -> f64 {
    let histogram = latency.histogram().expect("it was kept");
    let wanted = ((share * latency.count as f64).ceil() as u64).max(1);
    let mut seen = 0;
    for step in histogram.iter_recorded() {
        seen += step.count_at_value();
        if seen >= wanted {
            return step.value_iterated_to() as f64 / 1000.0;
        }
    }
    panic!("{seen} latencies of {}", latency.count)
}

/// How likely Student's t is to lie outside ±`t`, by adding the area under its curve up: with t = √n tan θ
/// that is cos^(n-1) θ.
pub fn outside(t: f64, freedom: usize) -> f64 {
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

/// The mean and the variance of logarithms.
pub fn log_moments(values: &[f64]) -> (f64, f64) {
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    (mean, squares / (logs.len() as f64 - 1.0))
}

pub fn assert_roughly(a: f64, b: f64, what: &str) {
    assert_within(a, b, 1e-6, what);
}

pub fn assert_close(a: f64, b: f64, what: &str) {
    assert_within(a, b, 1e-9, what);
}

pub fn assert_within(a: f64, b: f64, share: f64, what: &str) {
    let most = share * a.abs().max(b.abs()).max(1e-9);
    assert!((a - b).abs() <= most, "{what}: {a} and {b}");
}
