//! One thread, one ring, its connections: the turn of the loop and what a shard owns.
//!
//! Knows rings, machines and the bridge; meets handlers only through a [`Driver`](crate::driver::Driver) or a link.
//! A turn has five phases and one enter: **1** submit and wait for a fact ([`Shard::turn`]),
//! **2** react to completions, **3** to replies, **4** to deadlines, then calls are made one a
//! step, and **5** what they left to send is staged for the next enter.

mod accept;
mod answer;
mod call;
mod close;
mod conn;
mod deadline;
mod failure;
mod input;
mod lend;
mod loan;
mod local;
mod moving;
mod outbox;
mod output;
pub(crate) mod raw;
mod shed;
mod sink;
mod wait;

use std::collections::VecDeque;
use std::sync::Arc;

use http::HeaderMap;

pub(crate) use self::accept::Arrival;
use self::accept::Listeners;
use self::conn::{Collected, Conn, Exchange, Incoming, NEVER, Recv, State};
use self::moving::Moving;
use self::outbox::Outbox;
use self::raw::Notes;
use self::shed::Load;
use crate::addr::LocalAddr;
use crate::bridge::arrivals::Neighbours;
use crate::bridge::inbox::{ConnSignal, Inbox};
use crate::bridge::link::ShardPort;
use crate::bridge::peers::Peers;
use crate::bridge::place::Away;
use crate::dispatch::{Classes, Thresholds};
use crate::driver::SpareDrivers;
use crate::error::BodyError;
use crate::lifecycle::{Lifecycle, Phase};
use crate::limits::{CONNECTION_STATE_BYTES, Limits};
use crate::overload::Windows;
use crate::pool::arena::Arena;
use crate::preemption::Preemption;
use crate::proto::date::DateCache;
use crate::proto::h1::{BodyKind, HeadMemory};
use crate::protocol::Http1;
use crate::ring::{Completion, ListenerId, Ring};
use crate::service::{HttpService, MakeHttpService, Reply};
use crate::slots::{Key, Slots};
use crate::stats::ShardCounters;
use crate::tap::Tap;
use crate::time::Now;
use crate::timer::Wheel;
use crate::waking::{Rest, Waking};
use crate::worker::Spawn;
use crate::worker::parked::Place;

/// Header maps kept for reuse.
const MAPS_MAX: usize = 256;
/// After so many calls the kernel, replies and deadlines have their turn, whatever still waits:
/// nobody who pipelines keeps others waiting for longer.
const CALLS_PER_TURN_MAX: usize = 512;
/// The same in time, looked at every few calls.
const CALLS_NS_PER_TURN_MAX: u64 = 1_000_000;
const CALLS_PER_LOOK: usize = 8;
/// After so many calls in a row a connection that pipelines waits behind the others.
const STREAK_MAX: usize = 32;
/// Boxes of calls kept for reuse.
const CALLS_KEPT_MAX: usize = 1024;

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    Continue,
    Ended,
}

/// What a shard is given at its start.
pub(crate) struct ShardSeed<K, M: MakeHttpService, X> {
    pub(crate) limits: Limits,
    /// Local addresses of the ring's listeners, by [`ListenerId`].
    pub(crate) local_addrs: Vec<LocalAddr>,
    pub(crate) tap: Option<Tap>,
    pub(crate) make: M,
    pub(crate) spawn: X,
    pub(crate) ports: Vec<ShardPort<M::Service>>,
    pub(crate) inbox: Arc<Inbox>,
    /// The server's shards; none where they keep what they accept.
    pub(crate) neighbours: Neighbours<Arrival<K, M::Service>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Where there is a limit to connections of one peer.
    pub(crate) peers: Option<Arc<Peers>>,
    pub(crate) counters: Arc<ShardCounters>,
}

/// A request that has been read and waits for its call.
struct PendingCall<H> {
    conn: Key,
    /// There until the call is made.
    head: Option<H>,
    kind: BodyKind,
    expects_continue: bool,
    /// It may change its connection's protocol.
    upgrades: bool,
    body: Collected,
    /// The call is to be made whatever of its body is there.
    impatient: bool,
    /// The body has come to its end, well or badly.
    ended: Option<Result<Option<Box<HeaderMap>>, BodyError>>,
}

impl<H> PendingCall<H> {
    /// The head, once.
    #[inline]
    fn take_head(&mut self) -> H {
        self.head.take().expect("a call is made once")
    }
}

/// What heads become for the services that `M` makes.
type HeadOf<M> = <<M as MakeHttpService>::Service as HttpService>::Head;

/// What the bodies of their responses are.
type BodyOf<M> = <<<M as MakeHttpService>::Service as HttpService>::Response as Reply>::Body;

