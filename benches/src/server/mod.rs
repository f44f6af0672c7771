//! Starts the application on one backend, inside this process.

mod floor;
mod hyper;
mod hyper_alone;
#[cfg(feature = "zero")]
mod modes;
#[cfg(feature = "zero")]
mod zero;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tower::Service;

/// What serves. The one list of backends: to add one, add it here, to [`Backend::ALL`], and to [`start`]
/// or, when it is a program of its own, to [`Backend::home`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backend {
    /// zero, set up as it comes.
    Zero,
    /// zero, with handlers first polled on the shard.
    ZeroInline,
    /// zero, with handlers on the workers of a tokio runtime.
    ZeroWorkers,
    /// zero, whose shard sleeps whenever it has nothing to do.
    ZeroSleep,
    /// zero, inline, whose shard sleeps: does the same for the same requests, whatever the clock says.
    ZeroInlineSleep,
    /// zero, whose shard never sleeps.
    ZeroSpin,
    /// zero, inline, whose shard never sleeps.
    ZeroInlineSpin,
    /// zero, with handlers on workers, whose shard sleeps whenever it has nothing to do.
    ZeroWorkersSleep,
    /// zero, with handlers on workers, whose shard never sleeps.
    ZeroWorkersSpin,
    /// zero without axum: `ZeroRuntime::run_sync`. The modes answer a few of the paths.
    ZeroSync,
    /// The same handler by `ZeroRuntime::run_per_core`.
    ZeroPerCore,
    /// The same by `ZeroRuntime::run_tower`, in its router.
    ZeroTower,
    /// The same by `ZeroRuntime::run_async`.
    ZeroAsync,
    /// `run_sync` on a shard that sleeps whenever it has nothing to do: what icount counts, as the next two.
    ZeroSyncSleep,
    /// `run_per_core` on one.
    ZeroPerCoreSleep,
    /// `run_tower` on one, its router polled inline.
    ZeroTowerSleep,
    /// The same by the events of a `RawShard`. Requests that come in one piece only.
    ZeroRaw,
    /// `axum::serve` with `TCP_NODELAY` on every connection: the incumbent at its best.
    Hyper,
    /// `axum::serve` as it comes, which leaves Nagle's algorithm on.
    HyperDefault,
    /// hyper with a handler of its own, without axum. Answers a few of the paths.
    HyperAlone,
    /// A bare loop on io_uring, which answers plaintext without parsing.
    UringFloor,
    /// A bare loop on epoll, which answers plaintext without parsing.
    EpollFloor,
    /// actix-web.
    Actix,
    /// ntex.
    Ntex,
    /// xitca-web.
    Xitca,
    /// may_minihttp. Answers a few of the paths.
    May,
    /// The same axum application on compio's io_uring.
    CyperAxum,
    /// nginx, which answers plaintext from its configuration.
    Nginx,
}

