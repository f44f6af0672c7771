//! Runs wrk, the load generator, and reads what it prints. wrk is HTTP/1.1 only.

use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::args::Failure;
use crate::child::{CLIENT_CORE, Guard, Pinning};
use crate::scenario::Scenario;

/// How long wrk may overrun the time it was given.
const OVERRUN: Duration = Duration::from_secs(15);

/// wrk with its scripts, one per scenario, in a directory of its own that goes when this does.
#[derive(Debug)]
pub struct Wrk {
    scripts: PathBuf,
    pinning: Pinning,
}

/// What wrk says of one run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WrkReport {
    /// Responses received.
    pub requests: u64,
    /// Responses per second.
    pub requests_per_second: f64,
    /// Median latency; none for pipelined scenarios.
    pub p50: Option<Duration>,
    /// 99th percentile of latency; none for pipelined scenarios.
    pub p99: Option<Duration>,
    /// Anything that makes the run worthless: refused or broken connections, statuses not 2xx or 3xx.
    pub problem: Option<String>,
}

impl Wrk {
    /// Finds wrk and writes the scripts.
    ///
    /// # Errors
    /// When wrk is not installed or the scripts cannot be written.
    pub fn prepare(scenarios: &[&Scenario], pinning: Pinning) -> Result<Self, Failure> {
        // wrk answers --version with its usage and exit code 1: that it can be run is enough.
        let found = Command::new("wrk")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match found {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err("wrk is not installed; run: apt-get install wrk".into());
            }
            Err(error) => return Err(format!("wrk cannot be run: {error}").into()),
        }
        let name = format!("zero-bench-{}", std::process::id());
        let scripts = std::env::temp_dir().join(name);
        fs::create_dir_all(&scripts)?;
        let wrk = Wrk { scripts, pinning };
        for scenario in scenarios {
            fs::write(wrk.script(scenario), scenario.lua())?;
        }
        Ok(wrk)
    }

    /// Loads the server at `addr` for `seconds` from the generator's core.
    ///
    /// # Errors
    /// When wrk fails, hangs, or prints what cannot be understood.
    pub fn run(&self, s: &Scenario, addr: SocketAddr, seconds: u64) -> Result<WrkReport, Failure> {
        let mut command = self.pinning.command("wrk", CLIENT_CORE);
        command
            .args(["-t1", "--latency", "--timeout", "2s"])
            .arg(format!("-c{}", s.connections))
            .arg(format!("-d{seconds}s"))
            .arg("-s")
            .arg(self.script(s))
            .arg(format!("http://{addr}{}", s.path));
        let mut guard = Guard(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        // What wrk prints fits in the pipe, so it can be read once wrk has ended.
        let succeeded = guard.wait_at_most(Duration::from_secs(seconds) + OVERRUN)?;
        let mut text = String::new();
        let mut stdout = guard.0.stdout.take().ok_or("wrk has no stdout")?;
        stdout.read_to_string(&mut text)?;
        if !succeeded {
            return Err(format!("wrk failed or hung; it said: {text}").into());
        }
        let mut report =
            parse(&text).ok_or_else(|| format!("wrk said something unexpected: {text}"))?;
        if s.pipeline > 1 {
            // wrk times a batch as a whole, then adds samples for the requests it believes were
            // delayed by it: percentiles of pipelined runs come out as anything, zero included.
            (report.p50, report.p99) = (None, None);
        }
        Ok(report)
    }

    fn script(&self, scenario: &Scenario) -> PathBuf {
        self.scripts.join(scenario.name).with_extension("lua")
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        // A few small files left in the temporary directory harm nobody.
        let _ = fs::remove_dir_all(&self.scripts);
    }
}

fn parse(text: &str) -> Option<WrkReport> {
    let mut report = WrkReport::default();
    let mut seen = 0;
    for line in text.lines().map(str::trim) {
        if let Some(latency) = line.strip_prefix("50% ") {
            report.p50 = Some(parse_duration(latency.trim())?);
            seen += 1;
        } else if let Some(latency) = line.strip_prefix("99% ") {
            report.p99 = Some(parse_duration(latency.trim())?);
            seen += 1;
        } else if let Some((requests, _)) = line.split_once(" requests in ") {
            report.requests = requests.parse().ok()?;
            seen += 1;
        } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
            report.requests_per_second = rate.trim().parse().ok()?;
            seen += 1;
        } else if line.starts_with("Socket errors:") || line.starts_with("Non-2xx") {
            report.problem.get_or_insert_default().push_str(line);
        }
    }
    if report.requests == 0 {
        report.problem.get_or_insert_with(|| "no response".into());
    }
    (seen == 4).then_some(report)
}

/// Parses `17.50us`, `1.25ms`, `2.00s`, `1.00m`.
fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let unit_us = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(Duration::from_secs_f64(
        number.parse::<f64>().ok()? * unit_us / 1e6,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Running 2s test @ http://127.0.0.1:34567/plaintext
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   408.27us  192.10us   6.31ms   93.01%
    Req/Sec   158.20k     4.21k  162.80k    85.00%
  Latency Distribution
     50%  391.00us
     75%  433.00us
     90%  502.00us
     99%    1.06ms
  314863 requests in 2.00s, 38.74MB read
Requests/sec: 157388.55
Transfer/sec:     19.36MB
";

    #[test]
    fn a_clean_run_is_read() {
        let report = parse(OUTPUT).expect("wrk's own words");
        assert_eq!(report.requests, 314_863);
        assert_eq!(report.requests_per_second, 157_388.55);
        assert_eq!(report.p50, Some(Duration::from_micros(391)));
        assert_eq!(report.p99, Some(Duration::from_micros(1060)));
        assert_eq!(report.problem, None);
    }

    #[test]
    fn errors_make_a_run_bad() {
        let socket = "  Socket errors: connect 0, read 3, write 0, timeout 0\n";
        let status = "  Non-2xx or 3xx responses: 12\n";
        for line in [socket, status] {
            let text = OUTPUT.replace("Requests/sec", &format!("{line}Requests/sec"));
            let report = parse(&text).expect("wrk's own words");
            assert_eq!(report.problem.as_deref(), Some(line.trim()));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        assert_eq!(parse("unable to connect to 127.0.0.1:1"), None);
    }
}