/// One shard.
pub(crate) struct Shard<R: Ring, M: MakeHttpService, X: Spawn> {
    // First, so that nothing is in flight any more when the rest is dropped.
    ring: R,
    conns: Slots<Conn<R::Socket, M::Service>>,
    listeners: Listeners<R::Socket, M::Service>,
    /// What connections hold together, and what they may.
    load: Load,
    make: M,
    spawn: X,
    limits: Limits,
    /// What its connections speak.
    http1: Http1,
    phase: Phase,
    now: Now,
    date: DateCache,
    wheel: Wheel,
    /// Calls to make, oldest first; the first has number `calls_made`.
    calls: VecDeque<Box<PendingCall<HeadOf<M>>>>,
    calls_made: u64,
    /// The connection whose call is being made: its next one goes first, so that the answers to
    /// pipelined requests leave together.
    calling: Option<Key>,
    /// Whose call was made last, and how often in a row it was put before the others'.
    last_called: Option<Key>,
    streak: usize,
    /// Calls made since the last turn.
    calls_in_turn: usize,
    /// Boxes for further calls: a request is large, and is to be moved as seldom as can be.
    #[allow(clippy::vec_box)]
    spare_calls: Vec<Box<PendingCall<HeadOf<M>>>>,
    /// Connections whose calls wait for the rest of a body, and until when; in order of time.
    patient: VecDeque<(u64, Key)>,
    /// Connections that have something large to be received, in the order in which they said so.
    ready: VecDeque<Key>,
    /// Connections that found no buffer of the receive ring.
    starved: Vec<Key>,
    outbox: Outbox,
    /// Which requests are polled here, with `Dispatch::Adaptive`.
    classes: Classes,
    /// When the last call of this turn that was polled here returned; 0 if there was none.
    polled_until_ns: u64,
    /// Whether polls were long, or only seemed to be.
    preemption: Preemption,
    /// When the core was last given to a worker that shares it.
    turn_given_ns: u64,
    /// While giving it away is no good, because strangers take it.
    rest: Rest,
    is_resting: bool,
    ports: Vec<ShardPort<M::Service>>,
    /// The port that takes the next call.
    next_port: usize,
    inbox: Arc<Inbox>,
    neighbours: Neighbours<Arrival<R::Socket, M::Service>>,
    moving: Moving,
    /// Nanoseconds it has spun, which are no work.
    spun_ns: u64,
    /// Places of connections that have left.
    away: Arc<Away>,
    lifecycle: Arc<Lifecycle>,
    peers: Option<Arc<Peers>>,
    counters: Arc<ShardCounters>,
    spare_drivers: SpareDrivers<M::Service>,
    /// One does: a place comes back within the step that took it, or not at all.
    spare_place: Option<Place<M::Service, X>>,
    memory: HeadMemory,
    arena: Arena,
    maps: Vec<HeaderMap>,
    carries: Vec<Vec<u8>>,
    due: Vec<Key>,
    /// What the owner of a raw shard's loop has not been told yet.
    notes: Notes,
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    pub(crate) fn new(ring: R, seed: ShardSeed<R::Socket, M, X>) -> Self {
        let limits = seed.limits;
        let state_bytes = size_of::<Conn<R::Socket, M::Service>>();
        let service_bytes = size_of::<Option<M::Service>>();
        assert!(state_bytes - service_bytes <= CONNECTION_STATE_BYTES);
        let now = ring.now();
        let mut shard = Shard {
            conns: Slots::new(limits.connections_max),
            listeners: Listeners::new(seed.local_addrs, seed.tap),
            load: Load::new(&limits),
            make: seed.make,
            spawn: seed.spawn,
            http1: Http1::new(&limits),
            phase: Phase::Running,
            now,
            date: DateCache::new(),
            wheel: Wheel::new(),
            calls: VecDeque::new(),
            calls_made: 0,
            calling: None,
            last_called: None,
            streak: 0,
            calls_in_turn: 0,
            spare_calls: Vec::new(),
            patient: VecDeque::new(),
            ready: VecDeque::new(),
            starved: Vec::new(),
            outbox: Outbox::new(limits.write_buffer_bytes),
            classes: Classes::new(Thresholds {
                long_ns: limits.inline_poll_max_ns,
                short_ns: limits.inline_poll_max_ns / 2,
                streak: limits.inline_streak,
            }),
            polled_until_ns: 0,
            preemption: Preemption::default(),
            turn_given_ns: 0,
            rest: Rest::of_at_most(wait::REST_NS_MAX),
            is_resting: false,
            ports: seed.ports,
            next_port: 0,
            away: Away::new(seed.inbox.clone()),
            inbox: seed.inbox,
            moving: Moving::new(limits.standby && Self::can_move(&seed.neighbours)),
            neighbours: seed.neighbours,
            spun_ns: 0,
            lifecycle: seed.lifecycle,
            peers: seed.peers,
            counters: seed.counters,
            spare_drivers: SpareDrivers::new(),
            spare_place: None,
            memory: HeadMemory::new(),
            arena: Arena::new(),
            maps: Vec::new(),
            carries: Vec::new(),
            due: Vec::new(),
            notes: Notes::default(),
            limits,
            ring,
        };
        shard.date.update(now.unix_s);
        shard.listen();
        shard
    }

