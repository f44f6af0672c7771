//! One run: a fresh server, a warm-up, then a load with the server's counters read around it.

use std::net::{SocketAddr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use super::record::Run;
use crate::args::Failure;
use crate::case::Case;
use crate::child::{
    CLIENT_CORE, Launch, Pinning, ServerProcess, bind_to_core, counter, start_spinner,
};
use crate::load::{self, Moment, Pace};
use crate::proc::{CpuReading, Switches, resident_bytes};

/// How long the phases of a run are.
#[derive(Clone, Copy, Debug)]
pub struct Phases {
    /// Load before anything is measured.
    pub warm_up: Duration,
    /// Load while measuring.
    pub load: Duration,
}

impl Phases {
    /// What a whole run takes, with the starting and ending of its processes.
    pub fn total(self) -> Duration {
        self.warm_up + self.load + Duration::from_millis(150)
    }
}

/// Runs one case once on one server.
///
/// # Errors
/// When a program cannot be started or misbehaves. A load with failures is no error but a problem of the
/// [`Run`].
pub fn run(
    case: &Case,
    launch: &Launch,
    pinning: &Pinning,
    phases: Phases,
    pace: Pace,
) -> Result<Run, Failure> {
    let server = ServerProcess::launch(launch, pinning)?;
    let limit = 2 * phases.total() + Duration::from_secs(30);
    let spinner = case
        .spinner
        .then(|| start_spinner(pinning, limit))
        .transpose()?;
    // The load has a thread of its own, for it alone is bound to a core.
    let (run, server) = thread::scope(|scope| {
        let load = scope.spawn(move || {
            let bound = match pinning {
                Pinning::Cores => bind_to_core(CLIENT_CORE),
                Pinning::Shared(_) | Pinning::Off(_) => Ok(()),
            };
            let run = bound.and_then(|()| load_it(case, &server, phases, pace));
            (run, server)
        });
        load.join().map_err(|_| "the load generator panicked")
    })?;
    drop(spinner);
    let mut run = run?;
    run.start_up_seconds = server.start_up.as_secs_f64();
    if !server.stop()? {
        run.problem
            .get_or_insert_with(|| "the server did not end on SIGTERM".into());
    }
    Ok(run)
}

/// What can be read of a server from outside.
struct Reading {
    cpu: CpuReading,
    switches: Switches,
    stats: Option<String>,
}

impl Reading {
    fn of(server: &ServerProcess) -> Result<Self, Failure> {
        let stats = server.stats()?;
        Ok(Reading {
            cpu: CpuReading::of(server.pid())?,
            switches: Switches::of(server.pid())?,
            stats,
        })
    }

    fn count(&self, name: &str) -> Option<u64> {
        counter(self.stats.as_deref()?, name)
    }
}

fn load_it(
    case: &Case,
    server: &ServerProcess,
    phases: Phases,
    pace: Pace,
) -> Result<Run, Failure> {
    let mut plan = case.plan(v4(server.addr)?, phases.warm_up, phases.load)?;
    plan.pace = pace;
    let (mut before, mut after) = (None, None);
    let outcome = load::run(&plan, |moment| match moment {
        Moment::Start => before = Some(Reading::of(server)),
        Moment::End => after = Some(Reading::of(server)),
    })?;
    let before = before.ok_or("the load did not start")??;
    let after = after.ok_or("the load did not end")??;
    let cpu = after.cpu.since(&before.cpu);
    let counted = |name| Some(after.count(name)?.saturating_sub(before.count(name)?));
    let problem = problem_of(case, &outcome, counted("responses"));
    Ok(Run {
        cpu_seconds: cpu.total.as_secs_f64(),
        user_seconds: cpu.user.as_secs_f64(),
        waited_seconds: cpu.waited.as_secs_f64(),
        switches: after
            .switches
            .voluntary
            .saturating_sub(before.switches.voluntary),
        preemptions: after.switches.forced.saturating_sub(before.switches.forced),
        enters: counted("enters"),
        resident_bytes: resident_bytes(server.pid())?,
        start_up_seconds: 0.0,
        outcome,
        problem,
    })
}

fn problem_of(case: &Case, outcome: &load::Outcome, responses: Option<u64>) -> Option<String> {
    if let Some(first) = &outcome.first_failure {
        return Some(format!("{} failures, the first: {first}", outcome.failures));
    }
    if outcome.answers == 0 {
        return Some("no answer".into());
    }
    if outcome.unanswered > 0 {
        return Some(format!(
            "{} requests were not answered in time",
            outcome.unanswered
        ));
    }
    // Events and frames are answers that a backend does not count as responses; what is under way at the
    // window's ends is counted on one side and not on the other.
    let under_way = 2 * (case.connections * case.pipeline) as u64;
    let seen = outcome.answers;
    let unserved = responses.filter(|n| *n > 100 && ((n + under_way) as f64) < 0.99 * seen as f64);
    unserved.map(|n| format!("the server counts {n} responses, the generator {seen}"))
}

/// The generator's addresses are IPv4's.
///
/// # Errors
/// When `addr` is not.
pub fn v4(addr: SocketAddr) -> Result<SocketAddrV4, Failure> {
    match addr {
        SocketAddr::V4(addr) => Ok(addr),
        SocketAddr::V6(_) => Err("the server must listen on an IPv4 address".into()),
    }
}
