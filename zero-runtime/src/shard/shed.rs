//! What a shard does when its places or its buffers run out: it follows the levels of both, shrinks what
//! connections may hold, and at last lets those go that hold most for nothing.
//!
//! The order, and who is never let go, is `ARCHITECTURE.md`'s ("Overload"); when, `overload`'s.

use super::conn::{Conn, Incoming, NEVER, ReadWait, Recv, State};
use super::{Exchange, Shard};
use crate::limits::Limits;
use crate::overload::{Cascade, Change, Level, Windows, keep_alive_ns};
use crate::protocol::DisconnectReason;
use crate::ring::Ring;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::worker::Spawn;

/// Between two sweeps while there is need: each looks at every connection.
const SWEEP_NS: u64 = 250_000_000;
/// Who has asked nothing for so long may be let go: who is at work asks again sooner.
const IDLE_NS: u64 = SWEEP_NS;
/// Who has sent, or taken, nothing for so long.
const STILL_NS: u64 = 4 * SWEEP_NS;
/// A reader that takes less in that time might as well take nothing: 4 KiB a second.
const MOVED_BYTES_MIN: u32 = 4096;

/// What connections hold together, and what follows from it.
pub(super) struct Load {
    /// Of bytes that connections hold.
    buffers: Cascade,
    /// Of connections.
    places: Cascade,
    full: Windows,
    floor_bytes: usize,
    /// What connections may hold at the present level.
    pub(super) windows: Windows,
    /// How long an idle connection is kept at the present level.
    pub(super) keep_alive_ns: Option<u64>,
    /// Bytes that connections hold, sends in flight included.
    held_bytes: usize,
    /// From so many on nothing is held ahead of need.
    ahead_max: usize,
    /// Whoever waits is accepted now, however short buffers are.
    lets_in: bool,
    /// When connections are looked through next.
    sweep_at_ns: u64,
    /// Who has been seen not to move; in the order of slots.
    looks: Vec<Look>,
    /// Every change so far, for the simulation.
    #[cfg(test)]
    steps: std::collections::BTreeSet<(&'static str, Change)>,
}

impl Load {
    pub(super) fn new(limits: &Limits) -> Self {
        let full = Windows {
            request_bytes: limits.request_window_bytes,
            response_bytes: limits.response_window_bytes,
            carry_bytes: limits.pipelined_bytes_max,
            head_bytes: usize::MAX,
        };
        Load {
            buffers: Cascade::new(limits.buffered_bytes_max as u64, limits.overload),
            places: Cascade::new(limits.connections_max as u64, limits.overload),
            full,
            floor_bytes: limits.floor_bytes(),
            windows: full,
            keep_alive_ns: limits.keep_alive_timeout_ns,
            held_bytes: 0,
            ahead_max: limits.overload.warning_at(limits.buffered_bytes_max as u64) as usize,
            lets_in: false,
            sweep_at_ns: NEVER,
            looks: Vec::new(),
            #[cfg(test)]
            steps: Default::default(),
        }
    }

    /// When something is to be done though nothing happens.
    #[inline]
    pub(super) fn next_deadline_ns(&self) -> u64 {
        self.sweep_at_ns
    }

    /// Whether further connections would find no buffers.
    pub(super) fn refuses_connections(&self) -> bool {
        self.buffers.level() >= Level::Drain && !self.lets_in
    }

    /// Whether so much may be held for bytes that have not come: such buffers, which their peers may
    /// leave empty for long, are to bring nobody into need.
    #[inline]
    pub(super) fn can_hold_ahead(&self, bytes: usize) -> bool {
        self.held_bytes + bytes < self.ahead_max
    }

    /// Whether what is held ahead of need is to be given back.
    #[inline]
    pub(super) fn is_short(&self) -> bool {
        self.buffers.level() >= Level::Critical
    }

    /// Takes a send in flight, or its end, into account.
    #[inline]
    pub(super) fn send_began(&mut self, bytes: usize, limits: &Limits) {
        self.held_bytes += sending_charge(bytes, limits);
    }

    #[inline]
    pub(super) fn send_ended(&mut self, bytes: usize, limits: &Limits) {
        self.held_bytes -= sending_charge(bytes, limits);
    }

