//! Headers for cross-origin requests: the CORS protocol of the Fetch standard.
//!
//! [`ZeroCorsLayer`] takes the place of `tower_http::cors::CorsLayer`: the same builder, defaults and
//! answers. Header values that do not depend on the request are encoded once, when the layer is
//! applied; an answer is written straight into the response's header map, and a preflight's answer
//! into the map that came with the request. Nothing is taken from the heap per request.
//!
//! As in tower-http, **every** `OPTIONS` request is a preflight: it is answered with an empty 200 and
//! never reaches the wrapped service.
//!
//! # Standards
//! [Fetch, §3.3 "CORS protocol"](https://fetch.spec.whatwg.org/#http-cors-protocol).
//!
//! # Examples
//! ```
//! use http::{Method, Request, Response, header};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use zero_tower_layers::cors::{Any, ZeroCorsLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let cors = ZeroCorsLayer::new()
//!     .allow_methods([Method::GET, Method::POST])
//!     .allow_origin(Any);
//! let service = ServiceBuilder::new().layer(cors).service_fn(async |_: Request<String>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(String::from("hello")))
//! });
//!
//! let response = service.oneshot(Request::default()).await.unwrap();
//! assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
//! # }
//! ```

mod layer;
#[cfg(feature = "zero-runtime")]
mod owned;
mod policy;
mod rules;
mod service;

pub use self::layer::ZeroCorsLayer;
#[cfg(feature = "zero-runtime")]
pub use self::owned::OwnedResponseFuture;
#[expect(deprecated, reason = "tower-http has it still")]
pub use self::rules::any;
pub use self::rules::{
    AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, AllowPrivateNetwork, Any,
    ExposeHeaders, MaxAge, Vary, preflight_request_headers,
};
pub use self::service::{ResponseFuture, ZeroCors};
