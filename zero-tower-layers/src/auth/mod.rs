//! Turns away requests that lack a header, before the wrapped service sees them.
//!
//! [`ZeroAuthLayer`] takes the place of `tower_http::validate_request::ValidateRequestHeaderLayer`, and
//! [`ZeroAsyncAuthLayer`] that of `tower_http::auth::AsyncRequireAuthorizationLayer`.
//!
//! # What it costs
//!
//! The checks that come with it take nothing from the heap, neither to pass a request nor to turn one
//! away: the answer is written into the header map the request came with. One exception: an `accept`
//! spelt as hardly anybody spells it, with quotes or with spaces where none are wanted, is read by the
//! `mime` crate, which copies its items.
//!
//! Tokens, passwords and required values are compared in constant time: how long it takes tells their
//! length, and nothing of what they are.
//!
//! # Standards
//! RFC 9110 §11 (authentication), §12.5.1 (`accept`); RFC 6750 (bearer), RFC 7617 (basic).
//!
//! # Examples
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use zero_tower_layers::auth::ZeroAuthLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(ZeroAuthLayer::bearer("secret"))
//!     .service_fn(async |_: Request<String>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(String::from("welcome")))
//!     });
//! let stranger = service.clone().oneshot(Request::default()).await.unwrap();
//! assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
//!
//! let request = Request::builder().header("authorization", "Bearer secret").body(String::new());
//! let friend = service.oneshot(request.unwrap()).await.unwrap();
//! assert_eq!(friend.status(), StatusCode::OK);
//! # }
//! ```

mod accept;
mod authorizer;
mod credentials;
mod layer;
#[cfg(feature = "zero-runtime")]
mod owned;
mod policy;
mod required;
mod service;

pub use self::accept::AcceptHeader;
pub use self::authorizer::{
    AsyncAuthorizeRequest, AsyncResponseFuture, ZeroAsyncAuth, ZeroAsyncAuthLayer,
};
pub use self::credentials::{Basic, Bearer};
pub use self::layer::ZeroAuthLayer;
#[cfg(feature = "zero-runtime")]
pub use self::owned::{AsyncAuthorizeOwnedRequest, OwnedResponseFuture, ValidateOwnedRequest};
pub use self::policy::ValidateRequest;
pub use self::required::RequiredHeaderValue;
pub use self::service::{ResponseFuture, ZeroAuth};
