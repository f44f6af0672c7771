//! Measures one axum application on zero and on hyper, by turns, in one session.
//!
//! | program | answers |
//! |---|---|
//! | `compare` | how much CPU, latency and throughput each backend costs per scenario, A B A B |
//! | `idle` | how many bytes an idle keep-alive connection holds |
//! | `allocs` | how many allocations and bytes one request takes |
//! | `layer_costs` | what each layer of zero-tower-layers costs, beside tower-http's |
//! | `server` | serves the application on one backend; the others start it |
//! | `spin` | shares the server's core, so that a server never runs out of backlog |
//!
//! Build them all before running one: `cargo build --release -p zero-bench`.

pub mod alloc;
pub mod app;
pub mod args;
pub mod child;
pub mod client;
pub mod db;
pub mod measure;
pub mod proc;
pub mod report;
pub mod scenario;
pub mod server;
pub mod wrk;
