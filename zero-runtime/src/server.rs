//! [`Io`]: listeners and limits before the start; starts shards and workers.
//!
//! The top floor: knows every other, and is known by none.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;

use socket2::SockRef;

use crate::addr::{EndpointId, LocalAddr};
use crate::bridge::arrivals::Neighbours;
use crate::bridge::crowd::Crowd;
use crate::bridge::inbox::Inbox;
use crate::bridge::link::{self, Link, ShardPort};
use crate::bridge::peers::Peers;
use crate::config::{BackendChoice, Config, Dispatch, Wakeup};
use crate::endpoint::{Endpoint, IoParts, share_among};
use crate::error::Refusal;
use crate::lifecycle::{Backend, Lifecycle, Part, Phases, RuntimeRef, ShutdownHandle};
use crate::limits::Limits;
use crate::phase::Draining;
use crate::ring::uring::{ListenSocket, Uring, UringConfig};
use crate::ring::{listener, probe, spread, unix};
use crate::service::{HttpService, MakeHttpService};
use crate::shard::{Arrival, Flow, Shard, ShardSeed};
use crate::stats::ShardCounters;
use crate::sys::{self, EventFd};
use crate::tap::Tap;
use crate::waking::{Adaptive, Sleeping, Spinning, Waking};
use crate::{cpus, worker};

/// What a server will serve from: validated limits and open listeners.
///
/// Listening begins when a listener is added; accepting begins with [`serve`](Self::serve).
#[derive(Debug)]
pub struct Io {
    limits: Limits,
    backend: Backend,
    /// Why io_uring does not serve, if it was wanted.
    #[cfg_attr(
        feature = "hyper",
        allow(
            dead_code,
            reason = "said in the log, and by an error where there is no hyper"
        )
    )]
    refusal: Option<Refusal>,
    endpoints: Vec<Endpoint>,
    tap: Option<Tap>,
    phases: Arc<Phases>,
}

impl Io {
    /// Validates the configuration and finds out whether the kernel gives us what a ring needs.
    ///
    /// Logs (through `tracing`) what will serve and how much memory it may take; where io_uring
    /// is refused, the cause and the remedy.
    ///
    /// # Errors
    /// A configuration that cannot work, saying which field and why; and, with
    /// [`BackendChoice::IoUring`], a kernel that refuses io_uring.
    pub fn new(config: Config) -> io::Result<Io> {
        let limits = config.into_limits()?;
        let (backend, refusal) = choose_backend(limits.backend)?;
        match backend {
            Backend::IoUring => tracing::info!(
                shards = limits.shards,
                dispatch = ?limits.dispatch,
                memory = %limits.memory(),
                "serving from io_uring shards"
            ),
            Backend::Hyper => tracing::info!("serving through hyper on tokio"),
        }
        Ok(Io {
            limits,
            backend,
            refusal,
            endpoints: Vec::new(),
            tap: None,
            phases: Phases::new(),
        })
    }

    /// Listens for HTTP at `addr`; port 0 picks a free one, see [`local_addr`](Self::local_addr).
    ///
    /// Every shard gets an accepting socket of its own. As with `std`'s listener, an address
    /// somebody else listens at is refused.
    ///
    /// # Errors
    /// What `bind` or `listen` say.
    pub fn http_listen(&mut self, addr: SocketAddr) -> io::Result<EndpointId> {
        let sockets = listener::bind(
            addr,
            self.acceptors(),
            self.limits.backlog,
            self.limits.nodelay,
        )?;
        self.add(Endpoint::tcp(sockets)?)
    }

    /// Serves HTTP from a TCP listener that is already open, with an accepting socket for every
    /// shard where that changes nothing else.
    ///
    /// The listener is joined by others on its address (SO_REUSEPORT) if it is closed on exec, its
    /// options are those of a new socket, and the kernel lets us; else all shards share its accept
    /// queue, as after [`http_adopt_shared`](Self::http_adopt_shared). What waits in its queue is
    /// served either way, also at a graceful end, unless the listener survives exec and so may be
    /// somebody else's as well. Who comes later is reset; also if another process, or a clone, has the
    /// listener too and goes on: adopt such a one as shared.
    ///
    /// # Errors
    /// `InvalidInput` when it does not listen; or when its address or options cannot be had.
    pub fn http_adopt(&mut self, listener: TcpListener) -> io::Result<EndpointId> {
        let listener = listener::adopt(listener, self.limits.nodelay)?;
        let survives_us = !sys::is_closed_on_exec(listener.as_fd())?;
        let sockets = spread::spread(listener, self.acceptors(), self.limits.backlog);
        let endpoint = Endpoint::tcp(sockets)?;
        self.add(match survives_us {
            true => endpoint.shared(),
            false => endpoint,
        })
    }

