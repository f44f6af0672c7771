//! What a user may choose, with its defaults. Plain wishes: [`Limits`](crate::limits::Limits) is
//! what they become once checked.

use std::time::Duration;

/// How a server is set up.
///
/// Every field has a setter of the same name:
///
/// ```ignore
/// let config = Config::default().shards(2).head_timeout(None);
/// ```
///
/// For every `Option` of a timeout `None` means off. Wrong values are refused, with the remedy, when
/// the server is made.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that each run one ring and its connections. Default `None`: one per core that the
    /// affinity mask and the cgroup's quota really give.
    pub shards: Option<usize>,
    /// Whether each shard is bound to a core of its own. Default [`Toggle::Off`].
    pub pin_shards: Toggle,
    /// Worker tasks for [`Dispatch::Workers`], and threads of the tokio runtime when one has to be
    /// built. Default `None`: one per usable core.
    pub workers: Option<usize>,
    /// Connections open at once, over all shards; further ones wait in the backlog. Default 65,536.
    pub connections_max: usize,
    /// Whether a shard that has clearly more connections than another one leaves it what it accepts: the
    /// kernel spreads them by chance. Default true.
    pub balance: bool,
    /// Whether a shard whose thread has to wait for its core may leave its connections to the other shards,
    /// between requests, and stand by until it gets one again; and one that has no time left, some of them.
    /// Needs [`balance`](Self::balance). Default true.
    pub standby: bool,
    /// Connections the kernel completes ahead of our accepting them; it cuts this to
    /// `net.core.somaxconn`. Default 1024.
    pub backlog: u32,
    /// Receive buffers per shard, shared by its connections; a power of two. 32 are used at first, more
    /// as they run out. Default 256.
    pub recv_buffers: u16,
    /// Size of one receive buffer, in bytes. Default 16 KiB.
    pub recv_buffer_bytes: u32,
    /// Size of one pooled buffer in which responses are staged, in bytes. Default 16 KiB.
    pub write_buffer_bytes: usize,
    /// Bytes that all connections together may hold for their peers and handlers: heads and bodies that
    /// came ahead, responses that were not taken yet. From 60, 80 and 95 percent of it on a server gives
    /// way, see [`overload_warning_percent`](Self::overload_warning_percent). Default 1 GiB.
    pub buffered_bytes_max: usize,
    /// From so much of [`connections_max`](Self::connections_max) or
    /// [`buffered_bytes_max`](Self::buffered_bytes_max) on, less is kept ahead of need: windows shrink
    /// to an eighth, idle connections are kept for a quarter of the time. A level is left 5 percent below
    /// its mark. Default 60.
    pub overload_warning_percent: u8,
    /// From so much on bulk waits: bodies come by single buffers, and who holds buffers and does not
    /// move for a second is let go; idle connections are kept for a sixteenth of the time. Default 80.
    pub overload_critical_percent: u8,
    /// From so much on who connects waits up to 250 ms, while buffers are short: what is left is for those
    /// who are here. While places are, idle connections are closed, then those that owe a head for a
    /// second. Default 95.
    pub overload_drain_percent: u8,
    /// Longest request head accepted, in bytes; longer ones are answered 431. Default 417,792, as
    /// hyper's.
    pub head_bytes_max: usize,
    /// Most header fields accepted in a request; more are answered 431. Default 100.
    pub headers_max: usize,
    /// Longest request target accepted, in bytes; longer ones are answered 414. Default 65,534,
    /// the most an `http::Uri` holds.
    pub uri_bytes_max: usize,
    /// The extensions of one chunked body stay below this many bytes, blanks before them included;
    /// more are an error of the body. Default 16 KiB, as hyper's.
    pub chunk_extension_bytes_max: usize,
    /// A request's trailer section stays below this many bytes; more are an error of the body.
    /// Default 16 KiB, as hyper's.
    pub trailer_bytes_max: usize,
    /// Most fields of a trailer section; more are an error of the body. Default 100, as hyper's.
    pub trailers_max: usize,
    /// With more bytes than this of requests behind the one being answered, the connection is not read
    /// until that one is done. Default 64 KiB; less than 4 KiB counts as 4 KiB, since a whole batch may be
    /// there before anybody looks.
    pub pipelined_bytes_max: usize,
    /// What becomes of a handler whose client goes away. Default [`Disconnect::Cancel`].
    pub disconnect: Disconnect,
    /// Whether a client that ends its side of the connection behind a complete request still wants
    /// its answer, however long the handler takes. Default false: as under hyper, a handler that
    /// waits is dropped then, because most clients that do this have gone.
    pub half_close: bool,
    /// Whose rules requests are held to. Default [`Conformance::Strict`].
    pub conformance: Conformance,
    /// Bytes of a request's body read ahead of the handler. Default 256 KiB.
    pub request_window_bytes: usize,
    /// Bytes of responses queued on a connection before the body is no longer polled. Default
    /// 256 KiB.
    pub response_window_bytes: usize,
    /// Time from the first byte of a request's head to its last; also from accepting to the first
    /// head. Default 30 s.
    pub head_timeout: Option<Duration>,
    /// Span over which the rate of a request's body is judged: a peer that sends less than
    /// [`body_rate_min`](Self::body_rate_min) over one of them, though its handler reads, is cut.
    /// Default 30 s.
    pub body_timeout: Option<Duration>,
    /// Least rate of a request's body, in bytes per second. Default 240, as Kestrel's.
    pub body_rate_min: u32,
    /// Time from a request's head to the head of its response; then the handler is dropped, the
    /// request answered 503 and the connection closed. Default `None`: a handler takes what it
    /// needs. A handler that blocks its thread cannot be dropped before it is done.
    pub request_timeout: Option<Duration>,
    /// Requests served on one connection; the last one's response says that it is the last.
    /// Default `None`: no limit.
    pub requests_per_connection_max: Option<u32>,
    /// Connections of one peer, over all shards; further ones are answered 503 and closed. A peer is
    /// an IPv4 address or an IPv6 network of 64 bits. Default `None`: no limit. Mind that behind a
    /// proxy all clients are one peer.
    pub connections_per_peer_max: Option<u32>,
    /// Time an idle connection is kept after a response. Default 75 s.
    pub keep_alive_timeout: Option<Duration>,
    /// Time without a single byte taken by a peer that has bytes to take; it is cut once that has
    /// been seen to be so, at one and a half times this at the latest. Default 60 s.
    pub write_timeout: Option<Duration>,
    /// Time to swallow what still arrives after the last response of a closing connection, so that
    /// no reset destroys that response on its way. Zero closes at once. Default 2 s.
    pub linger_timeout: Duration,
    /// Time a graceful shutdown grants to requests in flight before it cuts them; zero cuts at
    /// once. Default `None`: as long as they take.
    pub shutdown_timeout: Option<Duration>,
    /// Whether small writes leave at once (TCP_NODELAY). Default true.
    pub nodelay: bool,
    /// Where handlers are first polled. Default [`Dispatch::Adaptive`].
    pub dispatch: Dispatch,
    /// With [`Dispatch::Adaptive`]: a first poll on the shard that takes longer sends its class of
    /// requests to the workers. Half of it is what a first poll on a worker may take to count towards
    /// the shard. Default 200 us.
    pub inline_poll_max: Duration,
    /// With [`Dispatch::Adaptive`]: so many such polls in a row bring a class to the shard. Default 16,
    /// at least 1.
    pub inline_streak: u32,
    /// What a shard without work does until there is some. Default [`Wakeup::Adaptive`].
    pub wakeup: Wakeup,
    /// With [`Dispatch::Adaptive`]: a first poll that held its shard up for longer is counted in
    /// `Stats::stalls` and told by a warning with its class, whatever
    /// [`inline_poll_max`](Self::inline_poll_max) is. Default 10 ms; `None` tells of none. A look at whether
    /// the shard had lost its core is part of it, half a microsecond for each poll that was longer.
    ///
    /// Elsewhere no first poll is timed: with [`Dispatch::Inline`], and where services stay on their shard
    /// (`run_sync`, `run_per_core`), a reading of the clock for each request, some 20 ns, would serve
    /// nothing else; with [`Dispatch::Workers`] no handler holds up a shard.
    pub stall_min: Option<Duration>,
    /// Whether receive buffers are mapped on huge pages: reserved ones (`vm.nr_hugepages`) if there are
    /// enough, else transparent ones; `On` makes it an error if there are neither. `Stats` tell what it
    /// came to. Default [`Toggle::Off`].
    pub huge_pages: Toggle,
    /// What serves. Default [`BackendChoice::Auto`]. The environment variable `ZERO_BACKEND`
    /// (`auto`, `io_uring` or `hyper`) overrides it.
    pub backend: BackendChoice,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shards: None,
            pin_shards: Toggle::Off,
            workers: None,
            connections_max: 65_536,
            balance: true,
            standby: true,
            backlog: 1024,
            recv_buffers: 256,
            recv_buffer_bytes: 16 * 1024,
            write_buffer_bytes: 16 * 1024,
            buffered_bytes_max: 1 << 30,
            overload_warning_percent: 60,
            overload_critical_percent: 80,
            overload_drain_percent: 95,
            head_bytes_max: 417_792,
            headers_max: 100,
            uri_bytes_max: 65_534,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 16 * 1024,
            trailers_max: 100,
            pipelined_bytes_max: 64 * 1024,
            disconnect: Disconnect::Cancel,
            half_close: false,
            conformance: Conformance::Strict,
            request_window_bytes: 256 * 1024,
            response_window_bytes: 256 * 1024,
            head_timeout: Some(Duration::from_secs(30)),
            body_timeout: Some(Duration::from_secs(30)),
            body_rate_min: 240,
            request_timeout: None,
            requests_per_connection_max: None,
            connections_per_peer_max: None,
            keep_alive_timeout: Some(Duration::from_secs(75)),
            write_timeout: Some(Duration::from_secs(60)),
            linger_timeout: Duration::from_secs(2),
            shutdown_timeout: None,
            nodelay: true,
            dispatch: Dispatch::Adaptive,
            inline_poll_max: Duration::from_micros(200),
            inline_streak: 16,
            wakeup: Wakeup::Adaptive,
            stall_min: Some(Duration::from_millis(10)),
            huge_pages: Toggle::Off,
            backend: BackendChoice::Auto,
        }
    }
}

