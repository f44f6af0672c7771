//! The main function of every server that is measured: arguments in, signals obeyed, counts told.

use std::ffi::OsString;
use std::io;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tower::Service;
use tower::layer::layer_fn;

use crate::alloc::{self, AllocCount};
use crate::args::Failure;
use crate::child;
use crate::icount::{MARK_PATH, mark};
use crate::ops;
use crate::server::{self, Backend, Running};
use crate::stacks::Stack;

/// What a server is asked for on its command line.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What serves.
    pub backend: Backend,
    /// Threads that serve.
    pub threads: usize,
    /// Where to listen on the loopback address; 0 is any.
    pub port: u16,
    /// Time to waste in every request, in nanoseconds: a server slower than it need be, by a known amount.
    pub burn_ns: u64,
    /// Whether allocations are counted.
    pub count_alloc: bool,
    /// Whether a request for [`MARK_PATH`] makes a mark for callgrind.
    pub marks: bool,
    /// Layers around the application.
    pub stack: Option<Stack>,
}

impl Options {
    /// Reads `--backend`, `--dispatch`, `--threads`, `--port`, `--burn-ns`, `--count-alloc`,
    /// `--stack`, `--marks` and `--end-with-parent`.
    ///
    /// # Errors
    /// When there is anything else, or a value makes no sense.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        use lexopt::{Arg::Long, Parser, ValueExt as _};

        let mut options = Options {
            backend: Backend::defaults()[0],
            threads: 1,
            port: 0,
            burn_ns: 0,
            count_alloc: false,
            marks: false,
            stack: None,
        };
        let mut dispatch = None;
        let mut parser = Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Long("backend") => options.backend = parser.value()?.parse()?,
                Long("dispatch") => dispatch = Some(parser.value()?.string()?),
                Long("threads") => options.threads = parser.value()?.parse()?,
                Long("port") => options.port = parser.value()?.parse()?,
                Long("burn-ns") => options.burn_ns = parser.value()?.parse()?,
                Long("count-alloc") => options.count_alloc = true,
                Long("stack") => options.stack = Some(parser.value()?.parse()?),
                Long("marks") => options.marks = true,
                Long("end-with-parent") => child::end_with_parent()?,
                other => return Err(other.unexpected().into()),
            }
        }
        if options.threads == 0 {
            return Err("--threads must be at least 1".into());
        }
        if let Some(dispatch) = dispatch {
            options.backend = with_dispatch(options.backend, &dispatch)?;
        }
        Ok(options)
    }
}

fn with_dispatch(backend: Backend, dispatch: &str) -> Result<Backend, Failure> {
    match (backend, dispatch) {
        (backend, _) if !backend.is_zero() => Err("--dispatch is zero's alone".into()),
        (_, "inline") => Ok(Backend::ZeroInline),
        (_, "workers") => Ok(Backend::ZeroWorkers),
        _ => Err(format!("--dispatch is inline or workers, not {dispatch:?}").into()),
    }
}

/// Serves `app` on one of the backends of this package until a signal ends it.
///
/// # Errors
/// When the server cannot be started.
pub fn serve(options: Options, app: Router) -> Result<(), Failure> {
    let app = match options.marks {
        false => app,
        true => app.route(MARK_PATH, get(async || mark())),
    };
    if options.stack.is_some() {
        // Traces are measured as most servers have them: made, and filtered out.
        ops::silence();
    }
    let length = Duration::from_nanos(options.burn_ns);
    serve_with(options, move |options| match options.stack {
        None if options.burn_ns > 0 => {
            let Options {
                backend,
                threads,
                port,
                ..
            } = options;
            server::start_wrapped(backend, Burn { length, app }, threads, port)
        }
        None => server::start(options.backend, app, options.threads, options.port),
        Some(stack) if options.burn_ns > 0 => {
            let burn = layer_fn(move |app| Burn { length, app });
            stack.start(options, app.layer(burn))
        }
        Some(stack) => stack.start(options, app),
    })
}

/// As [`serve`], with a server that `start` starts: peers come with their own.
///
/// # Errors
/// When the server cannot be started.
pub fn serve_with(
    options: Options,
    start: impl FnOnce(Options) -> io::Result<Running>,
) -> Result<(), Failure> {
    if !options.count_alloc {
        alloc::stop_counting();
    }
    let running = start(options)?;
    println!("listening on {}", running.addr);
    // The server has its own threads; this one only waits for signals.
    let control = Builder::new_current_thread().enable_io().build()?;
    control.block_on(obey_signals(&running))
}

/// Wastes time before each request: so much, and what it takes to look at the clock, some 50 ns. It is no layer
/// of the router, and boxes nothing, so that this is all it costs.
#[derive(Clone, Debug)]
struct Burn<S> {
    length: Duration,
    app: S,
}

impl<S: Service<Request>> Service<Request> for Burn<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let start = Instant::now();
        while start.elapsed() < self.length {
            std::hint::spin_loop();
        }
        self.app.call(request)
    }
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
    #[cfg(feature = "sqlite")]
    crate::sqlite::remove();
    // Connections may still be open, and the threads of some servers never end; nobody needs either.
    thread::yield_now();
    std::process::exit(0)
}

fn print_counts(running: &Running) {
    println!("allocs: {:?}", AllocCount::now());
    println!("stats: {}", running.stats().as_deref().unwrap_or("none"));
}