    /// Serves HTTP from a TCP listener that somebody else has, too, and may go on with: inherited
    /// from a service manager, or kept for a restart. All shards share its accept queue, so that who
    /// waits in it when this server ends is still there for the next one.
    ///
    /// # Errors
    /// As [`http_adopt`](Self::http_adopt).
    pub fn http_adopt_shared(&mut self, listener: TcpListener) -> io::Result<EndpointId> {
        let listener = listener::adopt(listener, self.limits.nodelay)?;
        self.add(Endpoint::tcp(vec![listener])?.shared())
    }

    /// How many sockets are of use on one address.
    fn acceptors(&self) -> usize {
        match self.backend {
            Backend::IoUring => self.limits.shards,
            Backend::Hyper => 1,
        }
    }

    /// Listens for HTTP at a Unix socket, a file at `path`; all shards share its accept queue.
    ///
    /// The file gets the permissions that the process's umask leaves it, and who may write to it may
    /// connect: narrow them by the directory it is in, or by `std::fs::set_permissions` before
    /// serving. The file of a server that is gone is replaced, but no other file; and as under
    /// `axum::serve` it stays when this server ends.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there or the file is no socket; `InvalidInput` when the
    /// path is empty or longer than the 107 bytes the kernel takes; else what `bind` or `listen`
    /// say.
    pub fn http_listen_unix(&mut self, path: impl AsRef<Path>) -> io::Result<EndpointId> {
        let socket = unix::bind(path.as_ref(), self.limits.backlog)?;
        self.add(Endpoint::unix(socket)?)
    }

    /// Serves HTTP from a Unix listener that is already open, with one accept queue for all shards.
    /// One with an abstract name does as well.
    ///
    /// # Errors
    /// `InvalidInput` when it does not listen; or when its options cannot be had.
    pub fn http_adopt_unix(&mut self, listener: UnixListener) -> io::Result<EndpointId> {
        self.add(Endpoint::unix(unix::adopt(listener)?)?.shared())
    }

    /// The same, with the dispatch that a mode of serving needs.
    pub(crate) fn with_dispatch(mut self, dispatch: Dispatch) -> Self {
        self.limits.dispatch = dispatch;
        self
    }

    fn add(&mut self, endpoint: Endpoint) -> io::Result<EndpointId> {
        self.endpoints.push(endpoint);
        Ok(EndpointId(self.endpoints.len() - 1))
    }

    /// The address a TCP listener is bound to.
    ///
    /// # Errors
    /// `NotFound` when `endpoint` is another `Io`'s; `Unsupported` when it is a Unix socket, which
    /// has a path: see [`local_path`](Self::local_path).
    pub fn local_addr(&self, endpoint: EndpointId) -> io::Result<SocketAddr> {
        self.endpoint(endpoint)?.local_addr.tcp()
    }

    /// The path of a Unix socket, as it was given.
    ///
    /// # Errors
    /// `NotFound` when `endpoint` is another `Io`'s; `Unsupported` when it is a TCP listener, or a
    /// Unix socket that was adopted and has no path.
    pub fn local_path(&self, endpoint: EndpointId) -> io::Result<&Path> {
        self.endpoint(endpoint)?.local_addr.path()
    }

