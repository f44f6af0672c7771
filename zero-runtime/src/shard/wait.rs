//! Phase one of a turn: what was asked is submitted, and a fact waited for, as the strategy says.

use std::io;

use super::Shard;
use super::conn::NEVER;
use crate::bridge::link::ShardPort;
use crate::ring::{Ring, Wait};
use crate::service::MakeHttpService;
use crate::time::Now;
use crate::waking::{Spun, Waited, Waking};
use crate::worker::Spawn;

/// Looks for news between two at the clock, which costs more than all of them.
const LOOKS: u32 = 4;
/// So much time between two looks at the clock says that somebody else had the core: far more than
/// an interrupt takes, and less than the least slice a scheduler gives.
const LOSS_NS: u64 = 250_000;

/// A worker that shares the core waits no longer than this and one turn for its own.
const TURN_NS: u64 = 200_000;
/// A turn of the workers that takes longer was somebody else's: handlers that leave their shard are polled
/// for less, and a scheduler's slice is more.
const STRANGERS_NS: u64 = 2_000_000;
/// Longest time without turns after that: a slice lost in each is a hundredth of it.
pub(super) const REST_NS_MAX: u64 = 400_000_000;

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Submits, and returns once there is something to react to, or the next deadline has come; says when
    /// that is.
    pub(super) fn await_facts<W: Waking>(&mut self, waking: &mut W) -> io::Result<Now> {
        self.ports.iter_mut().for_each(ShardPort::announce);
        if !self.calls.is_empty() || !self.ready.is_empty() {
            self.ring.turn(Wait::Poll)?;
            return Ok(self.ring.now());
        }
        if W::TAKES_TURNS && self.take_turns()? {
            return Ok(self.ring.now());
        }
        if !W::SPINS {
            self.sleep()?;
            return Ok(self.ring.now());
        }
        // Next to nothing lies between the last poll and this.
        let mut began_ns = match self.polled_until_ns {
            0 => self.ring.now().mono_ns,
            until_ns => until_ns,
        };
        let mut spun = Spun::Not;
        if !self.is_core_wanted::<W>()
            && let Some(until_ns) = waking.spin_until_ns(began_ns)
        {
            // Most sends are done when they are submitted.
            self.ring.turn(Wait::Poll)?;
            if self.has_news() {
                self.ring.turn(Wait::Poll)?;
                return Ok(self.ring.now());
            }
            began_ns = self.ring.now().mono_ns;
            spun = self.spin(began_ns, until_ns.min(self.next_deadline_ns()), waking);
        }
        match spun {
            Spun::Found => {
                self.counters.spins_found.add(1);
                self.ring.turn(Wait::Poll)?;
            }
            Spun::InVain => {
                self.counters.spins_in_vain.add(1);
                self.sleep()?;
            }
            Spun::Not => self.sleep()?,
        }
        let now = self.ring.now();
        let ns = now.mono_ns - began_ns;
        waking.waited(Waited { ns, spun });
        Ok(now)
    }

    /// Gives the core to a worker that waits for it, if there is one. Returns whether there is something to
    /// react to; else it is to be waited for.
    #[inline]
    fn take_turns(&mut self) -> io::Result<bool> {
        match self.inbox.crowd().turns().are_taken() || self.is_resting {
            true => self.give_turn(),
            false => Ok(false),
        }
    }

    #[cold]
    fn give_turn(&mut self) -> io::Result<bool> {
        let turns = self.inbox.crowd().turns();
        let now_ns = self.ring.now().mono_ns;
        if self.is_resting {
            self.is_resting = self.rest.lasts(now_ns);
            turns.suspend(self.is_resting);
            return Ok(false);
        }
        self.ring.turn(Wait::Poll)?;
        // It has its turn at once, unless what comes meanwhile makes for a better one.
        if self.has_news() && now_ns < self.turn_given_ns + TURN_NS {
            self.ring.turn(Wait::Poll)?;
            return Ok(true);
        }
        std::thread::yield_now();
        self.counters.turns_given.add(1);
        self.turn_given_ns = self.ring.now().mono_ns;
        let ns = self.turn_given_ns - now_ns;
        if ns > STRANGERS_NS {
            self.rest.lost_core(self.turn_given_ns, ns);
            self.is_resting = self.rest.lasts(self.turn_given_ns);
            self.inbox.crowd().turns().suspend(self.is_resting);
        }
        // Replies are taken first: what they send is submitted by the same enter that collects requests.
        let is_called = self.is_called();
        if !is_called && self.has_news() {
            self.ring.turn(Wait::Poll)?;
            return Ok(true);
        }
        Ok(is_called)
    }

    /// Looks for news without entering the kernel, until there is some, or the time is over.
    fn spin<W: Waking>(&mut self, began_ns: u64, until_ns: u64, waking: &mut W) -> Spun {
        let mut looked_ns = began_ns;
        loop {
            for _ in 0..LOOKS {
                if self.has_news() {
                    return Spun::Found;
                }
                std::hint::spin_loop();
            }
            let now_ns = self.ring.now().mono_ns;
            let lost_ns = now_ns - looked_ns;
            match lost_ns > LOSS_NS {
                true => waking.lost_core(now_ns, lost_ns),
                // On the core: the scheduler counts it as work.
                false => self.spun_ns += lost_ns,
            }
            if self.is_core_wanted::<W>() {
                return Spun::Not;
            }
            if now_ns >= until_ns {
                return Spun::InVain;
            }
            looked_ns = now_ns;
        }
    }

    /// Whether handlers of this server need the cores that shards could spin on.
    #[inline]
    fn is_core_wanted<W: Waking>(&self) -> bool {
        !W::IS_SELFISH && self.inbox.crowd().is_short_of_cores()
    }

    /// Whether a turn would find something to do.
    #[inline]
    fn has_news(&mut self) -> bool {
        self.ring.has_news() || self.is_called()
    }

    /// Whether another thread has something for us.
    #[inline]
    pub(super) fn is_called(&self) -> bool {
        !self.inbox.is_empty()
            || self.ports.iter().any(ShardPort::has_answers)
            || self.lifecycle.phase() != self.phase
    }

    /// Blocks until a fact comes, somebody wakes us, or the next deadline.
    fn sleep(&mut self) -> io::Result<()> {
        let wait = self.plan_sleep();
        let turned = self.ring.turn(wait);
        self.inbox.wakeup().awake();
        turned
    }

    /// How long the next enter may block. Announces sleep to those who may want to wake us.
    fn plan_sleep(&mut self) -> Wait {
        if !self.inbox.wakeup().prepare_sleep(|| self.is_called()) {
            return Wait::Poll;
        }
        match self.next_deadline_ns() {
            NEVER => Wait::Forever,
            deadline_ns => Wait::Until(deadline_ns),
        }
    }

    pub(super) fn next_deadline_ns(&self) -> u64 {
        let wheel = self.wheel.next_deadline_ns().unwrap_or(NEVER);
        let workers = self.ports.iter().filter_map(ShardPort::patience_ends_ns);
        let workers = workers.min().unwrap_or(NEVER);
        let patience = self
            .patient
            .front()
            .map_or(NEVER, |(until_ns, _)| *until_ns);
        let soonest = wheel.min(workers).min(patience);
        let soonest = soonest.min(self.load.next_deadline_ns());
        soonest.min(self.listeners.retry_at_ns())
    }
}

/// What a simulation does between two steps.
#[cfg(test)]
impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Announces sleep between two steps, as the next one does if it comes to that. Returns whether it has.
    pub(crate) fn doze(&mut self) -> bool {
        let is_busy = !self.calls.is_empty() || !self.ready.is_empty() || self.has_ended();
        !is_busy && self.inbox.wakeup().prepare_sleep(|| self.is_called())
    }

    /// Ends that before the next step; who has left something to do meanwhile has ended it before. Returns
    /// whether somebody has.
    pub(crate) fn end_doze(&mut self) -> bool {
        if self.inbox.wakeup().is_awake() {
            return true;
        }
        assert!(self.inbox.owes_nothing(), "a shard that dozes was not told");
        for key in self.conns.keys() {
            let exchange = self.conns.get_mut(key).map(|conn| &conn.exchange);
            let is_owed =
                matches!(exchange, Some(super::Exchange::Detached(reply)) if reply.is_owed());
            assert!(!is_owed, "a shard that dozes was not told of a loan");
        }
        self.inbox.wakeup().awake();
        false
    }
}
