//! One run: a fresh server, a warm-up, then a load with the server's CPU time taken around it.

use std::time::{Duration, Instant};

use crate::args::Failure;
use crate::child::{Pinning, ServerProcess, counter, start_spinner};
use crate::client::{Client, mask_date};
use crate::proc::{CpuReading, CpuTime, reaped_children_cpu};
use crate::scenario::Scenario;
use crate::server::Backend;
use crate::wrk::{Wrk, WrkReport};

/// What one run showed. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Run {
    /// Responses per second, as wrk counts them.
    pub requests_per_second: f64,
    /// Median latency; none where wrk's figure is wrong.
    pub p50_us: Option<f64>,
    /// 99th percentile of latency; none where wrk's figure is wrong.
    pub p99_us: Option<f64>,
    /// CPU time of the server, all threads, per request.
    pub cpu_us: f64,
    /// The part of it spent outside the kernel.
    pub user_us: f64,
    /// The part of it spent in the kernel.
    pub system_us: f64,
    /// Share of one core that the server used.
    pub server_busy: f64,
    /// Share of one core that wrk used.
    pub client_busy: f64,
    /// Share of the time in which a thread of the server waited for a core.
    pub server_waited: f64,
    /// Calls of `io_uring_enter` per request, where the backend counts them.
    pub enters: Option<f64>,
    /// Why the run must not be believed, if so.
    pub problem: Option<String>,
}

impl Run {
    /// Whether neither side was busy although there was work for both: another process had a core,
    /// or the two wait for timers, as Nagle's algorithm makes them.
    pub fn is_idle(&self) -> bool {
        self.server_busy < 0.8 && self.client_busy < 0.8
    }
}

/// How long the phases of a run are.
#[derive(Clone, Copy, Debug)]
pub struct Phases {
    /// Load before anything is measured, in seconds; zero for none.
    pub warm_up_seconds: u64,
    /// Load while measuring, in seconds.
    pub seconds: u64,
}

impl Phases {
    /// What a whole run takes, with the starting and ending of its processes.
    pub fn total(self) -> Duration {
        Duration::from_secs(self.warm_up_seconds + self.seconds) + Duration::from_millis(300)
    }
}

/// Runs one scenario once on one backend.
///
/// # Errors
/// When a program cannot be started or misbehaves. A load with errors is no error but a problem of
/// the [`Run`].
pub fn run(
    scenario: &Scenario,
    backend: Backend,
    wrk: &Wrk,
    pinning: &Pinning,
    phases: Phases,
) -> Result<Run, Failure> {
    let server = ServerProcess::start(backend, pinning)?;
    let limit = 2 * phases.total() + Duration::from_secs(30);
    let spinner = scenario
        .spinner
        .then(|| start_spinner(pinning, limit))
        .transpose()?;
    if phases.warm_up_seconds > 0 {
        wrk.run(scenario, server.addr, phases.warm_up_seconds)?;
    }
    let load = load(scenario, &server, wrk, phases.seconds)?;
    drop(spinner);
    let obeyed = server.stop()?;
    Ok(load.into_run(obeyed))
}

/// A load and what it cost.
struct Load {
    report: WrkReport,
    took: Duration,
    server: CpuTime,
    client: Duration,
    stats_before: Option<String>,
    stats_after: Option<String>,
}

fn load(
    scenario: &Scenario,
    server: &ServerProcess,
    wrk: &Wrk,
    seconds: u64,
) -> Result<Load, Failure> {
    let stats_before = server.stats()?;
    let client_before = reaped_children_cpu()?;
    let server_before = CpuReading::of(server.pid())?;
    let start = Instant::now();
    let report = wrk.run(scenario, server.addr, seconds)?;
    let took = start.elapsed();
    let server_after = CpuReading::of(server.pid())?;
    Ok(Load {
        report,
        took,
        server: server_after.since(&server_before),
        client: reaped_children_cpu()? - client_before,
        stats_before,
        stats_after: server.stats()?,
    })
}

impl Load {
    fn into_run(self, obeyed: bool) -> Run {
        let requests = self.report.requests.max(1) as f64;
        let took = self.took.as_secs_f64();
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let per_request_us = |time| us(time) / requests;
        let cpu_us = per_request_us(self.server.total);
        let user_us = per_request_us(self.server.user);
        let unserved = self
            .counted("responses")
            .is_some_and(|n| n < 0.99 * requests);
        let problem = if unserved {
            Some("the server counts fewer responses than wrk".into())
        } else if !obeyed {
            Some("the server did not end on SIGTERM".into())
        } else {
            None
        };
        Run {
            requests_per_second: self.report.requests_per_second,
            p50_us: self.report.p50.map(us),
            p99_us: self.report.p99.map(us),
            cpu_us,
            user_us,
            system_us: cpu_us - user_us,
            server_busy: self.server.total.as_secs_f64() / took,
            client_busy: self.client.as_secs_f64() / took,
            server_waited: self.server.waited.as_secs_f64() / took,
            enters: self.counted("enters").map(|enters| enters / requests),
            problem: self.report.problem.or(problem),
        }
    }

    /// How far one of the backend's counters went during the load.
    fn counted(&self, name: &str) -> Option<f64> {
        let before = counter(self.stats_before.as_deref()?, name)?;
        let after = counter(self.stats_after.as_deref()?, name)?;
        Some(after.saturating_sub(before) as f64)
    }
}

/// Collects what a fresh server answers to a scenario, twice on one connection, with dates masked.
///
/// # Errors
/// When the server does not answer, or not with 200.
pub fn answers(scenario: &Scenario, server: &ServerProcess) -> Result<Vec<u8>, Failure> {
    let request = scenario.request(&server.addr.to_string());
    let mut client = Client::connect(server.addr)?;
    let mut answers = Vec::new();
    for _ in 0..2 {
        client.send(&request.repeat(scenario.pipeline))?;
        for _ in 0..scenario.pipeline {
            let mut answer = client.receive()?.to_vec();
            if !answer.starts_with(b"HTTP/1.1 200 ") {
                let head = String::from_utf8_lossy(&answer[..answer.len().min(200)]);
                return Err(format!("{} is answered {head:?}", scenario.name).into());
            }
            mask_date(&mut answer);
            answers.append(&mut answer);
        }
    }
    Ok(answers)
}
