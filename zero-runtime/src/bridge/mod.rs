//! The edge to tokio: how a shard and the tasks that run handlers meet without locks.
//!
//! Knows threads, wakers and queues; knows nothing of sockets, rings or HTTP's syntax, but for [`lent`].
//!
//! * [`handshake`]: the five protocols on one atomic word each, modelled under loom.
//! * [`inbox`]: how any thread says "look at this connection".
//! * [`lent`]: what a call takes along to answer its client itself.
//! * [`request_body`], [`reply`]: the two directions of one exchange whose handler runs elsewhere.
//! * [`arrivals`]: connections on their way from one shard to another.
//! * [`roster`]: which shards are on duty, and what each says of its time.
//! * [`peers`]: how many connections each peer has.
//! * [`place`]: connections that a shard let go and still counts.
//! * [`crowd`]: how many handlers are away from their shards, and whether they lack cores.
//! * [`turns`]: how workers and shards that share a core give it to each other.
//! * [`tenancy`]: which worker has the end of a link, and is woken.
//! * [`link`]: batches of calls to a worker and their answers.

pub(crate) mod arrivals;
pub(crate) mod baton;
pub(crate) mod crowd;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod lent;
pub(crate) mod link;
pub(crate) mod peers;
pub(crate) mod place;
pub(crate) mod reply;
pub(crate) mod request_body;
pub(crate) mod roster;
pub(crate) mod tenancy;
pub(crate) mod turns;
