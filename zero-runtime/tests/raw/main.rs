//! The raw shard and its protocols, over real sockets.
#![forbid(unsafe_code)]

mod attacks;
mod ends;
mod handle;
mod http;
#[path = "../support/patience.rs"]
mod patience;
mod protocol;
mod streams;
mod support;
