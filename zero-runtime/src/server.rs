//! [`Io`]: listeners and limits before the start; starts shards and workers.
//!
//! The top floor: knows every other, and is known by none.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;

use crate::bridge::inbox::Inbox;
use crate::bridge::link::{self, Link, ShardPort};
use crate::bridge::peers::Peers;
use crate::config::{BackendChoice, Config, Dispatch};
use crate::lifecycle::{Backend, Lifecycle, Part, RuntimeRef, ShutdownHandle};
use crate::limits::Limits;
use crate::ring::uring::{Uring, UringConfig};
use crate::ring::{listener, probe};
use crate::service::{HttpService, MakeHttpService};
use crate::shard::{Flow, Shard, ShardSeed};
use crate::stats::ShardCounters;
use crate::sys::{self, EventFd};
use crate::worker;

/// Names a listener of an [`Io`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EndpointId(usize);

/// An address we listen at, with a socket for each shard or one for all.
#[derive(Debug)]
struct Endpoint {
    local_addr: SocketAddr,
    sockets: Vec<TcpListener>,
}

/// What a server will serve from: validated limits and open listeners.
///
/// Listening begins when a listener is added; accepting begins with [`serve`](Self::serve).
#[derive(Debug)]
pub struct Io {
    limits: Limits,
    backend: Backend,
    endpoints: Vec<Endpoint>,
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
        let backend = choose_backend(limits.backend)?;
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
            endpoints: Vec::new(),
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
        let count = match self.backend {
            Backend::IoUring => self.limits.shards,
            Backend::Hyper => 1,
        };
        let sockets = listener::bind(addr, count, self.limits.backlog, self.limits.nodelay)?;
        self.add(sockets)
    }

    /// Serves HTTP from a listener that is already open, with one accept queue for all shards.
    ///
    /// # Errors
    /// When the listener's address or options cannot be had.
    pub fn http_adopt(&mut self, listener: TcpListener) -> io::Result<EndpointId> {
        let listener = listener::adopt(listener, self.limits.nodelay)?;
        self.add(vec![listener])
    }

    fn add(&mut self, sockets: Vec<TcpListener>) -> io::Result<EndpointId> {
        let local_addr = sockets[0].local_addr()?;
        self.endpoints.push(Endpoint {
            local_addr,
            sockets,
        });
        Ok(EndpointId(self.endpoints.len() - 1))
    }

    /// The address a listener is bound to.
    ///
    /// # Errors
    /// When `endpoint` is another `Io`'s.
    pub fn local_addr(&self, endpoint: EndpointId) -> io::Result<SocketAddr> {
        let endpoint = self.endpoints.get(endpoint.0);
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such listener");
        endpoint
            .map(|endpoint| endpoint.local_addr)
            .ok_or_else(unknown)
    }

    /// What will serve.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The validated configuration.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Gives the listeners up to another backend, which is to serve by the same limits.
    pub fn into_listeners(self) -> (Vec<TcpListener>, Limits) {
        let sockets = self
            .endpoints
            .into_iter()
            .flat_map(|endpoint| endpoint.sockets);
        (sockets.collect(), self.limits)
    }

    /// Starts the shards: `make` gives each connection its service.
    ///
    /// Handlers live on the caller's multi-thread tokio runtime; where there is none, on one that
    /// is built for them. Returns once every shard is accepting.
    ///
    /// # Errors
    /// No listener; a [`Backend::Hyper`], which this crate does not have; threads, rings or
    /// memory that cannot be had.
    pub fn serve<M: MakeHttpService>(self, make: M) -> io::Result<ShutdownHandle> {
        if self.backend != Backend::IoUring {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel refuses io_uring and zero-runtime has no other backend; zero-axum does",
            ));
        }
        if self.endpoints.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no listener; call http_listen or http_adopt first",
            ));
        }
        Start::new(self)?.run(make)
    }
}

fn choose_backend(choice: BackendChoice) -> io::Result<Backend> {
    if choice == BackendChoice::Hyper {
        return Ok(Backend::Hyper);
    }
    match probe_apart() {
        Ok(_) => Ok(Backend::IoUring),
        // hyper cures a refusal, not a shortage of memory or descriptors.
        Err(refusal) if choice == BackendChoice::IoUring || !refusal.is_unavailable() => {
            Err(refusal.into())
        }
        Err(refusal) => {
            tracing::warn!(%refusal, "falling back to hyper on tokio");
            Ok(Backend::Hyper)
        }
    }
}

