//! One connection as its shard sees it: socket, protocol machine, bytes in and out, deadlines.
//!
//! Holds state and answers questions about it; acts on nothing.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::PendingCall;
use crate::bridge::inbox::ConnSignal;
use crate::bridge::peers::Ticket;
use crate::bridge::reply::ReplyReceiver;
use crate::bridge::request_body::BodySender;
use crate::driver::Driver;
use crate::error::BoxError;
use crate::limits::{SPARE_CARRIES_MAX, SPARE_CARRY_BYTES_MAX};
use crate::overload::Windows;
use crate::pool::arena::Arena;
use crate::pool::copies::{self, Copied};
use crate::pool::write_buf::{Mark, WriteBuf};
use crate::proto::h1;
use crate::protocol::DisconnectReason;
use crate::service::HttpService;
use crate::stats::ShardCounters;
use crate::upgrade::UpgradeSender;

/// So little pipelined input is not worth being counted among what connections hold.
const CARRY_FREE_BYTES: usize = 4096;

/// No deadline.
pub(super) const NEVER: u64 = u64::MAX;

/// How far a connection is on its way from open to closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Requests are read and answered.
    Open,
    /// No further request is read; what is queued goes out, then the write side ends.
    Flushing,
    /// What is queued goes out and what comes in is kept, for whoever goes on with the connection.
    Leaving,
    /// The write side has ended; what still arrives is swallowed until the peer ends too.
    Lingering,
    /// Nothing is asked of the kernel any more; closed when nothing is in flight.
    Terminating,
}

/// What is asked of the kernel on the receive side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Recv {
    Idle,
    Multishot,
    /// To tell when there is something: the buffer is made then.
    Watching,
    /// There is something, to be received in its turn.
    Ready,
    /// Into a buffer of our own.
    Direct,
    /// Behind what a parked call has collected of its body, in place.
    Lent,
    /// Asked to end; what arrives before that is still taken.
    Cancelling,
}

/// Where the bytes of the present request's body go.
pub(super) enum Incoming<H> {
    /// There is no body, or it has come to its end.
    Nothing,
    /// Beside the call with this number, which has not been made yet.
    Collecting(u64),
    /// Beside a call that waits a moment for the rest of it.
    Parked(Box<PendingCall<H>>),
    /// To whoever polls it. `direct` once the rest is worth receiving into buffers of its own.
    Streaming { sender: BodySender, direct: bool },
    /// Nowhere: nobody reads it any more.
    Skipping,
}

impl<H> Incoming<H> {
    /// Bytes of the body that lie here for the handler; what has come since the last turn aside.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Incoming::Parked(call) => call.body.held_bytes(),
            Incoming::Streaming { sender, .. } => sender.unread_bytes(),
            Incoming::Nothing | Incoming::Collecting(_) | Incoming::Skipping => 0,
        }
    }
}

/// Where the present request is.
pub(super) enum Exchange<S: HttpService> {
    /// There is none.
    Idle,
    /// Among the calls that this shard makes next.
    Queued,
    /// With a worker, for its first poll.
    Calling,
    /// In a task of its own.
    Detached(ReplyReceiver),
    /// On this shard, until it is woken.
    Local(Pin<Box<Driver<S>>>),
}

impl<S: HttpService> Exchange<S> {
    /// Whether a part of the response has been given and not yet been taken.
    pub(super) fn has_reply(&self) -> bool {
        matches!(self, Exchange::Detached(reply) if !reply.is_empty())
    }
}

/// What a read deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadWait {
    /// Nothing is waited for, or the handler is.
    Nothing,
    /// So much of a body that its rate is not too low.
    Body,
    /// A whole head, from the connection's or the head's first byte on.
    Head,
    /// The first byte of the next request.
    KeepAlive,
    /// An answer by somebody else, of which nobody tells.
    Lent,
    /// The peer's end of stream.
    Linger,
    /// Whatever the protocol of a raw shard waits for.
    Handler,
}

/// Who goes on with a connection that leaves its shard.
pub(super) enum Destination {
    /// The application, once it has agreed to the present request's upgrade.
    Upgrade(UpgradeSender),
    /// An HTTP/2 server.
    Http2,
    /// Another shard, or this one if there is none by then.
    Shard,
}

