//! Takes what happens on a raw shard to its protocol, one thing at a time, and back what that asks for.
//!
//! Owns the states of connections and the input that is being looked at, which stays where it was received
//! until the next event is asked for. Knows no protocol.

mod act;
mod input;
mod notes;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::super::conn::{Carry, NEVER};
use super::super::{Shard, ShardSeed};
use super::{NoService, NoSpawn};
use crate::addr::{EndpointId, LocalAddr};
use crate::bridge::arrivals::Neighbours;
use crate::bridge::crowd::Crowd;
use crate::bridge::handshake::Bell;
use crate::bridge::inbox::Inbox;
use crate::lifecycle::{Lifecycle, Phases, RuntimeRef};
use crate::limits::Limits;
use crate::protocol::{Closing, ConnId, ProtocolHandler};
use crate::ring::uring::{ListenSocket, Uring};
use crate::ring::{Ring, Wait};
use crate::slots::Key;
use crate::stats::ShardCounters;
use crate::sys::EventFd;

/// Orders of other threads that wait for the loop.
const ORDERS_MAX: usize = 4096;

/// What other threads ask of connections, and the way to tell the loop so.
pub(crate) struct Orders<O> {
    queue: ArrayQueue<(Key, O)>,
    /// Nobody takes orders any more.
    is_closed: AtomicBool,
    inbox: Arc<Inbox>,
}

impl<O> Orders<O> {
    /// Queues an order and wakes the loop, if it sleeps; gives it back if there is no room.
    pub(crate) fn push(&self, conn: ConnId, order: O) -> Result<(), O> {
        self.queue
            .push((conn.0, order))
            .map_err(|(_, order)| order)?;
        self.inbox.wakeup().wake();
        Ok(())
    }

    pub(crate) fn wake(&self) {
        // Rung whether it sleeps or not: nothing else would say that it was called on purpose.
        self.inbox.wakeup().bell().ring();
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Pairs with the store in `Host::drop`.
        self.is_closed.load(Ordering::Acquire)
    }
}

/// What a raw shard is made of, before its ring.
pub(crate) struct HostSeed {
    pub(crate) limits: Limits,
    /// What its ring is woken by.
    pub(crate) bell: Arc<EventFd>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) counters: Arc<ShardCounters>,
    /// By listener of the ring.
    pub(crate) local_addrs: Vec<LocalAddr>,
}

impl HostSeed {
    /// Without a listener.
    ///
    /// # Errors
    /// When the kernel refuses a descriptor.
    pub(crate) fn new(limits: Limits) -> io::Result<Self> {
        let bell = Arc::new(EventFd::new()?);
        let crowd = Crowd::new(1, 0, 1);
        Ok(HostSeed {
            inbox: Inbox::new(limits.connections_max, bell.clone(), crowd),
            lifecycle: Lifecycle::new(Phases::new(), RuntimeRef::undriven()?, None),
            counters: Arc::new(ShardCounters::default()),
            local_addrs: Vec::new(),
            bell,
            limits,
        })
    }
}

/// One connection's counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ConnStats {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the kernel took for sending.
    pub bytes_out: u64,
    /// Bytes written that it has not taken yet.
    pub unsent_bytes: usize,
    /// Bytes received that the protocol has not consumed.
    pub kept_bytes: usize,
    /// Whether the peer has ended its side.
    pub peer_has_ended: bool,
    /// Time since it was opened.
    pub age: Duration,
}

/// A connection's state, and what its protocol waits for.
struct Peer<C> {
    key: Key,
    conn: C,
    /// The rest of its input waits to be looked at again.
    is_later: bool,
    /// It is to be told of the end of input.
    owes_eof: bool,
    wants_room: bool,
    /// The write side ends, or has ended, behind what is written.
    ends_write: bool,
    has_ended_write: bool,
    /// In the list of those to be asked before sends leave.
    flushes: bool,
    bytes_in: u64,
    written: u64,
    opened_ns: u64,
}

/// Input that is being looked at.
struct Held<L> {
    key: Key,
    bytes: HeldBytes<L>,
    /// Where the bytes begin that the last step was shown.
    base: usize,
    /// Where those begin that are not consumed.
    at: usize,
}

enum HeldBytes<L> {
    /// Where they were received.
    Lease(L),
    /// Kept from before.
    Carry(Carry),
}

impl<L: std::ops::Deref<Target = [u8]>> Held<L> {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            HeldBytes::Lease(lease) => lease,
            HeldBytes::Carry(carry) => carry.bytes(),
        }
    }
}

/// An event of the protocol, and the input it speaks of.
pub(crate) struct Told<'a, E> {
    pub(crate) conn: ConnId,
    pub(crate) event: E,
    pub(crate) input: &'a [u8],
}

/// A raw shard with its protocol.
pub(crate) struct Host<R: Ring, P: ProtocolHandler> {
    // First, so that nothing is in flight any more when the rest is dropped.
    shard: Shard<R, NoService, NoSpawn>,
    pub(crate) handler: P,
    /// By the index of the connection's key.
    peers: Vec<Option<Peer<P::Conn>>>,
    held: Option<Held<R::Lease>>,
    flushes: Vec<Key>,
    orders: Arc<Orders<P::Order>>,
    /// Orders that may be taken before the next poll: whoever gives many does not keep the loop.
    orders_left: usize,
    /// Deadlines are to be looked at, once all that has come by now has been.
    owes_deadlines: bool,
}

