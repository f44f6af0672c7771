//! Gives every request an id, and sends it back with the response.
//!
//! [`ZeroRequestIdLayer`] does both. [`ZeroSetRequestIdLayer`] and [`ZeroPropagateRequestIdLayer`]
//! each do one, and take the place of `tower_http::request_id::{SetRequestIdLayer,
//! PropagateRequestIdLayer}`; with them, put set outside propagate, and other layers between them if
//! you like.
//!
//! [`MakeRequestUuid`] draws from a generator each thread keeps, not from the kernel, and writes the
//! id into memory the thread keeps for such purposes: no allocation for the id. What the heap does give
//! is the [`RequestId`] extension of request and response: `http::Extensions` takes a block for each value, and
//! two more for the first value of a message. `extensions(false)` leaves them out and then nothing is allocated
//! where the header maps have room.
//!
//! # Standards
//! RFC 9562 §5.4 (UUID version 4). `x-request-id` is a convention.
//!
//! # Examples
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use zero_tower_layers::request_id::{MakeRequestUuid, ZeroRequestIdLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
//!     .service_fn(async |request: Request<String>| {
//!         assert_eq!(request.headers()["x-request-id"].len(), 36);
//!         Ok::<_, std::convert::Infallible>(Response::new(String::new()))
//!     });
//! let response = service.oneshot(Request::default()).await.unwrap();
//! assert_eq!(response.headers()["x-request-id"].len(), 36);
//! # }
//! ```

mod id;
mod layer;
#[cfg(feature = "zero-runtime")]
mod owned;
mod policy;
mod service;

pub use self::id::{MakeRequestId, MakeRequestUuid, RequestId};
pub use self::layer::{ZeroPropagateRequestIdLayer, ZeroRequestIdLayer, ZeroSetRequestIdLayer};
#[cfg(feature = "zero-runtime")]
pub use self::owned::OwnedResponseFuture;
pub use self::service::{ResponseFuture, ZeroPropagateRequestId, ZeroRequestId, ZeroSetRequestId};
