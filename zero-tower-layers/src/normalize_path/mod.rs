//! Gives every path one spelling, without redirecting.
//!
//! [`ZeroNormalizePathLayer`] takes the place of `tower_http::normalize_path::NormalizePathLayer`. It
//! changes the request's URI before the wrapped service sees it, and so must wrap a router to have a
//! say in routing; inside `Router::layer` it comes too late. The new path is written into memory the
//! thread keeps for such purposes: nothing is taken from the heap per request, nor is a path touched
//! that is spelt rightly.
//!
//! # Examples
//! ```
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(ZeroNormalizePathLayer::trim_trailing_slash())
//!     .service_fn(async |request: Request<String>| {
//!         assert_eq!(request.uri(), "/users?page=2");
//!         Ok::<_, std::convert::Infallible>(Response::new(String::new()))
//!     });
//! let request = Request::builder().uri("/users/?page=2").body(String::new());
//! service.oneshot(request.unwrap()).await.unwrap();
//! # }
//! ```

mod layer;
#[cfg(feature = "zero-runtime")]
mod owned;
mod policy;
mod service;

pub use self::layer::ZeroNormalizePathLayer;
pub use self::service::ZeroNormalizePath;
