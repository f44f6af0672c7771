//! Serves the application on one backend, for the other programs or for your own generator.
//!
//! Run: `cargo run --release -p zero-bench --bin server -- --backend zero --port 8080`
//! with `--backend zero|hyper|hyper-default|hyper-alone|uring-floor|epoll-floor`, for zero
//! `--dispatch inline|workers`, `--threads 1`, `--port 0` (any), `--burn-ns 0` (time wasted in every
//! request), `--count-alloc`, `--marks` (a path for `icount`).
//!
//! See: `listening on 127.0.0.1:8080`, then nothing. On SIGUSR1 a line `allocs:` (zeros without
//! `--count-alloc`) and a line `stats:` with the backend's counters. On SIGTERM or SIGINT the same,
//! then the end.

use std::alloc::System;
use std::process::ExitCode;

use zero_bench::alloc::{Counting, CountingAlloc};
use zero_bench::app;
use zero_bench::args::program;
use zero_bench::serve::{Options, serve};

#[global_allocator]
static ALLOCATOR: CountingAlloc = Counting(System);

fn main() -> ExitCode {
    program(include_str!("server.rs"), || {
        let options = Options::parse(std::env::args_os().skip(1))?;
        serve(options, app::router())
    })
}
