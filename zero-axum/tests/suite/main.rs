//! Black-box tests over real sockets: what an application and its clients can see must be the same
//! in every mode. Each `fn(Mode)` listed in `in_every_mode!` becomes four tests, of those in `on_shards!` three,
//! and `in_modes!` names the modes of one.

#[path = "../support/mod.rs"]
mod support;

mod balance;
mod basics;
mod bodies;
mod cancellation;
mod connections;
mod custom_listeners;
mod direct;
mod dispatch;
mod farewell;
mod handlers;
#[cfg(feature = "http2")]
mod http2;
mod limits;
mod listeners;
mod malformed;
mod overload;
mod runtimes;
mod services;
mod shutdown;
mod streaming;
mod tap;
mod unix;
mod upgrades;
mod wakeups;
mod websockets;
