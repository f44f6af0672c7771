//! Everything that is not a shard: the kernel, the peers, the tasks, the clock and the end.
//!
//! Time moves only while all shards sleep in their turns, or one spins, or handlers hold the only one up, and a
//! little in each turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kernel::{Fact, Kernel};
use super::peer::{Moment, Peer};
use super::rng::Rng;
use super::script::{self, Act, Mood, Talk};
use super::spawn::SimSpawn;
use crate::bridge::inbox::Inbox;
use crate::cpus::CoreTicks;
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::ring::Wait;
use crate::sys::EventFd;
use crate::time::CoreTimes;

pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// Longest wait of a worker for its core between two steps of the shard's.
const DAWDLE_NS_MAX: u64 = 100_000_000;

/// The wall clock at an instant of the simulation's.
pub(super) fn unix_s(now_ns: u64) -> u64 {
    1_800_000_000 + now_ns / SECOND_NS
}

pub(super) struct World {
    pub(super) kernel: Kernel,
    pub(super) shared: Shared,
    rng: Rng,
    /// For what came later than other choices, whose seeds stay what they were.
    late_rng: Rng,
    /// Tasks wait for the end of the shard's step, so that it is on its feet when they run.
    is_late: bool,
    pub(super) peers: Vec<Peer>,
    /// When to call each peer, and that, by peer.
    agenda: BTreeMap<(u64, u64), usize>,
    next_calls: Vec<u64>,
    moment: Moment,
    drain_at_ns: u64,
    terminate_after_ns: Option<u64>,
    drained_at_ns: u64,
    /// When the present phase began, or the last peer was seen busy in it.
    phase_since_ns: u64,
    pub(super) turns: u64,
    idle_turns: u64,
}

/// What the world and its shards both hold.
pub(super) struct Shared {
    pub(super) spawn: SimSpawn,
    /// By shard.
    pub(super) seats: Vec<Seat>,
    pub(super) lifecycle: Arc<Lifecycle>,
}

/// One shard, as the world sees it.
pub(super) struct Seat {
    inbox: Arc<Inbox>,
    bell: Arc<EventFd>,
    /// What its ring has not been told yet.
    arrived: Vec<Fact>,
    /// Looks for news since its last turn.
    glances: u32,
    /// When the sleep ends that it last asked for.
    until_ns: u64,
    /// So many times tasks had been polled when it last found nothing to do, if nothing else has happened since.
    quiet_since: Option<u64>,
    has_ended: bool,
    /// What its thread has done, and does at present, in hundredths of its time.
    times: CoreTimes,
    doing: (u64, u64),
    since_ns: u64,
}

impl Seat {
    pub(super) fn new(inbox: Arc<Inbox>, bell: Arc<EventFd>) -> Self {
        Seat {
            inbox,
            bell,
            arrived: Vec::new(),
            glances: 0,
            until_ns: 0,
            quiet_since: None,
            has_ended: false,
            times: CoreTimes::default(),
            doing: (0, 0),
            since_ns: 0,
        }
    }
}

impl Shared {
    /// Something has happened: every shard may have something to do.
    fn wake_up(&mut self) {
        self.seats
            .iter_mut()
            .for_each(|seat| seat.quiet_since = None);
    }

    /// Whether no shard has anything to do.
    fn is_quiet(&self) -> bool {
        let polls = self.spawn.polls();
        let has_news = |seat: &Seat| !seat.arrived.is_empty() || !seat.inbox.owes_nothing();
        let is_quiet = |seat: &Seat| seat.quiet_since == Some(polls) && !has_news(seat);
        let mut seats = self.seats.iter();
        seats.all(|seat| seat.has_ended || is_quiet(seat))
    }
}

