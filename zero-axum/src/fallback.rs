//! The same application without io_uring: hyper on tokio, connection by connection as
//! `axum::serve` does it. Knows listeners and limits; knows nothing of shards.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener as AxumListener;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use zero_runtime::fallback::{HYPER_BUFFER_BYTES_MIN, HYPER_HEADERS_MAX, peer_cred};
use zero_runtime::lifecycle::{Backend, Lifecycle, Phases, RuntimeRef, ShutdownHandle};
use zero_runtime::limits::Limits;
use zero_runtime::service::ConnInfo;
use zero_runtime::{EndpointId, IoParts, Listener, LocalAddr, Tap};

use crate::accept::{Door, Introduce};
use crate::app::{AppService, Application};
use crate::incoming::IncomingStream;
use crate::make::MakeForStream;

/// Serves on the listeners of `io`, each with an accept loop of its own.
pub(crate) fn serve<M, A>(io: IoParts, make: M) -> io::Result<ShutdownHandle>
where
    M: MakeForStream<Service = AppService<A>>,
    A: Application,
{
    let mut server = HyperServer::new(io.phases, &io.limits)?;
    let runtime = server.lifecycle.runtime().clone();
    // Tokio registers sockets with the runtime that is entered.
    let entered = runtime.handle().enter();
    for (endpoint, listener) in io.listeners {
        let local_addr = listener.local_addr()?;
        let tap = io.tap.clone().map(|tap| (tap, endpoint));
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                let introduce = introduce_tcp(local_addr.tcp()?, io.limits.nodelay, tap);
                server.add(listener, introduce, make.clone());
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                let introduce = introduce_unix(M::WANTS_PEER_ADDR, tap);
                server.add(listener, introduce, make.clone());
            }
        }
        server.local_addrs.push(local_addr);
    }
    drop(entered);
    Ok(server.start())
}

/// Serves on one listener that is none of ours.
pub(crate) fn serve_listener<L, M, A>(
    listener: L,
    limits: &Limits,
    make: M,
) -> io::Result<ShutdownHandle>
where
    L: AxumListener<Addr: Sync>,
    M: MakeForStream<Service = AppService<A>>,
    A: Application,
{
    let mut server = HyperServer::new(Phases::new(), limits)?;
    let local_addr = listener.local_addr().ok();
    let local_addr = local_addr.and_then(|addr| any_local_addr(&addr));
    let tcp_addr = local_addr.as_ref().and_then(|addr| addr.tcp().ok());
    let introduce = move |_: &L::Io, addr| Some(IncomingStream::of_listener(tcp_addr, addr));
    server.add(listener, Arc::new(introduce), make);
    server.local_addrs.extend(local_addr);
    Ok(server.start())
}

/// An address of an unknown type, if it is one we know.
fn any_local_addr(addr: &dyn Any) -> Option<LocalAddr> {
    if let Some(addr) = addr.downcast_ref::<SocketAddr>() {
        return Some(LocalAddr::Tcp(*addr));
    }
    let addr = addr.downcast_ref::<tokio::net::unix::SocketAddr>()?;
    Some(LocalAddr::Unix(addr.clone().into()))
}

/// The application's hook, and what to tell it.
type TapAt = (Tap, EndpointId);

/// Whether the connection may go on.
fn tapped(tap: Option<&TapAt>, socket: SockRef<'_>) -> bool {
    tap.is_none_or(|(tap, endpoint)| tap.call(socket, *endpoint).is_ok())
}

fn introduce_tcp(
    local_addr: SocketAddr,
    nodelay: bool,
    tap: Option<TapAt>,
) -> Introduce<TcpListener> {
    Arc::new(move |stream: &TcpStream, peer_addr| {
        if nodelay && let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%error, "TCP_NODELAY was refused");
        }
        let conn = ConnInfo {
            local_addr,
            peer_addr,
            peer_cred: None,
        };
        tapped(tap.as_ref(), stream.into()).then(|| conn.into())
    })
}

fn introduce_unix(wants_cred: bool, tap: Option<TapAt>) -> Introduce<UnixListener> {
    Arc::new(move |stream: &UnixStream, _addr| {
        let conn = ConnInfo {
            peer_cred: wants_cred.then(|| peer_cred(stream)).flatten(),
            ..ConnInfo::default()
        };
        tapped(tap.as_ref(), stream.into()).then(|| conn.into())
    })
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
    fn new(phases: Arc<Phases>, limits: &Limits) -> io::Result<Self> {
        let runtime = RuntimeRef::current_or_new(limits.workers)?;
        let shutdown_timeout = limits.shutdown_timeout_ns.map(Duration::from_nanos);
        Ok(HyperServer {
            lifecycle: Lifecycle::new(phases, runtime, shutdown_timeout),
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
        let door = Door {
            introduce,
            make,
            http: self.http.clone(),
            lifecycle: self.lifecycle.clone(),
        };
        let served = door.run(listener, self.places.clone(), self.lifecycle.part());
        self.loops.push(Box::pin(served));
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
        .half_close(limits.half_close)
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
