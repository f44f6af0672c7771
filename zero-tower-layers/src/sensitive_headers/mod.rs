//! Marks header values as sensitive, so that they are neither printed nor indexed by HPACK.
//!
//! [`ZeroSensitiveHeadersLayer`] takes the place of
//! `tower_http::sensitive_headers::SetSensitiveHeadersLayer`, and the two halves of it that of the
//! layers of the same name. Nothing is taken from the heap per request, and no map grows.
//!
//! To keep secrets out of a trace, put [`ZeroSensitiveRequestHeadersLayer`] outside the trace layer and
//! [`ZeroSensitiveResponseHeadersLayer`] inside it.
//!
//! # Standards
//! RFC 7541 §7.1.3 (never-indexed literals).
//!
//! # Examples
//! ```
//! use http::{Request, Response, header};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(ZeroSensitiveHeadersLayer::new([header::AUTHORIZATION]))
//!     .service_fn(async |request: Request<String>| {
//!         assert!(request.headers()[header::AUTHORIZATION].is_sensitive());
//!         Ok::<_, std::convert::Infallible>(Response::new(String::new()))
//!     });
//! let request = Request::builder().header("authorization", "Bearer x").body(String::new());
//! service.oneshot(request.unwrap()).await.unwrap();
//! # }
//! ```

mod layer;
#[cfg(feature = "zero-runtime")]
mod owned;
mod policy;
mod service;

pub use self::layer::{
    ZeroSensitiveHeadersLayer, ZeroSensitiveRequestHeadersLayer, ZeroSensitiveResponseHeadersLayer,
};
#[cfg(feature = "zero-runtime")]
pub use self::owned::OwnedResponseFuture;
pub use self::service::{
    ResponseFuture, ZeroSensitiveHeaders, ZeroSensitiveRequestHeaders, ZeroSensitiveResponseHeaders,
};
