//! [`ProtocolShard`]: one ring and its connections, a protocol of your choice, and no loop but yours.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockAddr, SockRef};

use super::handle::ProtocolHandle;
use crate::addr::{EndpointId, LocalAddr};
use crate::config::{BackendChoice, Config};
use crate::limits::Limits;
use crate::protocol::{ConnId, ProtocolHandler, Wire};
use crate::ring::uring::{ListenSocket, Uring, UringConfig};
use crate::ring::{listener, unix};
use crate::server;
use crate::shard::raw::{ConnStats, Host, HostSeed, Told};
use crate::stats::{ShardCounters, Stats};

/// One event of a [`ProtocolShard`].
#[derive(Debug)]
pub struct Happened<'a, E> {
    /// The connection it happened to.
    pub conn: ConnId,
    /// What.
    pub event: E,
    /// The input that the event speaks of by ranges, where it was received; empty if it speaks of none.
    pub input: &'a [u8],
}

/// One ring and its connections, in the thread that made it, speaking the protocol `P`.
///
/// The loop is yours: [`poll`](Self::poll) sends what was written and waits, [`next_event`](Self::next_event)
/// is then called until there is none. Nothing happens in between: no thread is started, no runtime needed,
/// and no code of yours is called but in these two. For streams and HTTP/1.1 there is
/// [`RawShard`](crate::RawShard), which is one of these.
///
/// The configuration is that of a server, for one shard; what it says of dispatch, workers and waking has no
/// meaning here. [`Config::connections_max`], the sizes of buffers and windows, `nodelay`, `backlog`,
/// `write_timeout` and `linger_timeout` hold for every protocol.
///
/// Dropping it closes every connection at once. Buffers that the kernel was given stay its own until it has
/// let go of them, which dropping waits for.
///
/// # Examples
/// ```no_run
/// # use std::convert::Infallible;
/// # use zero_runtime::{Config, ProtocolHandler, ProtocolShard};
/// # use zero_runtime::raw::{Opening, Step, Wire};
/// struct Hello;
///
/// impl ProtocolHandler for Hello {
///     type Conn = ();
///     type Event = Infallible;
///     type Order = Infallible;
///
///     fn open(&mut self, _: &Opening, wire: &mut Wire<'_>) {
///         wire.write(b"hello\n");
///         wire.close_graceful();
///     }
///
///     fn handle_input(&mut self, (): &mut (), input: &[u8], _: &mut Wire<'_>) -> Step<Infallible> {
///         Step::more(input.len())
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let mut shard = ProtocolShard::new(Config::default(), Hello)?;
/// shard.tcp_listen(([127, 0, 0, 1], 3000).into())?;
/// loop {
///     shard.poll(None)?;
///     while shard.next_event().is_some() {}
/// }
/// # }
/// ```
pub struct ProtocolShard<P: ProtocolHandler> {
    host: Host<Uring, P>,
    limits: Limits,
    counters: Arc<ShardCounters>,
}

impl<P: ProtocolHandler> ProtocolShard<P> {
    /// Sets a ring up for this thread.
    ///
    /// # Errors
    /// A configuration that cannot work; a kernel that refuses io_uring, with cause and remedy; memory or
    /// descriptors that cannot be had. There is no other backend: a configuration, or `ZERO_BACKEND`, that
    /// asks for hyper is `Unsupported`.
    pub fn new(config: Config, handler: P) -> io::Result<Self> {
        Self::with_limits(limits(config)?, |_, _| handler)
    }

    pub(super) fn with_limits(
        limits: Limits,
        handler: impl FnOnce(&Limits, &Arc<ShardCounters>) -> P,
    ) -> io::Result<Self> {
        server::require_io_uring()?;
        let seed = HostSeed::new(limits.clone())?;
        let counters = seed.counters.clone();
        let ring = Uring::new(UringConfig {
            listeners: Vec::new(),
            recv_buffers: limits.recv_buffers,
            recv_buffer_bytes: limits.recv_buffer_bytes,
            huge_pages: limits.huge_pages,
            wakeup: seed.bell.clone(),
            counters: counters.clone(),
        })?;
        let handler = handler(&limits, &counters);
        Ok(ProtocolShard {
            host: Host::new(ring, seed, handler),
            limits,
            counters,
        })
    }

    /// Listens for TCP at `addr`; port 0 picks a free one, see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// What `bind` or `listen` say; an address that somebody else listens at is refused.
    pub fn tcp_listen(&mut self, addr: SocketAddr) -> io::Result<EndpointId> {
        let limits = &self.limits;
        let sockets = listener::bind(addr, 1, limits.backlog, limits.nodelay)?;
        let socket = sockets.into_iter().next().expect("one was asked for");
        let local_addr = LocalAddr::Tcp(socket.local_addr()?);
        Ok(self.listen(socket.into(), local_addr))
    }

    /// Listens at a Unix socket, a file at `path`, as
    /// [`Io::http_listen_unix`](crate::Io::http_listen_unix) does.
    ///
    /// # Errors
    /// As there.
    pub fn unix_listen(&mut self, path: impl AsRef<Path>) -> io::Result<EndpointId> {
        let socket = unix::bind(path.as_ref(), self.limits.backlog)?;
        let local_addr = LocalAddr::Unix(socket.local_addr()?);
        Ok(self.listen(socket.into(), local_addr))
    }

