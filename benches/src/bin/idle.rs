//! Measures what an idle keep-alive connection holds in memory.
//!
//! Run: `cargo build --release -p zero-bench && target/release/idle --connections 10000`
//! (`--backend zero,hyper`; it starts the `server` beside it).
//!
//! See: a row per backend. Each of the connections makes one request and then stays open. Process
//! is anonymous and shared memory of the server, per connection; kernel is the growth of the whole
//! machine's slab caches per connection, sockets of both ends included, so only its difference
//! between backends says something; after closing is what the server still holds when all
//! connections have gone, per connection.

use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zero_bench::args::{Failure, list, program, warn_if_debug_build};
use zero_bench::child::{Pinning, ServerProcess};
use zero_bench::client::Client;
use zero_bench::proc;
use zero_bench::scenario::SCENARIOS;
use zero_bench::server::Backend;

/// Descriptors a process needs besides its connections.
const SPARE_DESCRIPTORS: u64 = 64;
/// Connections that one pair of addresses has ports for, by the kernel's default range.
const PORTS: u64 = 28_000;
/// Time for memory to be given back and deferred frees to happen before it is read.
const SETTLE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    program(include_str!("idle.rs"), run)
}

fn run() -> Result<(), Failure> {
    let (backends, wanted) = parse_args()?;
    warn_if_debug_build();
    let connections = affordable(wanted)?;
    println!(
        "{}; {connections} connections, bytes per connection\n",
        proc::machine()
    );
    println!("| backend | process | kernel (both ends) | after closing | server before |");
    println!("|---|---|---|---|---|");
    for backend in backends {
        println!("{}", measure(backend, connections)?);
    }
    Ok(())
}

/// Raises the limit on descriptors as far as it goes, for this process and the servers it starts, and
/// cuts the number of connections to what fits.
fn affordable(wanted: u64) -> Result<u64, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    let descriptors = limit
        .maximum
        .map_or(PORTS, |max| max.saturating_sub(SPARE_DESCRIPTORS));
    let connections = wanted.min(descriptors).min(PORTS);
    if connections < wanted {
        eprintln!(
            "cut to {connections} connections: {descriptors} descriptors (ulimit -Hn), {PORTS} ports"
        );
    }
    Ok(connections)
}

fn measure(backend: Backend, connections: u64) -> Result<String, Failure> {
    let server = ServerProcess::start(backend, &Pinning::Off("no time is measured".into()))?;
    let request = SCENARIOS[0].request(&server.addr.to_string());
    // The first connections bring what the process needs once.
    drop(open(&server, &request, 8)?);
    thread::sleep(SETTLE);
    let (process, kernel) = (
        proc::resident_bytes(server.pid())?,
        proc::kernel_slab_bytes()?,
    );
    let open = open(&server, &request, connections)?;
    thread::sleep(SETTLE);
    let (process_open, kernel_open) = (
        proc::resident_bytes(server.pid())?,
        proc::kernel_slab_bytes()?,
    );
    drop(open);
    thread::sleep(2 * SETTLE);
    let process_closed = proc::resident_bytes(server.pid())?;
    server.stop()?;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / connections as f64;
    Ok(format!(
        "| {backend} | {:.0} | {:.0} | {:.0} | {} KiB |",
        each(process_open, process),
        each(kernel_open, kernel),
        each(process_closed, process),
        process / 1024,
    ))
}

/// Opens connections, each with one request answered. Every step has a deadline.
fn open(server: &ServerProcess, request: &[u8], n: u64) -> Result<Vec<TcpStream>, Failure> {
    let mut sockets = Vec::new();
    for i in 0..n {
        let mut client = Client::connect(server.addr)
            .map_err(|error| format!("connection {i} of {n} was not accepted: {error}"))?;
        client
            .exchange(request)
            .map_err(|error| format!("connection {i} of {n} was not served: {error}"))?;
        sockets.push(client.into_socket());
    }
    Ok(sockets)
}

fn parse_args() -> Result<(Vec<Backend>, u64), Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let (mut backends, mut connections) = (Backend::defaults(), 10_000);
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("backend") => backends = list(&mut parser)?,
            Long("connections") => connections = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if connections == 0 {
        return Err("--connections must be at least 1".into());
    }
    Ok((backends, connections))
}
