//! Connections that change their shard between two requests, and the shard's duty, which decides which do.
//!
//! A connection moves when its response is done, so that it is at work, and holds nothing but its service, its
//! machine and what of its next requests came meanwhile. It leaves as any other connection does (what is queued
//! goes out, the receive ends, nothing is in flight any more) and goes through the other shard's door. One
//! that finds no door open goes on where it was.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Shard;
use super::accept::Arrival;
use super::conn::{Bulk, Carry, Destination, NEVER, ReadWait};
use crate::bridge::arrivals::{Door, Neighbours};
use crate::bridge::peers::Ticket;
use crate::lifecycle::Phase;
use crate::proto::h1;
use crate::protocol::ProtocolHandler;
use crate::ring::Ring;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::standby::{Advice, Colleague, LOOK_NS, Recall, Share, Standby, Times, View, WHOLE};
use crate::worker::Spawn;

/// So many connections leave a shard between two looks at most: each costs two shards some 2 us, and those that
/// arrive together are looked at in one turn.
const MOVES_PER_LOOK: usize = 256;

/// A connection between two of its requests, less its socket.
pub(crate) struct Moved<S> {
    pub(super) service: S,
    h1: h1::Conn,
    carry: Carry,
    bulk: Bulk,
    requests: u32,
    ticket: Option<Box<Ticket>>,
}

/// Which connections a shard leaves to others, and when it looks next.
pub(super) struct Moving {
    standby: Standby,
    /// [`NEVER`] where there is nobody to leave anything to.
    look_at_ns: u64,
    /// So many more may leave before that, to this shard, or to whichever has least if this one stands by.
    left: usize,
    to: usize,
    /// Whether the shard stood by when it last looked.
    stands_by: bool,
    colleagues: Vec<Colleague>,
}