/// One setter a line: its name is its field's, what it takes converts into the field's type.
macro_rules! setters {
    ($($field:ident: $takes:ty,)*) => {
        impl Config {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Config#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $takes) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

setters! {
    shards: impl Into<Option<usize>>,
    pin_shards: Toggle,
    workers: impl Into<Option<usize>>,
    connections_max: usize,
    balance: bool,
    standby: bool,
    backlog: u32,
    recv_buffers: u16,
    recv_buffer_bytes: u32,
    write_buffer_bytes: usize,
    buffered_bytes_max: usize,
    overload_warning_percent: u8,
    overload_critical_percent: u8,
    overload_drain_percent: u8,
    head_bytes_max: usize,
    headers_max: usize,
    uri_bytes_max: usize,
    chunk_extension_bytes_max: usize,
    trailer_bytes_max: usize,
    trailers_max: usize,
    pipelined_bytes_max: usize,
    disconnect: Disconnect,
    half_close: bool,
    conformance: Conformance,
    request_window_bytes: usize,
    response_window_bytes: usize,
    head_timeout: impl Into<Option<Duration>>,
    body_timeout: impl Into<Option<Duration>>,
    body_rate_min: u32,
    request_timeout: impl Into<Option<Duration>>,
    requests_per_connection_max: impl Into<Option<u32>>,
    connections_per_peer_max: impl Into<Option<u32>>,
    keep_alive_timeout: impl Into<Option<Duration>>,
    write_timeout: impl Into<Option<Duration>>,
    linger_timeout: Duration,
    shutdown_timeout: impl Into<Option<Duration>>,
    nodelay: bool,
    dispatch: Dispatch,
    inline_poll_max: Duration,
    inline_streak: u32,
    wakeup: Wakeup,
    stall_min: impl Into<Option<Duration>>,
    huge_pages: Toggle,
    backend: BackendChoice,
}

/// Whether to use something the machine may or may not offer.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Toggle {
    /// Do without it.
    #[default]
    Off,
    /// Use it, whatever the machine looks like.
    On,
    /// Use it where the machine offers it and it is likely to help.
    Auto,
}

/// Whose rules requests are held to.
///
/// The difference is listed case by case in `DIFFERENCES.md`. The hyper backend knows hyper's only.
///
/// # Standards
/// RFC 9110 and RFC 9112.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Conformance {
    /// The standard's: what it forbids, or lets a server refuse because two servers could read it
    /// differently, is refused. A handler that panics before any of its response is sent is answered
    /// for with a 500.
    #[default]
    Strict,
    /// Those of hyper 1.12, bug for bug: for clients that need them.
    Hyper,
}

/// What becomes of a handler whose client goes away while it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Disconnect {
    /// It is dropped at once, wherever it waits: as under hyper.
    #[default]
    Cancel,
    /// It runs to the end of its future; the response is dropped, and its body is not polled. For
    /// handlers that must not stop half-way. What waits for a client when the server terminates is
    /// dropped all the same.
    Detach,
}

