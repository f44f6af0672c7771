//! Loads any HTTP/1.1 server, in a closed loop or at a fixed rate, and verifies every answer.
//!
//! Run: `target/release/load http://127.0.0.1:8080/path` with
//!
//! * `--connections 64`, `--seconds 4`, `--warm-up 1`, `--pipeline 1`
//! * `--rate 50000`: so many requests a second whether or not answers come; latency counts from the
//!   moment each was due. Without it each connection sends when its last answer has come
//! * `--method POST`, `--header 'Name: value'` (again and again), `--body-bytes 1024`
//! * `--churn`: a connection per request
//! * `--spin`: looks for answers rather than sleep, which wants a core to itself
//! * `--idle 10000`: so many more connections that stay open and do nothing
//! * `--core 1`: runs on that core only
//! * `--json`: all that is known, with the latencies' curve
//!
//! See: answers per second, latencies, what the generator itself took per answer, and failures, which
//! also make the exit code 1.

use std::net::{SocketAddr, SocketAddrV4, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use zero_bench::args::{Failure, program, seconds, warn_if_debug_build};
use zero_bench::child::bind_to_core;
use zero_bench::load::{self, Exchange, Outcome, Pace, Plan, Reply, probe};

struct Args {
    plan: Plan,
    core: Option<usize>,
    json: bool,
}

fn main() -> ExitCode {
    program(include_str!("load.rs"), run)
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    warn_if_debug_build();
    if let Some(core) = args.core {
        bind_to_core(core)?;
    }
    let outcome = load::run(&args.plan, |_| {})?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print(&outcome);
    }
    match outcome.first_failure {
        None => Ok(()),
        Some(first) => Err(format!("{} failures, the first: {first}", outcome.failures).into()),
    }
}

fn print(outcome: &Outcome) {
    let latency = &outcome.latency;
    println!(
        "{:.0} answers/s ({} in {:.2} s, {:.1} MB/s)",
        outcome.per_second(),
        outcome.answers,
        outcome.seconds,
        outcome.received_bytes as f64 / outcome.seconds / 1e6
    );
    println!(
        "latency µs: p50 {:.1}  p90 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
        latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us
    );
    println!(
        "generator: {:.2} µs of CPU per answer, {:.0} % of its core",
        outcome.generator_us(),
        100.0 * outcome.generator_cpu_seconds / outcome.seconds
    );
    if outcome.unanswered > 0 {
        println!("{} requests were not answered in time", outcome.unanswered);
    }
}

fn parse_args() -> Result<Args, Failure> {
    use lexopt::{Arg::Long, Arg::Value, Parser, ValueExt as _};

    let (mut url, mut core, mut json) = (None, None, false);
    let (mut method, mut headers, mut body_bytes) = (String::from("GET"), String::new(), 0);
    let mut plan = Plan::new(SocketAddrV4::new([127, 0, 0, 1].into(), 0), Vec::new());
    plan.connections = 64;
    (plan.warm_up, plan.duration) = (Duration::from_secs(1), Duration::from_secs(4));
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(value) if url.is_none() => url = Some(value.string()?),
            Long("connections") => plan.connections = parser.value()?.parse()?,
            Long("seconds") => plan.duration = seconds(&mut parser)?,
            Long("warm-up") => plan.warm_up = seconds(&mut parser)?,
            Long("pipeline") => plan.pipeline = parser.value()?.parse()?,
            Long("rate") => plan.pace = Pace::Open(parser.value()?.parse()?),
            Long("spin") => plan.spin = true,
            Long("churn") => plan.churn = true,
            Long("idle") => plan.idle_connections = parser.value()?.parse()?,
            Long("method") => method = parser.value()?.string()?,
            Long("header") => headers += &format!("{}\r\n", parser.value()?.string()?),
            Long("body-bytes") => body_bytes = parser.value()?.parse()?,
            Long("core") => core = Some(parser.value()?.parse()?),
            Long("json") => json = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let url = url.ok_or("give a URL, such as http://127.0.0.1:8080/")?;
    let (host, path) = split_url(&url)?;
    plan.server = resolve(host)?;
    if plan.churn {
        headers += "Connection: close\r\n";
    }
    if body_bytes > 0 || method == "POST" {
        headers += &format!("Content-Length: {body_bytes}\r\n");
    }
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").into_bytes();
    request.resize(request.len() + body_bytes, b'x');
    let reference = probe::learn(plan.server, &request)?;
    plan.exchanges.push(Exchange {
        label: format!("{method} {path}"),
        request,
        reply: Reply::Http(reference),
        weight: 1,
    });
    Ok(Args { plan, core, json })
}

fn split_url(url: &str) -> Result<(&str, &str), Failure> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("{url:?} does not start with http://"))?;
    Ok(match rest.find('/') {
        None => (rest, "/"),
        Some(slash) => rest.split_at(slash),
    })
}

fn resolve(host: &str) -> Result<SocketAddrV4, Failure> {
    let with_port = match host.contains(':') {
        true => host.to_owned(),
        false => format!("{host}:80"),
    };
    let found = with_port.to_socket_addrs()?.find_map(|addr| match addr {
        SocketAddr::V4(addr) => Some(addr),
        SocketAddr::V6(_) => None,
    });
    found.ok_or_else(|| format!("{host} has no IPv4 address").into())
}