    /// Goes on by one step: a call if one waits, and a turn if it was the last (where services stay, the turn
    /// is a step of its own). Each step is run as one poll of a tokio task, which gives each call a budget of
    /// its own.
    ///
    /// # Errors
    /// When the ring has become unusable.
    pub(crate) fn step<W: Waking>(&mut self, waking: &mut W) -> std::io::Result<Flow> {
        if !self.is_turn_due()
            && let Some(call) = self.calls.pop_front()
        {
            self.calls_in_turn += 1;
            self.calls_made += 1;
            self.make_call(call);
            // A turn needs no budget, but where it polls calls that stay here.
            if M::Service::STAYS || !self.calls.is_empty() {
                return Ok(Flow::Continue);
            }
        }
        self.calls_in_turn = 0;
        self.stage_sends();
        if self.has_ended() {
            self.count_held();
            return Ok(Flow::Ended);
        }
        self.turn(waking)?;
        Ok(Flow::Continue)
    }

    /// Whether the calls made since the last turn have taken their share of time.
    fn is_turn_due(&self) -> bool {
        match self.calls_in_turn {
            0 => false,
            CALLS_PER_TURN_MAX.. => true,
            calls if calls.is_multiple_of(CALLS_PER_LOOK) => {
                self.ring.now().mono_ns - self.now.mono_ns > CALLS_NS_PER_TURN_MAX
            }
            _ => false,
        }
    }

    fn turn<W: Waking>(&mut self, waking: &mut W) -> std::io::Result<()> {
        self.now = self.await_facts(waking)?;
        self.polled_until_ns = 0;
        self.date.update(self.now.unix_s);
        while let Some(completion) = self.ring.next_completion() {
            self.handle_completion(completion);
        }
        self.receive_ready();
        self.handle_replies();
        self.handle_deadlines();
        self.follow_phase();
        self.follow_load();
        if self.moving.is_due(self.now.mono_ns) {
            self.look_at_duty();
        }
        Ok(())
    }

    #[inline(always)]
    fn handle_completion(&mut self, completion: Completion<R>) {
        match completion {
            Completion::Accepted {
                listener,
                result,
                more,
            } => self.handle_accepted(listener, result, more),
            Completion::Received { conn, result, more } => self.handle_received(conn, result, more),
            Completion::ReceivedInto { conn, buf, result } => {
                self.handle_received_into(conn, buf, result);
            }
            Completion::Readable { conn, result } => self.handle_readable(conn, result),
            Completion::Sent { conn, buf, result } => self.handle_sent(conn, buf, result),
            Completion::Connected { conn, result } => self.handle_connected(conn, result),
            // The inbox is looked at in every turn.
            Completion::Woken => {}
        }
    }

    /// Brings a connection's receive, its timer and its end up to date with its state. Called
    /// after whatever may have changed them; calling it again changes nothing.
    #[inline]
    fn settle(&mut self, key: Key) {
        let settled = |conn: &mut Conn<R::Socket, M::Service>| conn.is_settled();
        if !self.conns.get_mut(key).is_some_and(settled) {
            self.settle_slowly(key);
        }
    }

    fn settle_slowly(&mut self, key: Key) {
        if self.close_if_done(key) {
            return;
        }
        self.lend_body(key);
        self.steer_recv(key);
        self.arm_timer(key);
        self.charge(key);
    }