impl<R: Ring, P: ProtocolHandler> Host<R, P> {
    pub(crate) fn new(ring: R, seed: HostSeed, handler: P) -> Self {
        let inbox = seed.inbox;
        let shard = ShardSeed {
            limits: seed.limits,
            local_addrs: seed.local_addrs,
            tap: None,
            make: NoService,
            spawn: NoSpawn,
            ports: Vec::new(),
            inbox: inbox.clone(),
            neighbours: Neighbours::none(),
            lifecycle: seed.lifecycle,
            peers: None,
            counters: seed.counters,
        };
        Host {
            shard: Shard::new(ring, shard),
            handler,
            peers: Vec::new(),
            held: None,
            flushes: Vec::new(),
            orders_left: ORDERS_MAX,
            owes_deadlines: false,
            orders: Arc::new(Orders {
                queue: ArrayQueue::new(ORDERS_MAX),
                is_closed: AtomicBool::new(false),
                inbox,
            }),
        }
    }

    /// Connections whose protocol has a state.
    #[cfg(test)]
    pub(crate) fn states(&self) -> usize {
        self.peers.iter().flatten().count()
    }

    pub(crate) fn orders(&self) -> &Arc<Orders<P::Order>> {
        &self.orders
    }

    // The loop.

    /// Sends what was written, and waits until something happens, for `timeout` at most.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.let_go();
        self.orders_left = ORDERS_MAX;
        self.flush();
        self.shard.receive_ready();
        self.shard.stage_sends();
        let until_ns = timeout.map_or(NEVER, |timeout| self.shard.ring.now().deadline(timeout));
        let wait = match timeout == Some(Duration::ZERO) || self.has_more() {
            true => Wait::Poll,
            false => self.plan_sleep(until_ns),
        };
        let turned = self.shard.ring.turn(wait);
        self.orders.inbox.wakeup().awake();
        turned?;
        self.shard.now = self.shard.ring.now();
        self.shard.handle_replies();
        self.owes_deadlines = true;
        self.shard.follow_phase();
        self.shard.follow_load();
        Ok(())
    }

    /// Whether there is something to be looked at without waiting.
    fn has_more(&mut self) -> bool {
        !self.shard.notes.is_empty() || !self.orders.queue.is_empty() || self.shard.ring.has_news()
    }

    fn plan_sleep(&self, until_ns: u64) -> Wait {
        let is_called = || self.shard.is_called() || !self.orders.queue.is_empty();
        if !self.orders.inbox.wakeup().prepare_sleep(is_called) {
            return Wait::Poll;
        }
        match self.shard.next_deadline_ns().min(until_ns) {
            NEVER => Wait::Forever,
            until_ns => Wait::Until(until_ns),
        }
    }

    /// Lets those who asked for it write a last word before what they wrote leaves.
    fn flush(&mut self) {
        let mut flushes = std::mem::take(&mut self.flushes);
        for key in flushes.drain(..) {
            if let Some(peer) = self.peer(key) {
                peer.flushes = false;
            }
            self.with(key, |handler, conn, wire| handler.handle_flush(conn, wire));
        }
        self.flushes = flushes;
    }

    /// The next event, if anything that has happened makes one.
    pub(crate) fn next(&mut self) -> Option<Told<'_, P::Event>> {
        let (key, event) = self.advance()?;
        let held = self.held.as_ref();
        let input = held.map_or(&[][..], |held| &held.bytes()[held.base..]);
        let conn = ConnId(key);
        Some(Told { conn, event, input })
    }

    /// The input of the last event, if it had any.
    pub(crate) fn input(&self) -> &[u8] {
        let held = self.held.as_ref();
        held.map_or(&[], |held| &held.bytes()[held.base..])
    }

    fn advance(&mut self) -> Option<(Key, P::Event)> {
        loop {
            if let Some(told) = self.read_on() {
                return Some(told);
            }
            if self.held.is_some() {
                continue;
            }
            let told = match self.shard.notes.pop_front() {
                Some(note) => self.handle_note(note),
                None => match self.shard.ring.next_completion() {
                    Some(completion) => self.handle_completion(completion),
                    None if std::mem::take(&mut self.owes_deadlines) => {
                        self.shard.handle_deadlines();
                        continue;
                    }
                    None => self.next_order()?,
                },
            };
            if told.is_some() {
                return told;
            }
        }
    }

    /// Takes an order to its connection; `None` when there is none to be taken now.
    fn next_order(&mut self) -> Option<Option<(Key, P::Event)>> {
        self.orders_left = self.orders_left.checked_sub(1)?;
        let (key, order) = self.orders.queue.pop()?;
        let closes = P::closes(&order);
        let told = self.with(key, |handler, conn, wire| {
            handler.handle_order(conn, order, wire)
        });
        match (told, closes) {
            (Some(event), _) => return Some(event.map(|event| (key, event))),
            // Its protocol has no part in it: it is not open yet, or no longer.
            (None, Some(Closing::Now)) => self.close(ConnId(key)),
            (None, Some(Closing::Graceful)) => self.close_connecting(key),
            (None, None) => self.shard.counters.orders_dropped.increment(),
        }
        Some(None)
    }
}

impl<R: Ring, P: ProtocolHandler> Drop for Host<R, P> {
    fn drop(&mut self) {
        // Pairs with the load in `Orders::is_closed`.
        self.orders.is_closed.store(true, Ordering::Release);
        self.shard.count_held();
    }
}

impl<P: ProtocolHandler> Host<Uring, P> {
    /// Accepts from one more socket.
    pub(crate) fn listen(&mut self, socket: ListenSocket, local_addr: LocalAddr) -> EndpointId {
        let endpoint = EndpointId(self.shard.listeners.len());
        self.shard.ring.add_listener(socket);
        self.shard.listeners.add(local_addr);
        // Not before the present phase allows it.
        self.shard.steer_accept();
        endpoint
    }

    /// The address of a listener.
    pub(crate) fn local_addr(&self, endpoint: EndpointId) -> Option<&LocalAddr> {
        self.shard.listeners.local_addr(endpoint.0)
    }
}
