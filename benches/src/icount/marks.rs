//! Counts between two calls of [`mark`], at each of which callgrind writes down what it has counted and
//! begins anew.
//!
//! A server is told to make one by a request for [`MARK_PATH`], which its serving thread answers itself: so
//! what lies between is so many requests and nothing else, neither its start nor its end. One
//! connection, one request at a time (or as many at once as the case pipelines), and a server that sleeps when it has nothing to do: what it does
//! then does not depend on the clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::{free_address, require_valgrind, total, under_callgrind};
use crate::args::Failure;
use crate::case::{Case, RequestTemplate};
use crate::child::{Guard, Launch, ServerProcess};
use crate::client::Client;
use crate::ops::Op;

/// Where servers that were started with `--marks` make a mark.
pub const MARK_PATH: &str = "/mark";
/// How callgrind is told of [`mark`].
pub(super) const PATTERN: &str = "*zero_bench*icount*marks*mark*";

/// Requests before counting: buffers, pools and tables reach their size.
const WARM_UP: usize = 256;
/// Requests counted.
const REQUESTS: usize = 1024;
/// How often each operation is done before it is counted, and then.
const OPS_WARM_UP: usize = 64;
const OPS: usize = 1000;
/// How long anything may take under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where callgrind cuts.
#[inline(never)]
pub fn mark() {
    static MARKS: AtomicU32 = AtomicU32::new(0);
    // Something to do, so that calls are not optimised away.
    MARKS.fetch_add(1, Relaxed);
}

/// Instructions that one of this package's servers takes for one request of `case`.
///
/// # Errors
/// When valgrind is missing, or the server cannot be run under it or does not answer.
pub fn between_marks(case: &Case, launch: &Launch) -> Result<f64, Failure> {
    require_valgrind()?;
    let dumps = Dumps::new("server");
    let addr = free_address()?;
    let mut command = under_callgrind(&dumps.out, &launch.program);
    command
        .args(&launch.args)
        .args(["--marks", "--port", &addr.port().to_string()])
        .envs(launch.env.iter().cloned());
    // Killed when it is done with: what is asked of it is written by then.
    let _server = ServerProcess::spawn(command, Some(addr), PATIENCE)?;
    let mut client = Client::connect(addr)?;
    let at_once = case.pipeline.max(1);
    let request = case.requests[0].bytes("127.0.0.1").repeat(at_once);
    // With the fields of the case: its token, without which a layer would let no mark be made.
    let marking = RequestTemplate {
        line: format!("GET {MARK_PATH} HTTP/1.1"),
        body: Vec::new(),
        ..case.requests[0].clone()
    };
    let marking = marking.bytes("127.0.0.1");
    let mut times =
        |request: &[u8], at_once, count| client.exchange_batches(request, at_once, count);
    times(&request, at_once, WARM_UP)?;
    times(&marking, 1, 1)?;
    times(&request, at_once, REQUESTS)?;
    // Of these two the first ends the count, and the second tells what a mark costs.
    times(&marking, 1, 2)?;
    Ok((dumps.count(2)? - dumps.count(3)?) / REQUESTS as f64)
}

/// Instructions that each operation of [`ops`](crate::ops) takes, by its name: `program` is run under
/// valgrind and must come to [`count_here`].
///
/// # Errors
/// When valgrind is missing, or the program cannot be run under it.
pub fn parts(ops: &[Op], program: &Path, arguments: &[&str]) -> Result<Vec<f64>, Failure> {
    require_valgrind()?;
    let dumps = Dumps::new("parts");
    let mut command = under_callgrind(&dumps.out, program);
    let mut child = Guard(command.args(arguments).spawn()?);
    if !child.wait_at_most(PATIENCE)? {
        return Err("the operations could not be counted".into());
    }
    let count = |n| Ok(dumps.count(2 * n + 2)? / OPS as f64);
    (0..ops.len()).map(count).collect()
}

/// Does each operation between two marks, many times.
pub fn count_here(ops: &[Op]) {
    for op in ops {
        op.prepare(OPS_WARM_UP)();
        let run = op.prepare(OPS);
        mark();
        run();
        mark();
    }
}

/// What callgrind writes in one run; gone when this is dropped.
struct Dumps {
    folder: PathBuf,
    out: PathBuf,
}

impl Dumps {
    fn new(of: &str) -> Self {
        let name = format!("zero-bench-callgrind-{}-{of}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // Callgrind says so if it could not be made.
        let _ = fs::create_dir_all(&folder);
        let out = folder.join("out");
        Dumps { folder, out }
    }

    /// What was counted before the `nth` mark, and behind the one before that.
    fn count(&self, nth: usize) -> Result<f64, Failure> {
        total(&self.out.with_extension(nth.to_string()))
    }
}

impl Drop for Dumps {
    fn drop(&mut self) {
        // What is left in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
