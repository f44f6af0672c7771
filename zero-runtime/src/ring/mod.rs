//! The edge to the kernel: what a shard may ask of it, and the facts that come back.
//!
//! Owns sockets' operations and every byte the kernel may touch. Knows nothing of HTTP, tokio or
//! connections' states. [`uring::Uring`] is the real edge, `sim::SimRing` the seeded one of the
//! tests; a shard cannot tell them apart.

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use socket2::{SockAddr, SockRef};

use crate::addr::PeerCred;
use crate::cpus::CoreTicks;
use crate::lent::LentSocket;
use crate::pool::write_buf::WriteBuf;
use crate::slots::Key;
use crate::time::{CoreTimes, Now, process_ns};

/// Which of a shard's listeners, by position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerId(pub u32);

/// One typed fact from the kernel.
pub enum Completion<R: Ring + ?Sized> {
    /// A connection was accepted, or accepting failed. Without `more` accepting has ended and
    /// must be armed again.
    Accepted {
        /// The listener it came from.
        listener: ListenerId,
        /// The new socket, or why there is none.
        result: io::Result<R::Socket>,
        /// Whether further completions of this kind will come unasked.
        more: bool,
    },
    /// Bytes arrived in a buffer of the ring: `None` is the peer's end of stream. Without `more`
    /// receiving has ended and must be armed again.
    Received {
        /// The connection.
        conn: Key,
        /// The bytes, on loan from the ring.
        result: io::Result<Option<R::Lease>>,
        /// Whether further completions of this kind will come unasked.
        more: bool,
    },
    /// A [`Ring::watch`] ended: there is something to receive, if only the peer's end of stream.
    Readable {
        /// The connection.
        conn: Key,
        /// Why it ended otherwise.
        result: io::Result<()>,
    },
    /// A [`Ring::recv_into`] ended: `result` bytes were appended to `buf`, 0 at end of stream.
    ReceivedInto {
        /// The connection.
        conn: Key,
        /// The buffer that went in.
        buf: BytesMut,
        /// How many bytes were appended.
        result: io::Result<usize>,
    },
    /// A send ended: `result` bytes of `buf` are already taken off its front.
    Sent {
        /// The connection.
        conn: Key,
        /// What went in, less what was sent.
        buf: Box<WriteBuf>,
        /// How many bytes the kernel took.
        result: io::Result<usize>,
    },
    /// A [`Ring::connect`] ended.
    Connected {
        /// The connection.
        conn: Key,
        /// Why it is none.
        result: io::Result<()>,
    },
    /// Somebody called the shard's wakeup.
    Woken,
}

/// How long a turn may wait for a fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all: submit, reap what is there.
    Poll,
    /// Until a fact comes or the ring's clock has reached this, in nanoseconds. It may end before.
    Until(u64),
    /// Until a fact comes.
    Forever,
}

/// What a shard asks of the kernel.
///
/// At most one operation of each kind is in flight per connection, so `(conn, kind)` names it:
/// asking for a second one while the first is in flight is a bug and panics. Everything handed in
/// is owned by the ring until its completion, so nothing can be freed while the kernel writes to it.
pub trait Ring {
    /// A connected socket.
    type Socket;
    /// Received bytes on loan; dropping it gives the buffer back to the kernel.
    type Lease: Deref<Target = [u8]>;

    /// The present instant on this ring's clock.
    fn now(&self) -> Now;

    /// The present instant on a clock that is alike for all rings of the process, in nanoseconds.
    fn common_ns(&self) -> u64 {
        process_ns()
    }

    /// What this thread has done with its core, where that can be told; a system call.
    fn core_times(&mut self) -> CoreTimes {
        CoreTimes::default()
    }

    /// What all cores of the process have done, where that can be told; some 30 us.
    fn core_ticks(&mut self) -> Option<CoreTicks> {
        None
    }

    /// Accepts until told otherwise.
    fn arm_accept(&mut self, listener: ListenerId);
    /// Asks that accepting ends; an `Accepted` without `more` follows if it was armed.
    fn cancel_accept(&mut self, listener: ListenerId);
    /// Takes a connection that already waits, if there is one. Accepting must have ended.
    fn accept_waiting(&mut self, listener: ListenerId) -> Option<Self::Socket>;
    /// Closes a listener: later connects are refused, what waits is reset. Accepting must have ended.
    fn close_listener(&mut self, listener: ListenerId);