    fn listen(&mut self, fd: std::os::fd::OwnedFd, local_addr: LocalAddr) -> EndpointId {
        self.host
            .listen(ListenSocket { fd, is_ours: true }, local_addr)
    }

    /// Begins to connect to `addr`. The handler's `open` is called once it is connected,
    /// `handle_unconnected` if it cannot be; how long the kernel tries is the system's
    /// `net.ipv4.tcp_syn_retries`, unless it is [closed](Self::close) before.
    ///
    /// # Errors
    /// `QuotaExceeded` while `Config::connections_max` are open or the shard shuts down; what `socket` says.
    pub fn tcp_connect(&mut self, addr: SocketAddr) -> io::Result<ConnId> {
        self.host.connect(addr.into())
    }

    /// The same, to a Unix socket.
    ///
    /// # Errors
    /// As [`tcp_connect`](Self::tcp_connect); `InvalidInput` when the path is longer than the kernel takes.
    pub fn unix_connect(&mut self, path: impl AsRef<Path>) -> io::Result<ConnId> {
        self.host.connect(SockAddr::unix(path)?)
    }

    /// The address a TCP listener is bound to.
    ///
    /// # Errors
    /// `NotFound` when `endpoint` is another shard's; `Unsupported` when it is a Unix socket.
    pub fn local_addr(&self, endpoint: EndpointId) -> io::Result<SocketAddr> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such listener");
        self.host
            .local_addr(endpoint)
            .ok_or_else(unknown)
            .and_then(LocalAddr::tcp)
    }

    /// Sends what was written, and waits until something happens, for `timeout` at most: `None` without end,
    /// zero not at all. Lets go of the last event's input.
    ///
    /// Returns at once while events are left to be taken. It may also return without any.
    ///
    /// # Errors
    /// Only what makes the ring unusable; drop the shard then. Trouble of a single connection is told with
    /// its end.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.host.poll(timeout)
    }

    /// The next event, until there is none: then poll. Lets go of the last one's input.
    pub fn next_event(&mut self) -> Option<Happened<'_, P::Event>> {
        let Told { conn, event, input } = self.host.next()?;
        Some(Happened { conn, event, input })
    }

    /// Lets `act` work on a connection that is open: `None` when it is not, and `act` is not called.
    ///
    /// What is written is sent with the next [`poll`](Self::poll).
    pub fn with<T>(
        &mut self,
        conn: ConnId,
        act: impl FnOnce(&mut P, &mut P::Conn, &mut Wire<'_>) -> T,
    ) -> Option<T> {
        self.host.with(conn.0, act)
    }

    /// The same with the input of the last event beside it, which need not be the same connection's.
    pub fn with_input<T>(
        &mut self,
        conn: ConnId,
        act: impl FnOnce(&mut P::Conn, &mut Wire<'_>, &[u8]) -> T,
    ) -> Option<T> {
        self.host.with_input(conn.0, act)
    }

    pub(super) fn input(&self) -> &[u8] {
        self.host.input()
    }

    /// The protocol.
    pub fn handler(&mut self) -> &mut P {
        &mut self.host.handler
    }

    /// A way to connections of this shard, for any thread.
    pub fn handle(&self) -> ProtocolHandle<P::Order> {
        ProtocolHandle::new(self.host.orders().clone())
    }

    /// Closes a connection at once, also one that is still being connected. What is unsent is dropped; a peer
    /// whose bytes were not read sees a reset. One that is gone is left alone.
    pub fn close(&mut self, conn: ConnId) {
        self.host.close(conn);
    }

    /// Closes a connection behind what was written, in order: the write side ends, and what still arrives is
    /// swallowed until the peer ends, too, for `Config::linger_timeout` (2 s unless set) at most. One that is still being
    /// connected is closed at once.
    pub fn close_graceful(&mut self, conn: ConnId) {
        self.host.close_graceful(conn);
    }

    /// Stops accepting, closes the listeners and lets each connection end as its protocol sees fit. Go on
    /// polling until [`has_ended`](Self::has_ended).
    pub fn shutdown(&mut self) {
        self.host.shutdown();
    }

    /// The same, at once: what is left is cut off by the next [`poll`](Self::poll).
    pub fn terminate(&mut self) {
        self.host.terminate();
    }

    /// Whether the shard was shut down and nothing is left.
    pub fn has_ended(&self) -> bool {
        self.host.has_ended()
    }

    /// The socket of an open connection, for its options.
    pub fn socket(&mut self, conn: ConnId) -> Option<SockRef<'_>> {
        self.host.options(conn)
    }

    /// What is known of a connection, unless it is gone.
    pub fn conn_stats(&mut self, conn: ConnId) -> Option<ConnStats> {
        self.host.conn_stats(conn)
    }

    /// What the shard has counted since it was made. Requests and responses are counted by services only.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// The validated configuration.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl<P: ProtocolHandler> fmt::Debug for ProtocolShard<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolShard")
            .field("connections", &self.counters.connections_open.get())
            .finish_non_exhaustive()
    }
}

pub(super) fn limits(config: Config) -> io::Result<Limits> {
    let limits = config.shards(1).into_limits()?;
    match limits.backend {
        BackendChoice::Auto | BackendChoice::IoUring => Ok(limits),
        BackendChoice::Hyper => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a shard of one's own has no backend but io_uring; leave Config::backend and ZERO_BACKEND at \
             auto",
        )),
    }
}
