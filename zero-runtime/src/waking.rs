//! How a shard waits when it has nothing to do: asleep in the kernel, or spinning for a while first.
//! Knows how long waits took; knows neither rings nor threads, and reads no clock.
//!
//! A sleep costs its waker a system call and the sleeper 13 to 21 us; a look at a word in memory costs
//! some 20 ns, and the core for as long as one goes on looking. So spinning pays where waits are
//! short, and where nobody else could use the core meanwhile.

/// Longest spin of [`Adaptive`], in nanoseconds: what a sleep costs both sides together, and what a
/// client on another core takes between an answer and its next request.
const SPIN_NS_MAX: u64 = 50_000;
/// Shortest spin that is tried: the clock and the extra enter alone cost a tenth of it.
const SPIN_NS_MIN: u64 = 10_000;
/// A spin lasts at most this many times the mean of recent short waits.
const SPIN_MEANS: u64 = 3;
/// A wait that was slept through seems longer than it was by the time it takes to wake.
const WAKING_NS: u64 = 20_000;
/// A sleep shorter than this was none: there was news already.
const NO_WAIT_NS: u64 = 3_000;
/// Full score: every recent wait was short. A wait counts for a sixteenth.
const SCORE_MAX: u32 = 1024;
/// From this score on it spins: three waits in four are short. A spin in vain costs 50 us, one that
/// is not saves some 15 to 35.
const SCORE_MIN: u32 = SCORE_MAX / 4 * 3;
/// News that comes this soon nearly always comes from several clients: a shard that sleeps meanwhile takes
/// it in batches, for less than one that looks for each. A lone client takes longer to come back.
const BUSY_NS: u64 = 10_000;
const BUSY_SPINS: u32 = 16;
/// So many waits are slept through because of that, before it is tried again.
const BUSY_LEFT_OUT: u32 = 2048;
/// After so many spins in vain in a row no more waits are left out than before.
const DOUBLINGS_MAX: u32 = 10;
/// A loss of the core this long is a slice of a scheduler's: somebody else wants the core.
const SLICE_NS: u64 = 1_000_000;
/// Two shorter ones within this time are no accident either.
const LOSSES_NS: u64 = 100_000_000;
/// First time without spinning after that; doubled each time it happens again.
const REST_NS_MIN: u64 = 100_000_000;
const REST_NS_MAX: u64 = 3_200_000_000;

/// A strategy of the loop. The loop is compiled for each: none asks at run time which one it has.
pub(crate) trait Waking {
    /// Whether it ever spins.
    const SPINS: bool;

    /// Until when to spin in a wait that begins now; `None` is to sleep at once.
    fn spin_until_ns(&mut self, now_ns: u64) -> Option<u64>;

    /// Takes note of a wait that is over.
    fn waited(&mut self, waited: Waited);

    /// Takes note of a spinning shard having lost its core for `lost_ns`.
    fn lost_core(&mut self, now_ns: u64, lost_ns: u64);

    /// Whether it spins although others in this process have work and too few cores.
    const IS_SELFISH: bool = false;
    /// Whether it takes turns with workers that share its core.
    const TAKES_TURNS: bool = false;
}

/// A wait that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waited {
    pub(crate) ns: u64,
    pub(crate) spun: Spun,
}

/// What came of spinning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spun {
    /// There was none, or it was broken off for the sake of others.
    Not,
    /// There was news within the time.
    Found,
    /// There was not, and the shard slept after all.
    InVain,
}

/// Sleeps at once.
pub(crate) struct Sleeping;

impl Waking for Sleeping {
    const SPINS: bool = false;

    #[inline]
    fn spin_until_ns(&mut self, _now_ns: u64) -> Option<u64> {
        None
    }

    #[inline]
    fn waited(&mut self, _waited: Waited) {}

    #[inline]
    fn lost_core(&mut self, _now_ns: u64, _lost_ns: u64) {}
}

/// Never sleeps.
pub(crate) struct Spinning;

impl Waking for Spinning {
    const SPINS: bool = true;
    const IS_SELFISH: bool = true;

    #[inline]
    fn spin_until_ns(&mut self, _now_ns: u64) -> Option<u64> {
        Some(u64::MAX)
    }

    #[inline]
    fn waited(&mut self, _waited: Waited) {}

    #[inline]
    fn lost_core(&mut self, _now_ns: u64, _lost_ns: u64) {}
}