    /// Somebody waits for a place.
    pub(super) fn place_is_wanted(&mut self, now_ns: u64) {
        self.sweep_at_ns = self.sweep_at_ns.min(now_ns);
    }
}

/// What a send in flight counts for: the buffer it lies in at least, and no more than its window: what
/// goes beyond that is one piece of the application's.
#[inline]
fn sending_charge(bytes: usize, limits: &Limits) -> usize {
    let most = bytes.min(limits.response_window_bytes);
    most.max(limits.write_buffer_bytes)
}

/// What is to be freed.
#[derive(Clone, Copy)]
struct Need {
    places: usize,
    bytes: usize,
}

impl Need {
    fn is_met(self) -> bool {
        self.places == 0 && self.bytes == 0
    }
}

/// A connection that does not move, in the order in which they are let go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    /// It has been answered so often, and asks nothing.
    Idle { requests: u32 },
    /// It has asked so often, and owes a whole head.
    Silent { requests: u32 },
    /// It has so much in flight, of which its peer has not acknowledged so much.
    Stalled {
        bytes: usize,
        unacknowledged: Option<u32>,
    },
}

impl Sight {
    fn rank(self) -> u8 {
        match self {
            Sight::Idle { .. } => 0,
            Sight::Silent { .. } => 1,
            Sight::Stalled { .. } => 2,
        }
    }

    /// How long it may be like this.
    fn patience_ns(self) -> u64 {
        match self {
            Sight::Idle { .. } => IDLE_NS,
            Sight::Silent { .. } | Sight::Stalled { .. } => STILL_NS,
        }
    }

    /// Whether `now` is the same: nothing has moved since, or next to nothing.
    fn is_still(self, now: Sight) -> bool {
        match (self, now) {
            (
                Sight::Stalled {
                    bytes,
                    unacknowledged: Some(before),
                },
                Sight::Stalled {
                    bytes: bytes_now,
                    unacknowledged: Some(now),
                },
            ) => bytes == bytes_now && before.saturating_sub(now) < MOVED_BYTES_MIN,
            (before, now) => before == now,
        }
    }

    /// Whether letting it go, with what it holds, is of use.
    fn helps(self, need: Need, held: usize) -> bool {
        match self {
            Sight::Idle { .. } => need.places > 0,
            Sight::Silent { .. } => need.places > 0 || need.bytes > 0 && held > 0,
            Sight::Stalled { .. } => need.bytes > 0,
        }
    }
}

/// What was seen of a connection, and since when it has been so.
#[derive(Clone, Copy)]
struct Look {
    key: Key,
    sight: Sight,
    since_ns: u64,
}

impl<K, S: HttpService> Conn<K, S> {
    /// Bytes that lie here for the peer or the handler, the send in flight not included.
    fn held_bytes(&self, window: usize) -> usize {
        let head = match &self.exchange {
            Exchange::Idle => 0,
            Exchange::Detached(reply) => {
                self.large_head_bytes as usize + reply.queued_bytes().min(window)
            }
            _ => self.large_head_bytes as usize,
        };
        let staged = self.out.as_ref().map_or(0, |out| out.len().min(window));
        // What collects beside a call not made yet is the connection's, too.
        let collected = match self.incoming {
            Incoming::Collecting(_) => self.body_span.bytes as usize,
            _ => self.incoming.held_bytes(),
        };
        head + staged + self.carry.capacity() + collected + self.receiving_bytes
    }

