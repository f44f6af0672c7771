//! The incumbent: `axum::serve` on tokio.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::thread;

use axum::Router;
use axum::body::Body;
use axum::serve::{ListenerExt as _, TapIo};
use bytes::Bytes;
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tower::make::Shared;
use tower::{Service, ServiceExt as _};

use super::Running;

/// Whether small writes wait for earlier ones to be acknowledged.
pub(super) enum Nagle {
    On,
    Off,
}

/// Binds, then serves from a thread of its own.
pub(super) fn start(
    app: Router,
    threads: usize,
    addr: SocketAddr,
    nagle: Nagle,
) -> io::Result<Running> {
    start_with(threads, addr, async move |listener| match nagle {
        Nagle::On => axum::serve(listener, app).await,
        Nagle::Off => axum::serve(without_delay(listener), app).await,
    })
}

/// As [`start`], for a service around a router. `axum::serve` takes none but axum's own bodies: others are
/// boxed, as users have to.
pub(super) fn start_wrapped<S, B>(
    app: S,
    threads: usize,
    addr: SocketAddr,
    nagle: Nagle,
) -> io::Result<Running>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    let app = app.map_response(|response: Response<B>| response.map(Body::new));
    let make = Shared::new(app);
    start_with(threads, addr, async move |listener| match nagle {
        Nagle::On => axum::serve(listener, make).await,
        Nagle::Off => axum::serve(without_delay(listener), make).await,
    })
}

fn start_with<F>(
    threads: usize,
    addr: SocketAddr,
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) -> io::Result<Running>
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = runtime(threads)?;
    let listener = runtime.block_on(TcpListener::bind(addr))?;
    let addr = listener.local_addr()?;
    thread::Builder::new().name("hyper".into()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(listener)) {
            eprintln!("axum::serve ended: {error}");
        }
    })?;
    Ok(Running::at(addr))
}

fn without_delay(
    listener: TcpListener,
) -> TapIo<TcpListener, impl FnMut(&mut TcpStream) + Send + 'static> {
    listener.tap_io(|tcp| {
        // A connection that is already gone is the connection's own affair.
        let _ = tcp.set_nodelay(true);
    })
}

/// One thread is a current-thread runtime: tokio's cheapest, as one shard is zero's.
pub(super) fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}
