//! How long handlers hold up whoever polls them, and the simulation's own account of where classes of requests
//! may be polled because of that.
//!
//! Knows what every first poll takes, because it says so itself, and sees where it happens. Of the shard's
//! table of classes, and of its clock, it sees nothing.

use std::collections::BTreeMap;

use super::rng::Rng;
use crate::limits::Limits;
use crate::stats::Stats;

/// First time that a class sent back has to stay away; doubled each time.
const BACKOFF_NS: u64 = 10_000_000;
const BACKOFFS_MAX: u32 = 10;
/// After so long on the shard a class may have its past forgiven.
const FORGIVEN_NS: u64 = 60_000_000_000;

/// The time of a poll.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Took {
    /// Spent computing or blocked.
    own_ns: u64,
    /// Spent without a core.
    pub(super) waited_ns: u64,
}

impl Took {
    pub(super) fn ns(self) -> u64 {
        self.own_ns + self.waited_ns
    }
}

/// What the shard goes by.
#[derive(Clone, Copy)]
struct Bounds {
    long_ns: u64,
    short_ns: u64,
    /// A poll that takes no longer is nobody's business.
    unnoted_ns: u64,
    stall_min_ns: Option<u64>,
    streak: u32,
    /// Whether classes are told apart.
    is_adaptive: bool,
}

/// The account of one run.
pub(super) struct Polls {
    seed: u64,
    rng: Rng,
    /// `None` where no handler takes any time: then there is no account.
    bounds: Option<Bounds>,
    /// Calls for workers come in the order in which they are polled.
    has_one_link: bool,
    classes: BTreeMap<String, Class>,
    /// Turns of the shard, and times a class was first seen on it.
    turns: u64,
    arrivals: u64,
    seen: Seen,
    /// The first thing that must not be.
    fault: Option<String>,
}

/// What was seen of one class.
#[derive(Default)]
struct Class {
    on_shard: bool,
    /// With which arrival it came there.
    arrival: u64,
    /// From when on it may come there.
    since_ns: u64,
    backoffs: u32,
    has_been_sent_back: bool,
    /// Short polls on workers, in a row if that can be told, that may count towards the shard.
    short: u32,
    /// Of them, those in this turn of the shard, which may have heard of them or not.
    in_turn: (u64, u32),
}

/// What the shard should have counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Seen {
    demotions: u64,
    stalls: u64,
    longest_ns: u64,
    excused: u64,
    /// Classes that came to the shard and were polled there.
    promotions: u64,
    /// Of them, those that had been sent back before.
    returns: u64,
}

impl Polls {
    /// Polls take no time.
    pub(super) fn of_no_time() -> Self {
        Polls {
            seed: 0,
            rng: Rng::new(0),
            bounds: None,
            has_one_link: false,
            classes: BTreeMap::new(),
            turns: 0,
            arrivals: 0,
            seen: Seen::default(),
            fault: None,
        }
    }

    /// Polls take times that follow from the seed; `limits` say what is long.
    pub(super) fn of_time(seed: u64, limits: &Limits, is_adaptive: bool) -> Self {
        let long_ns = limits.inline_poll_max_ns;
        Polls {
            seed,
            rng: Rng::new(seed ^ 144),
            bounds: Some(Bounds {
                long_ns,
                short_ns: long_ns / 2,
                unnoted_ns: limits.stall_min_ns.unwrap_or(long_ns).min(long_ns),
                stall_min_ns: limits.stall_min_ns,
                streak: limits.inline_streak,
                is_adaptive,
            }),
            ..Polls::of_no_time()
        }
    }

    pub(super) fn take_time(&self) -> bool {
        self.bounds.is_some()
    }

    /// Says that workers take calls from one link only.
    pub(super) fn set_one_link(&mut self) {
        self.has_one_link = true;
    }

    /// How many classes have come to the shard: a call made now goes to wherever these stand.
    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// The shard is about to take the answers that lie there.
    pub(super) fn turned(&mut self) {
        self.turns += 1;
    }

    pub(super) fn turns(&self) -> u64 {
        self.turns
    }

    /// What must not have been.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The time of a first poll: mostly short, for some classes now and then long, for some often.
    pub(super) fn draw(&mut self, class: &str) -> Took {
        let Some(bounds) = self.bounds else {
            return Took::default();
        };
        let letters = class.bytes().map(u64::from);
        let name = letters.fold(self.seed, |hash, byte| (hash ^ byte).rotate_left(7));
        let long_one_in = Rng::new(name).pick(&[1_000_000, 10, 10, 4]);
        let rng = &mut self.rng;
        let Bounds {
            long_ns, short_ns, ..
        } = bounds;
        let stall_ns = bounds.stall_min_ns.unwrap_or(long_ns);
        let own_ns = match (rng.one_in(long_one_in), rng.below(16)) {
            (true, _) => rng.pick(&[long_ns + 1, 2 * long_ns, stall_ns + 1, 30_000_000]),
            (false, 0) => rng.range(short_ns + 1, long_ns),
            (false, 1) => long_ns,
            (false, _) => rng.pick(&[0, 1_000, short_ns]),
        };
        let waited_ns = match rng.one_in(4) {
            true => rng.pick(&[long_ns, 10 * long_ns, stall_ns]),
            false => 0,
        };
        // Waits in a poll that nobody looks at would be taken for a later one's.
        let is_looked_at = own_ns + waited_ns > bounds.unnoted_ns.max(short_ns);
        Took {
            own_ns,
            waited_ns: if is_looked_at { waited_ns } else { 0 },
        }
    }

