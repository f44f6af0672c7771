//! What is counted rather than timed, in runs of its own: allocations, system calls, instructions, and the
//! memory of connections that do nothing.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::measure::v4;
use super::options::{Idle, Options};
use super::record::Counts;
use super::subject::find_program;
use crate::args::Failure;
use crate::case::{Case, RequestTemplate};
use crate::child::{Guard, Launch, Pinning, ServerProcess, counter};
use crate::icount;
use crate::load::{self, Moment, probe};
use crate::scenario::Traffic;

/// How long allocations and system calls are counted for.
const WINDOW: Duration = Duration::from_millis(300);
/// Connections that bring what the process needs once, such as buffers that are reused in turn; they
/// stay, so that what they leave is not used again.
const SETTLERS: usize = 1000;
/// Idle connections that memory is measured with.
const IDLE: usize = 10_000;
/// Time for memory to be given back and deferred frees to happen before it is read.
const SETTLE: Duration = Duration::from_millis(300);
/// Bodies larger than this take too long under callgrind.
const COUNTED_BYTES_MAX: usize = 64 << 10;

/// The tools of the machine that are there.
#[derive(Debug)]
pub struct Tools {
    /// Whether instructions are counted: asked for, and valgrind is there.
    callgrind: bool,
    perf: Option<PathBuf>,
    notes: Notes,
}

/// What is not counted, and why: where the reason is the same, in one line.
#[derive(Debug, Default)]
pub struct Notes(Vec<(String, Vec<String>)>);

impl Notes {
    /// Takes note of `what` for which this is true.
    pub fn add(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        let (what, reason) = (what.into(), reason.into());
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, whats)) if whats.contains(&what) => {}
            Some((_, whats)) => whats.push(what),
            None => self.0.push((reason, vec![what])),
        }
    }

    /// A line for each reason.
    pub fn lines(self) -> Vec<String> {
        let line =
            |(reason, whats): (String, Vec<String>)| format!("{reason}: {}", whats.join(", "));
        self.0.into_iter().map(line).collect()
    }
}

/// How a side is started to be counted.
pub struct Launches<'a> {
    /// As it is timed.
    pub plain: &'a Launch,
    /// With counted allocations.
    pub counting: &'a Launch,
    /// For callgrind: see [`Backend::under_callgrind`](crate::server::Backend::under_callgrind).
    pub slow: &'a Launch,
}

impl Tools {
    /// Looks for them; what is missing is noted, and so is what `options` leaves out.
    pub fn find(options: &Options) -> Self {
        let mut notes = Notes::default();
        if !options.counts {
            let left_out = "left out by --no-counts";
            notes.add(
                "allocations, system calls, instructions, idle memory, sizes of programs",
                left_out,
            );
            return Tools {
                callgrind: false,
                perf: None,
                notes,
            };
        }
        let perf = find_program("perf").filter(counts_syscalls);
        if perf.is_none() {
            notes.add(
                "system calls",
                "not counted, for perf is missing (apt-get install linux-perf) or may not count \
                 raw_syscalls:sys_enter here",
            );
        }
        let has_valgrind = find_program("valgrind").is_some();
        if let Some(reason) = options.no_instructions {
            notes.add("instructions", reason);
        } else if !has_valgrind {
            notes.add("instructions", "not counted; run: apt-get install valgrind");
        }
        Tools {
            callgrind: options.no_instructions.is_none() && has_valgrind,
            perf,
            notes,
        }
    }

    /// Takes note of what is not counted for this reason.
    pub fn note(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        self.notes.add(what, reason);
    }

    /// All that was noted.
    pub fn into_notes(self) -> Vec<String> {
        self.notes.lines()
    }