/// Spins while recent waits were short, for as long as they were; a spin in vain costs the next few
/// waits theirs, and twice as many each time.
///
/// Waits that are slept through teach it as much as spins do, so it never spins to find out: a server
/// without traffic, or with one request a millisecond, does not spin at all.
pub(crate) struct Adaptive {
    spin_ns_max: u64,
    /// How many of the recent waits were short, up to [`SCORE_MAX`].
    score: u32,
    /// Mean of the recent short ones.
    short_ns: u64,
    /// Spins in vain in a row.
    in_vain: u32,
    /// Spins of late that had not even to last [`BUSY_NS`]; one that had to outweighs four.
    busy: u32,
    /// Waits to be slept through because of them.
    left_out: u32,
    rest: Rest,
}

impl Adaptive {
    pub(crate) fn new() -> Self {
        Adaptive::of_at_most(SPIN_NS_MAX)
    }

    /// One that spins no longer than `spin_ns_max`, which is at least 10 us.
    pub(crate) fn of_at_most(spin_ns_max: u64) -> Self {
        Adaptive {
            spin_ns_max,
            score: 0,
            short_ns: spin_ns_max,
            in_vain: 0,
            busy: 0,
            left_out: 0,
            rest: Rest::of_at_most(REST_NS_MAX),
        }
    }
}

impl Waking for Adaptive {
    const SPINS: bool = true;
    const TAKES_TURNS: bool = true;

    #[inline]
    fn spin_until_ns(&mut self, now_ns: u64) -> Option<u64> {
        if self.left_out > 0 {
            self.left_out -= 1;
            return None;
        }
        if self.score < SCORE_MIN || self.rest.lasts(now_ns) {
            return None;
        }
        let spin_ns = SPIN_MEANS * self.short_ns;
        Some(now_ns + spin_ns.clamp(SPIN_NS_MIN, self.spin_ns_max))
    }

    #[inline]
    fn waited(&mut self, Waited { ns, spun }: Waited) {
        let was_short = match spun {
            Spun::Found => {
                self.in_vain = 0;
                self.busy = match ns < BUSY_NS {
                    true => self.busy + 1,
                    false => self.busy.saturating_sub(4),
                };
                if self.busy == BUSY_SPINS {
                    self.busy = 0;
                    self.left_out = BUSY_LEFT_OUT;
                }
                true
            }
            // Also when the sleep behind it was short: then whoever has woken us was waiting for
            // our core.
            Spun::InVain => {
                self.in_vain = (self.in_vain + 1).min(DOUBLINGS_MAX);
                self.left_out = 1 << self.in_vain;
                false
            }
            Spun::Not if ns <= NO_WAIT_NS => return,
            Spun::Not => ns <= self.spin_ns_max + WAKING_NS,
        };
        if was_short {
            self.score += (SCORE_MAX - self.score) / 16;
            self.short_ns = self.short_ns - self.short_ns / 8 + ns / 8;
        } else {
            self.score -= self.score / 16;
        }
    }

    fn lost_core(&mut self, now_ns: u64, lost_ns: u64) {
        self.rest.lost_core(now_ns, lost_ns);
    }
}

/// A time without doing what has cost the core: twice as long each time that happens again soon.
pub(crate) struct Rest {
    ns_max: u64,
    /// When the core was last lost for a short time only.
    lost_ns: Option<u64>,
    until_ns: u64,
    ns: u64,
}

impl Rest {
    /// One that lasts no longer than `ns_max`, which is at least 100 ms.
    pub(crate) fn of_at_most(ns_max: u64) -> Self {
        Rest {
            ns_max,
            lost_ns: None,
            until_ns: 0,
            ns: 0,
        }
    }

    #[inline]
    pub(crate) fn lasts(&self, now_ns: u64) -> bool {
        now_ns < self.until_ns
    }

