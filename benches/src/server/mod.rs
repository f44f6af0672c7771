//! Starts the application on one backend, inside this process.

mod hyper;
#[cfg(feature = "zero")]
mod zero;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use axum::Router;

/// What serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// zero, set up as it comes.
    Zero,
    /// zero, with handlers first polled on the shard.
    ZeroInline,
    /// zero, with handlers on the workers of a tokio runtime.
    ZeroWorkers,
    /// zero, whose shard sleeps whenever it has nothing to do.
    ZeroSleep,
    /// zero, whose shard never sleeps.
    ZeroSpin,
    /// `axum::serve` with `TCP_NODELAY` on every connection: the incumbent at its best.
    Hyper,
    /// `axum::serve` as it comes, which leaves Nagle's algorithm on.
    HyperDefault,
}

impl Backend {
    /// Every backend, in the order reports list them.
    pub const ALL: [Backend; 7] = [
        Backend::Zero,
        Backend::ZeroInline,
        Backend::ZeroWorkers,
        Backend::ZeroSleep,
        Backend::ZeroSpin,
        Backend::Hyper,
        Backend::HyperDefault,
    ];

    /// What is compared unless the command line says otherwise.
    pub fn defaults() -> Vec<Backend> {
        if cfg!(feature = "zero") {
            vec![Backend::Zero, Backend::Hyper]
        } else {
            vec![Backend::Hyper]
        }
    }

    /// What it is called on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Zero => "zero",
            Backend::ZeroInline => "zero-inline",
            Backend::ZeroWorkers => "zero-workers",
            Backend::ZeroSleep => "zero-sleep",
            Backend::ZeroSpin => "zero-spin",
            Backend::Hyper => "hyper",
            Backend::HyperDefault => "hyper-default",
        }
    }

    /// Whether it is zero, however set up.
    pub fn is_zero(self) -> bool {
        !matches!(self, Backend::Hyper | Backend::HyperDefault)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Backend::ALL.into_iter().find(|b| b.name() == name);
        found.ok_or_else(|| {
            let names = Backend::ALL.map(Backend::name).join(", ");
            format!("no backend {name:?}; there are {names}")
        })
    }
}

/// A server in this process. It serves until the process ends.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    stats: Option<Box<dyn Fn() -> String>>,
}

impl Running {
    /// The backend's own counters in one line of `name: count` pairs; `None` for hyper, which has
    /// none.
    pub fn stats(&self) -> Option<String> {
        self.stats.as_ref().map(|stats| stats())
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// Serves `app` on a port of the loopback address with `threads` threads, in the background.
///
/// # Errors
/// When the port or io_uring cannot be had, or the build has no such backend.
pub fn start(backend: Backend, app: Router, threads: usize, port: u16) -> io::Result<Running> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match backend {
        Backend::Hyper => hyper::start(app, threads, addr, hyper::Nagle::Off),
        Backend::HyperDefault => hyper::start(app, threads, addr, hyper::Nagle::On),
        _ => start_zero(backend, app, threads, addr),
    }
}

#[cfg(feature = "zero")]
use zero::start as start_zero;

#[cfg(not(feature = "zero"))]
fn start_zero(_: Backend, _: Router, _: usize, _: SocketAddr) -> io::Result<Running> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "built without zero; run: cargo build --release -p zero-bench --features zero",
    ))
}
