//! Compresses response bodies with a coding the client accepts.
//!
//! [`ZeroCompressionLayer`] takes the place of `tower_http::compression::CompressionLayer`: the same
//! builder, predicates, negotiation and headers. The compressed bytes decode to the same body; they are
//! made by the same libraries and have much the same size.
//!
//! The codings are features: `compression-gzip`, `compression-deflate`, `compression-br`,
//! `compression-zstd`, or `compression-full`. Among those that a client prefers equally, zstd comes
//! before br, gzip and deflate.
//!
//! # What it costs
//!
//! A response that is not compressed costs a few look-ups in two header maps and nothing from the
//! heap. One that is compressed takes an encoder from a pool its thread keeps, and gives it back,
//! reset, when the body is done or dropped: no tables are made anew. (gzip's and deflate's are given
//! back by bodies that were read to their end.) A thread keeps at most four encoders that are not in
//! use, of 0.3 MiB (gzip) to several MiB (br and zstd at high levels) each;
//! [`keep_encoders(false)`](ZeroCompressionLayer::keep_encoders) keeps none.
//!
//! # Bodies that come in pieces
//!
//! When the wrapped body has nothing more for now, what was compressed so far is flushed and sent; so
//! streams arrive as they are made, at some cost in size. Server-sent events are left alone by the
//! default predicate.
//!
//! Of a long body that is all there, something is sent after 64 KiB of it: br by itself waits for most of a MiB.
//! [`begin_early(false)`](ZeroCompressionLayer::begin_early) leaves that to the encoders.
//!
//! # Standards
//! RFC 9110 §8.4 (content codings), §12.5.3 (`accept-encoding`); RFC 1950, 1952, 7932, 8878, 9659 (the
//! codings).
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, header};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt as _};
//! use zero_tower_layers::compression::ZeroCompressionLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(ZeroCompressionLayer::new())
//!     .service_fn(async |_: Request<()>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(vec![b'a'; 1000]))))
//!     });
//! let request = Request::builder().header("accept-encoding", "gzip").body(()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
//! # }
//! ```

mod body;
mod codec;
mod coder;
mod future;
mod layer;
mod level;
#[cfg(feature = "zero-runtime")]
mod owned;
mod policy;
mod pool;
pub mod predicate;
mod service;

pub use self::body::CompressionBody;
pub use self::future::ResponseFuture;
pub use self::layer::ZeroCompressionLayer;
pub use self::level::CompressionLevel;
#[cfg(feature = "zero-runtime")]
pub use self::owned::OwnedResponseFuture;
pub use self::predicate::{DefaultPredicate, Predicate};
pub use self::service::ZeroCompression;
