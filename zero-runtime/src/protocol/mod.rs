//! What a shard asks of a protocol: [`ProtocolHandler`], and what it answers with.
//!
//! Bytes and time go in, events and bytes come out: a handler does no IO and reads no clock, so that it
//! can be tested at every split of its input without a socket. HTTP/1.1 is one ([`Http1`], for services as for
//! who owns the loop), plain streams are another (`raw/standard`).

mod http1;
mod wire;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::addr::{EndpointId, PeerCred};
use crate::slots::Key;

pub use crate::proto::{Next, Step};
pub(crate) use http1::Http1;
pub use wire::Wire;
pub(crate) use wire::{Asked, Ending};

/// A protocol that a [`ProtocolShard`](crate::ProtocolShard) speaks: one object for the shard, with a
/// state for each connection.
///
/// The shard does what is the same for every protocol: it accepts and connects, receives into its own
/// buffers, sends what was written, one send at a time, watches peers that take nothing
/// (`Config::write_timeout`), ends connections in order, and drains. All calls come from its own thread.
///
/// Every call may write to the connection and ask for things through its [`Wire`]. An event that it
/// returns reaches whoever owns the loop; a protocol that answers by itself, as below, has none.
///
/// # Panics
/// A handler that panics takes the loop with it: it is the owner's code in the owner's thread.
///
/// # Examples
/// All there is to an echo:
/// ```
/// use std::convert::Infallible;
/// use zero_runtime::raw::{Opening, ProtocolHandler, Step, Wire};
///
/// struct Echo;
///
/// impl ProtocolHandler for Echo {
///     type Conn = ();
///     type Event = Infallible;
///     type Order = Infallible;
///
///     fn open(&mut self, _opening: &Opening, _wire: &mut Wire<'_>) {}
///
///     fn handle_input(&mut self, (): &mut (), input: &[u8], wire: &mut Wire<'_>) -> Step<Infallible> {
///         // What does not fit is presented again when there is room.
///         let taken = wire.write(input);
///         match taken == input.len() {
///             true => Step::more(taken),
///             false => Step::later(taken),
///         }
///     }
///
///     fn handle_room(&mut self, (): &mut (), wire: &mut Wire<'_>) -> Option<Infallible> {
///         wire.look_again();
///         None
///     }
/// }
/// ```
pub trait ProtocolHandler {
    /// The state of one connection.
    type Conn;
    /// What the owner of the loop is told. Speaks of the input in ranges.
    type Event;
    /// What other threads may ask of a connection, through a
    /// [`ProtocolHandle`](crate::raw::ProtocolHandle).
    type Order: Send + 'static;

