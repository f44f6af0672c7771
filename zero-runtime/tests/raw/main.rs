//! The raw shard and its protocols, over real sockets.
#![forbid(unsafe_code)]

mod attacks;
mod ends;
mod handle;
mod http;
mod protocol;
mod streams;
mod support;
