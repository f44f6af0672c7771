//! Whether a server has more shards at work than cores it can get, and who is to have which connections then.
//! Knows shares of time and numbers of connections; reads no clock, and moves nothing.
//!
//! A shard whose thread has to wait for a core keeps its connections waiting for milliseconds: that is how
//! long a scheduler lets somebody else run. Where the shards together do less than one core fewer could do, one
//! of them therefore *stands by*: it leaves its connections to the others, and theirs is the core. It comes
//! back when the others have more to do than they can, and there is a core for it; or when they wait as they
//! did before.

use crate::cpus::CoreTicks;

/// How often a shard at work looks at what it did with its time: some slices of a scheduler's. In the tests times
/// are a fiftieth of what they are else, so that the simulation has many looks.
pub(crate) const LOOK_NS: u64 = scaled(50_000_000);
/// The whole of it.
pub(crate) const WHOLE: u32 = 1024;

/// So much of its time a shard waited that stands by. A thread that shares its core waits for a half; what others
/// take now and then is a few hundredths.
const WAITED_MIN: u32 = WHOLE / 8;
/// A shard has no time left.
const FULL: u32 = WHOLE / 8 * 7;
/// Another one has clearly more.
const DIFFERENCE_MIN: u32 = WHOLE / 4;
/// What shards do together may be so much more than what is left of them could do: less is spent on switches
/// and wakes.
const SAVED: u32 = WHOLE / 8;
/// So many looks in a row must say the same.
const LOOKS: u32 = 2;
/// The others wait as before when they have waited that much, and so many looks say so: it takes the scheduler a
/// while to give each a core, and who computes for a moment is no reason.
const WAITED_IN_VAIN: u32 = WHOLE / 8 * 3;
const LOOKS_IN_VAIN: u32 = 20;
/// There is a core for one that stands by when this much of one was idle for so long. That a thread which is woken
/// runs at once says nothing: who has slept goes first, whoever is on the core.
const IDLE_MIN: u64 = WHOLE as u64 / 2;
const IDLE_NS: u64 = scaled(300_000_000);
/// What was seen longer ago is no beginning.
const IDLE_NS_MAX: u64 = 3 * IDLE_NS;
/// A shard that has left connections to a less busy one sees for so long what became of it.
const GIVEN_NS: u64 = scaled(1_000_000_000);

/// A time, shorter in the tests.
pub(crate) const fn scaled(ns: u64) -> u64 {
    if cfg!(test) { ns / 50 } else { ns }
}

/// What a thread has done since it began, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Times {
    /// On a core, spinning aside.
    pub(crate) ran_ns: u64,
    /// Ready to run, without a core.
    pub(crate) waited_ns: u64,
}

/// What a shard did with its time of late, in 1/1024 of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Share {
    pub(crate) ran: u32,
    pub(crate) waited: u32,
}

impl Share {
    fn wanted(self) -> u32 {
        self.ran + self.waited
    }
}

/// Another shard that is on duty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Colleague {
    pub(crate) index: usize,
    /// `None` if it has not told of late, because it sleeps or is held up.
    pub(crate) share: Option<Share>,
    pub(crate) connections: usize,
}

/// What a shard on duty sees of itself and the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) now_ns: u64,
    pub(crate) share: Share,
    pub(crate) connections: usize,
    /// Connections that each shard may have.
    pub(crate) connections_max: usize,
    /// Those on duty but this one.
    pub(crate) colleagues: &'a [Colleague],
    /// Whether some shard stands by.
    pub(crate) is_any_standing_by: bool,
    /// Whether a shard may stand by now: none changed a moment ago, or in vain of late.
    pub(crate) may_stand_by: bool,
}

/// What a shard on duty should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Advice {
    Nothing,
    /// Leave its connections to the others, and accept none for itself.
    StandBy,
    /// Leave so many connections to one that has less to do.
    Give {
        to: usize,
        connections: usize,
    },
    /// Wake those who have not told what they do, so that they tell.
    Ask,
    /// See whether there is a [free core](Standby::finds_core), and call one back that stands by if so.
    LookForCore,
    /// Call one back that stands by.
    Recall(Recall),
}

/// Why a shard is called back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recall {
    /// There is a core for it, and work.
    CoreIsFree,
    /// The others wait for cores as before: it stood by in vain.
    InVain,
    /// Its places are needed.
    Crowded,
}

/// What one shard remembers from look to look.
#[derive(Default, Debug)]
pub(crate) struct Standby {
    looked_ns: u64,
    times: Times,
    /// Looks in a row at which it waited for its core, or had no time left.
    waiting: u32,
    full: u32,
    in_vain: u32,
    /// What the cores had done at the beginning of the time over which one is to be idle, and when that was.
    idle_from: Option<(u64, CoreTicks)>,
    /// When connections were last given.
    given_ns: Option<u64>,
}