/// The span over which the rate of a body is judged next.
#[derive(Clone, Copy, Default)]
pub(super) struct BodySpan {
    pub(super) bytes: u64,
    /// Receiving was not always welcome in it: the peer is not to blame for its rate.
    pub(super) is_excused: bool,
}

/// A body of this size is large: receiving it where it will lie beats copying it there. In the tests
/// smaller ones are, so that the simulation has many.
const BULK_BYTES_MIN: u64 = if cfg!(test) { 1024 } else { 32 * 1024 };
/// Room for a head before the large body that a connection is likely to send.
const BULK_HEAD_BYTES: usize = 2 * 1024;
/// A larger body is received in several pieces.
const BULK_BYTES_MAX: usize = 256 * 1024;
/// So many large bodies more than small ones make them usual, and so many count at most.
const BULK_USUAL: u8 = 2;
const BULK_USUAL_MAX: u8 = 4;

/// Whether a connection's requests have large bodies, by its last few.
#[derive(Clone, Copy, Default)]
pub(super) struct Bulk {
    count: u8,
    is_usual: bool,
    /// Length of the last large one.
    bytes: u64,
}

impl Bulk {
    /// A request comes with a body of so many bytes.
    #[inline]
    pub(super) fn note(&mut self, body_bytes: u64) {
        if body_bytes >= BULK_BYTES_MIN {
            self.bytes = body_bytes;
            self.count = (self.count + 1).min(BULK_USUAL_MAX);
            self.is_usual |= self.count >= BULK_USUAL;
        } else if self.count > 0 {
            self.count -= 1;
            self.is_usual &= self.count > 0;
        }
    }

    /// Whether the next is likely to be large, too.
    #[inline]
    pub(super) fn is_usual(self) -> bool {
        self.is_usual
    }

    /// Room for the next with its head.
    #[inline]
    pub(super) fn room(self, windows: &Windows) -> usize {
        let bytes_max = BULK_BYTES_MAX.min(windows.request_bytes);
        BULK_HEAD_BYTES + self.bytes.min(bytes_max as u64) as usize
    }
}

/// The result of a maker that had to wait.
pub(super) type Making<S> = oneshot::Receiver<Result<S, BoxError>>;

pub(super) struct Conn<K, S: HttpService> {
    pub(super) state: State,
    /// `None` while `making`.
    pub(super) service: Option<S>,
    pub(super) making: Option<Making<S>>,
    pub(super) h1: h1::Conn,
    /// Bytes received and not yet consumed by the machine.
    pub(super) carry: Carry,
    pub(super) incoming: Incoming<S::Head>,
    pub(super) exchange: Exchange<S>,
    /// Bytes to send, staged while a send is in flight or until the turn ends.
    pub(super) out: Option<Box<WriteBuf>>,
    /// Where in `out` the present response begins; `None` once any of it may have been sent.
    pub(super) begun: Option<Mark>,
    /// Bytes of the send in flight.
    pub(super) sending_bytes: usize,
    pub(super) recv: Recv,
    /// Bytes of memory that the kernel is to receive into, and nobody else.
    pub(super) receiving_bytes: usize,
    /// The peer has ended its side.
    pub(super) read_closed: bool,
    /// Who has the connection when it leaves, if it may.
    pub(super) destination: Option<Destination>,
    /// What the peer sends cannot be understood any more.
    pub(super) deaf: bool,
    pub(super) bulk: Bulk,
    /// On the shard's list of connections with something to send.
    pub(super) dirty: bool,
    pub(super) signal: Option<Arc<ConnSignal>>,
    pub(super) read_wait: ReadWait,
    pub(super) read_deadline_ns: u64,
    pub(super) write_deadline_ns: u64,
    /// When the response is to have begun.
    pub(super) request_deadline_ns: u64,
    pub(super) body_span: BodySpan,
    /// Requests that have come.
    pub(super) requests: u32,
    /// Its place among its peer's connections, where they are counted.
    pub(super) ticket: Option<Box<Ticket>>,
    /// What the peer had not acknowledged when that was last looked at, and how often it has
    /// been the same since. A blocked send tells nothing until a good part of it is taken.
    pub(super) unacknowledged: (Option<u32>, u8),
    /// When the wheel will next mention this connection.
    pub(super) timer_at_ns: u64,
    /// A connect is in flight.
    pub(super) connecting: bool,
    /// Bytes of the carry that are being looked at, apart from it.
    pub(super) kept_bytes: usize,
    /// Whoever owns the loop does not want to read at present.
    pub(super) paused: bool,
    /// What ended the connection, if it was neither side in order.
    pub(super) why: Option<DisconnectReason>,
    /// The present request's head, if it is too large to share a block of the arena.
    pub(super) large_head_bytes: u32,
    /// What the shard counts this connection to hold, its send in flight aside.
    pub(super) charged_bytes: usize,
    // Last, so that it is still open when `exchange` is dropped, which may have lent it.
    pub(super) socket: K,
}