    /// Counts what can be counted of a case; what cannot is noted.
    pub fn count(&mut self, case: &Case, side: &str, launches: &Launches<'_>) -> Counts {
        let name = &case.name;
        if case.traffic == Traffic::Events {
            let what = format!("allocations, system calls and instructions in {name}");
            self.note(what, "not counted, for its answers have no end");
            return Counts::default();
        }
        let allocations = allocations(case, launches.counting);
        let syscalls = self
            .perf
            .as_ref()
            .map(|perf| syscalls(case, launches.plain, perf));
        let instructions = match why_no_instructions(case) {
            Some(reason) if self.callgrind => Some(Err(reason.into())),
            None if self.callgrind => Some(icount::per_request(case, launches.slow)),
            _ => None,
        };
        let mut counted = |what: &str, count: Option<Result<f64, Failure>>| match count? {
            Ok(count) => Some(count),
            Err(error) => {
                let what = format!("{what} in {name} ({side})");
                self.notes.add(what, format!("not counted, for {error}"));
                None
            }
        };
        let bytes = allocations.as_ref().ok().map(|(_, bytes)| *bytes);
        Counts {
            allocations: counted("allocations", Some(allocations.map(|(count, _)| count))),
            allocated_bytes: bytes,
            syscalls: counted("system calls", syscalls),
            instructions: counted("instructions", instructions),
        }
    }
}

/// Why callgrind does not count this row.
fn why_no_instructions(case: &Case) -> Option<&'static str> {
    let is_small = |r: &RequestTemplate| r.body.len() <= COUNTED_BYTES_MAX;
    if case.traffic != Traffic::KeepAlive {
        Some("callgrind is shown one keep-alive connection with requests and their answers")
    } else if case.requests.len() > 1 {
        Some("callgrind is shown requests of one kind")
    } else if !case.requests.iter().all(is_small) {
        Some("a body this large takes too long under callgrind")
    } else {
        None
    }
}

/// Whether perf may count system calls of a process of ours.
fn counts_syscalls(perf: &PathBuf) -> bool {
    let mut trial = Command::new(perf);
    trial.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"]);
    let output = trial.stdin(Stdio::null()).output();
    output.is_ok_and(|output| syscalls_in(&String::from_utf8_lossy(&output.stderr)).is_some())
}