impl Standby {
    /// Takes note of what the thread has done until now; returns what that is of the time since the last look.
    pub(crate) fn measure(&mut self, now_ns: u64, times: Times) -> Share {
        let whole_ns = now_ns.saturating_sub(self.looked_ns).max(1);
        let share = |ns: u64| (ns.saturating_mul(WHOLE.into()) / whole_ns).min(WHOLE.into()) as u32;
        let share = Share {
            ran: share(times.ran_ns.saturating_sub(self.times.ran_ns)),
            waited: share(times.waited_ns.saturating_sub(self.times.waited_ns)),
        };
        (self.looked_ns, self.times) = (now_ns, times);
        share
    }

    /// What a shard on duty should do.
    pub(crate) fn advise(&mut self, view: &View<'_>) -> Advice {
        let share = view.share;
        let is_waiting = share.waited >= WAITED_MIN;
        let is_full = share.wanted() >= FULL;
        self.waiting = if is_waiting { self.waiting + 1 } else { 0 };
        self.full = if is_full { self.full + 1 } else { 0 };
        let is_in_vain = is_full && share.waited >= WAITED_IN_VAIN;
        self.in_vain = if is_in_vain { self.in_vain + 1 } else { 0 };
        if view.is_any_standing_by && is_crowded(view.connections, view.connections_max) {
            return Advice::Recall(Recall::Crowded);
        }
        if self.waiting.max(self.full) < LOOKS {
            return Advice::Nothing;
        }
        if view.colleagues.iter().any(|other| other.share.is_none()) {
            return Advice::Ask;
        }
        if self.waiting >= LOOKS && view.may_stand_by && self.is_one_too_many(view) {
            (self.waiting, self.full, self.in_vain) = (0, 0, 0);
            return Advice::StandBy;
        }
        if self.full < LOOKS {
            return Advice::Nothing;
        }
        if let Some(advice) = self.give(view) {
            return advice;
        }
        match (view.is_any_standing_by, is_waiting) {
            (false, _) => Advice::Nothing,
            (true, false) => Advice::LookForCore,
            (true, true) if self.in_vain >= LOOKS_IN_VAIN => Advice::Recall(Recall::InVain),
            (true, true) => Advice::Nothing,
        }
    }

    /// Whether the others could do what all do together, and this one is the one to stand by: whoever waits most.
    fn is_one_too_many(&self, view: &View<'_>) -> bool {
        let others = || view.colleagues.iter();
        let shares = || others().filter_map(|other| other.share);
        let waits_most = shares().all(|other| other.waited <= view.share.waited);
        let ran: u32 = shares().map(|other| other.ran).sum::<u32>() + view.share.ran;
        let left = others().count() as u32 * WHOLE;
        let connections = others().map(|other| other.connections).sum::<usize>() + view.connections;
        let places = others().count() * view.connections_max;
        left > 0 && waits_most && ran <= left + SAVED && !is_crowded(2 * connections, places)
    }

    /// Half of what it has more to do than the one that has least, if that is much.
    fn give(&mut self, view: &View<'_>) -> Option<Advice> {
        let is_recent = |given_ns| view.now_ns.saturating_sub(given_ns) < GIVEN_NS;
        if self.given_ns.is_some_and(is_recent) {
            return None;
        }
        let wanted = |other: &Colleague| Some((other.index, other.share?.wanted()));
        let others = view.colleagues.iter().filter_map(wanted);
        let (to, least) = others.min_by_key(|(_, wanted)| *wanted)?;
        let own = view.share.wanted();
        if own < least + DIFFERENCE_MIN {
            return None;
        }
        let connections = view.connections * (own - least) as usize / (2 * own) as usize;
        if connections == 0 {
            return None;
        }
        self.given_ns = Some(view.now_ns);
        Some(Advice::Give { to, connections })
    }

    /// Takes note of what the cores have done until now. Returns whether one was idle for a while.
    pub(crate) fn finds_core(&mut self, now_ns: u64, ticks: Option<CoreTicks>) -> bool {
        let (Some(ticks), before) = (ticks, self.idle_from) else {
            return false;
        };
        let age_ns = |from_ns| now_ns.saturating_sub(from_ns);
        match before {
            Some((from_ns, _)) if age_ns(from_ns) < IDLE_NS => false,
            Some((from_ns, before)) if age_ns(from_ns) < IDLE_NS_MAX => {
                self.idle_from = Some((now_ns, ticks));
                let since = ticks.since(before).unwrap_or_default();
                since.idle * since.cores * u64::from(WHOLE) >= IDLE_MIN * since.all.max(1)
            }
            _ => {
                self.idle_from = Some((now_ns, ticks));
                false
            }
        }
    }
}

/// Places run short when more than half of them are taken.
fn is_crowded(connections: usize, places: usize) -> bool {
    connections > places / 2
}

#[cfg(test)]
#[path = "standby_tests.rs"]
mod tests;