impl<K, S: HttpService> Conn<K, S> {
    pub(super) fn new(socket: K) -> Self {
        Conn {
            state: State::Open,
            service: None,
            making: None,
            h1: h1::Conn::new(),
            carry: Carry::default(),
            incoming: Incoming::Nothing,
            exchange: Exchange::Idle,
            out: None,
            begun: None,
            sending_bytes: 0,
            recv: Recv::Idle,
            receiving_bytes: 0,
            read_closed: false,
            destination: None,
            deaf: false,
            bulk: Bulk::default(),
            dirty: false,
            signal: None,
            read_wait: ReadWait::Nothing,
            read_deadline_ns: NEVER,
            write_deadline_ns: NEVER,
            request_deadline_ns: NEVER,
            body_span: BodySpan::default(),
            requests: 0,
            ticket: None,
            unacknowledged: (None, 0),
            timer_at_ns: NEVER,
            connecting: false,
            kept_bytes: 0,
            paused: false,
            why: None,
            large_head_bytes: 0,
            charged_bytes: 0,
            socket,
        }
    }

    /// A request has come; the last that the connection may ask ends it behind its response.
    #[inline]
    pub(super) fn count_request(&mut self, most: Option<u32>, counters: &ShardCounters) {
        counters.requests.increment();
        self.requests = self.requests.saturating_add(1);
        if most == Some(self.requests) {
            counters.connections_used_up.increment();
            self.h1.close_after_response();
        }
    }

    /// Bytes of responses that the kernel has not taken yet.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.sending_bytes + self.out.as_ref().map_or(0, |out| out.len())
    }

    /// Whether nothing is to be changed, as far as a glance tells: the common case between and
    /// within small requests.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.state == State::Open
            && !self.paused
            && match self.recv {
                Recv::Multishot => !self.bulk.is_usual(),
                Recv::Watching => true,
                _ => false,
            }
            && matches!(self.incoming, Incoming::Nothing)
            && self.charged_bytes == 0
            && self.carry.len() <= CARRY_FREE_BYTES
            && self.deadline_ns() >= self.timer_at_ns
    }

    /// Whether the next request has to wait until the peer has read more of its answers.
    pub(super) fn is_stalled(&self, window: usize) -> bool {
        matches!(self.exchange, Exchange::Idle) && self.unsent_bytes() >= window
    }

    /// Whether somebody waits for bytes to have been sent: what is staged, a reply, or a request that
    /// was held back.
    #[inline]
    pub(super) fn wants_room(&self) -> bool {
        self.out.is_some()
            || match self.exchange {
                Exchange::Detached(_) | Exchange::Local(_) => true,
                Exchange::Idle => !self.carry.is_empty(),
                Exchange::Queued | Exchange::Calling => false,
            }
    }

    /// A send of so many bytes begins, to be looked at when `deadline_ns` has come.
    #[inline]
    pub(super) fn note_send(&mut self, bytes: usize, deadline_ns: u64) {
        self.sending_bytes = bytes;
        self.write_deadline_ns = deadline_ns;
        self.unacknowledged = (None, 0);
    }

    pub(super) fn is_sending(&self) -> bool {
        self.sending_bytes > 0
    }

    /// Whether an operation of this connection is in flight, or somebody else may write to it.
    pub(super) fn is_in_flight(&self) -> bool {
        self.is_lent()
            || self.is_sending()
            || !matches!(self.recv, Recv::Idle | Recv::Ready)
            || self.connecting
    }

    pub(super) fn deadline_ns(&self) -> u64 {
        let io = self.read_deadline_ns.min(self.write_deadline_ns);
        io.min(self.request_deadline_ns)
    }

    pub(super) fn wait_for(&mut self, wait: ReadWait, deadline_ns: u64) {
        self.read_wait = wait;
        self.read_deadline_ns = deadline_ns;
    }
}