    /// A connection is there, and may be written to.
    fn open(&mut self, opening: &Opening, wire: &mut Wire<'_>) -> Self::Conn;

    /// What is to be told of a connection that has just been opened.
    fn handle_open(
        &mut self,
        conn: &mut Self::Conn,
        opening: &Opening,
        wire: &mut Wire<'_>,
    ) -> Option<Self::Event> {
        let _ = (conn, opening, wire);
        None
    }

    /// Makes the next step in `input`, which begins at the first byte not yet consumed.
    ///
    /// What a step leaves is kept by the shard and presented again: at once after an event, be it empty,
    /// with more behind it after [`Step::more`], when it was asked for after [`Step::later`]. Once more
    /// than `Config::request_window_bytes` (256 KiB unless set; `Config::head_bytes_max` if that is more)
    /// are kept, receiving pauses until some of them are consumed: a machine that waits for more in one
    /// piece waits for ever, or for its timeout.
    fn handle_input(
        &mut self,
        conn: &mut Self::Conn,
        input: &[u8],
        wire: &mut Wire<'_>,
    ) -> Step<Self::Event>;

    /// The peer has ended its side, and all it sent before has been presented. Unless implemented, what is
    /// written goes out and the connection closes.
    fn handle_eof(&mut self, conn: &mut Self::Conn, wire: &mut Wire<'_>) -> Option<Self::Event> {
        let _ = conn;
        wire.close_graceful();
        None
    }

    /// There is room again on a connection that had none: at most half of the window is unsent.
    fn handle_room(&mut self, conn: &mut Self::Conn, wire: &mut Wire<'_>) -> Option<Self::Event> {
        let _ = (conn, wire);
        None
    }

    /// The time set by [`Wire::set_timeout`] is over; at most 32 ms ago, if the loop is polled.
    fn handle_timeout(
        &mut self,
        conn: &mut Self::Conn,
        wire: &mut Wire<'_>,
    ) -> Option<Self::Event> {
        let _ = (conn, wire);
        None
    }

    /// A waker of [`Wire::waker`] was called, perhaps by another thread.
    fn handle_wake(&mut self, conn: &mut Self::Conn, wire: &mut Wire<'_>) -> Option<Self::Event> {
        let _ = (conn, wire);
        None
    }

    /// The turn's sends are about to leave: the last moment to write what depends on nothing else having
    /// been written. Called once for each [`Wire::before_send`].
    fn handle_flush(&mut self, conn: &mut Self::Conn, wire: &mut Wire<'_>) {
        let _ = (conn, wire);
    }

    /// The shard shuts down. Unless implemented, what is written goes out and the connection closes.
    fn handle_drain(&mut self, conn: &mut Self::Conn, wire: &mut Wire<'_>) -> Option<Self::Event> {
        let _ = conn;
        wire.close_graceful();
        None
    }

    /// Somebody else asks for something.
    fn handle_order(
        &mut self,
        conn: &mut Self::Conn,
        order: Self::Order,
        wire: &mut Wire<'_>,
    ) -> Option<Self::Event> {
        let _ = (conn, order, wire);
        None
    }

    /// Whether an order is to close its connection. Such a one is obeyed without the protocol where that has
    /// no part in the connection: while it is being connected, and, at once, while it is closing already.
    fn closes(order: &Self::Order) -> Option<Closing> {
        let _ = order;
        None
    }

    /// A connection that was asked for did not come about; it never had a state.
    fn handle_unconnected(&mut self, conn: ConnId, why: DisconnectReason) -> Option<Self::Event> {
        let _ = (conn, why);
        None
    }

    /// The connection is gone; its state with it.
    fn handle_closed(&mut self, conn: Self::Conn, why: DisconnectReason) -> Option<Self::Event> {
        let _ = (conn, why);
        None
    }
}

/// Names a connection of one shard. It outlives its connection harmlessly: it then names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId(pub(crate) Key);

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index, self.0.generation)
    }
}

/// What is known of a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Its name.
    pub conn: ConnId,
    /// The listener it came through; `None` for one that was connected from here.
    pub endpoint: Option<EndpointId>,
    /// The other end; unspecified (`0.0.0.0:0`) for a Unix socket, and when the peer was gone before it
    /// could be asked.
    pub peer_addr: SocketAddr,
    /// Who is at the other end of a Unix socket.
    pub peer_cred: Option<PeerCred>,
}

/// How an order closes its connection: see [`ProtocolHandler::closes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// Behind what was written.
    Graceful,
    /// Whatever its state.
    Now,
}

/// Why a connection is gone.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisconnectReason {
    /// Both sides have ended it in order.
    Ended,
    /// This side has closed it: asked to, by its protocol, because the shard shuts down, or because a request was
    /// not answered within `Config::request_timeout`.
    Closed,
    /// Receiving or sending failed: `ConnectionReset` when the peer reset it, `BrokenPipe` when it had
    /// gone before.
    Failed(io::ErrorKind),
    /// It could not be connected.
    ConnectFailed(io::ErrorKind),
    /// The peer took nothing of what was sent for longer than `Config::write_timeout`; or its protocol
    /// [says](Wire::note_timed_out) that it was late with what it had to send: over HTTP/1.1 a head, the next request
    /// or a body (`Config::head_timeout`, `keep_alive_timeout`, `body_timeout`).
    TimedOut,
    /// The shard ran out of `Config::buffered_bytes_max`, and the peer took next to nothing of what was
    /// sent.
    Shed,
}