/// Where a handler is first polled.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dispatch {
    /// Where it does best: requests that look alike (same method, same shape of path) start on the
    /// workers, and are polled on the shard once so many of them in a row were quick to answer or to
    /// wait. One that was not sends them back, for longer each time. A handler that blocks or computes
    /// for long holds up nobody but, seldom, once.
    #[default]
    Adaptive,
    /// On the shard that received the request; a handler that waits moves to a worker. For handlers
    /// that are known never to block.
    Inline,
    /// On a worker of the tokio runtime, always: for handlers that compute for long or block.
    Workers,
}

/// What a shard without work does until there is some.
///
/// To sleep and be woken costs the shard 13 to 21 us on the machine this was measured on, and whoever
/// wakes it a system call: as much as three requests. To spin, which is to look again and again, costs
/// next to nothing but the core meanwhile.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wakeup {
    /// It sleeps at once. For machines whose cores others need, and for the least power.
    Sleep,
    /// It spins for at most 50 us while that has paid of late, and then sleeps. It does not where
    /// handlers away from their shards need the core, for a while after others were seen to want it,
    /// and under a cgroup's CPU quota, which it would use up.
    #[default]
    Adaptive,
    /// It never sleeps, whatever else wants the core. For cores that are the shards' alone; see
    /// [`Config::pin_shards`].
    Spin,
}

