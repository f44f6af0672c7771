//! Measures axum applications on zero and on others, by turns, in one session.
//!
//! | program | answers |
//! |---|---|
//! | `compare` | what each backend costs and how fast it answers per scenario, A B, B A, with a verdict and a page |
//! | `load` | how fast any HTTP/1.1 server answers, in a closed loop or at a fixed rate |
//! | `icount` | how many instructions a request takes, and each part of its way, held against a baseline |
//! | `idle` | how many bytes an idle keep-alive connection holds |
//! | `allocs` | how many allocations and bytes one request takes |
//! | `layer_costs` | what each layer of zero-tower-layers costs, beside tower-http's |
//! | `compression_costs` | how soon compressed bodies come, beside tower-http's, and how large they are |
//! | `agreement` | whether `load` and wrk say the same of a server, and which is cheaper |
//! | `chaos` | whether a server keeps answering rightly while it is hurt |
//! | `server` | serves the application on one backend; the others start it |
//! | `spin` | shares the server's core, so that a server never runs out of backlog |
//!
//! Build them all before running one: `cargo build --release -p zero-bench`. To compare an application of
//! your own, see [`compare()`]. Method and traps are in `README.md` beside this package's manifest.

pub mod alloc;
pub mod app;
pub mod args;
pub mod case;
pub mod child;
pub mod client;
pub mod compare;
pub mod db;
pub mod icount;
pub mod load;
pub mod ops;
pub mod page;
pub mod proc;
mod recording;
pub mod ring;
pub mod scenario;
pub mod serve;
pub mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod stacks;
pub mod stats;
pub mod user;
pub mod wrk;

pub use user::{Plan, Request, compare};
