//! How a shard gives way when its connections or its buffers run out: four levels, each with what it
//! takes away, and the gaps that keep it from going to and fro.
//!
//! Pure: numbers in, a decision out. The shard acts on it (`shard/shed`).

/// How full something bounded is, and so what has to give way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Nothing gives way.
    Healthy,
    /// What is done ahead of need is done less.
    Warning,
    /// Bulk waits; who holds buffers and does not move is let go.
    Critical,
    /// New connections wait a moment where buffers are short; idle ones end where places are.
    Drain,
}

/// From how much use on each level holds, in percent; ascending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    /// Where [`Level::Warning`] begins.
    pub warning: u8,
    /// Where [`Level::Critical`] begins.
    pub critical: u8,
    /// Where [`Level::Drain`] begins.
    pub drain: u8,
}

impl Marks {
    /// Where [`Level::Warning`] begins when there may be `max` of something.
    pub fn warning_at(self, max: u64) -> u64 {
        part_of(max, self.warning)
    }
}

/// A level is left only when use is so many percent below its mark: what was shed to get there is not
/// to come back at once.
pub const GAP_PERCENT: u8 = 5;

/// Fewer of a kind than this are no use in percent: their last one is Healthy, and whoever comes then
/// waits.
const UNITS_MIN: u64 = 20;

/// One step between two neighbouring levels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// To this level, from the one below.
    Rose(Level),
    /// To this level, from the one above.
    Fell(Level),
}

/// The level of one bounded thing.
#[derive(Debug)]
pub struct Cascade {
    marks: Option<Marks>,
    max: u64,
    level: Level,
    /// The next level up begins here.
    rises_at: u64,
    /// The next level down begins below this.
    falls_below: u64,
}

impl Cascade {
    /// Of something of which there may be `max`.
    pub fn new(max: u64, marks: Marks) -> Self {
        let mut cascade = Cascade {
            marks: (max >= UNITS_MIN).then_some(marks),
            max,
            level: Level::Healthy,
            rises_at: u64::MAX,
            falls_below: 0,
        };
        cascade.enter(Level::Healthy);
        cascade
    }

    /// The present level.
    #[inline]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Follows `used`, by one step at most: call it until it says `None`.
    #[inline]
    pub fn follow(&mut self, used: u64) -> Option<Change> {
        if used >= self.rises_at {
            return self.rise();
        }
        if used < self.falls_below {
            return self.fall();
        }
        None
    }

    /// By how much `used` has to shrink before the present level ends.
    pub fn excess(&self, used: u64) -> u64 {
        (used + 1).saturating_sub(self.falls_below)
    }

    #[cold]
    fn rise(&mut self) -> Option<Change> {
        let level = match self.level {
            Level::Healthy => Level::Warning,
            Level::Warning => Level::Critical,
            Level::Critical | Level::Drain => Level::Drain,
        };
        self.enter(level);
        Some(Change::Rose(level))
    }

    #[cold]
    fn fall(&mut self) -> Option<Change> {
        let level = match self.level {
            Level::Drain => Level::Critical,
            Level::Critical => Level::Warning,
            Level::Warning | Level::Healthy => Level::Healthy,
        };
        self.enter(level);
        Some(Change::Fell(level))
    }

    fn enter(&mut self, level: Level) {
        self.level = level;
        let Some(marks) = self.marks else {
            return;
        };
        let part = |percent: u8| part_of(self.max, percent);
        (self.rises_at, self.falls_below) = match level {
            Level::Healthy => (part(marks.warning), 0),
            Level::Warning => (part(marks.critical), part(marks.warning - GAP_PERCENT)),
            Level::Critical => (part(marks.drain), part(marks.critical - GAP_PERCENT)),
            Level::Drain => (u64::MAX, part(marks.drain - GAP_PERCENT)),
        };
    }
}

/// So many percent of `max`, rounded up, and at least one.
fn part_of(max: u64, percent: u8) -> u64 {
    let part = (u128::from(max) * u128::from(percent)).div_ceil(100);
    (part as u64).max(1)
}

/// How far connections may get ahead of those who read what they hold. Full windows are what the
/// configuration says; under pressure they shrink, but never to nothing: what a reader waits for comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Windows {
    /// Bytes of a request's body ahead of its handler.
    pub request_bytes: usize,
    /// Bytes of a response ahead of its peer.
    pub response_bytes: usize,
    /// Bytes of further requests behind one that is not answered.
    pub carry_bytes: usize,
    /// Bytes of a head that is not whole yet.
    pub head_bytes: usize,
}

/// A window shrinks to this part of itself at [`Level::Warning`].
const WARNING_SHARE: usize = 8;
/// So much of a body may come though next to nothing is left: a reader that waits for it goes on, and what
/// its connection holds besides is freed.
const LAST_BYTES: usize = 4096;

impl Windows {
    /// These windows when buffers are at `level`; `floor_bytes` is the least that is of use, one buffer.
    pub fn at(self, level: Level, floor_bytes: usize) -> Windows {
        let least = |bytes: usize| bytes.min(floor_bytes);
        let less = |bytes: usize| (bytes / WARNING_SHARE).max(least(bytes));
        match level {
            Level::Healthy => self,
            Level::Warning => Windows {
                request_bytes: less(self.request_bytes),
                response_bytes: less(self.response_bytes),
                carry_bytes: less(self.carry_bytes),
                ..self
            },
            Level::Critical => Windows {
                request_bytes: least(self.request_bytes),
                response_bytes: least(self.response_bytes),
                carry_bytes: least(self.carry_bytes),
                head_bytes: least(self.head_bytes),
            },
            Level::Drain => Windows {
                request_bytes: least(self.request_bytes).min(LAST_BYTES),
                ..self.at(Level::Critical, floor_bytes)
            },
        }
    }
}