impl World {
    /// Writes the scripts of a seed's peers, and when the server drains and terminates.
    pub(super) fn new(
        rng: &mut Rng,
        limits: &Limits,
        shared: Shared,
        talk: Talk,
        verbose: bool,
    ) -> World {
        let mut kernel = Kernel::new(rng.fork(), shared.seats.len());
        kernel.trace.verbose = verbose;
        let terminates = rng.one_in(2);
        let crowded = limits.connections_max < 50;
        let mood = Mood {
            vanishing: terminates && !crowded,
            punctual: !crowded,
            // Classes of requests are to have a history.
            loyal: shared.spawn.keeps_time(),
        };
        let peers_max = if rng.one_in(4) { 40 } else { 12 };
        let start_ns = kernel.now_ns;
        let mut peers = Vec::new();
        let mut agenda = BTreeMap::new();
        let mut next_calls = Vec::new();
        for number in 0..rng.range(1, peers_max) {
            let script = script::write(rng, mood, talk);
            let at_ns = start_ns + rng.pick(&[0, rng.clone().below(SECOND_NS), 1_000_000]);
            agenda.insert((at_ns, number), number as usize);
            next_calls.push(at_ns);
            peers.push(Peer::new(number, script, rng.fork()));
        }
        let drains_early = rng.one_in(3);
        World {
            kernel,
            shared,
            peers,
            agenda,
            next_calls,
            moment: Moment {
                draining: false,
                terminating: false,
                sheds_idle: crowded,
                lingers: limits.linger_timeout_ns > 0,
                patience_ns: if crowded { 4_000 } else { 300 } * SECOND_NS,
            },
            drain_at_ns: match drains_early {
                // Also just when many connect.
                true if rng.one_in(2) => start_ns + 1_000_000 + rng.below(20_000),
                true => start_ns + rng.below(2 * SECOND_NS),
                false => u64::MAX,
            },
            terminate_after_ns: terminates
                .then(|| rng.pick(&[0, 1_000_000, SECOND_NS, 5 * SECOND_NS])),
            drained_at_ns: u64::MAX,
            phase_since_ns: start_ns,
            late_rng: Rng::new(!rng.clone().next()),
            is_late: false,
            rng: rng.fork(),
            turns: 0,
            idle_turns: 0,
        }
    }

    /// Completions that have come for one shard. Sleeps as a kernel would: until one comes, the bell rings,
    /// or time is up; or until another shard may go on.
    pub(super) fn turn(&mut self, seat: usize, wait: Wait) -> (Vec<Fact>, bool) {
        let started_ns = self.kernel.now_ns;
        let give_up_ns = match wait {
            Wait::Poll => started_ns,
            Wait::Until(until_ns) => until_ns,
            Wait::Forever => u64::MAX,
        };
        let mut woken = self.rng.one_in(200);
        self.shared.seats[seat].glances = 0;
        self.shared.seats[seat].until_ns = give_up_ns;
        let facts = loop {
            self.let_things_happen();
            self.deliver();
            let own = &mut self.shared.seats[seat];
            let facts = std::mem::take(&mut own.arrived);
            woken |= own.bell.read().expect("an eventfd can be read") > 0;
            let now_ns = self.kernel.now_ns;
            if !facts.is_empty() || woken || self.is_late || now_ns >= give_up_ns {
                self.shared.wake_up();
                break facts;
            }
            assert!(
                own.inbox.owes_nothing(),
                "the shard sleeps though something lies in its inbox"
            );
            own.quiet_since = Some(self.shared.spawn.polls());
            if !self.shared.is_quiet() {
                break facts;
            }
            let sleeps = self.shared.seats.iter().map(|seat| seat.until_ns);
            let next_ns = sleeps.fold(self.next_ns(), u64::min);
            // Whoever writes does not take for ever.
            let is_written_to = self.kernel.lanes.are_written_to();
            let is_far = next_ns > now_ns + DAWDLE_NS_MAX;
            if is_written_to && (is_far || self.late_rng.one_in(2)) {
                break facts;
            }
            assert!(
                next_ns < u64::MAX,
                "nothing will ever happen again: {}",
                self.describe()
            );
            self.shared.wake_up();
            self.kernel.now_ns = next_ns.max(now_ns);
        };
        self.count_turn(facts.is_empty() && !woken && give_up_ns <= started_ns);
        self.kernel.now_ns += self.rng.range(1_000, 20_000);
        self.kernel.lanes.set_now(self.kernel.now_ns);
        self.shared.spawn.turned(self.kernel.now_ns);
        (facts, woken)
    }

    /// Lets the time pass that handlers have taken on the shard.
    pub(super) fn catch_up(&mut self) {
        self.kernel.now_ns = self.kernel.now_ns.max(self.shared.spawn.shard_ns());
        self.kernel.lanes.set_now(self.kernel.now_ns);
    }

