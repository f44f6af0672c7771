//! The same application without io_uring: hyper on tokio, connection by connection as
//! `axum::serve` does it. Knows sockets and hyper; knows nothing of shards.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use zero_runtime::BoxError;
use zero_runtime::lifecycle::{Backend, Lifecycle, Part, Phase, RuntimeRef, ShutdownHandle};
use zero_runtime::limits::Limits;
use zero_runtime::service::{ConnInfo, Made, MakeHttpService};

use crate::app::{AppService, Application};

/// Pause after an accept error that is not the fault of one connection (EMFILE and its like).
const ACCEPT_BACKOFF: Duration = Duration::from_secs(1);
/// hyper panics when told to buffer less than this.
const HYPER_BUFFER_BYTES_MIN: usize = 8192;
/// What hyper does without being told. Telling it the default costs an allocation a request.
const HYPER_HEADERS_MAX: usize = 100;

/// Serves on `listeners`, each with an accept loop of its own.
pub(crate) fn serve<M, A>(
    listeners: Vec<std::net::TcpListener>,
    limits: &Limits,
    make: M,
) -> io::Result<ShutdownHandle>
where
    M: MakeHttpService<Service = AppService<A>>,
    A: Application,
{
    let runtime = RuntimeRef::current_or_new(limits.workers)?;
    let shutdown_timeout = limits.shutdown_timeout_ns.map(Duration::from_nanos);
    let lifecycle = Lifecycle::new(runtime.clone(), shutdown_timeout);
    let connections_max = limits.shards * limits.connections_max;
    let places = Arc::new(Semaphore::new(connections_max));
    // Tokio registers sockets with the runtime that is entered.
    let entered = runtime.handle().enter();
    let mut loops = Vec::with_capacity(listeners.len());
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loops.push(AcceptLoop {
            local_addr: listener.local_addr()?,
            listener,
            make: make.clone(),
            http: http_builder(limits),
            nodelay: limits.nodelay,
            places: places.clone(),
            lifecycle: lifecycle.clone(),
        });
    }
    drop(entered);
    let addrs = loops.iter().map(|accept| accept.local_addr).collect();
    for accept in loops {
        runtime.handle().spawn(accept.run(lifecycle.part()));
    }
    Ok(ShutdownHandle::new(
        lifecycle,
        addrs,
        Backend::Hyper,
        Vec::new(),
    ))
}

fn http_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    http1
        .timer(TokioTimer::new())
        // hyper starts this clock when it waits for a head, so it closes idle connections, too.
        .header_read_timeout(limits.head_timeout_ns.map(Duration::from_nanos))
        .max_buf_size(limits.head_bytes_max.max(HYPER_BUFFER_BYTES_MIN));
    if limits.headers_max != HYPER_HEADERS_MAX {
        http1.max_headers(limits.headers_max);
    }
    #[cfg(feature = "http2")]
    builder.http2().enable_connect_protocol();
    builder
}

/// One listener and the connections that came through it.
struct AcceptLoop<M> {
    listener: TcpListener,
    local_addr: SocketAddr,
    make: M,
    http: auto::Builder<TokioExecutor>,
    nodelay: bool,
    places: Arc<Semaphore>,
    lifecycle: Arc<Lifecycle>,
}

impl<M, A> AcceptLoop<M>
where
    M: MakeHttpService<Service = AppService<A>>,
    A: Application,
{
    /// Accepts until told to drain, then waits for the connections, and cuts them when told to
    /// terminate.
    async fn run(self, part: Part) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = until(&self.lifecycle, Phase::Draining) => break,
                Some(ended) = connections.join_next() => log_panic(ended),
                (stream, peer_addr, place) = accept(&self.listener, &self.places) => {
                    let served = self.serve_connection(stream, peer_addr);
                    connections.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
            }
        }
        let AcceptLoop {
            listener,
            lifecycle,
            ..
        } = self;
        drop(listener);
        loop {
            tokio::select! {
                () = until(&lifecycle, Phase::Terminating) => break,
                ended = connections.join_next() => match ended {
                    Some(ended) => log_panic(ended),
                    None => break,
                },
            }
        }
        connections.shutdown().await;
        drop(part);
    }

    /// The whole life of one connection. Runs in a task of its own, so that a panic ends just that.
    fn serve_connection(
        &self,
        stream: TcpStream,
        peer_addr: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<M, A> {
        let conn = ConnInfo {
            local_addr: self.local_addr,
            peer_addr,
        };
        let mut make = self.make.clone();
        let http = self.http.clone();
        let nodelay = self.nodelay;
        let lifecycle = self.lifecycle.clone();
        async move {
            if nodelay && let Err(error) = stream.set_nodelay(true) {
                tracing::trace!(%error, "TCP_NODELAY was refused");
            }
            let made = match make.make(conn) {
                Made::Ready(service) => Ok(service),
                Made::Later(service) => tokio::select! {
                    made = service => made,
                    // No request has been read: there is nothing to finish.
                    () = until(&lifecycle, Phase::Draining) => return,
                },
            };
            let served = match made {
                Ok(service) => serve_http(http, stream, service, &lifecycle).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::trace!(%error, %peer_addr, "a connection ended early");
            }
        }
    }
}

/// Waits for a place, then for a connection.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await;
    let place = place.expect("nobody closes the semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, peer_addr)) => return (stream, peer_addr, place),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "accepting failed; trying again in a second");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn serve_http<A: Application>(
    http: auto::Builder<TokioExecutor>,
    stream: TcpStream,
    service: AppService<A>,
    lifecycle: &Lifecycle,
) -> Result<(), BoxError> {
    let service = TowerToHyperService::new(service);
    let mut served = pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        ended = served.as_mut() => return ended,
        () = until(lifecycle, Phase::Draining) => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}

/// Waits until the server is in `phase`, or past it.
pub(crate) async fn until(lifecycle: &Lifecycle, phase: Phase) {
    let mut phases = lifecycle.watch();
    // The sender lives in `lifecycle`, so waiting cannot fail.
    let _ = phases.wait_for(|now| *now >= phase).await;
}

/// Errors after which the next `accept` may well succeed: the peer changed its mind.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection's task ended early");
    }
}
