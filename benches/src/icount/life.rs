//! Counts of any server, also one that knows nothing of this package.
//!
//! It is run under valgrind twice, with a small and a large number of requests on one connection; the
//! difference is the requests'. Many are sent at once: how often a server that has nothing to do looks
//! for work before it sleeps depends on the clock, and would otherwise be most of the noise.

use std::fs;
use std::time::Duration;

use super::{free_address, require_valgrind, total, under_callgrind};
use crate::args::Failure;
use crate::case::Case;
use crate::child::{Launch, ServerProcess};
use crate::client::Client;

/// Requests of the two runs.
const FEW: u32 = 512;
const MANY: u32 = 2560;
/// Requests sent at once.
const AT_ONCE: usize = 128;
/// Exchanges of a nudge.
const NUDGE: u32 = 2;
/// How long a server may take to listen under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end, and valgrind to write its counts, at each try: a second or two as a rule. About one
/// in five of zero's does not end by itself, since a shard that sleeps in its ring while it drains keeps every other
/// thread from running under valgrind.
const END_PATIENCE: [Duration; 4] = {
    let short = Duration::from_secs(20);
    [short, short, short, Duration::from_secs(60)]
};

/// Instructions that a server takes for one request of `case`, outside the kernel.
///
/// # Errors
/// When valgrind is missing, or the server cannot be run under it or does not answer.
pub fn per_request(case: &Case, launch: &Launch) -> Result<f64, Failure> {
    require_valgrind()?;
    let (few, few_answered) = lives(case, launch, FEW)?;
    let (many, many_answered) = lives(case, launch, MANY)?;
    Ok((many - few) / (many_answered - few_answered))
}

/// [`life`], until one ends by itself.
fn lives(case: &Case, launch: &Launch, requests: u32) -> Result<(f64, f64), Failure> {
    for patience in END_PATIENCE {
        if let Some(counted) = life(case, launch, requests, patience)? {
            return Ok(counted);
        }
    }
    Err("the server does not end under callgrind".into())
}

/// Instructions of a whole life of the server, and the requests it answered meanwhile; none if it did not end within
/// `patience`.
fn life(
    case: &Case,
    launch: &Launch,
    requests: u32,
    patience: Duration,
) -> Result<Option<(f64, f64)>, Failure> {
    let name = format!("zero-bench-callgrind-{}-{requests}", std::process::id());
    let out = std::env::temp_dir().join(name);
    let (addr, port) = match launch.silent_at {
        Some(addr) => (addr, Vec::new()),
        None => {
            let addr = free_address()?;
            (addr, vec!["--port".to_owned(), addr.port().to_string()])
        }
    };
    let mut command = under_callgrind(&out, &launch.program);
    command
        .args(&launch.args)
        .args(port)
        .envs(launch.env.iter().cloned());
    let server = ServerProcess::spawn(command, Some(addr), PATIENCE)?;
    let mut client = Client::connect(server.addr)?;
    let request = case.requests[0].bytes("127.0.0.1").repeat(AT_ONCE);
    let mut answered = 0;
    let mut exchange = || -> std::io::Result<()> {
        client.send(&request)?;
        for _ in 0..AT_ONCE {
            client.receive()?;
            answered += 1;
        }
        Ok(())
    };
    for _ in 0..requests.div_ceil(AT_ONCE as u32) {
        exchange()?;
    }
    // Valgrind lets one thread run at a time and does not know that a thread which waits in a ring waits:
    // the one that obeys the signal has its turn only when the other has worked for a while.
    server.stop_nudging(patience, || drop((0..NUDGE).try_for_each(|_| exchange())))?;
    let total = total(&out);
    // A file left in the temporary directory harms nobody.
    let _ = fs::remove_file(&out);
    Ok(total.ok().map(|total| (total, f64::from(answered))))
}