    /// Takes note of the core having been lost for `lost_ns`.
    #[cold]
    pub(crate) fn lost_core(&mut self, now_ns: u64, lost_ns: u64) {
        let before_ns = self.lost_ns.replace(now_ns);
        let is_again = before_ns.is_some_and(|before_ns| now_ns - before_ns <= LOSSES_NS);
        if lost_ns < SLICE_NS && !is_again {
            return;
        }
        self.lost_ns = None;
        // Whoever was quiet for as long as we rested may have gone.
        let is_soon = now_ns.saturating_sub(self.until_ns) < self.ns.max(LOSSES_NS);
        self.ns = match is_soon {
            true => (2 * self.ns).clamp(REST_NS_MIN, self.ns_max),
            false => REST_NS_MIN,
        };
        self.until_ns = now_ns + self.ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays one wait of which news comes after `ns`, were the shard awake; returns the time spun.
    fn wait(waking: &mut Adaptive, now_ns: &mut u64, ns: u64) -> u64 {
        let spin_ns = waking
            .spin_until_ns(*now_ns)
            .map_or(0, |until_ns| until_ns - *now_ns);
        let (ns, spun) = match spin_ns {
            0 => (ns + WAKING_NS, Spun::Not),
            spin_ns if ns <= spin_ns => (ns, Spun::Found),
            _ => (ns + WAKING_NS, Spun::InVain),
        };
        waking.waited(Waited { ns, spun });
        *now_ns += ns;
        spin_ns.min(ns)
    }

    fn spun_ns(waking: &mut Adaptive, waits: usize, mut ns: impl FnMut(usize) -> u64) -> u64 {
        let mut now_ns = 0;
        (0..waits).map(|n| wait(waking, &mut now_ns, ns(n))).sum()
    }

    #[test]
    fn a_client_that_comes_back_at_once_is_spun_for() {
        let mut waking = Adaptive::new();
        spun_ns(&mut waking, 50, |_| 18_000);
        assert_eq!(spun_ns(&mut waking, 100, |_| 18_000), 100 * 18_000);
    }

    #[test]
    fn many_clients_are_served_in_batches() {
        let mut waking = Adaptive::new();
        let spun_ns = spun_ns(&mut waking, 100_000, |_| 2_000);
        assert!(spun_ns < 100_000 * 2_000 / 50, "{spun_ns} ns");
    }

    #[test]
    fn a_client_that_asks_once_a_millisecond_is_never_spun_for() {
        assert_eq!(spun_ns(&mut Adaptive::new(), 10_000, |_| 1_000_000), 0);
    }

    #[test]
    fn what_is_spun_follows_what_is_waited() {
        let spin_ns = |ns| {
            let mut waking = Adaptive::new();
            spun_ns(&mut waking, 100, |_| ns);
            waking.spin_until_ns(0).unwrap()
        };
        assert!(
            (30_000..45_000).contains(&spin_ns(12_000)),
            "{}",
            spin_ns(12_000)
        );
        assert_eq!(spin_ns(40_000), SPIN_NS_MAX);
    }

    /// Waits are 2 us behind every spin in vain: as when the client needs the core we spin on.
    #[test]
    fn who_needs_the_core_is_hardly_spun_against() {
        let mut waking = Adaptive::new();
        let mut spun = 0;
        for _ in 0..100_000 {
            if waking.spin_until_ns(0).is_some() {
                spun += 1;
                let spun = Spun::InVain;
                waking.waited(Waited {
                    ns: SPIN_NS_MAX + 2_000,
                    spun,
                });
            } else {
                let spun = Spun::Not;
                waking.waited(Waited { ns: 20_000, spun });
            }
        }
        assert!(spun < 120, "{spun} spins in vain");
    }

    #[test]
    fn traffic_that_ends_costs_one_spin() {
        let mut waking = Adaptive::new();
        spun_ns(&mut waking, 100, |_| 18_000);
        let spun_ns = spun_ns(&mut waking, 1_000, |_| 10_000_000);
        assert!(spun_ns <= 5 * SPIN_NS_MAX, "{spun_ns}");
    }

    #[test]
    fn a_single_short_loss_of_the_core_is_an_accident() {
        let mut waking = Adaptive::new();
        let mut now_ns = 0;
        for _ in 0..100 {
            wait(&mut waking, &mut now_ns, 18_000);
        }
        waking.lost_core(now_ns, 300_000);
        assert!(waking.spin_until_ns(now_ns).is_some());
        now_ns += 2 * LOSSES_NS;
        waking.lost_core(now_ns, 300_000);
        assert!(waking.spin_until_ns(now_ns).is_some());
        waking.lost_core(now_ns, 300_000);
        assert!(waking.spin_until_ns(now_ns).is_none());
    }

    /// Somebody computes on our core all the time: it is taken away every 6 ms that we spin.
    #[test]
    fn a_core_in_demand_is_left_to_others_for_longer_and_longer() {
        let mut waking = Adaptive::new();
        let (mut now_ns, mut spun_ns, mut lost_ns) = (0, 0, 0);
        while now_ns < 60_000_000_000 {
            let spun = wait(&mut waking, &mut now_ns, 18_000);
            spun_ns += spun;
            now_ns += 7_000;
            if spun > 0 && now_ns - lost_ns > 6_000_000 {
                now_ns += 3_000_000;
                lost_ns = now_ns;
                waking.lost_core(now_ns, 3_000_000);
            }
        }
        assert!(spun_ns < 60_000_000_000 / 100, "{spun_ns} ns of a minute");
        // Whoever took it is gone: soon it is spun again.
        now_ns += REST_NS_MAX;
        for _ in 0..100 {
            wait(&mut waking, &mut now_ns, 18_000);
        }
        assert!(waking.spin_until_ns(now_ns).is_some());
    }
}