    /// Asks the kernel for what the connection can take: see [`Conn::wanted_recv`].
    fn steer_recv(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        // A buffer of its own is made for what is worth one, and while there is plenty.
        let bulk_bytes = conn.bulk.room(&self.load.windows);
        let is_bulk = conn.bulk.is_usual() && self.load.can_hold_ahead(bulk_bytes);
        let (wanted, is_bulk) = match conn.wanted_recv(&self.load.windows, &self.limits) {
            // Nor is it watched: whoever is told that there is something wants a buffer then.
            Want::Direct(bytes) if !self.load.can_hold_ahead(bytes) => (Want::Multishot, false),
            wanted => (wanted, is_bulk),
        };
        match (conn.recv, wanted) {
            (Recv::Idle, Want::Multishot) if is_bulk => {
                conn.recv = Recv::Watching;
                self.ring.watch(key, &conn.socket);
            }
            (Recv::Idle, Want::Multishot) => {
                conn.recv = Recv::Multishot;
                self.ring.arm_recv(key, &conn.socket);
            }
            (Recv::Idle, Want::Direct(bytes)) => self.receive_into(key, bytes),
            // There is no more plenty: what comes shares the ring's buffers.
            (Recv::Direct, Want::Multishot) if self.load.is_short() => {
                conn.recv = Recv::Cancelling;
                self.ring.cancel_recv(key);
            }
            (Recv::Multishot | Recv::Watching | Recv::Direct, Want::End) => {
                conn.recv = Recv::Cancelling;
                self.ring.cancel_recv(key);
            }
            (Recv::Multishot | Recv::Watching, Want::Pause) => {
                match conn.incoming {
                    Incoming::Streaming { .. } | Incoming::Collecting(_) => {
                        self.counters.body_pauses.increment();
                    }
                    _ => self.counters.pipeline_pauses.increment(),
                }
                conn.recv = Recv::Cancelling;
                self.ring.cancel_recv(key);
            }
            (Recv::Multishot | Recv::Watching, Want::Shed) => {
                self.counters.heads_paused.increment();
                conn.recv = Recv::Cancelling;
                self.ring.cancel_recv(key);
            }
            (Recv::Multishot | Recv::Watching, Want::Direct(_)) => {
                conn.recv = Recv::Cancelling;
                self.ring.cancel_recv(key);
            }
            // Its requests have become large: the next is received otherwise.
            (Recv::Multishot, Want::Multishot) if is_bulk => {
                conn.recv = Recv::Cancelling;
                self.ring.cancel_recv(key);
            }
            _ => {}
        }
    }

    /// Makes sure the wheel mentions the connection no later than its next deadline.
    fn arm_timer(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let deadline_ns = conn.deadline_ns();
        if deadline_ns < conn.timer_at_ns {
            conn.timer_at_ns = deadline_ns;
            self.wheel.insert(key, deadline_ns);
        }
    }

    /// The way of the connection into our own inbox, made when first needed.
    fn signal(
        conn: &mut Conn<R::Socket, M::Service>,
        key: Key,
        inbox: &Arc<Inbox>,
    ) -> Arc<ConnSignal> {
        let signal = conn
            .signal
            .get_or_insert_with(|| ConnSignal::new(key, inbox.clone()));
        signal.clone()
    }

    fn listen(&mut self) {
        for listener in 0..self.listeners.len() {
            self.ring.arm_accept(ListenerId(listener as u32));
            self.listeners.armed(listener);
        }
    }

    fn has_ended(&self) -> bool {
        self.phase != Phase::Running && self.conns.is_empty() && self.listeners.are_closed()
    }
}

/// What a connection can take from the kernel.
enum Want {
    /// What is armed may stay; nothing new.
    Nothing,
    /// What is armed must end.
    Pause,
    /// The same, because buffers are short.
    Shed,
    /// The same, for good.
    End,
    Multishot,
    /// At most this many bytes, straight into a buffer for the reader.
    Direct(usize),
}

impl<K, S: HttpService> Conn<K, S> {
    /// What the connection can take from the kernel in its present state.
    fn wanted_recv(&mut self, windows: &Windows, limits: &Limits) -> Want {
        match self.state {
            State::Terminating | State::Flushing => return Want::Nothing,
            State::Leaving => return Want::End,
            State::Lingering if self.read_closed => return Want::Nothing,
            State::Lingering => return Want::Multishot,
            State::Open if S::IS_RAW => return self.wanted_raw(limits),
            State::Open if self.read_closed || self.deaf || self.service.is_none() => {
                return Want::Nothing;
            }
            State::Open => {}
        }
        if let Incoming::Streaming { sender, direct } = &mut self.incoming {
            return match (sender.room(windows.request_bytes), &direct) {
                (0, _) => {
                    *direct = true;
                    self.body_span.is_excused = true;
                    Want::Pause
                }
                // A head's worth of carry must be parsed before bytes may pass it by.
                (room, true) if self.carry.is_empty() => Want::Direct(room),
                _ => Want::Multishot,
            };
        }
        // Until its call is made nobody reads what collects beside it.
        if let Incoming::Collecting(_) = self.incoming
            && self.body_span.bytes >= windows.request_bytes as u64
        {
            self.body_span.is_excused = true;
            return Want::Pause;
        }
        let busy =
            !matches!(self.exchange, Exchange::Idle) || self.is_stalled(windows.response_bytes);
        let skipping = matches!(self.incoming, Incoming::Skipping);
        match busy {
            true if skipping || self.carry.len() > windows.carry_bytes => Want::Pause,
            false if self.carry.len() > windows.head_bytes => Want::Shed,
            _ => Want::Multishot,
        }
    }
}