    /// Whether completions have come, for a shard that spins. Time passes faster the longer it does;
    /// now and then something else has its core for a while.
    pub(super) fn glance(&mut self, seat: usize) -> bool {
        let glances = &mut self.shared.seats[seat].glances;
        let step_ns = (100_u64 << (*glances / 16).min(16)).min(1_000_000);
        *glances += 1;
        let lost_ns = if self.rng.one_in(300) { 400_000 } else { 0 };
        self.kernel.now_ns += self.rng.range(step_ns / 2, step_ns) + lost_ns;
        self.let_things_happen();
        self.deliver();
        let may_others_go_on = self.shared.seats.len() > 1 && self.rng.one_in(16);
        may_others_go_on || !self.shared.seats[seat].arrived.is_empty()
    }

    /// Whether tasks have been left for the time between two steps.
    pub(super) fn take_late(&mut self) -> bool {
        std::mem::take(&mut self.is_late)
    }

    /// A shard's loop has ended.
    pub(super) fn end(&mut self, seat: usize) {
        let seat = &mut self.shared.seats[seat];
        (seat.has_ended, seat.until_ns) = (true, u64::MAX);
    }

    /// Takes completions to whose they are.
    fn deliver(&mut self) {
        for fact in self.kernel.arrived() {
            let seat = fact.seat(&self.kernel);
            self.shared.seats[seat].arrived.push(fact);
        }
    }

    /// What the scheduler says of a shard's thread: for a while this, then that; of the only one, what its
    /// handlers have waited.
    pub(super) fn core_times(&mut self, seat: usize) -> CoreTimes {
        let now_ns = self.kernel.now_ns;
        if self.shared.seats.len() == 1 {
            return CoreTimes {
                ran_ns: 0,
                waited_ns: self.shared.spawn.shard_waited_ns(),
            };
        }
        let seat = &mut self.shared.seats[seat];
        let (ran, waited) = seat.doing;
        let ns = now_ns - std::mem::replace(&mut seat.since_ns, now_ns);
        seat.times.ran_ns += ns * ran / 100;
        seat.times.waited_ns += ns * waited / 100;
        if self.rng.one_in(4) {
            let ran = self.rng.pick(&[0, 20, 45, 100]);
            seat.doing = (ran, self.rng.pick(&[0, 5, 40]).min(100 - ran));
        }
        seat.times
    }

    /// What the cores are said to do: all of them nothing, or all of them much.
    pub(super) fn core_ticks(&mut self) -> Option<CoreTicks> {
        let all = self.kernel.now_ns / 10_000;
        let idle = if (self.turns / 512).is_multiple_of(2) {
            0
        } else {
            all
        };
        Some(CoreTicks {
            cores: 2,
            idle,
            all,
        })
    }

    fn count_turn(&mut self, idle: bool) {
        self.turns += 1;
        self.idle_turns = if idle { self.idle_turns + 1 } else { 0 };
        assert!(
            self.idle_turns < 5_000,
            "the shard spins: {}",
            self.describe()
        );
        assert!(
            self.turns < 3_000_000,
            "the simulation does not end: {}",
            self.describe()
        );
    }

    fn let_things_happen(&mut self) {
        self.follow_phases();
        self.kernel.lanes.set_now(self.kernel.now_ns);
        self.shared.spawn.advance(self.kernel.now_ns);
        let runs = self.rng.size(1, 4);
        let may_be_late = self.kernel.lanes.are_lent() && self.shared.spawn.has_ready();
        self.is_late = may_be_late && self.late_rng.one_in(2);
        if !self.is_late {
            self.shared.spawn.run(runs);
        }
        self.kernel.take_written();
        self.call_peers();
    }

    fn next_ns(&self) -> u64 {
        let agenda = self.agenda.keys().next().map(|(at_ns, _)| *at_ns);
        let phase = match self.moment {
            Moment {
                draining: false, ..
            } if self.all_done() => Some(self.kernel.now_ns),
            Moment {
                draining: false, ..
            } => Some(self.drain_at_ns),
            Moment {
                terminating: false, ..
            } => Some(self.terminate_at_ns()),
            _ => None,
        };
        let all = agenda.into_iter().chain(phase);
        let all = all
            .chain(self.kernel.next_ns())
            .chain(self.shared.spawn.next_ns());
        all.min().unwrap_or(u64::MAX)
    }

