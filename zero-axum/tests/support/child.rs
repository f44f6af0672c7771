//! A server in a process of its own: for limits that are a process's, and for what it alone uses.
//!
//! The child is the test binary again, asked for one ignored test that calls [`serve_as_told`]. It
//! prints `ADDR=`, then answers each line of its input, a name, with `name=` and what it knows by that.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{Mode, Server};

/// The mode in which a child serves.
const CHILD_MODE: &str = "ZERO_CHILD_MODE";

pub(crate) struct ChildServer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
}

impl ChildServer {
    /// Starts the ignored test `test`, by way of the command `through`, if there is one.
    pub(crate) fn start(test: &str, mode: Mode, through: &[&str]) -> ChildServer {
        let mut server = Self::spawn(test, mode, through);
        server.addr = server.answer("ADDR").parse().unwrap();
        server
    }

    fn spawn(test: &str, mode: Mode, through: &[&str]) -> ChildServer {
        let binary = std::env::current_exe().unwrap();
        let mut command = match through {
            [] => Command::new(binary),
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(binary);
                command
            }
        };
        let mut process = command
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(CHILD_MODE, format!("{mode:?}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child's command (of util-linux) runs");
        ChildServer {
            orders: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
            addr: super::loopback(),
        }
    }

    /// What stands behind `label=` in the next line that has it.
    fn answer(&mut self, label: &str) -> String {
        let label = format!("{label}=");
        let mut line = String::new();
        while self.answers.read_line(&mut line).unwrap() > 0 {
            if let Some((_, value)) = line.trim_end().split_once(&label) {
                return value.to_owned();
            }
            line.clear();
        }
        panic!("the server's process has ended");
    }

    /// One of the server's counters.
    pub(crate) fn count(&mut self, name: &str) -> u64 {
        self.ask(name).parse().unwrap()
    }

    /// What the child knows by `name`.
    pub(crate) fn ask(&mut self, name: &str) -> String {
        writeln!(self.orders, "{name}").unwrap();
        self.answer(name)
    }

    /// CPU time that all its threads have used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field, in parentheses, may contain anything; the third is the first behind it.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = |nth: usize| {
            let field = fields.split(' ').nth(nth - 3).unwrap();
            field.parse::<u64>().unwrap()
        };
        // utime and stime, in hundredths of a second on every Linux that Rust runs on.
        Duration::from_millis(10 * (ticks(14) + ticks(15)))
    }

    /// Memory that it has in use, but for what files back.
    pub(crate) fn resident_bytes(&self) -> usize {
        let rollup = self.proc("smaps_rollup");
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss_Anon:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        1024 * kib.parse::<usize>().unwrap()
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap()
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The child's side: serves until its input ends, and tells its counters. Does nothing in a process
/// that is no child.
pub(crate) fn serve_as_told(serve: impl FnOnce(Mode) -> Server) {
    serve_and_tell(serve, |server, name| counted(server, name).to_string());
}

/// As [`serve_as_told`], for a child that knows other things.
pub(crate) fn serve_and_tell(
    serve: impl FnOnce(Mode) -> Server,
    tell: impl Fn(&Server, &str) -> String,
) {
    let Some(mode) = told_mode() else {
        return;
    };
    let server = serve(mode);
    println!("\nADDR={}", server.addr);
    for name in std::io::stdin().lines() {
        let name = name.unwrap();
        println!("{name}={}", tell(&server, &name));
    }
}

/// The mode this process is to serve in, if it is a child.
fn told_mode() -> Option<Mode> {
    let name = std::env::var(CHILD_MODE).ok()?;
    let modes = [
        Mode::IoUringAdaptive,
        Mode::IoUringInline,
        Mode::IoUringWorkers,
        Mode::Hyper,
    ];
    let mode = modes.into_iter().find(|mode| format!("{mode:?}") == name);
    Some(mode.expect("a mode"))
}

/// One of a server's counters, by its name.
pub(crate) fn counted(server: &Server, name: &str) -> u64 {
    let stats = server.stats();
    let named = stats.iter().find(|(known, _)| *known == name);
    named.expect("a counter's name").1
}
