//! A span for each request, and an event for each step of its life.
//!
//! [`ZeroTraceLayer`] takes the place of `tower_http::trace::TraceLayer`: the same spans and events in
//! the same order with the same levels, fields, parents and targets (`tower_http::trace::..`, so that a
//! filter such as `RUST_LOG=tower_http=debug` goes on working), the same hooks with the same
//! arguments.
//!
//! | step | hook | default |
//! |---|---|---|
//! | a request comes | [`MakeSpan`], then [`OnRequest`] | span `request` with `method`, `uri`, `version`; "started processing request"; DEBUG |
//! | the head of the response is there | [`OnResponse`] | "finished processing request" with `latency`, `status`; DEBUG |
//! | a piece of the body | [`OnBodyChunk`] | nothing |
//! | the body ends | [`OnEos`] | "end of stream" with `stream_duration`, `status`; DEBUG |
//! | a response that is a failure, an error | [`OnFailure`] | "response failed" with `classification`, `latency`; ERROR |
//!
//! `()` in place of a hook does nothing. What is a failure a [classifier](crate::classify) says.
//!
//! # What it costs
//!
//! The layer takes nothing from the heap; a subscriber may, for a span it keeps. A hook says by its
//! `is_enabled` whether a call would have any effect; where none would, the clock is not read. The
//! default hooks compare their level with the subscribers', `()` says no, closures say yes: so with
//! spans filtered out, as by `RUST_LOG=info`, the default layer reads the clock once per request, for
//! the sake of a failure it might have to report: its event has the time since the request came, and when
//! it fails is too late to begin. That is two fifths of what the layer costs then, some 85 ns all in all;
//! `on_failure(())` saves it, and the events of failures. The rest is a body and a future of its own,
//! which a request is moved into.
//!
//! # Examples
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use zero_tower_layers::trace::{DefaultOnResponse, ZeroTraceLayer};
//! use tracing::Level;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let trace = ZeroTraceLayer::new_for_http()
//!     .make_span_with(|request: &Request<String>| {
//!         tracing::info_span!("request", path = request.uri().path())
//!     })
//!     .on_request(())
//!     .on_response(DefaultOnResponse::new().level(Level::INFO));
//! let service = ServiceBuilder::new().layer(trace).service_fn(async |_: Request<String>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(String::from("hello")))
//! });
//! service.oneshot(Request::default()).await.unwrap();
//! # }
//! ```

use crate::classify::{GrpcErrorsAsFailures, ServerErrorsAsFailures, SharedClassifier};

mod all_hooks;
mod body;
mod future;
mod hooks;
mod latency;
mod layer;
#[cfg(feature = "zero-runtime")]
mod owned;
mod service;

pub use self::body::ResponseBody;
pub use self::future::ResponseFuture;
pub use self::hooks::{
    DefaultMakeSpan, DefaultOnBodyChunk, DefaultOnEos, DefaultOnFailure, DefaultOnRequest,
    DefaultOnResponse, MakeSpan, OnBodyChunk, OnEos, OnFailure, OnRequest, OnResponse,
};
pub use self::latency::LatencyUnit;
pub use self::layer::ZeroTraceLayer;
pub use self::service::ZeroTrace;

/// What makes the classifiers of HTTP responses.
pub type HttpMakeClassifier = SharedClassifier<ServerErrorsAsFailures>;

/// What makes the classifiers of gRPC responses.
pub type GrpcMakeClassifier = SharedClassifier<GrpcErrorsAsFailures>;
#[cfg(feature = "zero-runtime")]
pub use self::owned::OwnedResponseFuture;
