//! Tower middleware that behaves as tower-http's and costs next to nothing.
//!
//! Each layer here takes the place of one of tower-http 0.7: the same builder methods, the same
//! defaults, the same answers. What differs is in `DIFFERENCES.md` of this repository, each with the
//! option that has it otherwise.
//!
//! | tower-http | here | feature |
//! |---|---|---|
//! | `CorsLayer` | [`ZeroCorsLayer`](cors::ZeroCorsLayer) | `cors` |
//! | `ValidateRequestHeaderLayer`, `AsyncRequireAuthorizationLayer` | [`ZeroAuthLayer`](auth::ZeroAuthLayer), [`ZeroAsyncAuthLayer`](auth::ZeroAsyncAuthLayer) | `auth` (or `validate-request`) |
//! | `TraceLayer` | [`ZeroTraceLayer`](trace::ZeroTraceLayer) | `trace` |
//! | `CompressionLayer` | [`ZeroCompressionLayer`](compression::ZeroCompressionLayer) | `compression-gzip`, `-deflate`, `-br`, `-zstd`, `-full` |
//! | `SetRequestIdLayer`, `PropagateRequestIdLayer` | [`ZeroRequestIdLayer`](request_id::ZeroRequestIdLayer) for both, or each alone | `request-id` |
//! | `NormalizePathLayer` | [`ZeroNormalizePathLayer`](normalize_path::ZeroNormalizePathLayer) | `normalize-path` |
//! | `SetSensitiveHeadersLayer` | [`ZeroSensitiveHeadersLayer`](sensitive_headers::ZeroSensitiveHeadersLayer) | `sensitive-headers` |
//! | `ServiceBuilderExt`, `ServiceExt` | [`ServiceBuilderExt`], [`ServiceExt`] | `util` |
//!
//! No feature is on by default; `full` is all of them.
//!
//! They are ordinary layers over any `tower::Service<http::Request<B>>` that answers with an
//! `http::Response`: inside `axum::Router::layer`, in a `ServiceBuilder`, around tonic, on plain hyper.
//! Nothing here knows axum.
//!
//! With the feature `zero-runtime` they are layers over `tower::Service<HttpOwnedRequest>` too, the services of
//! `ZeroRuntime::run_tower`: the same builders and the same policies in another shell. Such requests have no
//! extensions, so a request id is in its header alone; checks of one's own are `ValidateOwnedRequest`, and
//! those that are waited for `AsyncAuthorizeOwnedRequest`.
//!
//! # Where to put them
//!
//! *Outside* the router where you can: `Router::layer` boxes the routed service once more for every
//! call of it, whatever the layer; `ServiceBuilder::new().layer(..).service(router)` does not, and
//! `zero_axum::serve` takes the result as it takes a router.
//!
//! # What it costs
//!
//! Header values that do not depend on the request are encoded when the layer is built; a decision
//! reads the request's head and is written straight into the response's header map; futures and bodies
//! are concrete types. A layer takes nothing from the heap for a request when the maps have room,
//! but for what its feature is made of: see the module of each.
#![forbid(unsafe_code)]

#[macro_use]
mod macros;

#[cfg(any(feature = "auth", feature = "cors", feature = "sensitive-headers"))]
mod kept;
#[cfg(any(feature = "cors", feature = "normalize-path", feature = "request-id"))]
mod scratch;

#[cfg(feature = "auth")]
pub mod auth;
#[cfg(feature = "trace")]
pub mod classify;
#[cfg(any(
    feature = "compression-br",
    feature = "compression-deflate",
    feature = "compression-gzip",
    feature = "compression-zstd"
))]
pub mod compression;
#[cfg(feature = "cors")]
pub mod cors;
#[cfg(feature = "normalize-path")]
pub mod normalize_path;
#[cfg(feature = "request-id")]
pub mod request_id;
#[cfg(feature = "sensitive-headers")]
pub mod sensitive_headers;
#[cfg(feature = "trace")]
pub mod trace;
#[cfg(feature = "util")]
mod util;

#[cfg(feature = "util")]
pub use self::util::{ServiceBuilderExt, ServiceExt};

/// An error of any type, as tower and http-body use it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