/// What serves the connections.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BackendChoice {
    /// io_uring if the kernel allows it, else hyper on tokio.
    #[default]
    Auto,
    /// io_uring; an error if the kernel refuses it.
    IoUring,
    /// hyper on tokio.
    Hyper,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_the_docs_state() {
        let config = Config::default();
        assert_eq!(config.shards, None);
        assert_eq!(config.pin_shards, Toggle::Off);
        assert_eq!(config.workers, None);
        assert_eq!(config.connections_max, 65_536);
        assert!(config.balance);
        assert!(config.standby);
        assert_eq!(config.backlog, 1024);
        assert_eq!(config.recv_buffers, 256);
        assert_eq!(config.recv_buffer_bytes, 16_384);
        assert_eq!(config.write_buffer_bytes, 16_384);
        assert_eq!(config.buffered_bytes_max, 1_073_741_824);
        assert_eq!(config.overload_warning_percent, 60);
        assert_eq!(config.overload_critical_percent, 80);
        assert_eq!(config.overload_drain_percent, 95);
        assert_eq!(config.head_bytes_max, 417_792);
        assert_eq!(config.headers_max, 100);
        assert_eq!(config.uri_bytes_max, 65_534);
        assert_eq!(config.chunk_extension_bytes_max, 16_384);
        assert_eq!(config.trailer_bytes_max, 16_384);
        assert_eq!(config.trailers_max, 100);
        assert_eq!(config.pipelined_bytes_max, 65_536);
        assert_eq!(config.disconnect, Disconnect::Cancel);
        assert!(!config.half_close);
        assert_eq!(config.conformance, Conformance::Strict);
        assert_eq!(config.request_window_bytes, 262_144);
        assert_eq!(config.response_window_bytes, 262_144);
        assert_eq!(config.head_timeout, Some(Duration::from_secs(30)));
        assert_eq!(config.body_timeout, Some(Duration::from_secs(30)));
        assert_eq!(config.body_rate_min, 240);
        assert_eq!(config.request_timeout, None);
        assert_eq!(config.requests_per_connection_max, None);
        assert_eq!(config.connections_per_peer_max, None);
        assert_eq!(config.keep_alive_timeout, Some(Duration::from_secs(75)));
        assert_eq!(config.write_timeout, Some(Duration::from_secs(60)));
        assert_eq!(config.linger_timeout, Duration::from_secs(2));
        assert_eq!(config.shutdown_timeout, None);
        assert!(config.nodelay);
        assert_eq!(config.dispatch, Dispatch::Adaptive);
        assert_eq!(config.inline_poll_max, Duration::from_micros(200));
        assert_eq!(config.inline_streak, 16);
        assert_eq!(config.wakeup, Wakeup::Adaptive);
        assert_eq!(config.stall_min, Some(Duration::from_millis(10)));
        assert_eq!(config.huge_pages, Toggle::Off);
        assert_eq!(config.backend, BackendChoice::Auto);
    }

    #[test]
    fn setters_chain_and_take_plain_values_or_none() {
        let config = Config::default()
            .shards(2)
            .workers(Some(3))
            .head_timeout(None)
            .write_timeout(Duration::from_secs(1))
            .nodelay(false)
            .dispatch(Dispatch::Workers);
        assert_eq!(config.shards, Some(2));
        assert_eq!(config.workers, Some(3));
        assert_eq!(config.head_timeout, None);
        assert_eq!(config.write_timeout, Some(Duration::from_secs(1)));
        assert!(!config.nodelay);
        assert_eq!(config.dispatch, Dispatch::Workers);
    }
}