/// Where a backend's code is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In this package: [`start`] starts it.
    Here,
    /// In the package `benches/peers`, as a program of this name.
    Peer(&'static str),
    /// On the machine, when it is installed.
    Machine(&'static str),
}

impl Backend {
    /// Every backend, in the order reports list them.
    pub const ALL: [Backend; 28] = [
        Backend::Zero,
        Backend::ZeroInline,
        Backend::ZeroWorkers,
        Backend::ZeroSleep,
        Backend::ZeroInlineSleep,
        Backend::ZeroSpin,
        Backend::ZeroInlineSpin,
        Backend::ZeroWorkersSleep,
        Backend::ZeroWorkersSpin,
        Backend::ZeroSync,
        Backend::ZeroPerCore,
        Backend::ZeroTower,
        Backend::ZeroAsync,
        Backend::ZeroSyncSleep,
        Backend::ZeroPerCoreSleep,
        Backend::ZeroTowerSleep,
        Backend::ZeroRaw,
        Backend::Hyper,
        Backend::HyperDefault,
        Backend::HyperAlone,
        Backend::UringFloor,
        Backend::EpollFloor,
        Backend::Actix,
        Backend::Ntex,
        Backend::Xitca,
        Backend::May,
        Backend::CyperAxum,
        Backend::Nginx,
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
            Backend::ZeroInlineSleep => "zero-inline-sleep",
            Backend::ZeroSpin => "zero-spin",
            Backend::ZeroInlineSpin => "zero-inline-spin",
            Backend::ZeroWorkersSleep => "zero-workers-sleep",
            Backend::ZeroWorkersSpin => "zero-workers-spin",
            Backend::ZeroSync => "zero-sync",
            Backend::ZeroPerCore => "zero-per-core",
            Backend::ZeroTower => "zero-tower",
            Backend::ZeroAsync => "zero-async",
            Backend::ZeroSyncSleep => "zero-sync-sleep",
            Backend::ZeroPerCoreSleep => "zero-per-core-sleep",
            Backend::ZeroTowerSleep => "zero-tower-sleep",
            Backend::ZeroRaw => "zero-raw",
            Backend::Hyper => "hyper",
            Backend::HyperDefault => "hyper-default",
            Backend::HyperAlone => "hyper-alone",
            Backend::UringFloor => "uring-floor",
            Backend::EpollFloor => "epoll-floor",
            Backend::Actix => "actix-web",
            Backend::Ntex => "ntex",
            Backend::Xitca => "xitca-web",
            Backend::May => "may_minihttp",
            Backend::CyperAxum => "cyper-axum",
            Backend::Nginx => "nginx",
        }
    }

    /// What callgrind counts in its place. Valgrind lets one thread run at a time and does not know that one which
    /// waits in a ring waits: where a shard leaves calls to workers, neither goes on. So shards that would learn to
    /// poll their handlers themselves do so from the start, which is where they end, and spin for nothing.
    pub fn under_callgrind(self) -> Backend {
        match self {
            Backend::Zero | Backend::ZeroSleep | Backend::ZeroInline | Backend::ZeroInlineSpin => {
                Backend::ZeroInlineSleep
            }
            Backend::ZeroTower => Backend::ZeroTowerSleep,
            Backend::ZeroSync => Backend::ZeroSyncSleep,
            Backend::ZeroPerCore => Backend::ZeroPerCoreSleep,
            other => other,
        }
    }

    /// What it is, with the settings it runs with.
    pub fn about(self) -> &'static str {
        match self {
            Backend::Zero => "zero_axum::serve, Dispatch::Adaptive, as it comes",
            Backend::ZeroInline => "zero_axum::serve, Dispatch::Inline",
            Backend::ZeroWorkers => "zero_axum::serve, Dispatch::Workers",
            Backend::ZeroSleep => "zero_axum::serve, Wakeup::Sleep: sleeps at once",
            Backend::ZeroInlineSleep => {
                "zero_axum::serve, Dispatch::Inline, Wakeup::Sleep: what icount counts"
            }
            Backend::ZeroSpin => "zero_axum::serve, Wakeup::Spin: never sleeps",
            Backend::ZeroInlineSpin => "zero_axum::serve, Dispatch::Inline, Wakeup::Spin",
            Backend::ZeroWorkersSleep => "zero_axum::serve, Dispatch::Workers, Wakeup::Sleep",
            Backend::ZeroWorkersSpin => "zero_axum::serve, Dispatch::Workers, Wakeup::Spin",
            Backend::ZeroSync => "ZeroRuntime::run_sync, without axum",
            Backend::ZeroPerCore => "ZeroRuntime::run_per_core, without axum",
            Backend::ZeroTower => "ZeroRuntime::run_tower with its router, without axum",
            Backend::ZeroAsync => "ZeroRuntime::run_async, without axum",
            Backend::ZeroSyncSleep => "ZeroRuntime::run_sync, Wakeup::Sleep",
            Backend::ZeroPerCoreSleep => "ZeroRuntime::run_per_core, Wakeup::Sleep",
            Backend::ZeroTowerSleep => {
                "ZeroRuntime::run_tower with its router, Dispatch::Inline, Wakeup::Sleep"
            }
            Backend::ZeroRaw => "RawShard, polled by a loop that sleeps at once",
            Backend::Hyper => "axum::serve on tokio, current-thread if it has one, TCP_NODELAY",
            Backend::HyperDefault => "axum::serve, current-thread tokio, as it comes (Nagle on)",
            Backend::HyperAlone => "hyper without axum, current-thread tokio, TCP_NODELAY",
            Backend::UringFloor => "bare io_uring loop: multishot, no parsing",
            Backend::EpollFloor => "bare epoll loop: edge-triggered, no parsing",
            Backend::Actix => "actix-web, one worker",
            Backend::Ntex => "ntex on its io_uring runtime, one worker",
            Backend::Xitca => "xitca-web on io_uring, one worker",
            Backend::May => "may_minihttp, one coroutine worker",
            Backend::CyperAxum => "the axum application on compio, defer_taskrun, one thread",
            Backend::Nginx => "nginx, one worker process, answers from its configuration",
        }
    }

    /// Where its code is.
    pub fn home(self) -> Home {
        match self {
            Backend::Actix => Home::Peer("peer-actix"),
            Backend::Ntex => Home::Peer("peer-ntex"),
            Backend::Xitca => Home::Peer("peer-xitca"),
            Backend::May => Home::Peer("peer-may"),
            Backend::CyperAxum => Home::Peer("peer-cyper"),
            Backend::Nginx => Home::Machine("nginx"),
            _ => Home::Here,
        }
    }

    /// Whether it is zero, however set up.
    pub fn is_zero(self) -> bool {
        matches!(
            self,
            Backend::Zero
                | Backend::ZeroInline
                | Backend::ZeroWorkers
                | Backend::ZeroSleep
                | Backend::ZeroInlineSleep
                | Backend::ZeroSpin
                | Backend::ZeroInlineSpin
                | Backend::ZeroWorkersSleep
                | Backend::ZeroWorkersSpin
        )
    }

    /// Whether it is one of `ZeroRuntime`'s modes, which have an application of their own.
    pub fn is_mode(self) -> bool {
        matches!(
            self,
            Backend::ZeroSync
                | Backend::ZeroPerCore
                | Backend::ZeroTower
                | Backend::ZeroAsync
                | Backend::ZeroSyncSleep
                | Backend::ZeroPerCoreSleep
                | Backend::ZeroTowerSleep
        )
    }

    /// Whether it can have several threads.
    pub fn has_threads(self) -> bool {
        let is_bare = matches!(
            self,
            Backend::UringFloor | Backend::EpollFloor | Backend::ZeroRaw
        );
        self.home() == Home::Here && !is_bare
    }

    /// Whether it serves any application, and so one that it is given.
    pub fn serves_any_app(self) -> bool {
        self.is_zero() || matches!(self, Backend::Hyper | Backend::HyperDefault)
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
    pub(crate) stats: Option<Box<dyn Fn() -> String>>,
}

