//! How a running server is steered and ends: its phase, its parts, and the handle users hold.
//!
//! Knows nothing of shards or of HTTP: a part is anything that serves until told to stop, be it a
//! shard's thread or an accept loop of the fallback.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime, RuntimeFlavor};
use tokio::sync::watch;

use crate::addr::LocalAddr;
use crate::phase::Draining;
use crate::stats::{ShardCounters, Stats};

pub use crate::phase::{Guest, Phase, Phases};

/// What serves the requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// Shards, each with an io_uring of its own.
    IoUring,
    /// hyper on tokio, because io_uring was refused or not wanted.
    Hyper,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::IoUring => "io_uring",
            Backend::Hyper => "hyper",
        })
    }
}

/// The tokio runtime that handlers live on: the caller's multi-thread one, or one of our own.
pub struct RuntimeRef {
    handle: Handle,
    owned: Option<Runtime>,
}

impl RuntimeRef {
    /// Takes the caller's multi-thread runtime, or builds one with `workers` threads when there is
    /// none, or only a current-thread one, whose tasks would starve while its owner blocks.
    ///
    /// # Errors
    /// When threads cannot be made.
    pub fn current_or_new(workers: usize) -> io::Result<Arc<Self>> {
        if let Ok(handle) = Handle::try_current()
            && handle.runtime_flavor() == RuntimeFlavor::MultiThread
        {
            return Ok(Arc::new(RuntimeRef {
                handle,
                owned: None,
            }));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers.max(1))
            .thread_name("zero-worker")
            .enable_all()
            .build()?;
        Ok(Arc::new(RuntimeRef {
            handle: runtime.handle().clone(),
            owned: Some(runtime),
        }))
    }

    /// A runtime that nobody drives, for those who own their loop: it has no threads.
    ///
    /// # Errors
    /// When the kernel refuses its descriptors.
    pub(crate) fn undriven() -> io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Arc::new(RuntimeRef {
            handle: runtime.handle().clone(),
            owned: Some(runtime),
        }))
    }

    /// The runtime's handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for RuntimeRef {
    fn drop(&mut self) {
        // The last owner may be on an async thread, where dropping a runtime in the ordinary way panics.
        if let Some(runtime) = self.owned.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for RuntimeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeRef")
            .field("owned", &self.owned.is_some())
            .finish_non_exhaustive()
    }
}

type Listener = Box<dyn Fn() + Send + Sync>;

/// The phase of one server and the count of its parts.
pub struct Lifecycle {
    phases: Arc<Phases>,
    parts: watch::Sender<usize>,
    failure: Mutex<Option<io::Error>>,
    listeners: Mutex<Vec<Listener>>,
    shutdown_timeout: Option<Duration>,
    runtime: Arc<RuntimeRef>,
}

impl Lifecycle {
    /// Makes the lifecycle of a server that has no parts yet.
    pub fn new(
        phases: Arc<Phases>,
        runtime: Arc<RuntimeRef>,
        shutdown_timeout: Option<Duration>,
    ) -> Arc<Self> {
        Arc::new(Lifecycle {
            phases,
            parts: watch::Sender::new(0),
            failure: Mutex::new(None),
            listeners: Mutex::new(Vec::new()),
            shutdown_timeout,
            runtime,
        })
    }

    /// The runtime of this server's handlers.
    pub fn runtime(&self) -> &Arc<RuntimeRef> {
        &self.runtime
    }

    /// Registers a part; the server has ended when the last one is dropped.
    pub fn part(self: &Arc<Self>) -> Part {
        self.parts.send_modify(|parts| *parts += 1);
        Part(self.clone())
    }

