//! Starts the programs of a measurement on the cores they belong to, and ends them, by pid.
//!
//! Nothing outlives the program that started it: every child is killed and waited for when its guard
//! is dropped, and the server and the spinner ask the kernel to end them with their parent.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::args::Failure;
use crate::server::Backend;

/// The core that servers run on, and the spinner where there is one.
pub const SERVER_CORE: usize = 0;
/// The core that the load generator runs on.
pub const CLIENT_CORE: usize = 1;

/// How long a server may take to start, to answer a signal, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Finds a program of this package beside the one running.
///
/// # Errors
/// When it has not been built.
pub fn sibling(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    let missing = path.display();
    Err(format!("{missing} is missing; run: cargo build --release -p zero-bench").into())
}

/// Asks the kernel to end this process when its parent does.
///
/// # Errors
/// When the kernel refuses.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
}

/// Binds this thread, and those it starts from now on, to one core.
///
/// # Errors
/// When the core is not there or not ours to use.
pub fn bind_to_core(core: usize) -> Result<(), Failure> {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only)
        .map_err(|error| format!("core {core} cannot be used: {error}").into())
}

/// Whether children are bound to cores.
#[derive(Clone, Debug)]
pub enum Pinning {
    /// Servers to one and the load to another.
    Cores,
    /// Servers and load to the first so many, which they share.
    Shared(usize),
    /// Not, for this reason; figures then wander.
    Off(String),
}

impl Pinning {
    /// Finds out whether both cores can be had.
    pub fn probe() -> Self {
        for core in [SERVER_CORE, CLIENT_CORE] {
            let mut trial = Command::new("taskset");
            trial.args(["-c", &core.to_string(), "true"]);
            match trial.stderr(Stdio::null()).status() {
                Ok(status) if status.success() => {}
                Ok(_) => return Pinning::Off(format!("core {core} is not ours to use")),
                Err(error) => {
                    return Pinning::Off(format!(
                        "taskset cannot be run ({error}); run: apt-get install util-linux"
                    ));
                }
            }
        }
        Pinning::Cores
    }

    /// Finds out whether the first `cores` can be had, for servers with a thread on each and the load beside
    /// them; for one core as [`probe`](Self::probe).
    ///
    /// # Errors
    /// When they cannot: servers of several threads on cores of chance are not compared.
    pub fn probe_for(cores: usize) -> Result<Self, Failure> {
        match (cores, Pinning::probe()) {
            (1, pinning) => Ok(pinning),
            (_, Pinning::Off(reason)) => Err(reason.into()),
            (cores, _) => {
                let mut trial = Command::new("taskset");
                trial.args(["-c", &first(cores), "true"]);
                match trial.stderr(Stdio::null()).status()?.success() {
                    true => Ok(Pinning::Shared(cores)),
                    false => Err(format!("cores {} are not all ours to use", first(cores)).into()),
                }
            }
        }
    }

    /// Where servers and load run, for reports.
    pub fn describe(&self) -> String {
        match self {
            Pinning::Cores => format!("server on core {SERVER_CORE}, load on core {CLIENT_CORE}"),
            Pinning::Shared(cores) => format!("server and load share cores {}", first(*cores)),
            Pinning::Off(reason) => format!("nothing pinned: {reason}"),
        }
    }

    /// A command for `program` on `core`. taskset becomes the program, so the pid is the program's.
    pub fn command(&self, program: impl Into<PathBuf>, core: usize) -> Command {
        let program = program.into();
        match self {
            Pinning::Off(_) => Command::new(program),
            Pinning::Cores => on_cores(&core.to_string(), program),
            Pinning::Shared(cores) => on_cores(&first(*cores), program),
        }
    }
}

fn on_cores(cores: &str, program: PathBuf) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// The first so many cores, as taskset lists them.
fn first(cores: usize) -> String {
    format!("0-{}", cores - 1)
}

/// A child that is killed and waited for when this is dropped.
#[derive(Debug)]
pub struct Guard(pub Child);

impl Guard {
    /// Waits for the child to end of itself; kills it when it has not after `limit`. Says whether it
    /// ended of itself and in success.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn wait_at_most(&mut self, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.success());
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.0.kill()?;
        self.0.wait()?;
        Ok(false)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only when the child has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How to start a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is put into its environment.
    pub env: Vec<(String, String)>,
    /// Where it will listen, when it does not say so itself, and obeys no signal but SIGTERM.
    pub silent_at: Option<SocketAddr>,
}

impl Launch {
    /// The `server` beside this program, on one of its backends.
    ///
    /// # Errors
    /// When it is not built.
    pub fn server(backend: Backend) -> Result<Self, Failure> {
        let args = ["--backend", backend.name(), "--end-with-parent"];
        Ok(Launch {
            program: sibling("server")?,
            args: args.map(String::from).to_vec(),
            env: Vec::new(),
            silent_at: None,
        })
    }
}

/// A running server.
#[derive(Debug)]
pub struct ServerProcess {
    /// Where it listens.
    pub addr: SocketAddr,
    /// From its start to the moment it listened.
    pub start_up: Duration,
    guard: Guard,
    lines: Option<Receiver<String>>,
}

impl ServerProcess {
    /// Starts a fresh `server` on its core and waits until it listens.
    ///
    /// # Errors
    /// When it is not built, or does not listen within five seconds.
    pub fn start(backend: Backend, pinning: &Pinning) -> Result<Self, Failure> {
        ServerProcess::launch(&Launch::server(backend)?, pinning)
            .map_err(|error| format!("the {backend} server did not start: {error}").into())
    }

