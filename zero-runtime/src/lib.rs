//! Serving shards for Linux: one thread and one io_uring each, parsing HTTP and feeding requests
//! to unchanged tower services.
//!
//! Most users want `zero-axum`, which serves an axum application with this crate. What is here
//! serves any `tower::Service<http::Request<RequestBody>>`:
//!
//! ```no_run
//! use std::convert::Infallible;
//! use zero_runtime::service::Shared;
//! use zero_runtime::{Config, Io, RequestBody};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut io = Io::new(Config::default())?;
//! io.http_listen(([127, 0, 0, 1], 3000).into())?;
//! let hello = tower::service_fn(|_: http::Request<RequestBody>| async {
//!     Ok::<_, Infallible>(http::Response::new(http_body_util::Full::new(bytes::Bytes::from("hello"))))
//! });
//! io.serve(Shared(hello))?.wait()
//! # }
//! ```
//!
//! The tour of the design is in `ARCHITECTURE.md` beside this crate's manifest.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod config;
pub mod error;
pub mod lifecycle;
pub mod limits;
pub mod service;
pub mod stats;

mod addr;
mod body;
mod bridge;
mod cpus;
mod dispatch;
mod driver;
mod endpoint;
#[cfg(feature = "hyper")]
#[doc(hidden)]
pub mod fallback;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "instrument")]
#[doc(hidden)]
pub mod instrument;
mod lent;
mod message;
mod overload;
mod phase;
mod pool;
mod preemption;
mod proto;
mod protocol;
pub mod raw;
mod ring;
mod runtime;
mod server;
mod shard;
#[cfg(test)]
mod sim;
mod slots;
mod standby;
mod sys;
mod tap;
mod time;
mod timer;
pub mod upgrade;
mod waking;
mod words;
mod worker;

pub use addr::{EndpointId, LocalAddr, PeerCred};
pub use body::RequestBody;
pub use config::{BackendChoice, Config, Conformance, Disconnect, Dispatch, Toggle, Wakeup};
pub use endpoint::{IoParts, Listener};
pub use error::{BodyError, BoxError};
pub use http::StatusCode;
pub use lifecycle::{Backend, Serving, ShutdownHandle};
pub use limits::Limits;
pub use message::{
    BodyStream, BodyTooLarge, CollectError, Headers, HttpOwnedRequest, HttpRequest, InvalidHeader,
    ResponseBody, SendBuffer, ZeroResponse,
};
pub use phase::Draining;
#[doc(hidden)]
pub use pool::copies::{Copied, Copies};
pub use raw::{IoHandle, OwnedSlot, ProtocolHandler, ProtocolShard, RawShard};
pub use runtime::{ZeroRuntime, router, tower_http_compat};
pub use server::Io;
pub use socket2::SockRef;
pub use stats::Stats;
pub use tap::{Tap, TapPanicked};