    /// The present phase.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.phases.now()
    }

    /// Follows the phase.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phases.watch()
    }

    /// Completes once the server is in `phase`, or past it.
    pub async fn until(&self, phase: Phase) {
        self.phases.until(phase).await;
    }

    /// Notes a connection that leaves the server's parts, and lives on.
    pub fn guest(&self) -> Guest {
        self.phases.guest()
    }

    /// Calls `listener` after each change of phase, from the thread that changed it.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        let mut listeners = lock(&self.listeners);
        listeners.push(Box::new(listener));
    }

    /// Stops accepting and finishes what runs; after the shutdown timeout, terminates.
    pub fn drain(self: &Arc<Self>) {
        if !self.advance(Phase::Draining) {
            return;
        }
        let Some(timeout) = self.shutdown_timeout else {
            return;
        };
        let lifecycle = self.clone();
        self.runtime.handle.spawn(async move {
            let ended = lifecycle.ended();
            if tokio::time::timeout(timeout, ended).await.is_err() {
                lifecycle.terminate();
            }
        });
    }

    /// Cuts off what is left.
    pub fn terminate(&self) {
        self.advance(Phase::Terminating);
    }

    /// Notes why a part failed; the first failure is what the handle reports. The server drains.
    pub fn fail(self: &Arc<Self>, error: io::Error) {
        tracing::error!(%error, "a part of the server failed");
        lock(&self.failure).get_or_insert(error);
        self.drain();
    }

    fn advance(&self, to: Phase) -> bool {
        let changed = self.phases.advance(to);
        if changed {
            lock(&self.listeners).iter().for_each(|listener| listener());
        }
        changed
    }

    async fn ended(&self) -> io::Result<()> {
        let mut parts = self.parts.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = parts.wait_for(|parts| *parts == 0).await;
        // Without a bound, one guest could keep the server for ever.
        if self.shutdown_timeout.is_some() {
            tokio::select! {
                () = self.phases.guests_gone() => {}
                () = self.phases.until(Phase::Terminating) => {}
            }
        }
        match lock(&self.failure).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle")
            .field("phase", &self.phase())
            .field("parts", &*self.parts.borrow())
            .finish_non_exhaustive()
    }
}

/// A panic of one listener must not take the others' lock away.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One part of a server; dropping it says the part has ended.
#[derive(Debug)]
pub struct Part(Arc<Lifecycle>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.parts.send_modify(|parts| *parts -= 1);
    }
}

/// A running server: await it, steer it, ask it.
///
/// Dropping the handle (or the future made of it) stops accepting and lets requests in flight
/// finish in the background.
///
/// Awaiting it, or [`wait`](Self::wait), gives the failure that ended the server, if one did.
///
/// # What allocates
/// Awaiting it, once; [`with_graceful_shutdown`](Self::with_graceful_shutdown) a task;
/// [`stats_by_shard`](Self::stats_by_shard) its vector. Nothing else, and nothing here is on a request's way.
///
/// # Cancel safety
/// The future is cancel safe in that no end is missed, and is not to be raced and dropped: dropping it is dropping
/// the handle, and shuts the server down. Poll it by reference in a `select!`.
#[must_use = "dropping the handle shuts the server down"]
pub struct ShutdownHandle {
    lifecycle: Arc<Lifecycle>,
    local_addrs: Vec<SocketAddr>,
    local_paths: Vec<PathBuf>,
    backend: Backend,
    counters: Vec<Arc<ShardCounters>>,
}

impl ShutdownHandle {
    /// Makes the handle of a server whose parts are registered with `lifecycle`.
    pub fn new(
        lifecycle: Arc<Lifecycle>,
        endpoints: &[LocalAddr],
        backend: Backend,
        counters: Vec<Arc<ShardCounters>>,
    ) -> Self {
        let local_addrs = endpoints.iter().flat_map(LocalAddr::tcp);
        let local_paths = endpoints.iter().flat_map(LocalAddr::path);
        ShutdownHandle {
            lifecycle,
            local_addrs: local_addrs.collect(),
            local_paths: local_paths.map(PathBuf::from).collect(),
            backend,
            counters,
        }
    }

    /// Shuts down gracefully once `signal` completes: as [`shutdown`](Self::shutdown).
    ///
    /// The signal is polled on the server's runtime from now on.
    pub fn with_graceful_shutdown<F>(self, signal: F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lifecycle = self.lifecycle.clone();
        self.lifecycle.runtime.handle.spawn(async move {
            let mut phase = lifecycle.watch();
            tokio::select! {
                () = signal => lifecycle.drain(),
                // Nobody waits for the signal any more: do not keep it, or the server, alive.
                _ = phase.wait_for(|phase| *phase != Phase::Running) => {}
            }
        });
        self
    }

    /// Stops accepting, closes the listeners and finishes requests in flight.
    ///
    /// Idle connections are closed, responses in flight say `connection: close`, and whoever has a
    /// [`Draining`] is told. After `Config::shutdown_timeout`, if set, what is left is cut off, upgraded
    /// connections included; without it they are neither waited for nor cut. Returns at once; await
    /// the handle to see the end.
    pub fn shutdown(&self) {
        self.lifecycle.drain();
    }

    /// Cuts every connection off, upgraded ones included. Returns at once; await the handle to see the end.
    pub fn terminate(&self) {
        self.lifecycle.drain();
        self.lifecycle.terminate();
    }

    /// What tells that this server is shutting down.
    pub fn draining(&self) -> Draining {
        Draining::new(self.lifecycle.phases.clone())
    }

