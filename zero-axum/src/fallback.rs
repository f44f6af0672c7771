//! The same application without io_uring: hyper on tokio, connection by connection as
//! `axum::serve` does it. Knows listeners and limits; knows nothing of shards.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener as AxumListener;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use zero_runtime::lifecycle::{Backend, Lifecycle, RuntimeRef, ShutdownHandle};
use zero_runtime::limits::Limits;
use zero_runtime::service::ConnInfo;
use zero_runtime::{Listener, LocalAddr};

use crate::accept::{AcceptLoop, Introduce};
use crate::app::{AppService, Application};
use crate::make::{IncomingStream, MakeForStream};

/// hyper panics when told to buffer less than this.
const HYPER_BUFFER_BYTES_MIN: usize = 8192;
/// What hyper does without being told. Telling it the default costs an allocation a request.
const HYPER_HEADERS_MAX: usize = 100;

/// Serves on `listeners`, each with an accept loop of its own.
pub(crate) fn serve<M, A>(
    listeners: Vec<Listener>,
    limits: &Limits,
    make: M,
) -> io::Result<ShutdownHandle>
where
    M: MakeForStream<Service = AppService<A>>,
    A: Application,
{
    let mut server = HyperServer::new(limits)?;
    let runtime = server.lifecycle.runtime().clone();
    // Tokio registers sockets with the runtime that is entered.
    let entered = runtime.handle().enter();
    for listener in listeners {
        let local_addr = listener.local_addr()?;
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let introduce = introduce_tcp(local_addr.tcp()?, limits.nodelay);
                server.add(TcpListener::from_std(listener)?, introduce, make.clone());
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                server.add(listener, introduce_unix(), make.clone());
            }
        }
        server.local_addrs.push(local_addr);
    }
    drop(entered);
    Ok(server.start())
}

fn introduce_tcp(local_addr: SocketAddr, nodelay: bool) -> Introduce<TcpListener> {
    Arc::new(move |stream: &TcpStream, peer_addr| {
        if nodelay && let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "TCP_NODELAY was refused");
        }
        IncomingStream::from(ConnInfo {
            local_addr,
            peer_addr,
        })
    })
}

fn introduce_unix() -> Introduce<UnixListener> {
    Arc::new(|_stream: &UnixStream, _addr| IncomingStream::from(ConnInfo::default()))
}

/// A server on its way up.
struct HyperServer {
    lifecycle: Arc<Lifecycle>,
    http: auto::Builder<TokioExecutor>,
    places: Arc<Semaphore>,
    local_addrs: Vec<LocalAddr>,
    loops: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl HyperServer {
    fn new(limits: &Limits) -> io::Result<Self> {
        let runtime = RuntimeRef::current_or_new(limits.workers)?;
        let shutdown_timeout = limits.shutdown_timeout_ns.map(Duration::from_nanos);
        Ok(HyperServer {
            lifecycle: Lifecycle::new(runtime, shutdown_timeout),
            http: http_builder(limits),
            places: Arc::new(Semaphore::new(limits.shards * limits.connections_max)),
            local_addrs: Vec::new(),
            loops: Vec::new(),
        })
    }

    fn add<L, M, A>(&mut self, listener: L, introduce: Introduce<L>, make: M)
    where
        L: AxumListener,
        M: MakeForStream<Service = AppService<A>>,
        A: Application,
    {
        let accept = AcceptLoop {
            listener,
            introduce,
            make,
            http: self.http.clone(),
            places: self.places.clone(),
            lifecycle: self.lifecycle.clone(),
        };
        self.loops.push(Box::pin(accept.run(self.lifecycle.part())));
    }

    /// Starts accepting.
    fn start(self) -> ShutdownHandle {
        let runtime = self.lifecycle.runtime().clone();
        for accept in self.loops {
            runtime.handle().spawn(accept);
        }
        ShutdownHandle::new(
            self.lifecycle,
            &self.local_addrs,
            Backend::Hyper,
            Vec::new(),
        )
    }
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