    /// Starts a server on its core and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be run, or does not listen within five seconds.
    pub fn launch(launch: &Launch, pinning: &Pinning) -> Result<Self, Failure> {
        let mut command = pinning.command(&launch.program, SERVER_CORE);
        command.args(&launch.args).envs(launch.env.iter().cloned());
        ServerProcess::spawn(command, launch.silent_at, PATIENCE)
    }

    /// Runs a command that is or becomes a server and waits, at most for `limit`, until it listens.
    ///
    /// # Errors
    /// When it cannot be run, or does not listen in time.
    pub fn spawn(
        mut command: Command,
        silent_at: Option<SocketAddr>,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let from = Instant::now();
        let mut guard = Guard(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        let stdout = guard.0.stdout.take().ok_or("the server has no stdout")?;
        let lines = lines_of(stdout);
        let (addr, lines) = match silent_at {
            None => (
                line_within(limit, &lines, "listening on ")?.parse()?,
                Some(lines),
            ),
            Some(addr) => {
                wait_for_listener(addr, &mut guard.0, limit)?;
                (addr, None)
            }
        };
        Ok(ServerProcess {
            addr,
            start_up: from.elapsed(),
            guard,
            lines,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.guard.0.id()
    }

    /// Asks for the backend's counters, as `name: count` pairs; `None` when it has none.
    ///
    /// # Errors
    /// When the server has ended or does not answer within five seconds.
    pub fn stats(&self) -> Result<Option<String>, Failure> {
        Ok(self
            .counts()?
            .map(|(_, stats)| stats)
            .filter(|stats| stats != "none"))
    }

    /// Asks for the counted allocations, and for the backend's counters (`none` when it has none); none of
    /// a server that tells nothing.
    ///
    /// # Errors
    /// When the server has ended or does not answer within five seconds.
    pub fn counts(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(lines) = &self.lines else {
            return Ok(None);
        };
        kill_process(Pid::from_child(&self.guard.0), Signal::USR1)?;
        Ok(Some((
            line_after(lines, "allocs: ")?,
            line_after(lines, "stats: ")?,
        )))
    }

    /// Ends it as an operator would, and tells whether it obeyed in time.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn stop(mut self) -> Result<bool, Failure> {
        kill_process(Pid::from_child(&self.guard.0), Signal::TERM)?;
        Ok(self.guard.wait_at_most(PATIENCE)?)
    }

    /// As [`stop`](Self::stop), with a limit of the caller's, and `nudge` called again and again until it
    /// ends.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn stop_nudging(
        mut self,
        limit: Duration,
        mut nudge: impl FnMut(),
    ) -> Result<bool, Failure> {
        kill_process(Pid::from_child(&self.guard.0), Signal::TERM)?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.guard.0.try_wait()? {
                return Ok(status.success());
            }
            nudge();
            thread::sleep(Duration::from_millis(2));
        }
        Ok(false)
    }
}

/// Starts the spinner on the server's core. It ends by itself after `limit`.
///
/// # Errors
/// When it is not built.
pub fn start_spinner(pinning: &Pinning, limit: Duration) -> Result<Guard, Failure> {
    let mut command = pinning.command(sibling("spin")?, SERVER_CORE);
    command.args(["--seconds", &limit.as_secs().to_string()]);
    Ok(Guard(command.stdin(Stdio::null()).spawn()?))
}

/// Reads one count from a line of `name: count` pairs, such as `Debug` writes for a struct; the sum
/// when the name occurs more than once.
pub fn counter(stats: &str, name: &str) -> Option<u64> {
    let words: Vec<_> = stats
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    let counts = words.windows(2).filter(|pair| pair[0] == name);
    counts
        .map(|pair| pair[1].parse::<u64>().ok())
        .reduce(|sum, next| Some(sum? + next?))?
}

/// What follows `prefix` on the first line of a program's output that starts with it.
///
/// # Errors
/// When there is no such line within five seconds.
pub fn line_of(output: impl Read + Send + 'static, prefix: &str) -> Result<String, Failure> {
    line_after(&lines_of(output), prefix)
}

/// Waits until somebody accepts at `addr`.
fn wait_for_listener(addr: SocketAddr, server: &mut Child, limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    while TcpStream::connect(addr).is_err() {
        if server.try_wait()?.is_some() {
            return Err("the server has ended".into());
        }
        if Instant::now() > deadline {
            return Err(format!("the server does not listen on {addr} after {limit:?}").into());
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// What follows `prefix` on the first line that starts with it.
fn line_after(lines: &Receiver<String>, prefix: &str) -> Result<String, Failure> {
    line_within(PATIENCE, lines, prefix)
}

fn line_within(limit: Duration, lines: &Receiver<String>, prefix: &str) -> Result<String, Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Ok(rest.trim().to_owned());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("no line {prefix:?} from the server in {limit:?}").into());
            }
            Err(RecvTimeoutError::Disconnected) => return Err("the server has ended".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let stats = "Stats { enters: 12, enter_retries: 99, requests: 30 }";
        assert_eq!(counter(stats, "enters"), Some(12));
        assert_eq!(counter(stats, "requests"), Some(30));
        assert_eq!(counter(stats, "sends"), None);
    }

    #[test]
    fn counters_of_several_shards_add_up() {
        assert_eq!(
            counter("[S { enters: 1 }, S { enters: 2 }]", "enters"),
            Some(3)
        );
    }
}
