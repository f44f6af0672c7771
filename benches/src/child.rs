//! Starts the programs of a measurement on the cores they belong to, and ends them, by pid.
//!
//! Nothing outlives the program that started it: every child is killed and waited for when its guard
//! is dropped, and the server and the spinner ask the kernel to end them with their parent.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::args::Failure;
use crate::server::Backend;

/// The core that servers run on, and the spinner where there is one.
pub const SERVER_CORE: usize = 0;
/// The core that the load generator runs on.
pub const CLIENT_CORE: usize = 1;

/// How long a server may take to start, to answer a signal, or to end.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// Whether children are bound to cores.
#[derive(Clone, Debug)]
pub enum Pinning {
    /// By taskset.
    Cores,
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

    /// A command for `program` on `core`. taskset becomes the program, so the pid is the program's.
    pub fn command(&self, program: impl Into<PathBuf>, core: usize) -> Command {
        let program = program.into();
        match self {
            Pinning::Off(_) => Command::new(program),
            Pinning::Cores => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
        }
    }
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

/// A running `server`.
#[derive(Debug)]
pub struct ServerProcess {
    /// Where it listens.
    pub addr: SocketAddr,
    guard: Guard,
    lines: Receiver<String>,
}

impl ServerProcess {
    /// Starts a fresh server on its core and waits until it listens.
    ///
    /// # Errors
    /// When it is not built, or does not listen within five seconds.
    pub fn start(backend: Backend, pinning: &Pinning) -> Result<Self, Failure> {
        let mut command = pinning.command(sibling("server")?, SERVER_CORE);
        command.args(["--backend", backend.name(), "--end-with-parent"]);
        let mut guard = Guard(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        let stdout = guard.0.stdout.take().ok_or("the server has no stdout")?;
        let lines = lines_of(stdout);
        let addr = line_after(&lines, "listening on ")
            .map_err(|error| format!("the {backend} server did not start: {error}"))?
            .parse()?;
        Ok(ServerProcess { addr, guard, lines })
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
        kill_process(Pid::from_child(&self.guard.0), Signal::USR1)?;
        let line = line_after(&self.lines, "stats: ")?;
        Ok((line != "none").then_some(line))
    }

    /// Ends it as an operator would, and tells whether it obeyed in time.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn stop(mut self) -> Result<bool, Failure> {
        kill_process(Pid::from_child(&self.guard.0), Signal::TERM)?;
        Ok(self.guard.wait_at_most(PATIENCE)?)
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
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Ok(rest.trim().to_owned());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("no line {prefix:?} from the server in {PATIENCE:?}").into());
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
