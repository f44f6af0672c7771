//! [`ZeroRuntime`]: the engine without axum, in four modes.
//!
//! All four are services to the same shards; they differ in where a call runs and in what it borrows.
//! Knows `Io` and services; knows nothing of shards.

#[cfg(test)]
mod one_core;
mod per_core;
#[cfg(test)]
mod standby;
mod sync;
mod tower;

pub mod router;
pub mod tower_http_compat;

use std::future::Future;
use std::io;

use tower_service::Service;

use crate::config::Dispatch;
use crate::error::BoxError;
use crate::lifecycle::ShutdownHandle;
use crate::message::{HttpOwnedRequest, HttpRequest, ZeroResponse};
use crate::server::Io;

/// What [`ZeroRuntime::body_bytes_max`] is unless it is set, in bytes.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Serves handlers of the server's own request types, in one of four modes.
///
/// | mode | where a call runs | the request | for |
/// |---|---|---|---|
/// | [`run_sync`](Self::run_sync) | on the shard, at once | borrowed | answers from memory |
/// | [`run_per_core`](Self::run_per_core) | on its shard, always | owned | state that is not shared between cores |
/// | [`run_async`](Self::run_async) | on the tokio workers | owned | handlers that compute or block |
/// | [`run_tower`](Self::run_tower) | as `Config::dispatch` says | owned | tower services and layers |
///
/// Each listens as [`Io::serve`] does, within the caller's multi-thread tokio runtime or one that is
/// built, and stops by its [`ShutdownHandle`]. Where io_uring is refused, hyper on tokio calls the same handlers,
/// as `Io::serve` says: `run_sync`'s and `run_per_core`'s on threads of their own, so that what stays on its core
/// does; [`ShutdownHandle::backend`] tells, and [`BackendChoice::IoUring`](crate::BackendChoice::IoUring) makes it
/// an error. Handlers that want `http`'s types, or axum, are served
/// by [`Io::serve`] and by `zero_axum::serve`.
///
/// ```no_run
/// use zero_runtime::{Config, Io, ZeroResponse, ZeroRuntime};
///
/// # fn main() -> std::io::Result<()> {
/// let mut io = Io::new(Config::default())?;
/// io.http_listen(([127, 0, 0, 1], 3000).into())?;
/// let server = ZeroRuntime::new(io).run_sync(|request| match request.path() {
///     "/" => ZeroResponse::ok().text("hello"),
///     _ => ZeroResponse::not_found(),
/// })?;
/// server.wait()
/// # }
/// ```
#[derive(Debug)]
pub struct ZeroRuntime {
    io: Io,
    body_bytes_max: usize,
}

impl ZeroRuntime {
    /// Takes the listeners and limits of `io`.
    pub fn new(io: Io) -> Self {
        ZeroRuntime {
            io,
            body_bytes_max: BODY_BYTES_MAX,
        }
    }