/// How long a connection is kept between two requests when connections are at `level`: those who come
/// back within a moment are the last to be let go.
pub fn keep_alive_ns(timeout_ns: Option<u64>, level: Level) -> Option<u64> {
    let share = match level {
        Level::Healthy => return timeout_ns,
        Level::Warning => 4,
        Level::Critical | Level::Drain => 16,
    };
    timeout_ns.map(|ns| ns / share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks {
        warning: 60,
        critical: 80,
        drain: 95,
    };

    /// Follows `used` to the end, and tells the steps.
    fn follow(cascade: &mut Cascade, used: u64) -> Vec<Change> {
        std::iter::from_fn(|| cascade.follow(used)).collect()
    }

    #[test]
    fn each_level_begins_at_its_mark_and_ends_a_gap_below() {
        let mut cascade = Cascade::new(1000, MARKS);
        let story = [
            (599, vec![]),
            (600, vec![Change::Rose(Level::Warning)]),
            (550, vec![]),
            (800, vec![Change::Rose(Level::Critical)]),
            (750, vec![]),
            (950, vec![Change::Rose(Level::Drain)]),
            (900, vec![]),
            (899, vec![Change::Fell(Level::Critical)]),
            (750, vec![]),
            (749, vec![Change::Fell(Level::Warning)]),
            (550, vec![]),
            (549, vec![Change::Fell(Level::Healthy)]),
            (0, vec![]),
        ];
        for (used, changes) in story {
            assert_eq!(follow(&mut cascade, used), changes, "at {used}");
        }
    }

    #[test]
    fn a_leap_passes_every_level_on_its_way() {
        let mut cascade = Cascade::new(100, MARKS);
        let up = [Level::Warning, Level::Critical, Level::Drain];
        assert_eq!(follow(&mut cascade, 100), up.map(Change::Rose));
        let down = [Level::Critical, Level::Warning, Level::Healthy];
        assert_eq!(follow(&mut cascade, 0), down.map(Change::Fell));
    }

    #[test]
    fn use_that_sways_within_a_gap_changes_nothing() {
        for (mark, _) in [(600, 'w'), (800, 'c'), (950, 'd')] {
            let mut cascade = Cascade::new(1000, MARKS);
            follow(&mut cascade, mark);
            for sway in 0..50 {
                assert_eq!(follow(&mut cascade, mark - sway), [], "{mark} less {sway}");
            }
        }
    }

    #[test]
    fn the_excess_is_what_must_go_to_leave_a_level() {
        let mut cascade = Cascade::new(1000, MARKS);
        follow(&mut cascade, 980);
        let excess = cascade.excess(980);
        assert_eq!(excess, 81);
        assert_eq!(follow(&mut cascade, 980 - excess + 1), []);
        assert_eq!(
            follow(&mut cascade, 980 - excess),
            [Change::Fell(Level::Critical)]
        );
    }

    #[test]
    fn a_handful_has_no_levels() {
        for max in 1..UNITS_MIN {
            assert_eq!(follow(&mut Cascade::new(max, MARKS), max), []);
        }
        assert!(!follow(&mut Cascade::new(UNITS_MIN, MARKS), UNITS_MIN).is_empty());
    }

    #[test]
    fn whatever_use_does_levels_agree_with_it() {
        let mut cascade = Cascade::new(1000, MARKS);
        let mut seed = 1_u64;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let used = (seed >> 33) % 1001;
            follow(&mut cascade, used);
            let least = match used {
                950.. => Level::Drain,
                800.. => Level::Critical,
                600.. => Level::Warning,
                _ => Level::Healthy,
            };
            let most = match used {
                900.. => Level::Drain,
                750.. => Level::Critical,
                550.. => Level::Warning,
                _ => Level::Healthy,
            };
            assert!(least <= cascade.level() && cascade.level() <= most);
        }
    }

    #[test]
    fn windows_shrink_and_never_close() {
        let full = Windows {
            request_bytes: 256 * 1024,
            response_bytes: 1000,
            carry_bytes: 64 * 1024,
            head_bytes: 400 * 1024,
        };
        let floor = 16 * 1024;
        assert_eq!(full.at(Level::Healthy, floor), full);
        let warned = full.at(Level::Warning, floor);
        assert_eq!(warned.request_bytes, 32 * 1024);
        assert_eq!(warned.response_bytes, 1000);
        assert_eq!(warned.head_bytes, full.head_bytes);
        let critical = full.at(Level::Critical, floor);
        assert_eq!(critical.request_bytes, floor);
        assert_eq!(critical.head_bytes, floor);
        let last = full.at(Level::Drain, floor);
        assert_eq!(last.request_bytes, LAST_BYTES);
        assert_eq!(last.head_bytes, floor);
        let least = Windows {
            request_bytes: 1,
            response_bytes: 1,
            carry_bytes: 1,
            head_bytes: 1,
        };
        assert_eq!(least.at(Level::Drain, floor), least);
    }

    #[test]
    fn idle_connections_are_kept_for_less_the_fewer_places_are_left() {
        let kept = |level| keep_alive_ns(Some(1600), level);
        assert_eq!(kept(Level::Healthy), Some(1600));
        assert_eq!(kept(Level::Warning), Some(400));
        assert_eq!(kept(Level::Critical), Some(100));
        assert_eq!(keep_alive_ns(None, Level::Drain), None);
    }
}
