//! Serves an unchanged axum application from io_uring shards.
//!
//! Two lines change; the `Router`, its handlers, extractors, layers and state stay as they are:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use zero_axum::{Config, Io};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new().route("/", get(|| async { "hello" }));
//!
//!     // let listener = tokio::net::TcpListener::bind("0.0.0.0:3000").await?;
//!     // axum::serve(listener, app).await
//!     let mut io = Io::new(Config::default())?;
//!     io.http_listen("0.0.0.0:3000".parse().expect("an address"))?;
//!     zero_axum::serve(io, app)?.await
//! }
//! ```
//!
//! A listener that is already bound does as well, and leaves one line changed:
//! `zero_axum::serve(listener, app)?.await`.
//!
//! Where the kernel refuses io_uring, the same application is served by hyper on tokio, as
//! `axum::serve` does it; one log line says so and [`ShutdownHandle::backend`] tells. [`Config`]
//! and the environment variable `ZERO_BACKEND` choose.
//!
//! # Listeners
//!
//! TCP and Unix sockets, opened here ([`Io::http_listen`], [`Io::http_listen_unix`]) or elsewhere
//! ([`Io::http_adopt`], [`Io::http_adopt_unix`]); also those a service manager keeps open while the
//! server restarts ([`Io::http_adopt_shared`]; the example `inherited` takes them with the crate
//! `listenfd`). [`Io::tap`] sets options on accepted sockets. Any other `axum::serve::Listener`,
//! such as one that does TLS, goes to [`serve_listener`].
//!
//! # Handlers
//!
//! Handlers live on a multi-thread tokio runtime: the one [`serve`] is called in, or one of its own
//! when there is none or only a current-thread one. `tokio::spawn`, timers, sockets,
//! `spawn_blocking` and `block_in_place` work as under `axum::serve`. A handler whose client goes
//! away is dropped; a handler that panics is answered for with a 500, if nothing of its response was
//! sent, and ends its own connection, nothing else.
//!
//! # Shutting down
//!
//! [`serve`] returns at once with a [`ShutdownHandle`]: await it, `wait()` for it on a thread
//! without a runtime, chain `.with_graceful_shutdown(signal)`, or call `shutdown()`. Dropping it
//! stops the server gracefully.
//!
//! What would go on for ever is to end by itself: put [`Io::draining`] into the application's state,
//! and let event streams and WebSockets end when [`Draining::begun`] completes. With
//! [`Config::shutdown_timeout`] the server waits so long for them, WebSockets included, then cuts them:
//! a body is dropped, an upgraded connection's reads and writes fail. Without it, responses are waited
//! for without bound and upgraded connections not at all, as under `axum::serve`.

#![forbid(unsafe_code)]

mod accept;
mod app;
mod fallback;
#[cfg(feature = "http2")]
mod http2;
mod incoming;
mod listener;
mod make;
mod serve;
mod upgrade;

pub use app::{AppService, Application};
pub use incoming::{IncomingStream, UnixPeer};
pub use listener::IntoIo;
pub use make::{MakePerConnection, Maker, SameForAll};
pub use serve::{AsMakeService, AsService, IntoApp, serve, serve_listener};

pub use zero_runtime::{
    Backend, BackendChoice, BodyError, BoxError, Config, Conformance, Disconnect, Dispatch,
    Draining, EndpointId, Io, Limits, PeerCred, RequestBody, Serving, ShutdownHandle, SockRef,
    Stats, Toggle, Wakeup,
};
