//! `server` with mimalloc as its allocator; see there. `compare --backend zero@mimalloc` starts it.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zero_bench::alloc::Counting;
use zero_bench::app;
use zero_bench::args::program;
use zero_bench::serve::{Options, serve};

#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

fn main() -> ExitCode {
    program(include_str!("server_mimalloc.rs"), || {
        let options = Options::parse(std::env::args_os().skip(1))?;
        serve(options, app::router())
    })
}