/// Unconsumed input. Holds no memory while empty.
#[derive(Default)]
pub(super) struct Carry {
    bytes: Vec<u8>,
    /// Bytes at the front that have been consumed.
    consumed: usize,
}

/// Consumed bytes are moved out of the way once there are this many.
const CARRY_COMPACT_BYTES: usize = 4096;

impl Carry {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory it holds.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives memory back that is much more than it needs.
    pub(super) fn trim(&mut self) {
        if self.bytes.capacity() > 4 * self.len() + CARRY_COMPACT_BYTES {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
            self.bytes.shrink_to_fit();
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], spares: &mut Vec<Vec<u8>>) {
        if self.bytes.capacity() == 0 {
            self.bytes = spares.pop().unwrap_or_default();
        }
        if self.consumed >= CARRY_COMPACT_BYTES {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
        copies::append(Copied::Carried, bytes, &mut self.bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// Marks bytes consumed; once all are, the memory goes to `spares`.
    pub(super) fn consume(&mut self, count: usize, spares: &mut Vec<Vec<u8>>) {
        self.consumed += count;
        debug_assert!(self.consumed <= self.bytes.len());
        if self.consumed < self.bytes.len() {
            return;
        }
        let Carry { mut bytes, .. } = std::mem::take(self);
        if bytes.capacity() <= SPARE_CARRY_BYTES_MAX && spares.len() < SPARE_CARRIES_MAX {
            bytes.clear();
            spares.push(bytes);
        }
    }
}

/// A body that collects beside a call not yet made.
#[derive(Default)]
pub(super) enum Collected {
    #[default]
    Nothing,
    /// One piece, shared.
    Piece(Bytes),
    /// Several pieces, appended to each other.
    Pieces(BytesMut),
    /// In the kernel's hands, who appends to it.
    Lent,
}

impl Collected {
    /// Bytes of memory it takes here.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Collected::Nothing | Collected::Lent => 0,
            Collected::Piece(bytes) => bytes.len(),
            Collected::Pieces(bytes) => bytes.capacity(),
        }
    }

    /// Appends a piece; `whole` is the same, shared, where that costs nothing. `expected` bytes are
    /// made room for when more follow.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        whole: Option<Bytes>,
        expected: usize,
        arena: &mut Arena,
    ) {
        match self {
            Collected::Nothing if piece.len() >= expected || whole.is_some() => {
                let kept = whole.unwrap_or_else(|| arena.copy(Copied::BodyKept, piece));
                *self = Collected::Piece(kept);
            }
            Collected::Nothing => {
                let mut bytes = arena.room(expected);
                copies::append(Copied::BodyGathered, piece, &mut bytes);
                *self = Collected::Pieces(bytes);
            }
            Collected::Piece(first) => {
                let mut bytes = arena.room(expected.max(first.len() + piece.len()));
                copies::append(Copied::BodyGathered, first, &mut bytes);
                copies::append(Copied::BodyGathered, piece, &mut bytes);
                *self = Collected::Pieces(bytes);
            }
            Collected::Pieces(bytes) => copies::append(Copied::BodyGathered, piece, bytes),
            Collected::Lent => unreachable!("one receive at a time"),
        }
    }

    /// Takes the buffer out if it has room for more of the body; makes one for `expected` bytes
    /// when nothing has come yet.
    pub(super) fn lend(&mut self, expected: usize) -> Option<BytesMut> {
        let buf = match self {
            Collected::Nothing if expected > 0 => BytesMut::with_capacity(expected),
            Collected::Piece(first) if first.len() < expected => {
                // Where it lies there may be room for the rest.
                match std::mem::take(first).try_into_mut() {
                    Ok(first) if first.capacity() >= expected => first,
                    Ok(first) => Self::moved(&first, expected),
                    Err(first) => Self::moved(&first, expected),
                }
            }
            Collected::Pieces(bytes) if bytes.capacity() > bytes.len() => std::mem::take(bytes),
            _ => return None,
        };
        *self = Collected::Lent;
        Some(buf)
    }