    /// Whether it waits for its next request and nothing else.
    fn is_idle(&self) -> bool {
        self.state == State::Open
            && self.read_wait == ReadWait::KeepAlive
            && self.recv != Recv::Ready
            && matches!(self.exchange, Exchange::Idle)
            && self.carry.is_empty()
            && self.unsent_bytes() == 0
    }
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Takes what the connection holds now into account, its send in flight aside.
    #[inline]
    pub(super) fn charge(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            let held = conn.held_bytes(self.limits.response_window_bytes);
            self.load.held_bytes = self.load.held_bytes + held - conn.charged_bytes;
            conn.charged_bytes = held;
        }
    }

    /// The connection is gone, and with it what it held.
    pub(super) fn discharge(&mut self, charged_bytes: usize) {
        self.load.held_bytes -= charged_bytes;
        debug_assert!(!self.conns.is_empty() || self.load.held_bytes == 0);
    }

    /// Follows what connections hold, once a turn.
    #[inline]
    pub(super) fn follow_load(&mut self) {
        let is_sweep_due = self.load.sweep_at_ns <= self.now.mono_ns;
        if is_sweep_due {
            self.charge_all();
        }
        self.count_held();
        let (held, places) = (self.load.held_bytes as u64, self.places_taken() as u64);
        while let Some(change) = self.load.buffers.follow(held) {
            self.change_buffers(change, held);
        }
        while let Some(change) = self.load.places.follow(places) {
            self.change_places(change, places);
        }
        if is_sweep_due || self.load.sweep_at_ns <= self.now.mono_ns {
            self.sweep();
        }
    }

    /// Tells what connections hold: once a turn, and when the shard has ended, for the last of them may
    /// go between two turns.
    #[inline]
    pub(super) fn count_held(&self) {
        self.counters
            .buffered_bytes
            .set(self.load.held_bytes as u64);
    }

    /// Looks at what every connection holds: readers that find room ahead of them tell nobody what they
    /// take.
    #[cold]
    fn charge_all(&mut self) {
        for key in self.conns.keys() {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.carry.trim();
            }
            self.charge(key);
        }
    }

    #[cold]
    fn change_buffers(&mut self, change: Change, held: u64) {
        let max = self.limits.buffered_bytes_max as u64;
        let level = self.note_change("buffers", change, held, max);
        self.load.windows = self.load.full.at(level, self.load.floor_bytes);
        self.inbox.set_window(self.load.windows.response_bytes);
        self.steer_accept();
        // Who was held back may go on, who was not is.
        for key in self.conns.keys() {
            let holds = |conn: &mut Conn<R::Socket, M::Service>| {
                conn.charged_bytes > 0 || conn.recv != Recv::Multishot
            };
            if self.conns.get_mut(key).is_some_and(holds) {
                self.settle_slowly(key);
            }
        }
    }

    #[cold]
    fn change_places(&mut self, change: Change, taken: u64) {
        let max = self.limits.connections_max as u64;
        let level = self.note_change("connections", change, taken, max);
        self.load.keep_alive_ns = keep_alive_ns(self.limits.keep_alive_timeout_ns, level);
    }

    /// The changes there were: of what, and which.
    #[cfg(test)]
    pub(crate) fn overload_steps(&self) -> &std::collections::BTreeSet<(&'static str, Change)> {
        &self.load.steps
    }

    /// Counts and tells a change; returns the level it led to.
    fn note_change(&mut self, of: &'static str, change: Change, used: u64, max: u64) -> Level {
        #[cfg(test)]
        self.load.steps.insert((of, change));
        let level = match change {
            Change::Rose(level) => {
                tracing::warn!(of, ?level, used, max, "a shard is running out");
                let count = match level {
                    Level::Healthy | Level::Warning => &self.counters.overload_warnings,
                    Level::Critical => &self.counters.overload_criticals,
                    Level::Drain => &self.counters.overload_drains,
                };
                count.increment();
                level
            }
            Change::Fell(level) => {
                tracing::info!(of, ?level, used, max, "a shard recovers");
                self.counters.overload_recoveries.increment();
                level
            }
        };
        let worst = self.load.buffers.level().max(self.load.places.level());
        self.counters.overload_level.set(worst as u64);
        if level > Level::Healthy {
            self.load.sweep_at_ns = self.now.mono_ns;
        }
        level
    }

    /// Looks for connections to let go, and comes back as long as there is need.
    #[cold]
    fn sweep(&mut self) {
        let now_ns = self.now.mono_ns;
        self.share_waiting();
        let need = self.need();
        let is_over = need.is_met() && self.load.buffers.level() == Level::Healthy;
        self.load.sweep_at_ns = match is_over && !self.awaits_place() {
            true => NEVER,
            false => now_ns + SWEEP_NS,
        };
        self.let_in();
        if need.is_met() {
            return self.load.looks.clear();
        }
        let looks = self.look(need, now_ns);
        self.load.looks = self.shed(need, looks, now_ns);
    }

    /// Accepts those who have come since the last sweep, though buffers are short: handlers that never
    /// read what they were sent must not keep everybody out for ever.
    fn let_in(&mut self) {
        if self.load.refuses_connections() {
            self.load.lets_in = true;
            self.steer_accept();
            // Whoever is accepted closes the door behind him.
            self.load.lets_in = false;
        }
    }

    /// How much is to be freed.
    fn need(&self) -> Need {
        let (buffers, places) = (&self.load.buffers, &self.load.places);
        Need {
            places: match places.level() {
                Level::Drain => places.excess(self.places_taken() as u64) as usize,
                _ => self.waiting_for_places(),
            },
            bytes: match buffers.level() {
                Level::Critical | Level::Drain => {
                    buffers.excess(self.load.held_bytes as u64) as usize
                }
                Level::Healthy | Level::Warning => 0,
            },
        }
    }

    /// Who could be let go, and for how long it has been as it is.
    fn look(&mut self, need: Need, now_ns: u64) -> Vec<Look> {
        // Both are in the order of slots.
        let mut before = std::mem::take(&mut self.load.looks).into_iter().peekable();
        let mut looks = Vec::new();
        for key in self.conns.keys() {
            let Some(sight) = self.sight(key, need) else {
                continue;
            };
            while before.next_if(|look| look.key.index < key.index).is_some() {}
            let is_same = |look: &Look| look.key == key && look.sight.is_still(sight);
            looks.push(before.next_if(is_same).unwrap_or(Look {
                key,
                sight,
                since_ns: now_ns,
            }));
        }
        looks
    }

    fn sight(&mut self, key: Key, need: Need) -> Option<Sight> {
        let conn = self.conns.get_mut(key)?;
        let requests = conn.requests;
        match conn.state {
            State::Open if conn.is_idle() => (need.places > 0).then_some(Sight::Idle { requests }),
            State::Open if conn.read_wait == ReadWait::Head && !conn.is_sending() => {
                Some(Sight::Silent { requests })
            }
            State::Open | State::Flushing if conn.is_sending() && need.bytes > 0 => {
                Some(Sight::Stalled {
                    bytes: conn.sending_bytes,
                    unacknowledged: self.ring.unacknowledged_bytes(&conn.socket),
                })
            }
            _ => None,
        }
    }

    /// Lets go of those who have not moved for long enough until the need is met, in the order of
    /// [`Sight`] and then of time; returns the others.
    fn shed(&mut self, mut need: Need, looks: Vec<Look>, now_ns: u64) -> Vec<Look> {
        let is_ripe = |look: &Look| now_ns - look.since_ns >= look.sight.patience_ns();
        let (mut ripe, mut rest): (Vec<_>, Vec<_>) = looks.into_iter().partition(is_ripe);
        ripe.sort_by_key(|look| (look.sight.rank(), look.since_ns));
        for look in ripe {
            let Some(conn) = self.conns.get_mut(look.key) else {
                continue;
            };
            let held = conn.charged_bytes + conn.sending_bytes;
            match look.sight.helps(need, held) {
                true => {
                    need.places = need.places.saturating_sub(1);
                    need.bytes = need.bytes.saturating_sub(held);
                    self.let_go(look);
                }
                false => rest.push(look),
            }
        }
        rest.sort_unstable_by_key(|look| look.key.index);
        rest
    }

    fn let_go(&mut self, look: Look) {
        let count = match look.sight {
            Sight::Idle { .. } => &self.counters.shed_idle,
            Sight::Silent { .. } => &self.counters.shed_silent,
            Sight::Stalled { .. } => &self.counters.shed_stalled,
        };
        count.increment();
        if let (Sight::Stalled { .. }, Some(conn)) = (look.sight, self.conns.get_mut(look.key)) {
            conn.why.get_or_insert(DisconnectReason::Shed);
            // What it does not read is not to live on in the kernel.
            self.ring.reset_on_close(&conn.socket);
        }
        self.terminate(look.key);
    }
}
