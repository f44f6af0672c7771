//! Everything that is not the shard: the kernel, the peers, the tasks, the clock and the end.
//!
//! Time moves only while the shard sleeps in its turn or spins, and a little in each turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kernel::{Fact, Kernel};
use super::peer::{Moment, Peer};
use super::rng::Rng;
use super::script::{self, Act, Mood, Talk};
use super::spawn::SimSpawn;
use crate::bridge::inbox::Inbox;
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::ring::Wait;
use crate::sys::EventFd;

pub(super) const SECOND_NS: u64 = 1_000_000_000;

pub(super) struct World {
    pub(super) kernel: Kernel,
    pub(super) shared: Shared,
    rng: Rng,
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
    /// What a shard that spins has been shown, for its next turn.
    glanced: Vec<Fact>,
    /// Glances since its last turn.
    glances: u32,
}

/// What the world and its shard both hold.
pub(super) struct Shared {
    pub(super) spawn: SimSpawn,
    pub(super) inbox: Arc<Inbox>,
    pub(super) bell: Arc<EventFd>,
    pub(super) lifecycle: Arc<Lifecycle>,
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
        let mut kernel = Kernel::new(rng.fork(), 1);
        kernel.trace.verbose = verbose;
        let terminates = rng.one_in(2);
        let crowded = limits.connections_max < 50;
        let mood = Mood {
            vanishing: terminates && !crowded,
            punctual: !crowded,
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
            rng: rng.fork(),
            turns: 0,
            idle_turns: 0,
            glanced: Vec::new(),
            glances: 0,
        }
    }

    /// Completions that have come. Sleeps as a kernel would: until one comes, the bell rings, or
    /// time is up.
    pub(super) fn turn(&mut self, wait: Wait) -> (Vec<Fact>, bool) {
        let started_ns = self.kernel.now_ns;
        let give_up_ns = match wait {
            Wait::Poll => started_ns,
            Wait::Until(until_ns) => until_ns,
            Wait::Forever => u64::MAX,
        };
        let mut woken = self.rng.one_in(200);
        let mut facts = std::mem::take(&mut self.glanced);
        self.glances = 0;
        let facts = loop {
            self.let_things_happen();
            facts.extend(self.kernel.arrived());
            woken |= self.shared.bell.read().expect("an eventfd can be read") > 0;
            let now_ns = self.kernel.now_ns;
            if !facts.is_empty() || woken || now_ns >= give_up_ns {
                break facts;
            }
            assert!(
                self.shared.inbox.is_empty(),
                "the shard sleeps though its inbox is not empty"
            );
            let next_ns = self.next_ns().min(give_up_ns);
            assert!(
                next_ns < u64::MAX,
                "nothing will ever happen again: {}",
                self.describe()
            );
            self.kernel.now_ns = next_ns.max(now_ns);
        };
        self.count_turn(facts.is_empty() && !woken && give_up_ns <= started_ns);
        self.kernel.now_ns += self.rng.range(1_000, 20_000);
        (facts, woken)
    }

    /// Whether completions have come, for a shard that spins. Time passes faster the longer it does;
    /// now and then something else has its core for a while.
    pub(super) fn glance(&mut self) -> bool {
        let step_ns = (100_u64 << (self.glances / 16).min(16)).min(1_000_000);
        let lost_ns = if self.rng.one_in(300) { 400_000 } else { 0 };
        self.glances += 1;
        self.kernel.now_ns += self.rng.range(step_ns / 2, step_ns) + lost_ns;
        self.let_things_happen();
        self.glanced.extend(self.kernel.arrived());
        !self.glanced.is_empty()
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
        self.shared.spawn.advance(self.kernel.now_ns);
        let runs = self.rng.size(1, 4);
        self.shared.spawn.run(runs);
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
            self.phase_since_ns = now_ns;
            self.kernel.trace.say(|| format!("{now_ns} terminate"));
            self.shared.lifecycle.terminate();
        }
        let patience_ns = match (self.moment.terminating, self.all_done()) {
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
        1_800_000_000 + self.kernel.now_ns / SECOND_NS
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