    fn moved(first: &[u8], expected: usize) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(expected);
        copies::append(Copied::BodyGathered, first, &mut bytes);
        bytes
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Collected::Nothing | Collected::Lent => Bytes::new(),
            Collected::Piece(bytes) => bytes,
            // What was made room for has not come: its reader may keep this for long.
            Collected::Pieces(bytes) if bytes.len() < bytes.capacity() / 2 => {
                copies::shared(Copied::BodyGathered, &bytes)
            }
            Collected::Pieces(bytes) => bytes.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carry_gives_bytes_in_order_and_its_memory_back() {
        let mut spares = Vec::new();
        let mut carry = Carry::default();
        carry.push(b"hello ", &mut spares);
        carry.push(b"world", &mut spares);
        carry.consume(6, &mut spares);
        assert_eq!(carry.bytes(), b"world");
        carry.push(&[b'x'; CARRY_COMPACT_BYTES], &mut spares);
        carry.consume(5 + CARRY_COMPACT_BYTES - 1, &mut spares);
        carry.push(b"yz", &mut spares);
        assert_eq!(carry.bytes(), b"xyz");
        carry.consume(3, &mut spares);
        assert_eq!(carry.bytes.capacity(), 0);
        assert_eq!(spares.len(), 1);
    }

    #[test]
    fn a_byte_does_not_hold_a_large_buffer() {
        let mut carry = Carry::default();
        carry.push(&[b'x'; 60_000], &mut Vec::new());
        carry.consume(59_999, &mut Vec::new());
        assert!(carry.capacity() >= 60_000);
        carry.trim();
        assert_eq!((carry.bytes(), carry.capacity()), (&b"x"[..], 1));
    }

    #[test]
    fn large_requests_are_usual_from_the_second_on_until_small_ones_outweigh_them() {
        let mut bulk = Bulk::default();
        bulk.note(100_000);
        assert!(!bulk.is_usual());
        bulk.note(200_000);
        assert!(bulk.is_usual());
        assert_eq!(bulk.bytes, 200_000);
        bulk.note(0);
        assert!(bulk.is_usual());
        bulk.note(0);
        assert!(!bulk.is_usual());
        for _ in 0..100 {
            bulk.note(300_000);
        }
        for _ in 0..BULK_USUAL_MAX {
            assert!(bulk.is_usual());
            bulk.note(10);
        }
        assert!(!bulk.is_usual());
    }

    #[test]
    fn the_rest_of_a_body_is_lent_the_room_behind_its_beginning() {
        let mut arena = Arena::new();
        let mut received = BytesMut::with_capacity(100);
        received.extend_from_slice(b"headbody");
        let begins_at = received.as_ptr() as usize + 4;
        let shared = received.freeze();
        let mut collected = Collected::default();
        collected.push(b"body", Some(shared.slice(4..)), 90, &mut arena);
        drop(shared);
        let lent = collected.lend(90).unwrap();
        assert_eq!(
            (&lent[..], lent.as_ptr() as usize),
            (&b"body"[..], begins_at)
        );
        assert!(lent.capacity() >= 90);
        // Where somebody else holds the bytes, or there is too little room, they move.
        for (held, expected) in [(Some(lent.clone().freeze()), 90), (None, 9000)] {
            let piece = held.clone().unwrap_or_else(|| Bytes::from_static(b"body"));
            let mut collected = Collected::default();
            collected.push(b"body", Some(piece), expected, &mut arena);
            let moved = collected.lend(expected).unwrap();
            assert_eq!(&moved[..], b"body");
            assert!(moved.capacity() >= expected);
        }
    }

    #[test]
    fn a_body_collects_into_one_piece() {
        let mut arena = Arena::new();
        let mut collected = Collected::default();
        collected.push(b"ab", Some(Bytes::from_static(b"ab")), 2, &mut arena);
        assert!(matches!(collected, Collected::Piece(_)));
        collected.push(b"cd", None, 0, &mut arena);
        collected.push(b"ef", None, 0, &mut arena);
        assert_eq!(collected.into_bytes(), "abcdef");
        assert_eq!(Collected::default().into_bytes(), "");
    }
}