/// Probes on a thread of its own: the kernel tears a ring down later, and would interrupt
/// whatever system call the thread that made it is blocked in by then.
fn probe_apart() -> Result<probe::Features, probe::Refusal> {
    let prober = thread::Builder::new().name("zero-probe".into());
    let probed = prober.spawn(probe::probe).map(thread::JoinHandle::join);
    match probed {
        Ok(Ok(probed)) => probed,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => Err(probe::Refusal::Other(error)),
    }
}

/// A server on its way up.
struct Start {
    limits: Limits,
    local_addrs: Vec<SocketAddr>,
    /// By shard, then by endpoint.
    sockets: Vec<Vec<TcpListener>>,
    runtime: Arc<RuntimeRef>,
    lifecycle: Arc<Lifecycle>,
    peers: Option<Arc<Peers>>,
}

impl Start {
    fn new(io: Io) -> io::Result<Self> {
        let limits = io.limits;
        let runtime = RuntimeRef::current_or_new(limits.workers)?;
        let shutdown_timeout = limits
            .shutdown_timeout_ns
            .map(std::time::Duration::from_nanos);
        let lifecycle = Lifecycle::new(runtime.clone(), shutdown_timeout);
        let local_addrs = io
            .endpoints
            .iter()
            .map(|endpoint| endpoint.local_addr)
            .collect();
        let sockets = share_sockets(io.endpoints, limits.shards)?;
        let peers = limits.connections_per_peer_max.map(Peers::new);
        Ok(Start {
            peers,
            limits,
            local_addrs,
            sockets,
            runtime,
            lifecycle,
        })
    }

    fn run<M: MakeHttpService>(mut self, make: M) -> io::Result<ShutdownHandle> {
        let (report, reports) = mpsc::channel();
        let mut counters = Vec::new();
        for (index, sockets) in std::mem::take(&mut self.sockets).into_iter().enumerate() {
            let shard_counters = Arc::new(ShardCounters::default());
            counters.push(shard_counters.clone());
            if let Err(error) = self.spawn(index, sockets, make.clone(), shard_counters, &report) {
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
            self.local_addrs,
            Backend::IoUring,
            counters,
        ))
    }

    fn spawn<M: MakeHttpService>(
        &self,
        index: usize,
        sockets: Vec<TcpListener>,
        make: M,
        counters: Arc<ShardCounters>,
        report: &mpsc::Sender<io::Result<()>>,
    ) -> io::Result<()> {
        let bell = Arc::new(EventFd::new()?);
        let inbox = Inbox::new(self.limits.connections_max, bell.clone());
        let ports = self.start_workers::<M::Service>(&inbox);
        let links = ports.iter().map(|port| port.link.clone()).collect();
        let uring = UringConfig {
            listeners: sockets,
            recv_buffers: self.limits.recv_buffers,
            recv_buffer_bytes: self.limits.recv_buffer_bytes,
            huge_pages: self.limits.huge_pages,
            wakeup: bell,
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
                make,
                spawn: self.runtime.handle().clone(),
                ports,
                inbox,
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
        let start = |_| {
            let port = link::link::<S>(inbox.clone());
            spawn.spawn(worker::run(port.link.clone(), 0, spawn.clone(), window));
            port
        };
        (0..self.limits.workers).map(start).collect()
    }
}

/// Gives every shard its socket of each endpoint; where there are too few, a duplicate.
fn share_sockets(endpoints: Vec<Endpoint>, shards: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut shared: Vec<Vec<TcpListener>> = (0..shards).map(|_| Vec::new()).collect();
    for endpoint in endpoints {
        let last = endpoint.sockets.len() - 1;
        let mut sockets = endpoint.sockets.into_iter();
        let mut spare = None;
        for (index, sockets_of_shard) in shared.iter_mut().enumerate() {
            let socket = match (sockets.next(), &spare) {
                (Some(socket), _) => socket,
                (None, Some(spare)) => TcpListener::try_clone(spare)?,
                (None, None) => unreachable!("an endpoint has a socket"),
            };
            if index == last {
                spare = Some(socket.try_clone()?);
            }
            sockets_of_shard.push(socket);
        }
    }
    Ok(shared)
}

/// Says that a shard has ended, whichever way it ends.
struct Ending<S> {
    lifecycle: Arc<Lifecycle>,
    links: Vec<Arc<Link<S>>>,
    _part: Part,
}

impl<S> Drop for Ending<S> {
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
    seed: ShardSeed<M, tokio::runtime::Handle>,
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
                if let Err(error) = drive(Shard::new(ring, seed), &runtime) {
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
fn drive<M: MakeHttpService>(
    mut shard: Shard<Uring, M, tokio::runtime::Handle>,
    runtime: &RuntimeRef,
) -> io::Result<()> {
    runtime
        .handle()
        .block_on(std::future::poll_fn(|cx| match shard.step() {
            Ok(Flow::Continue) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Flow::Ended) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }))
}
