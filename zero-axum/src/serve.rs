//! The front door: takes what listens and what answers, picks the backend. Knows no sockets.

use std::any::Any;
use std::convert::Infallible;
use std::io;

use axum::Router;
use axum::routing::MethodRouter;
use axum::serve::Listener;
use zero_runtime::lifecycle::{Backend, ShutdownHandle};
use zero_runtime::{BackendChoice, Config};

use crate::app::{AppService, Application};
use crate::fallback;
use crate::listener::IntoIo;
use crate::make::{MakeForStream, MakePerConnection, Maker, SameForAll};

/// Serves `app` on the listeners of `io` and returns at once.
///
/// `io` is an [`Io`](crate::Io) with its listeners, a bound `TcpListener` or `UnixListener` of std
/// or tokio, or an address; all but the first take the default [`Config`](crate::Config). `app` is whatever
/// `axum::serve` takes, and a little more: see [`IntoApp`].
///
/// Handlers run on the multi-thread tokio runtime this is called in, or else on one made for them.
///
/// # What allocates
/// Per request nothing beyond what `Router::call` takes by itself, but where a header map grows beyond six fields and
/// where a body becomes axum's `Body`; a handler that waits becomes a tokio task.
///
/// # Cancel safety
/// A handler is dropped at an await when its client goes away, as hyper drops it, unless
/// `Config::disconnect` says otherwise; dropping the [`ShutdownHandle`] shuts the
/// server down.
///
/// # Errors
/// When the default `Config` cannot be set up, or when the server's threads cannot be started.
///
/// # Examples
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use axum::{Router, routing::get};
///
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let server = zero_axum::serve(listener, app)?;
/// println!("listening on {}", server.local_addr()?);
/// server.wait()
/// # }
/// ```
///
/// Layers may lie around the `Router` rather than in it: any service of requests is served, whatever its
/// responses' bodies. That is cheaper, for `Router::layer` boxes the routed service once more for every call, two or
/// three blocks a layer, and the body again where the layer changes its type, while a `ServiceBuilder` makes one
/// type of it all. And only there does a layer that changes the path have a say in routing.
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use axum::{Router, routing::get};
/// use tower::ServiceBuilder;
/// use tower::limit::ConcurrencyLimitLayer;
///
/// let router = Router::new().route("/", get(|| async { "hello" }));
/// // In place of `router.layer(ConcurrencyLimitLayer::new(512))`:
/// let app = ServiceBuilder::new()
///     .layer(ConcurrencyLimitLayer::new(512))
///     .service(router);
/// zero_axum::serve(std::net::TcpListener::bind("127.0.0.1:0")?, app)?.wait()
/// # }
/// ```
pub fn serve<I, A, Marker>(io: I, app: A) -> io::Result<ShutdownHandle>
where
    I: IntoIo,
    A: IntoApp<Marker>,
{
    let io = io.into_io()?;
    let make = app.into_app();
    match io.backend() {
        Backend::IoUring => io.serve(make),
        Backend::Hyper => fallback::serve(io.into_parts(), make),
    }
}

/// Serves `app` on any listener that `axum::serve` takes, and returns at once: one that does TLS, a
/// transport of one's own, a listener behind `ListenerExt::tap_io`.
///
/// hyper on tokio serves it, whatever the kernel offers: only sockets go to shards. `config`'s limits
/// apply as on that backend. Sockets' options are the listener's business, TCP_NODELAY among them.
///
/// `ConnectInfo<SocketAddr>` works if that is the listener's `Addr`, and is unspecified otherwise; a
/// type of your own finds any `Addr` by [`IncomingStream::listener_addr`].
///
/// [`IncomingStream::listener_addr`]: crate::IncomingStream::listener_addr
///
/// # Errors
/// When `config` cannot work, or asks for io_uring and nothing else; when a runtime cannot be made.
///
/// # Examples
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use axum::{Router, routing::get, serve::ListenerExt};
/// use zero_axum::Config;
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// zero_axum::serve_listener(listener, Config::default(), app)?.await
/// # })
/// # }
/// ```
pub fn serve_listener<L, A, Marker>(
    listener: L,
    config: Config,
    app: A,
) -> io::Result<ShutdownHandle>
where
    L: Listener<Addr: Sync>,
    A: IntoApp<Marker>,
{
    let limits = config.into_limits()?;
    if limits.backend == BackendChoice::IoUring {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only sockets can be served from io_uring; set the backend to Auto or Hyper for other \
             listeners, or give serve an Io with the socket",
        ));
    }
    fallback::serve_listener(listener, &limits, app.into_app())
}

/// What [`serve`] accepts as an application; `Marker` is inferred.
///
/// 1. Services of requests: `Router`, `MethodRouter`, a handler's `into_service()`, any
///    `tower::Service<Request<axum::body::Body>>` that clones, also one whose layers lie outside
///    the `Router` and change the response's body. See [`Application`].
/// 2. Services of connections: `into_make_service()`, `into_make_service_with_connect_info()`,
///    `tower::make::Shared`, any `tower::Service<IncomingStream<'static>>` that answers with a
///    service as in 1. See [`IncomingStream`](crate::IncomingStream).
///
/// Implemented for these; never by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be served",
    note = "a `Router` that still lacks its state needs `.with_state(..)`",
    note = "an application is a cloneable `tower::Service<Request<axum::body::Body>, Response = Response<_>>` \
            whose future is `Send`, or a `tower::Service<zero_axum::IncomingStream<'static>>` that makes such services"
)]
pub trait IntoApp<Marker> {
    /// The service of one connection.
    type App: Application;
    /// What makes it.
    type Make: MakeForStream<Service = AppService<Self::App>>;

    /// Turns the application into what a shard serves.
    fn into_app(self) -> Self::Make;
}

/// Marks an application that is one service for all connections.
#[derive(Clone, Copy, Debug)]
pub enum AsService {}

impl<S: Application> IntoApp<AsService> for S {
    type App = S;
    type Make = SameForAll<S>;

    fn into_app(self) -> Self::Make {
        SameForAll::new(with_routes_built(self))
    }
}

/// Marks an application that makes a service for each connection.
#[derive(Clone, Copy, Debug)]
pub enum AsMakeService {}

impl<M: Maker> IntoApp<AsMakeService> for M {
    type App = M::App;
    type Make = MakePerConnection<M>;

    fn into_app(self) -> Self::Make {
        MakePerConnection::new(self)
    }
}

/// Turns the handlers of a plain router into routes once, which axum would do for every request
/// (and `axum::serve` does for every connection).
fn with_routes_built<S: 'static>(app: S) -> S {
    let mut app = Some(app);
    let any: &mut dyn Any = &mut app;
    if let Some(router) = any.downcast_mut::<Option<Router>>() {
        *router = router.take().map(|router| router.with_state(()));
    } else if let Some(router) = any.downcast_mut::<Option<MethodRouter<(), Infallible>>>() {
        *router = router.take().map(|router| router.with_state(()));
    }
    app.expect("put back what was taken")
}