    /// The address of the first TCP listener.
    ///
    /// # Errors
    /// `NotFound` when the server has none, but only Unix sockets.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let first = self.local_addrs.first().copied();
        first.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "the server has no TCP listener; ask for the local_paths of its Unix sockets",
            )
        })
    }

    /// The addresses of all TCP listeners, in the order they were added.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The paths of all Unix sockets that have one, in the order they were added.
    pub fn local_paths(&self) -> impl Iterator<Item = &Path> {
        self.local_paths.iter().map(PathBuf::as_path)
    }

    /// What serves the requests.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Counts since the start, summed over the shards. All zero on [`Backend::Hyper`].
    pub fn stats(&self) -> Stats {
        Stats::sum(self.counters.iter().map(|counters| &**counters))
    }

    /// The same for each shard by itself. Empty on [`Backend::Hyper`].
    pub fn stats_by_shard(&self) -> Vec<Stats> {
        let shards = self.counters.iter();
        shards.map(|counters| counters.snapshot()).collect()
    }

    /// Blocks this thread until the server has ended.
    ///
    /// # Errors
    /// The failure that ended the server; or, at once, when called inside a current-thread tokio
    /// runtime, whose only thread must not block: await the handle there.
    pub fn wait(self) -> io::Result<()> {
        let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
        match flavor {
            Err(_) => block_on(self.into_future()),
            Ok(RuntimeFlavor::MultiThread) => {
                tokio::task::block_in_place(|| block_on(self.into_future()))
            }
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "wait() would block the only thread of this current-thread tokio runtime; \
                 use `handle.await`, or call wait() outside the runtime",
            )),
        }
    }
}

impl fmt::Debug for ShutdownHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownHandle")
            .field("backend", &self.backend)
            .field("local_addrs", &self.local_addrs)
            .field("local_paths", &self.local_paths)
            .field("lifecycle", &self.lifecycle)
            .finish_non_exhaustive()
    }
}

impl Drop for ShutdownHandle {
    fn drop(&mut self) {
        self.lifecycle.drain();
    }
}

impl IntoFuture for ShutdownHandle {
    type Output = io::Result<()>;
    type IntoFuture = Serving;

    fn into_future(self) -> Serving {
        let lifecycle = self.lifecycle.clone();
        Serving {
            ended: Box::pin(async move { lifecycle.ended().await }),
            _handle: self,
        }
    }
}

/// Completes when the server has ended. Dropping it is dropping the [`ShutdownHandle`].
///
/// # Errors
/// The failure that ended the server: a shard's ring that cannot be used any more, or a thread that panicked.
///
/// # Cancel safety
/// Poll it by reference (`&mut serving`) where it is one of several that are waited for: then no end is missed. Dropped, it
/// shuts the server down.
#[must_use = "futures do nothing unless awaited, and dropping this one shuts the server down"]
pub struct Serving {
    ended: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
    _handle: ShutdownHandle,
}

impl Future for Serving {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.ended.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Serving").field(&self._handle).finish()
    }
}

/// Unparks the thread that waits in [`block_on`].
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives `future` on this thread; it needs no reactor.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(timeout: Option<Duration>) -> (ShutdownHandle, Part) {
        let runtime = RuntimeRef::current_or_new(1).unwrap();
        let lifecycle = Lifecycle::new(Phases::new(), runtime, timeout);
        let part = lifecycle.part();
        let handle = ShutdownHandle::new(lifecycle, &[], Backend::Hyper, Vec::new());
        (handle, part)
    }

    #[test]
    fn wait_returns_when_the_last_part_has_ended() {
        let (handle, part) = handle(None);
        std::thread::spawn(move || drop(part));
        handle.wait().unwrap();
    }

    #[test]
    fn the_first_failure_is_reported() {
        let (handle, part) = handle(None);
        handle.lifecycle.fail(io::Error::other("first"));
        handle.lifecycle.fail(io::Error::other("second"));
        assert_eq!(handle.lifecycle.phase(), Phase::Draining);
        drop(part);
        assert_eq!(handle.wait().unwrap_err().to_string(), "first");
    }

    #[tokio::test]
    async fn wait_refuses_to_block_a_current_thread_runtime() {
        let (handle, _part) = handle(None);
        let error = handle.wait().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_signal_drains_and_the_timeout_terminates() {
        let (handle, part) = handle(Some(Duration::from_millis(1)));
        let mut phase = handle.lifecycle.watch();
        let handle = handle.with_graceful_shutdown(async {});
        let _ = phase.wait_for(|phase| *phase == Phase::Terminating).await;
        drop(part);
        handle.await.unwrap();
    }

    #[test]
    fn dropping_the_handle_drains() {
        let (handle, _part) = handle(None);
        let lifecycle = handle.lifecycle.clone();
        drop(handle);
        assert_eq!(lifecycle.phase(), Phase::Draining);
    }
}