    fn endpoint(&self, endpoint: EndpointId) -> io::Result<&Endpoint> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such listener");
        self.endpoints.get(endpoint.0).ok_or_else(unknown)
    }

    /// What will serve.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The validated configuration.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Calls `hook` with the socket of every connection, before anything is read from it, and the
    /// listener it came through: to set socket options, as axum's `ListenerExt::tap_io` does. Called
    /// again, replaces the former hook.
    ///
    /// It is called on the thread that accepts, so it must not block. When it panics, the connection
    /// is closed and counted in [`Stats::handler_panics`](crate::Stats::handler_panics); no other
    /// is affected.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// let mut io = zero_runtime::Io::new(zero_runtime::Config::default())?;
    /// io.http_listen(([0, 0, 0, 0], 3000).into())?;
    /// io.tap(|socket, _endpoint| {
    ///     if let Err(error) = socket.set_keepalive(true) {
    ///         tracing::debug!(%error, "SO_KEEPALIVE was refused");
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn tap(&mut self, hook: impl Fn(SockRef<'_>, EndpointId) + Send + Sync + 'static) {
        self.tap = Some(Tap::new(hook));
    }

    /// What tells the application that the server shuts down: to be put into its state, before it is
    /// served.
    pub fn draining(&self) -> Draining {
        Draining::new(self.phases.clone())
    }

    /// Gives the listeners up to another backend, which is to serve by the same limits.
    pub fn into_parts(self) -> IoParts {
        let endpoints = self.endpoints.into_iter().enumerate();
        let listeners = endpoints.flat_map(|(index, endpoint)| {
            let sockets = endpoint.into_sockets();
            sockets.map(move |socket| (EndpointId(index), socket))
        });
        IoParts {
            listeners: listeners.collect(),
            limits: self.limits,
            tap: self.tap,
            phases: self.phases,
        }
    }

    /// Starts the shards: `make` gives each connection its service.
    ///
    /// Where io_uring is refused, or hyper chosen, the same services are called by hyper on tokio, over
    /// HTTP/1.1 and without upgrades; [`ShutdownHandle::backend`] tells. That takes the crate's feature `hyper`, which
    /// is there unless default features are turned off.
    ///
    /// Handlers live on the caller's multi-thread tokio runtime; where there is none, on one that
    /// is built for them. Returns once every shard is accepting.
    ///
    /// # Errors
    /// No listener; threads, rings or memory that cannot be had; without the feature `hyper`, a
    /// [`Backend::Hyper`].
    pub fn serve<M: MakeHttpService>(self, make: M) -> io::Result<ShutdownHandle> {
        if self.endpoints.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no listener; call http_listen, http_listen_unix or http_adopt first",
            ));
        }
        match self.backend {
            Backend::IoUring => Start::new(self)?.run(make),
            Backend::Hyper => self.fall_back(make),
        }
    }

    #[cfg(feature = "hyper")]
    fn fall_back<M: MakeHttpService>(self, make: M) -> io::Result<ShutdownHandle> {
        crate::fallback::serve(self.into_parts(), make)
    }

    #[cfg(not(feature = "hyper"))]
    fn fall_back<M: MakeHttpService>(self, _make: M) -> io::Result<ShutdownHandle> {
        Err(no_other_backend(self.refusal))
    }
}

/// What will serve; and where that is hyper although io_uring was wanted, why.
fn choose_backend(choice: BackendChoice) -> io::Result<(Backend, Option<Refusal>)> {
    if choice == BackendChoice::Hyper {
        return Ok((Backend::Hyper, None));
    }
    match probe_apart() {
        Ok(_) => Ok((Backend::IoUring, None)),
        // hyper cures a refusal, not a shortage of memory or descriptors.
        Err(refusal) if choice == BackendChoice::IoUring || !refusal.is_unavailable() => {
            Err(refusal.into())
        }
        Err(refusal) => {
            tracing::warn!(%refusal, "falling back to hyper on tokio");
            Ok((Backend::Hyper, Some(refusal)))
        }
    }
}