impl Moving {
    pub(super) fn new(is_possible: bool) -> Self {
        Moving {
            standby: Standby::default(),
            look_at_ns: if is_possible { 0 } else { NEVER },
            left: 0,
            to: 0,
            stands_by: false,
            colleagues: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.look_at_ns
    }

    /// Whether a connection whose response is done may leave.
    #[inline]
    pub(super) fn are_wanted(&self) -> bool {
        self.left > 0
    }
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Whether connections of this shard's services can change their shard at all.
    pub(super) fn can_move<T>(neighbours: &Neighbours<T>) -> bool {
        // A service that stays may not even be dropped on another thread, and what a raw shard's protocol
        // keeps of a connection is its own.
        neighbours.are_there() && !M::Service::STAYS && !M::Service::IS_RAW
    }

    /// Looks at what the shard did with its time, and does what follows from that.
    #[cold]
    pub(super) fn look_at_duty(&mut self) {
        self.moving.look_at_ns = self.now.mono_ns + LOOK_NS;
        self.moving.left = 0;
        let times = self.ring.core_times();
        let times = Times {
            ran_ns: times.ran_ns.saturating_sub(self.spun_ns),
            waited_ns: times.waited_ns,
        };
        let share = self.moving.standby.measure(self.now.mono_ns, times);
        let (own, now_ns) = (self.neighbours.own(), self.ring.common_ns());
        self.neighbours.roster().tell(own, share, now_ns);
        let is_on_duty = self.neighbours.is_on_duty();
        self.note_standing_by(!is_on_duty);
        match is_on_duty {
            true => self.follow_advice(share, now_ns),
            false => self.moving.left = MOVES_PER_LOOK,
        }
    }

    fn follow_advice(&mut self, share: Share, now_ns: u64) {
        if self.phase != Phase::Running {
            return;
        }
        let mut colleagues = std::mem::take(&mut self.moving.colleagues);
        colleagues.extend(self.colleagues(now_ns));
        let roster = self.neighbours.roster();
        let view = View {
            now_ns,
            share,
            connections: self.places_taken(),
            connections_max: self.limits.connections_max,
            colleagues: &colleagues,
            is_any_standing_by: roster.standing_by().is_some(),
            may_stand_by: roster.may_stand_by(now_ns),
        };
        let advice = self.moving.standby.advise(&view);
        match advice {
            Advice::Nothing => {}
            Advice::StandBy => self.stand_by(share, now_ns),
            Advice::Give { to, connections } => {
                self.moving.left = connections.min(MOVES_PER_LOOK);
                self.moving.to = to;
                tracing::debug!(shard = self.neighbours.own(), to, connections, "gives");
            }
            Advice::Ask => {
                let silent = colleagues.iter().filter(|other| other.share.is_none());
                silent.for_each(|other| self.wake_shard(other.index));
            }
            Advice::LookForCore => {
                let ticks = self.ring.core_ticks();
                if self.moving.standby.finds_core(now_ns, ticks) {
                    self.recall(Recall::CoreIsFree, now_ns);
                }
            }
            Advice::Recall(why) => self.recall(why, now_ns),
        }
        colleagues.clear();
        self.moving.colleagues = colleagues;
    }

    /// The others on duty.
    fn colleagues(&self, now_ns: u64) -> impl Iterator<Item = Colleague> {
        let roster = self.neighbours.roster();
        let on_duty = self
            .neighbours
            .others()
            .filter(|(index, _)| roster.is_on_duty(*index));
        on_duty.map(move |(index, door)| Colleague {
            index,
            share: roster.share(index, now_ns),
            connections: door.inbox().arrivals().load(),
        })
    }

    fn stand_by(&mut self, share: Share, now_ns: u64) {
        let own = self.neighbours.own();
        if !self.neighbours.roster().stand_by(own, now_ns) {
            return;
        }
        tracing::debug!(
            shard = own,
            waited_percent = share.waited * 100 / WHOLE,
            "a shard that waits for its core stands by"
        );
        self.counters.standbys.add(1);
        self.note_standing_by(true);
        self.moving.left = MOVES_PER_LOOK;
    }

    fn recall(&mut self, why: Recall, now_ns: u64) {
        let roster = self.neighbours.roster();
        let Some(shard) = roster.standing_by() else {
            return;
        };
        if !roster.has_settled(now_ns) || !roster.come_back(shard, now_ns) {
            return;
        }
        if why == Recall::InVain {
            roster.rest(now_ns);
        }
        tracing::debug!(shard, ?why, "a shard that stood by is called back");
        self.counters.standby_recalls.add(1);
        self.wake_shard(shard);
    }

    fn wake_shard(&self, shard: usize) {
        self.neighbours.door(shard).inbox().wakeup().wake();
    }

    fn note_standing_by(&mut self, stands_by: bool) {
        if self.moving.stands_by != stands_by {
            self.moving.stands_by = stands_by;
            self.counters.shards_standing_by.set(stands_by.into());
        }
    }

    /// Lets a connection leave whose response is done, if another shard is to have it. Returns whether it does.
    #[cold]
    pub(super) fn move_on(&mut self, key: Key) -> bool {
        if self.destination().is_none() {
            return false;
        }
        let Some(conn) = self.conns.get_mut(key) else {
            return false;
        };
        if conn.read_closed || conn.deaf || conn.service.is_none() {
            return false;
        }
        self.moving.left -= 1;
        self.leave(key, Destination::Shard);
        true
    }

    /// The shard that is to have a connection of this one's, if there is one now.
    fn destination(&self) -> Option<usize> {
        if self.phase != Phase::Running {
            return None;
        }
        let roster = self.neighbours.roster();
        // Some places are left for who is accepted meanwhile: one that moves is at work, and must not wait for one.
        let load_max = self.limits.connections_max - self.limits.connections_max / 4;
        let may_have = |(index, door): &(usize, &Door<_>)| {
            let has_place = door.inbox().arrivals().load() < load_max;
            has_place && roster.is_on_duty(*index) && !door.is_deaf(|| self.ring.common_ns())
        };
        let others = self.neighbours.others().filter(may_have);
        let to = match self.neighbours.is_on_duty() {
            true => others.filter(|(index, _)| *index == self.moving.to).last(),
            false => others.min_by_key(|(_, door)| door.inbox().arrivals().load()),
        };
        to.map(|(index, _)| index)
    }

    /// Nothing of the connection is in flight any more: it goes, or goes on here.
    pub(super) fn hand_to_shard(&mut self, key: Key) {
        let to = self.destination();
        let Some(mut conn) = self.conns.remove(key) else {
            return;
        };
        self.counters.connections_open.decrement();
        self.discharge(conn.charged_bytes);
        self.tell_load();
        self.ring.part_with(&conn.socket);
        let moved = Moved {
            service: conn.service.take().expect("who has none does not leave"),
            h1: conn.h1,
            carry: conn.carry,
            bulk: conn.bulk,
            requests: conn.requests,
            ticket: conn.ticket,
        };
        let arrival = Arrival::Moved(conn.socket, Box::new(moved));
        let arrival = match to {
            Some(to) => self
                .neighbours
                .door(to)
                .push(arrival, self.ring.common_ns()),
            None => Err(arrival),
        };
        match arrival {
            Ok(()) => {
                self.counters.connections_moved.increment();
                self.place_freed();
            }
            Err(arrival) => {
                self.moving.left = 0;
                self.admit(arrival);
            }
        }
    }

    /// Goes on with a connection that comes from another shard.
    pub(super) fn welcome(&mut self, socket: R::Socket, moved: Moved<M::Service>) {
        let key = self.insert(socket);
        let draining = self.phase != Phase::Running;
        let deadline_ns = match draining {
            true => self.deadline_after(Some(self.last_head_ns())),
            false => self.deadline_after(self.load.keep_alive_ns),
        };
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.service = Some(moved.service);
        conn.h1 = moved.h1;
        conn.carry = moved.carry;
        conn.bulk = moved.bulk;
        conn.requests = moved.requests;
        conn.ticket = moved.ticket;
        let is_carrying = !conn.carry.is_empty();
        conn.wait_for(ReadWait::KeepAlive, deadline_ns);
        if draining {
            // What it asks may be on its way: it was at work.
            conn.wait_for(ReadWait::Head, deadline_ns);
            self.with_http1(key, |http1, conn, wire| http1.handle_drain(conn, wire));
        }
        if is_carrying {
            self.process_carry(key);
        }
        self.settle(key);
    }

    /// Closes a connection that nobody goes on with.
    pub(super) fn turn_away(&mut self, arrival: Arrival<R::Socket, M::Service>) {
        let (socket, moved) = match arrival {
            Arrival::Fresh(_, socket) => (socket, None),
            Arrival::Moved(socket, moved) => (socket, Some(moved)),
        };
        self.ring.close(socket);
        // The application's own destructors: a panic there is the connection's, not the shard's.
        if catch_unwind(AssertUnwindSafe(|| drop(moved))).is_err() {
            self.counters.handler_panics.add(1);
        }
    }
}
