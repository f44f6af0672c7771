//! Routes for people without axum: a table of paths and methods, and handlers in it.
//!
//! Paths without parameters are found by their hash, others by [`matchit`]'s tree. [`Table`] finds a
//! value of any type; [`Router`] has handlers in it, and is both what `run_sync` calls and a tower
//! service:
//!
//! ```
//! use zero_runtime::ZeroResponse;
//! use zero_runtime::router::Router;
//!
//! let router = Router::new()
//!     .get("/", |_, _| ZeroResponse::ok().text("hello"))
//!     .get("/users/{id}", |_, params| {
//!         ZeroResponse::ok().text(params.get("id").unwrap_or_default())
//!     });
//! # let _ = router;
//! ```

mod handlers;
mod table;

pub use handlers::{RouteFuture, Router};
pub use table::{Found, Missed, OwnedParams, Params, RouteError, Table};