    fn all_done(&self) -> bool {
        self.peers.iter().all(|peer| peer.done)
    }

    fn follow_phases(&mut self) {
        let now_ns = self.kernel.now_ns;
        if !self.moment.draining {
            if self.all_done() || now_ns >= self.drain_at_ns {
                self.moment.draining = true;
                self.shared.wake_up();
                self.phase_since_ns = now_ns;
                self.drained_at_ns = now_ns;
                self.kernel.trace.say(|| format!("{now_ns} drain"));
                // A termination may come without a drain before it.
                if self.terminate_after_ns != Some(0) {
                    self.shared.lifecycle.drain();
                }
            }
            return;
        }
        if !self.moment.terminating && now_ns >= self.terminate_at_ns() {
            self.moment.terminating = true;
            self.shared.wake_up();
            self.phase_since_ns = now_ns;
            self.kernel.trace.say(|| format!("{now_ns} terminate"));
            self.shared.lifecycle.terminate();
        }
        let patience_ns = match (self.moment.terminating, self.all_done()) {
            // A worker that is in the middle of a write may dawdle, and is waited for.
            _ if self.kernel.lanes.are_written_to() => u64::MAX,
            // Only what was in flight has to come back.
            (true, _) => 20_000_000,
            (false, true) => 120 * SECOND_NS,
            (false, false) => u64::MAX,
        };
        self.phase_since_ns = match patience_ns {
            u64::MAX => now_ns,
            _ => self.phase_since_ns,
        };
        let in_vain = now_ns - self.phase_since_ns > patience_ns;
        assert!(!in_vain, "the shard does not end: {}", self.describe());
    }

    fn terminate_at_ns(&self) -> u64 {
        match self.terminate_after_ns {
            Some(after_ns) if self.moment.draining => self.drained_at_ns + after_ns,
            _ => u64::MAX,
        }
    }

    fn call_peers(&mut self) {
        self.call_touched();
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.kernel.now_ns {
                return;
            }
            let peer = entry.remove();
            self.next_calls[peer] = u64::MAX;
            match self.peers[peer].act(&mut self.kernel, self.moment) {
                Ok(Some(at_ns)) => self.call_at(peer, at_ns),
                Ok(None) => {}
                Err(why) => panic!("peer {peer}: {why}"),
            }
            self.call_touched();
        }
    }

    /// What the shard did reaches the peers after a while.
    fn call_touched(&mut self) {
        for sock in std::mem::take(&mut self.kernel.touched) {
            let way_ns = self.rng.pick(&[0, 1_000, 100_000, 1_000_000]);
            let peer = self.kernel.socks[sock].peer as usize;
            if !self.peers[peer].done {
                self.call_at(peer, self.kernel.now_ns + way_ns);
            }
        }
    }

    fn call_at(&mut self, peer: usize, at_ns: u64) {
        if at_ns < self.next_calls[peer] {
            self.agenda.remove(&(self.next_calls[peer], peer as u64));
            self.next_calls[peer] = at_ns;
            self.agenda.insert((at_ns, peer as u64), peer);
        }
    }

    pub(super) fn unix_s(&self) -> u64 {
        unix_s(self.kernel.now_ns)
    }

    pub(super) fn describe(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "at {} ns, turn {}, {:?}, {} tasks",
            self.kernel.now_ns,
            self.turns,
            self.moment,
            self.shared.spawn.alive()
        );
        for peer in self.peers.iter().filter(|peer| !peer.done) {
            let _ = write!(
                text,
                "\n  peer {} on {:?} at {:?}, strict {}: {}",
                peer.number,
                peer.sock,
                peer.script.acts.front().map(Act::describe),
                peer.script.strict,
                peer.answers.describe()
            );
        }
        for (id, sock) in self
            .kernel
            .socks
            .iter()
            .enumerate()
            .filter(|(_, sock)| !sock.closed)
        {
            let _ = write!(
                text,
                "\n  socket {id} of peer {}: {}",
                sock.peer,
                sock.describe()
            );
        }
        text
    }
}
