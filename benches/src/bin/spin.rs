//! Keeps a core busy with nothing. `compare` runs it beside the server in `sat256`: what the
//! scheduler gives to the spinner lets requests pile up, so that the server always finds a backlog.
//!
//! Run: `taskset -c 0 target/release/spin --seconds 10`. See: nothing; half of core 0 gone, at the
//! niceness it was started with. It ends after its time, or with its parent.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg::Long, Parser, ValueExt as _};
use zero_bench::args::{Failure, program};
use zero_bench::child;

fn main() -> ExitCode {
    program(include_str!("spin.rs"), run)
}

fn run() -> Result<(), Failure> {
    let mut limit = Duration::from_secs(10);
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seconds") => limit = Duration::from_secs(parser.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    child::end_with_parent()?;
    let start = Instant::now();
    while start.elapsed() < limit {
        // Arithmetic between looks at the clock: no memory, no system call.
        for i in 0..100_000_u64 {
            black_box(i);
        }
    }
    Ok(())
}
