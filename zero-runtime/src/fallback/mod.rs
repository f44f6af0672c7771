//! The same services without io_uring: hyper on tokio, connection by connection. Knows listeners, limits and
//! services; knows nothing of shards.
//!
//! `zero_axum` puts its own HTTP on [`AcceptLoop`] and [`CutOff`].

mod accept;
mod cut;
mod service;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use self::service::HyperService;
use crate::addr::{EndpointId, PeerCred};
use crate::endpoint::{IoParts, Listener};
use crate::error::BoxError;
use crate::lifecycle::{Backend, Lifecycle, Part, Phase, RuntimeRef, ShutdownHandle};
use crate::limits::Limits;
use crate::service::{ConnInfo, HttpService, Made, MakeHttpService};
use crate::tap::Tap;

pub use accept::{Accept, AcceptLoop};
pub use cut::CutOff;

/// hyper panics when told to buffer less than this.
pub const HYPER_BUFFER_BYTES_MIN: usize = 8192;
/// What hyper does without being told. Telling it the default costs an allocation a request.
pub const HYPER_HEADERS_MAX: usize = 100;

/// Serves on the listeners of `io`, each with an accept loop of its own; services that stay where they are
/// polled get as many threads as there were to be shards, and each thread an accept loop for each listener.
///
/// # Errors
/// No runtime, no thread, or a listener that tokio cannot take.
pub(crate) fn serve<M: MakeHttpService>(io: IoParts, make: M) -> io::Result<ShutdownHandle> {
    let runtime = RuntimeRef::current_or_new(io.limits.workers)?;
    let shutdown_timeout = io.limits.shutdown_timeout_ns.map(Duration::from_nanos);
    let server = Server {
        lifecycle: Lifecycle::new(io.phases, runtime.clone(), shutdown_timeout),
        http: http_builder(&io.limits),
        places: Arc::new(Semaphore::new(io.limits.shards * io.limits.connections_max)),
        nodelay: io.limits.nodelay,
        tap: io.tap,
    };
    let addrs = io
        .listeners
        .iter()
        .map(|(_, listener)| listener.local_addr());
    let local_addrs = addrs.collect::<io::Result<Vec<_>>>()?;
    let started = match M::Service::STAYS {
        true => server.start_threads(io.listeners, &make, io.limits.shards),
        false => server.start_tasks(io.listeners, &make),
    };
    if let Err(error) = started {
        server.lifecycle.terminate();
        return Err(error);
    }
    let handle = ShutdownHandle::new(server.lifecycle, &local_addrs, Backend::Hyper, Vec::new());
    Ok(handle)
}

fn http_builder(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .half_close(limits.half_close)
        // hyper starts this clock when it waits for a head, so it closes idle connections, too.
        .header_read_timeout(limits.head_timeout_ns.map(Duration::from_nanos))
        .max_buf_size(limits.head_bytes_max.max(HYPER_BUFFER_BYTES_MIN));
    if limits.headers_max != HYPER_HEADERS_MAX {
        http.max_headers(limits.headers_max);
    }
    http
}

/// What connections have in common.
struct Server {
    lifecycle: Arc<Lifecycle>,
    http: http1::Builder,
    places: Arc<Semaphore>,
    nodelay: bool,
    tap: Option<Tap>,
}