    /// How many bytes of a request's body [`run_sync`](Self::run_sync) collects before it calls the
    /// handler; a longer body is answered with 413. Default: 2 MiB, as axum's extractors. In the other
    /// modes the handler says how much it takes.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Answers each request on its shard, at once, with a handler that borrows it.
    ///
    /// The fastest mode: a request that has arrived whole is answered where it lies, without a copy of
    /// it or an allocation. A handler that takes long holds up all connections of its shard; one that
    /// panics is answered for with a 500 and loses its own connection.
    ///
    /// # What allocates
    /// A request that is whole in its receive buffer: nothing, nor does a response of
    /// [`text`](ZeroResponse::text) or [`json`](ZeroResponse::json) (feature `json`) of up to 4,096 bytes,
    /// [`buffer`](ZeroResponse::buffer) or `'static` bytes, once the thread's pools are warm. One that comes in pieces is collected: in shared
    /// blocks up to 4 KiB, else in a buffer of its own.
    ///
    /// # Cancel safety
    /// There is nothing to cancel: the handler returns before anything else happens on its shard.
    ///
    /// # Errors
    /// As [`Io::serve`].
    pub fn run_sync<H>(self, handler: H) -> io::Result<ShutdownHandle>
    where
        H: Fn(HttpRequest<'_>) -> ZeroResponse + Send + Sync + 'static,
    {
        let make = sync::Make::new(handler, self.body_bytes_max);
        self.io.with_dispatch(Dispatch::Inline).serve(make)
    }

    /// Calls handlers that stay on their shard from first poll to last: their futures need not be
    /// `Send`, and what they share, `Rc` and `RefCell`, is their core's own.
    ///
    /// `handler_factory` is called once on each shard that gets a connection. Futures run within the
    /// tokio runtime: its timers, sockets and `spawn` work, and wake the shard. A future that takes
    /// long between two awaits holds up its shard. One whose client goes away is dropped, also with
    /// `Disconnect::Detach`: there is nowhere else for it to run.
    ///
    /// # What allocates
    /// A future that is ready at its first poll: nothing. One that waits has a place on the shard, a heap block, which is
    /// kept for others when it ends, up to 64 a shard (1 MiB of them, where futures are larger than 16 KiB). So once as
    /// many have waited before: nothing, up to 64 at once; beyond, a block each. And once for each connection its waker.
    ///
    /// # Cancel safety
    /// A future is dropped at an await when its client goes away, when its request has not been answered within
    /// `Config::request_timeout`, or when the server terminates: what it does between two awaits is done whole.
    ///
    /// # Errors
    /// As [`Io::serve`].
    pub fn run_per_core<F, H, R>(self, handler_factory: F) -> io::Result<ShutdownHandle>
    where
        F: Fn() -> H + Send + Sync + 'static,
        H: Fn(HttpOwnedRequest) -> R + 'static,
        R: Future<Output = ZeroResponse> + 'static,
    {
        let make = per_core::Make::new(handler_factory);
        self.io.with_dispatch(Dispatch::Inline).serve(make)
    }

    /// Calls handlers on the workers of the tokio runtime, away from the shards: they may compute for
    /// long, or block now and then.
    ///
    /// # What allocates
    /// A future that is ready at its first poll: nothing, once the pools are warm; a response's memory goes to the
    /// shard with it and comes back with a later call. One that waits becomes a tokio task, which is allocated, with the
    /// rings its response comes back by, and perhaps its response: it may end on a thread that has none to use again.
    /// For responses see [`ZeroResponse`]; a text or JSON of more than 4,096 bytes has memory of its own.
    ///
    /// # Cancel safety
    /// A future is dropped at an await when its client goes away, unless `Config::disconnect` says
    /// [`Detach`](crate::Disconnect::Detach); when its request has not been answered within
    /// `Config::request_timeout`; and when the server terminates. It is dropped within the tokio runtime.
    ///
    /// # Errors
    /// As [`Io::serve`].
    pub fn run_async<H, R>(self, handler: H) -> io::Result<ShutdownHandle>
    where
        H: Fn(HttpOwnedRequest) -> R + Send + Sync + 'static,
        R: Future<Output = ZeroResponse> + Send + 'static,
    {
        let make = tower::Make::new(tower::Handler::new(handler));
        self.io.with_dispatch(Dispatch::Workers).serve(make)
    }

    /// Calls a tower service, where `Config::dispatch` says; a clone of it for each request, whose
    /// `poll_ready` is waited for.
    ///
    /// Its future's type stays concrete: it is polled in a place (one heap block, which also drives the response's
    /// body) that a shard or worker has made before and uses again for every call that is ready at its first poll.
    /// A future that waits keeps that place, and moves no more: the place as it is becomes a tokio task, whose cell
    /// tokio allocates, or, on its shard, is parked until its waker makes a task of it; the shard then makes itself
    /// another place. So a call that waits costs allocations (place, task, and the rings its response comes back
    /// by), and one that does not costs none.
    ///
    /// An error of the service is traced and answered with 500: put a layer around that makes a
    /// response of it where another is wanted. Layers that must be shared between requests (a limit, a
    /// buffer) are shared by their clones, as tower's are.
    ///
    /// # What allocates
    /// As said above; and what the service and its clones do.
    ///
    /// # Cancel safety
    /// As [`run_async`](Self::run_async).
    ///
    /// # Errors
    /// As [`Io::serve`].
    pub fn run_tower<S>(self, service: S) -> io::Result<ShutdownHandle>
    where
        S: Service<HttpOwnedRequest, Response = ZeroResponse> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        self.io.serve(tower::Make::new(service))
    }
}