/// The count in what `perf stat -x,` says.
fn syscalls_in(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

/// Blocks and bytes per request, with a single connection.
fn allocations(case: &Case, launch: &Launch) -> Result<(f64, f64), Failure> {
    let server = ServerProcess::launch(launch, &Pinning::Off("nothing is timed".into()))?;
    let mut plan = case.plan(v4(server.addr)?, WINDOW, WINDOW)?;
    (plan.connections, plan.idle_connections) = (1, 0);
    let (mut before, mut after) = (None, None);
    let outcome = load::run(&plan, |moment| match moment {
        Moment::Start => before = server.counts().ok().flatten(),
        Moment::End => after = server.counts().ok().flatten(),
    })?;
    server.stop()?;
    let (Some((before, _)), Some((after, _))) = (before, after) else {
        return Err("it does not count its own".into());
    };
    // Nothing starts without a single allocation.
    if counter(&after, "allocations") == Some(0) {
        return Err("its program has another allocator than the one that counts".into());
    }
    let per_answer = |name| -> Option<f64> {
        let count = counter(&after, name)?.checked_sub(counter(&before, name)?)?;
        (outcome.answers > 0).then(|| count as f64 / outcome.answers as f64)
    };
    let counts = per_answer("allocations").zip(per_answer("bytes"));
    Ok(counts.ok_or("it answered nothing while they were counted")?)
}

/// System calls of the server per request, under the case's whole load.
fn syscalls(case: &Case, launch: &Launch, perf: &PathBuf) -> Result<f64, Failure> {
    let server = ServerProcess::launch(launch, &Pinning::probe())?;
    let mut plan = case.plan(v4(server.addr)?, WINDOW, WINDOW)?;
    plan.idle_connections = 0;
    let mut watching = None;
    let mut report = None;
    let outcome = load::run(&plan, |moment| match moment {
        Moment::Start => watching = watch(perf, server.pid()).ok(),
        Moment::End => report = watching.take().and_then(|watching| read(watching).ok()),
    })?;
    server.stop()?;
    let calls = report
        .as_deref()
        .and_then(syscalls_in)
        .ok_or("perf said nothing of use")?;
    Ok(calls / outcome.answers.max(1) as f64)
}

fn watch(perf: &PathBuf, pid: u32) -> Result<Guard, Failure> {
    let mut command = Command::new(perf);
    command.args([
        "stat",
        "-x,",
        "-e",
        "raw_syscalls:sys_enter",
        "-p",
        &pid.to_string(),
    ]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let guard = Guard(child.spawn()?);
    // It says nothing when it has attached; the load goes on meanwhile and is not yet counted.
    thread::sleep(Duration::from_millis(60));
    Ok(guard)
}

fn read(mut watching: Guard) -> Result<String, Failure> {
    use std::io::Read as _;
    kill_process(Pid::from_child(&watching.0), Signal::INT)?;
    watching.wait_at_most(Duration::from_secs(5))?;
    let mut text = String::new();
    let mut stderr = watching.0.stderr.take().ok_or("perf has no stderr")?;
    stderr.read_to_string(&mut text)?;
    Ok(text)
}

/// Memory of the server per connection that does nothing, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct IdleBytes {
    /// Of a keep-alive connection that had one request answered.
    pub connection: Option<f64>,
    /// Of a WebSocket that was opened.
    pub websocket: Option<f64>,
}

/// Measures them with the first request of these cases, if there are such.
pub fn idle_bytes(launch: &Launch, idle: &Idle, side: &str, tools: &mut Tools) -> IdleBytes {
    let mut measure = |what: &str, case: &Option<Case>| {
        let bytes = idle_bytes_of(case.as_ref()?, launch);
        bytes
            .map_err(|error| {
                tools.note(
                    format!("{what} ({side})"),
                    format!("not measured, for {error}"),
                )
            })
            .ok()
    };
    IdleBytes {
        connection: measure("memory of idle connections", &idle.connection),
        websocket: measure("memory of idle WebSockets", &idle.websocket),
    }
}

fn idle_bytes_of(case: &Case, launch: &Launch) -> Result<f64, Failure> {
    let server = ServerProcess::launch(launch, &Pinning::Off("nothing is timed".into()))?;
    let request = case.requests[0].bytes("127.0.0.1");
    let expected = if case.traffic == Traffic::KeepAlive {
        200
    } else {
        101
    };
    let open = |n: usize| -> Result<Vec<TcpStream>, Failure> {
        let one = |_| {
            let mut stream = probe::connect(v4(server.addr)?)?;
            let response = probe::exchange(&mut stream, &request, false)?;
            match response.status == expected {
                true => Ok(stream),
                false => Err(Failure::from(format!("status {}", response.status))),
            }
        };
        (0..n).map(one).collect()
    };
    // The first blocks of 128 KiB, a WebSocket's buffers, glibc maps one by one, until one is freed.
    drop(open(8)?);
    thread::sleep(SETTLE);
    let settlers = open(SETTLERS)?;
    thread::sleep(SETTLE);
    let before = crate::proc::resident_bytes(server.pid())?;
    let streams = open(IDLE)?;
    thread::sleep(SETTLE);
    let after = crate::proc::resident_bytes(server.pid())?;
    drop((settlers, streams));
    Ok((after as f64 - before as f64) / IDLE as f64)
}

#[cfg(test)]
mod tests {
    use super::syscalls_in;

    #[test]
    fn perfs_count_is_found() {
        let text = "# started\n12345,,raw_syscalls:sys_enter,2000,100.00,,\n";
        assert_eq!(syscalls_in(text), Some(12345.0));
        assert_eq!(
            syscalls_in("<not supported>,,raw_syscalls:sys_enter,0,,,"),
            None
        );
    }
}
