//! Compares backends by turns (A B, B A): throughput, latency in a closed loop and at fixed rates, CPU,
//! memory, allocations, system calls and instructions, per scenario.
//!
//! Run: `cargo run --release -p zero-bench -- --quick` (it builds what it starts; `--help` tells the options).
//! `target/release/compare` takes the programs that lie beside it.
//!
//! See: a line per run on stderr with the time left, then markdown tables on stdout, then where
//! `report.html` and `report.json` are. `benches/README.md` tells how to read them.
//!
//! `compare --render report.json report.html` writes the page of an earlier record anew.

use std::path::Path;
use std::process::ExitCode;

use zero_bench::args::{Failure, exit_code, warn_if_debug_build};
use zero_bench::case::Case;
use zero_bench::compare::build::build;
use zero_bench::compare::options::{Asked, Options};
use zero_bench::compare::{compare, render_again};
use zero_bench::scenario::SCENARIOS;
use zero_bench::server::Backend;

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Failure> {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == "compare") {
        // What cargo runs of this package unless told otherwise; saying so is no mistake.
        args.remove(0);
    }
    if let [first, record, page] = &args[..]
        && first == "--render"
    {
        return render_again(Path::new(record), Path::new(page));
    }
    let cases = SCENARIOS.iter().map(Case::from).collect();
    match Options::parse(args, cases, &Backend::defaults())? {
        Asked::Print(text) => {
            println!("{text}");
            Ok(())
        }
        Asked::Compare(options) => {
            warn_if_debug_build();
            build(&options)?;
            compare(&options, &|subject, count_alloc| {
                subject.launch(count_alloc)
            })
        }
    }
}