    /// Receives into buffers the kernel picks, until told otherwise.
    fn arm_recv(&mut self, conn: Key, socket: &Self::Socket);
    /// Waits until there is something to receive, and leaves it there. Counts as a receive.
    fn watch(&mut self, conn: Key, socket: &Self::Socket);
    /// Receives once, appending to the spare capacity of `buf`, which must not be empty.
    fn recv_into(&mut self, conn: Key, socket: &Self::Socket, buf: BytesMut);
    /// Asks that receiving ends; a `Received` without `more`, a `ReceivedInto` or a `Readable`
    /// follows.
    fn cancel_recv(&mut self, conn: Key);
    /// Sends all of `buf`, or as much as one operation takes.
    fn send(&mut self, conn: Key, socket: &Self::Socket, buf: Box<WriteBuf>);
    /// Asks that the send in flight ends; its `Sent` follows.
    fn cancel_send(&mut self, conn: Key);

    /// Makes a socket for `addr` that is not connected yet.
    ///
    /// # Errors
    /// What the kernel says; `Unsupported` where a ring only accepts.
    fn socket_for(&self, _addr: &SockAddr) -> io::Result<Self::Socket> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Connects a socket of [`socket_for`](Self::socket_for); a `Connected` follows.
    fn connect(&mut self, _conn: Key, _socket: &Self::Socket, _addr: SockAddr) {
        unreachable!("a ring that makes no sockets connects none")
    }
    /// Asks that connecting ends; its `Connected` follows.
    fn cancel_connect(&mut self, _conn: Key) {}

    /// Ends the write side: the peer sees end of stream after what was sent.
    fn shutdown_write(&mut self, socket: &Self::Socket);
    /// Makes the peer see a reset rather than an orderly end when the socket is closed.
    fn reset_on_close(&mut self, socket: &Self::Socket);
    /// Lends the socket to somebody who writes to it in this ring's place; `None` where that is not possible.
    /// Whoever asks sees to it that nothing is sent meanwhile, and that it stays open.
    fn lend(&self, _socket: &Self::Socket) -> Option<LentSocket> {
        None
    }
    /// Gives a socket back. No operation may be in flight on it.
    fn close(&mut self, socket: Self::Socket);
    /// Gives the socket to somebody else. Nothing may be in flight on it.
    ///
    /// # Errors
    /// When there is no descriptor to give; the socket is closed then.
    fn release(&mut self, socket: Self::Socket) -> io::Result<OwnedFd>;
    /// The socket goes to another ring of the same kind. Nothing may be in flight on it.
    fn part_with(&mut self, _socket: &Self::Socket) {}
    /// Bytes the peer has not acknowledged, where that can be told.
    fn unacknowledged_bytes(&self, _socket: &Self::Socket) -> Option<u32> {
        None
    }
    /// The other end's address, where it has one.
    fn peer_addr(&self, socket: &Self::Socket) -> io::Result<SocketAddr>;

    /// Who is at the other end of a Unix socket, where that can be told.
    fn peer_cred(&self, _socket: &Self::Socket) -> Option<PeerCred> {
        None
    }
    /// The socket's options, where it has any.
    fn options<'a>(&self, _socket: &'a Self::Socket) -> Option<SockRef<'a>> {
        None
    }

    /// Submits all that was asked, waits as told, and collects completions.
    ///
    /// # Errors
    /// Only what makes the ring unusable; passing trouble is retried and counted inside.
    fn turn(&mut self, wait: Wait) -> io::Result<()>;
    /// Whether a turn would find a completion, or something the kernel wants done, as far as can be
    /// told without entering it.
    fn has_news(&mut self) -> bool;
    /// The next collected completion.
    fn next_completion(&mut self) -> Option<Completion<Self>>;
}

pub mod listener;
pub mod probe;
mod recv_ring;
pub mod spread;
pub mod unix;
pub mod uring;
mod user_data;