/// What serves one listener until it ends.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Server {
    /// Connections are tasks of the runtime.
    fn start_tasks<M: MakeHttpService>(
        &self,
        listeners: Vec<(EndpointId, Listener)>,
        make: &M,
    ) -> io::Result<()> {
        let spawn = |connections: &mut JoinSet<()>, served: Serving| {
            connections.spawn(served);
        };
        let runtime = self.lifecycle.runtime().clone();
        for serving in self.servings(listeners, make, spawn)? {
            runtime.handle().spawn(serving);
        }
        Ok(())
    }

    /// Connections are tasks of the thread that has accepted them, in the runtime's context.
    fn start_threads<M: MakeHttpService>(
        &self,
        listeners: Vec<(EndpointId, Listener)>,
        make: &M,
        threads: usize,
    ) -> io::Result<()> {
        let spawn = |connections: &mut JoinSet<()>, served: Serving| {
            connections.spawn_local(served);
        };
        for index in 0..threads {
            let listeners = listeners
                .iter()
                .map(|(at, listener)| Ok((*at, listener.try_clone()?)));
            let listeners = listeners.collect::<io::Result<_>>()?;
            let servings = self.servings(listeners, make, spawn)?;
            let runtime = self.lifecycle.runtime().clone();
            let serve_all = async move {
                let mut all = JoinSet::new();
                servings
                    .into_iter()
                    .for_each(|serving| drop(all.spawn_local(serving)));
                while all.join_next().await.is_some() {}
            };
            let builder = thread::Builder::new().name(format!("zero-hyper-{index}"));
            builder.spawn(move || {
                runtime
                    .handle()
                    .block_on(LocalSet::new().run_until(serve_all))
            })?;
        }
        Ok(())
    }

    /// What serves each of the listeners.
    fn servings<M: MakeHttpService>(
        &self,
        listeners: Vec<(EndpointId, Listener)>,
        make: &M,
        spawn: fn(&mut JoinSet<()>, Serving),
    ) -> io::Result<Vec<Serving>> {
        // Tokio registers sockets with the runtime that is entered.
        let _entered = self.lifecycle.runtime().handle().enter();
        let mut servings = Vec::new();
        for (endpoint, listener) in listeners {
            let (part, local_addr) = (self.lifecycle.part(), listener.local_addr()?);
            let tap = self.tap.clone().map(|tap| (tap, endpoint));
            let make = make.clone();
            servings.push(match listener {
                Listener::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    let (listener, nodelay) = (TcpListener::from_std(listener)?, self.nodelay);
                    let local_addr = local_addr.tcp()?;
                    self.serving(listener, part, make, spawn, move |stream, peer_addr| {
                        tap_tcp(stream, nodelay, tap.as_ref()).then_some(ConnInfo {
                            local_addr,
                            peer_addr,
                            peer_cred: None,
                        })
                    })
                }
                Listener::Unix(listener) => {
                    listener.set_nonblocking(true)?;
                    let listener = UnixListener::from_std(listener)?;
                    self.serving(listener, part, make, spawn, move |stream, _addr| {
                        tapped(tap.as_ref(), stream.into()).then(|| ConnInfo {
                            peer_cred: peer_cred(stream),
                            ..ConnInfo::default()
                        })
                    })
                }
            });
        }
        Ok(servings)
    }

    /// `introduce` prepares a connection that was accepted, and says what is known of it; `None` closes it.
    fn serving<L: Accept, M: MakeHttpService>(
        &self,
        listener: L,
        part: Part,
        mut make: M,
        spawn: fn(&mut JoinSet<()>, Serving),
        introduce: impl Fn(&L::Io, L::Addr) -> Option<ConnInfo> + Send + 'static,
    ) -> Serving {
        let accept = AcceptLoop {
            listener,
            places: self.places.clone(),
            lifecycle: self.lifecycle.clone(),
        };
        let (http, lifecycle) = (self.http.clone(), self.lifecycle.clone());
        Box::pin(accept.run(part, move |connections, io, addr, place| {
            // Both are the application's code: a panic costs the connection.
            let made = catch_unwind(AssertUnwindSafe(|| {
                introduce(&io, addr).map(|info| make.make(info))
            }));
            let Ok(Some(made)) = made else {
                return;
            };
            let served = serve_connection(http.clone(), io, made, lifecycle.clone());
            spawn(
                connections,
                Box::pin(async move {
                    served.await;
                    drop(place);
                }),
            );
        }))
    }
}

/// The whole life of one connection.
async fn serve_connection<S: HttpService>(
    http: http1::Builder,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    made: Made<S>,
    lifecycle: Arc<Lifecycle>,
) {
    let made = match made {
        Made::Ready(service) => Ok(service),
        Made::Later(service) => tokio::select! {
            made = service => made,
            // No request has been read: there is nothing to finish.
            () = lifecycle.until(Phase::Draining) => return,
        },
    };
    let served = match made {
        Ok(service) => serve_http(http, io, HyperService(service), &lifecycle).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::trace!(%error, "a connection ended early");
    }
}

async fn serve_http<S: HttpService>(
    http: http1::Builder,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: HyperService<S>,
    lifecycle: &Lifecycle,
) -> Result<(), BoxError> {
    let io = TokioIo::new(CutOff::new(io, lifecycle.guest()));
    let mut served = pin!(http.serve_connection(io, service));
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(Into::into),
        () = lifecycle.until(Phase::Draining) => {}
    }
    served.as_mut().graceful_shutdown();
    served.await.map_err(Into::into)
}

/// The application's hook, and what to tell it.
type TapAt = (Tap, EndpointId);

/// Whether the connection may go on.
fn tapped(tap: Option<&TapAt>, socket: SockRef<'_>) -> bool {
    tap.is_none_or(|(tap, endpoint)| tap.call(socket, *endpoint).is_ok())
}

fn tap_tcp(stream: &TcpStream, nodelay: bool, tap: Option<&TapAt>) -> bool {
    if nodelay && let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "TCP_NODELAY was refused");
    }
    tapped(tap, stream.into())
}

/// Who is at the other end of a Unix socket, if the kernel tells.
pub fn peer_cred(stream: &UnixStream) -> Option<PeerCred> {
    let cred = stream.peer_cred().ok()?;
    let pid = cred.pid().and_then(|pid| u32::try_from(pid).ok());
    Some(PeerCred {
        pid: pid.filter(|&pid| pid != 0),
        uid: cred.uid(),
        gid: cred.gid(),
    })
}
