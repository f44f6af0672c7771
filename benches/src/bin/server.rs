//! Serves the application on one backend, for the other programs or for your own generator.
//!
//! Run: `cargo run --release -p zero-bench --bin server -- --backend zero --port 8080`
//! with `--backend zero|hyper|hyper-default`, for zero `--dispatch inline|workers`, `--threads 1`,
//! `--port 0` (any).
//!
//! See: `listening on 127.0.0.1:8080`, then nothing. On SIGUSR1 a line `stats:` with the backend's
//! counters and, when built with `--features count-alloc`, a line `allocs:`. On SIGTERM or SIGINT
//! the same, then the end.

use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use zero_bench::args::{Failure, exit_code};
use zero_bench::server::{Backend, Running};
use zero_bench::{app, child, server};

#[cfg(feature = "count-alloc")]
#[global_allocator]
static ALLOCATOR: zero_bench::alloc::CountingAlloc = zero_bench::alloc::CountingAlloc;

struct Args {
    backend: Backend,
    threads: usize,
    port: u16,
}

fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Result<(), Failure> {
    let args = parse_args()?;
    let running = server::start(args.backend, app::router(), args.threads, args.port)?;
    println!("listening on {}", running.addr);
    // The server has its own threads; this one only waits for signals.
    let control = Builder::new_current_thread().enable_io().build()?;
    control.block_on(obey_signals(&running))
}

async fn obey_signals(running: &Running) -> Result<(), Failure> {
    let mut report = signal(SignalKind::user_defined1())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = report.recv() => print_counts(running),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    print_counts(running);
    // Connections may still be open; nobody needs them to end well.
    std::process::exit(0)
}

fn print_counts(running: &Running) {
    #[cfg(feature = "count-alloc")]
    println!("allocs: {:?}", zero_bench::alloc::AllocCount::now());
    println!("stats: {}", running.stats().as_deref().unwrap_or("none"));
}

fn parse_args() -> Result<Args, Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let mut args = Args {
        backend: Backend::defaults()[0],
        threads: 1,
        port: 0,
    };
    let mut dispatch = None;
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("backend") => args.backend = parser.value()?.parse()?,
            Long("dispatch") => dispatch = Some(parser.value()?.string()?),
            Long("threads") => args.threads = parser.value()?.parse()?,
            Long("port") => args.port = parser.value()?.parse()?,
            Long("end-with-parent") => child::end_with_parent()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if args.threads == 0 {
        return Err("--threads must be at least 1".into());
    }
    if let Some(dispatch) = dispatch {
        args.backend = with_dispatch(args.backend, &dispatch)?;
    }
    Ok(args)
}

fn with_dispatch(backend: Backend, dispatch: &str) -> Result<Backend, Failure> {
    match (backend, dispatch) {
        (backend, _) if !backend.is_zero() => Err("--dispatch is zero's alone".into()),
        (_, "inline") => Ok(Backend::ZeroInline),
        (_, "workers") => Ok(Backend::ZeroWorkers),
        _ => Err(format!("--dispatch is inline or workers, not {dispatch:?}").into()),
    }
}