    /// The time of a later poll, of which no shard hears.
    pub(super) fn draw_later(&mut self) -> u64 {
        match self.take_time() {
            true => self.rng.pick(&[0, 0, 0, 1_000, 100_000, 20_000_000]),
            false => 0,
        }
    }

    /// A first poll on the shard begins.
    pub(super) fn polled_on_shard(&mut self, name: &str, took: Took, began_ns: u64) {
        let Some(bounds) = self.bounds.filter(|bounds| bounds.is_adaptive) else {
            return;
        };
        self.must_be_on_shard(name, bounds.streak, began_ns);
        let ns = took.ns();
        let seems_long = |most_ns| ns > most_ns && took.own_ns <= most_ns;
        let seen = &mut self.seen;
        // One that is longer than both limits is held to the greater one.
        if seems_long(bounds.long_ns) || (ns <= bounds.long_ns && seems_long(bounds.unnoted_ns)) {
            seen.excused += 1;
        }
        if took.own_ns > bounds.unnoted_ns {
            seen.longest_ns = seen.longest_ns.max(ns);
        }
        if bounds.stall_min_ns.is_some_and(|ns| took.own_ns > ns) {
            seen.stalls += 1;
        }
        if took.own_ns > bounds.long_ns {
            seen.demotions += 1;
            self.class(name).sent_back(began_ns + ns);
        }
    }

    /// A class that is polled on the shard has earned it.
    fn must_be_on_shard(&mut self, name: &str, streak: u32, now_ns: u64) {
        let (turns, arrivals) = (self.turns, self.arrivals + 1);
        let class = self.class(name);
        if class.on_shard {
            return;
        }
        let (short, since_ns) = (class.short, class.since_ns);
        let returns = class.has_been_sent_back;
        class.on_shard = true;
        class.arrival = arrivals;
        class.short = match class.in_turn {
            (turn, short) if turn == turns => short,
            _ => 0,
        };
        self.arrivals = arrivals;
        self.seen.promotions += 1;
        self.seen.returns += u64::from(returns);
        if short < streak {
            self.blame(format!("{name} came to the shard for {short} short polls"));
        }
        if now_ns < since_ns {
            self.blame(format!("{name} came back at {now_ns}, before {since_ns}"));
        }
    }

    /// A first poll on a worker has ended; its call was made after so many arrivals.
    pub(super) fn polled_on_worker(&mut self, name: &str, took: Took, arrivals: u64) {
        let Some(bounds) = self.bounds.filter(|bounds| bounds.is_adaptive) else {
            return;
        };
        let (turns, has_one_link) = (self.turns, self.has_one_link);
        let class = self.class(name);
        if took.ns() <= bounds.short_ns {
            let in_turn = match class.in_turn {
                (turn, short) if turn == turns => short + 1,
                _ => 1,
            };
            class.in_turn = (turns, in_turn);
            class.short += 1;
        } else if took.own_ns > bounds.short_ns && has_one_link && class.short < bounds.streak {
            // With enough of them it may be on the shard already, where this one does not count.
            (class.short, class.in_turn) = (0, (0, 0));
        }
        if class.on_shard && arrivals >= class.arrival {
            self.blame(format!("{name} was sent to a worker from the shard"));
        }
    }

    fn class(&mut self, name: &str) -> &mut Class {
        self.classes.entry(name.to_owned()).or_default()
    }

    /// Takes note of what must not be. Told of later: whoever asserts within a poll is a handler that panics.
    pub(super) fn blame(&mut self, what: String) {
        self.fault.get_or_insert(what);
    }

    /// Holds what the shard has counted against this.
    pub(super) fn check_end(&self, stats: &Stats) {
        assert_eq!(self.fault, None);
        let counted = Seen {
            demotions: stats.demotions,
            stalls: stats.stalls,
            longest_ns: stats.inline_poll_ns_max,
            excused: stats.polls_excused,
            ..self.seen
        };
        assert_eq!(counted, self.seen);
        assert_eq!(stats.promotions, stats.demotions + stats.classes_inline);
        if self.take_time() {
            // Some may have come to the shard and never been asked for again.
            let away = self.classes.values().filter(|class| !class.on_shard);
            let unseen = stats.promotions.checked_sub(self.seen.promotions);
            let is_right = unseen.is_some_and(|unseen| unseen <= away.count() as u64);
            assert!(is_right, "{} promotions: {:?}", stats.promotions, self.seen);
        }
    }

    /// How often a class that had been sent back was polled on the shard again.
    pub(super) fn returns(&self) -> u64 {
        self.seen.returns
    }
}

impl Class {
    fn sent_back(&mut self, now_ns: u64) {
        if now_ns - self.since_ns > FORGIVEN_NS {
            self.backoffs = 0;
        }
        self.on_shard = false;
        self.has_been_sent_back = true;
        self.since_ns = now_ns + (BACKOFF_NS << self.backoffs);
        self.backoffs = (self.backoffs + 1).min(BACKOFFS_MAX);
    }
}

/// Requests that count as alike: of one method, and of paths that differ in what has a digit only.
pub(super) fn class_of(method: &str, path: &str) -> String {
    let segment = |segment: &str| match segment.contains(|c: char| c.is_ascii_digit()) {
        true => "*".to_owned(),
        false => segment.to_owned(),
    };
    let path: Vec<_> = path.split('/').map(segment).collect();
    format!("{method} {}", path.join("/"))
}
