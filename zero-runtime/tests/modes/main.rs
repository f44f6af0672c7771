//! The four modes of `ZeroRuntime` over real sockets: the same questions to each, and what sets them
//! apart.
#![forbid(unsafe_code)]

mod client;
mod common;
mod fallback;
#[path = "../support/patience.rs"]
mod patience;
mod per_core;
mod sync;
mod tower;

use zero_runtime::{Config, Io, ZeroRuntime};

use crate::client::Client;

/// One shard on a free port, and a way to talk to it.
fn listening(config: Config) -> (ZeroRuntime, Client) {
    let mut io = Io::new(config.shards(1)).expect("io_uring is what this crate is for");
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let client = Client::new(io.local_addr(endpoint).unwrap());
    (ZeroRuntime::new(io), client)
}