#[cfg(not(feature = "hyper"))]
fn no_other_backend(refusal: Option<Refusal>) -> io::Error {
    let text = match refusal {
        Some(refusal) => format!(
            "zero-runtime was built without its feature `hyper` and serves from io_uring alone, and {refusal}"
        ),
        None => {
            "Config::backend or ZERO_BACKEND asks for hyper, and zero-runtime was built without its \
                 feature `hyper`"
                .into()
        }
    };
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// Finds out whether the kernel gives us what a ring needs, for those who can use nothing else.
pub(crate) fn require_io_uring() -> io::Result<()> {
    choose_backend(BackendChoice::IoUring).map(drop)
}

/// Probes on a thread of its own: the kernel tears a ring down later, and would interrupt
/// whatever system call the thread that made it is blocked in by then.
fn probe_apart() -> Result<(), Refusal> {
    let prober = thread::Builder::new().name("zero-probe".into());
    let probed = prober.spawn(probe::probe).map(thread::JoinHandle::join);
    match probed {
        Ok(Ok(probed)) => probed,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => Err(Refusal::Other(error)),
    }
}

/// A server on its way up.
struct Start {
    limits: Limits,
    local_addrs: Vec<LocalAddr>,
    tap: Option<Tap>,
    /// By shard, then by endpoint.
    sockets: Vec<Vec<ListenSocket>>,
    runtime: Arc<RuntimeRef>,
    lifecycle: Arc<Lifecycle>,
    peers: Option<Arc<Peers>>,
    crowd: Arc<Crowd>,
}

impl Start {
    fn new(io: Io) -> io::Result<Self> {
        let mut limits = io.limits;
        if limits.wakeup == Wakeup::Adaptive && cpus::are_rationed() {
            tracing::info!("shards do not spin: the cgroup's CPU quota would pay for it");
            limits.wakeup = Wakeup::Sleep;
        }
        let runtime = RuntimeRef::current_or_new(limits.workers)?;
        let shutdown_timeout = limits
            .shutdown_timeout_ns
            .map(std::time::Duration::from_nanos);
        let lifecycle = Lifecycle::new(io.phases, runtime.clone(), shutdown_timeout);
        let local_addrs = io
            .endpoints
            .iter()
            .map(|endpoint| endpoint.local_addr.clone())
            .collect();
        let sockets = share_among(limits.shards, io.endpoints)?;
        let peers = limits.connections_per_peer_max.map(Peers::new);
        let workers = runtime.handle().metrics().num_workers();
        Ok(Start {
            crowd: Crowd::new(limits.shards, workers, cpus::usable().len()),
            peers,
            limits,
            local_addrs,
            tap: io.tap,
            sockets,
            runtime,
            lifecycle,
        })
    }

    fn run<M: MakeHttpService>(mut self, make: M) -> io::Result<ShutdownHandle> {
        let (report, reports) = mpsc::channel();
        let mut counters = Vec::new();
        let inboxes = self.inboxes()?;
        let mut neighbours = match self.limits.balance {
            true => Neighbours::of(&inboxes),
            false => Vec::new(),
        }
        .into_iter();
        for (index, sockets) in std::mem::take(&mut self.sockets).into_iter().enumerate() {
            let door = Door {
                inbox: inboxes[index].clone(),
                neighbours: neighbours.next().unwrap_or_else(Neighbours::none),
            };
            let shard_counters = Arc::new(ShardCounters::default());
            counters.push(shard_counters.clone());
            let spawned = self.spawn(index, sockets, make.clone(), shard_counters, door, &report);
            if let Err(error) = spawned {
                self.lifecycle.terminate();
                return Err(error);
            }
        }
        drop(report);
        // Each shard reports once and hangs up; the first that cannot start ends them all.
        for started in reports {
            if let Err(error) = started {
                self.lifecycle.terminate();
                return Err(error);
            }
        }
        Ok(ShutdownHandle::new(
            self.lifecycle,
            &self.local_addrs,
            Backend::IoUring,
            counters,
        ))
    }

    /// Every shard's inbox, with the bell that is rung for it.
    fn inboxes(&self) -> io::Result<Vec<Arc<Inbox>>> {
        let inbox = |_| {
            let bell = Arc::new(EventFd::new()?);
            let connections_max = self.limits.connections_max;
            Ok(Inbox::new(connections_max, bell, self.crowd.clone()))
        };
        (0..self.limits.shards).map(inbox).collect()
    }

    fn spawn<M: MakeHttpService>(
        &self,
        index: usize,
        sockets: Vec<ListenSocket>,
        make: M,
        counters: Arc<ShardCounters>,
        door: Door<M::Service>,
        report: &mpsc::Sender<io::Result<()>>,
    ) -> io::Result<()> {
        let Door { inbox, neighbours } = door;
        let ports = self.start_workers::<M::Service>(&inbox);
        let links = ports.iter().map(|port| port.link.clone()).collect();
        let uring = UringConfig {
            listeners: sockets,
            recv_buffers: self.limits.recv_buffers,
            recv_buffer_bytes: self.limits.recv_buffer_bytes,
            huge_pages: self.limits.huge_pages,
            wakeup: inbox.wakeup().bell().clone(),
            counters: counters.clone(),
        };
        let waker = inbox.clone();
        self.lifecycle.on_change(move || waker.wakeup().wake());
        let thread = ShardThread {
            core: self
                .limits
                .shard_cores
                .as_ref()
                .map(|cores| cores[index % cores.len()]),
            uring,
            seed: ShardSeed {
                limits: self.limits.clone(),
                local_addrs: self.local_addrs.clone(),
                tap: self.tap.clone(),
                make,
                spawn: self.runtime.handle().clone(),
                ports,
                inbox,
                neighbours,
                lifecycle: self.lifecycle.clone(),
                peers: self.peers.clone(),
                counters,
            },
            runtime: self.runtime.clone(),
            part: Ending {
                lifecycle: self.lifecycle.clone(),
                links,
                _part: self.lifecycle.part(),
            },
        };
        let report = report.clone();
        let builder = thread::Builder::new().name(format!("zero-shard-{index}"));
        builder.spawn(move || thread.run(report))?;
        Ok(())
    }

    /// Makes a shard's links and their workers, if calls go to workers at all.
    fn start_workers<S: HttpService>(&self, inbox: &Arc<Inbox>) -> Vec<ShardPort<S>> {
        if self.limits.dispatch == Dispatch::Inline {
            return Vec::new();
        }
        let spawn = self.runtime.handle();
        let window = self.limits.response_window_bytes;
        let short_ns = self.limits.inline_poll_max_ns / 2;
        let spin = match self.limits.wakeup {
            Wakeup::Sleep => worker::Spin::Never,
            Wakeup::Adaptive | Wakeup::Spin => worker::Spin::Adaptive,
        };
        let start = |_| {
            let port = link::link::<S>(inbox.clone());
            let link = port.link.clone();
            let task = worker::run(link, 0, spawn.clone(), window, short_ns, spin);
            spawn.spawn(task);
            port
        };
        (0..self.limits.workers).map(start).collect()
    }
}

/// How others reach a shard, and how it reaches other shards.
struct Door<S> {
    inbox: Arc<Inbox>,
    neighbours: Neighbours<Arrival<OwnedFd, S>>,
}

/// Says that a shard has ended, whichever way it ends.
struct Ending<S: HttpService> {
    lifecycle: Arc<Lifecycle>,
    links: Vec<Arc<Link<S>>>,
    _part: Part,
}

impl<S: HttpService> Drop for Ending<S> {
    fn drop(&mut self) {
        if thread::panicking() {
            let error = io::Error::other("a shard panicked; this is a bug in zero-runtime");
            self.lifecycle.fail(error);
        }
        // The shard's ends are gone: workers see that and end.
        self.links.iter().for_each(|link| link.wake());
    }
}

/// What the thread of a shard starts with.
struct ShardThread<M: MakeHttpService> {
    core: Option<usize>,
    uring: UringConfig,
    seed: ShardSeed<OwnedFd, M, tokio::runtime::Handle>,
    runtime: Arc<RuntimeRef>,
    // Last, so that it is dropped when everything else of the shard is.
    part: Ending<M::Service>,
}

impl<M: MakeHttpService> ShardThread<M> {
    fn run(self, report: mpsc::Sender<io::Result<()>>) {
        let ShardThread {
            core,
            uring,
            seed,
            runtime,
            part,
        } = self;
        let lifecycle = seed.lifecycle.clone();
        let started = pin(core).and_then(|()| Uring::new(uring));
        match started {
            Ok(ring) => {
                // Nobody listens when another shard has failed; this one is told to end then.
                let _ = report.send(Ok(()));
                drop(report);
                let wakeup = seed.limits.wakeup;
                let shard = Shard::new(ring, seed);
                let driven = match wakeup {
                    Wakeup::Sleep => drive(shard, Sleeping, &runtime),
                    Wakeup::Adaptive => drive(shard, Adaptive::new(), &runtime),
                    Wakeup::Spin => drive(shard, Spinning, &runtime),
                };
                if let Err(error) = driven {
                    lifecycle.fail(error);
                }
            }
            Err(error) => {
                // Its links' workers look whether the shard is gone when `part` wakes them.
                drop(seed);
                let _ = report.send(Err(error));
            }
        }
        drop(part);
    }
}

fn pin(core: Option<usize>) -> io::Result<()> {
    match core {
        Some(core) => sys::pin_current_thread(core),
        None => Ok(()),
    }
}

/// Runs a shard inside the runtime's context, so that handlers polled here find what they find
/// on a worker: timers, `spawn`, a coop budget renewed at every step.
fn drive<M: MakeHttpService, W: Waking>(
    mut shard: Shard<Uring, M, tokio::runtime::Handle>,
    mut waking: W,
    runtime: &RuntimeRef,
) -> io::Result<()> {
    runtime
        .handle()
        .block_on(std::future::poll_fn(|cx| match shard.step(&mut waking) {
            Ok(Flow::Continue) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Flow::Ended) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }))
}