impl Running {
    /// A server that listens at `addr` and counts nothing.
    pub fn at(addr: SocketAddr) -> Self {
        Running { addr, stats: None }
    }

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
        Backend::HyperAlone => hyper_alone::start(threads, addr),
        Backend::UringFloor => floor::start_uring(addr),
        Backend::EpollFloor => floor::start_epoll(addr),
        Backend::ZeroRaw => start_raw(addr),
        _ if backend.is_mode() => {
            // Before it serves: what is counted from then on is its own.
            drop(app);
            start_mode(backend, threads, addr)
        }
        _ if backend.is_zero() => start_zero(backend, app, threads, addr),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{backend} is a program of its own, which compare starts"),
        )),
    }
}

/// As [`start`], for an application with layers outside its router; on zero and on `axum::serve`.
///
/// # Errors
/// As `start`.
pub fn start_wrapped<S, B>(
    backend: Backend,
    app: S,
    threads: usize,
    port: u16,
) -> io::Result<Running>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match backend {
        Backend::Hyper => hyper::start_wrapped(app, threads, addr, hyper::Nagle::Off),
        Backend::HyperDefault => hyper::start_wrapped(app, threads, addr, hyper::Nagle::On),
        _ if backend.is_zero() => start_zero(backend, app, threads, addr),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{backend} has an application of its own"),
        )),
    }
}

#[cfg(feature = "zero")]
use modes::start as start_mode;
#[cfg(feature = "zero")]
use modes::start_raw;
#[cfg(feature = "zero")]
use zero::start as start_zero;

#[cfg(not(feature = "zero"))]
fn start_raw(addr: SocketAddr) -> io::Result<Running> {
    start_zero(Backend::ZeroRaw, Router::<()>::new(), 1, addr)
}

#[cfg(not(feature = "zero"))]
fn start_mode(backend: Backend, threads: usize, addr: SocketAddr) -> io::Result<Running> {
    start_zero(backend, Router::<()>::new(), threads, addr)
}

#[cfg(not(feature = "zero"))]
fn start_zero<A>(_: Backend, _: A, _: usize, _: SocketAddr) -> io::Result<Running> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "built without zero; run: cargo build --release -p zero-bench --features zero",
    ))
}
