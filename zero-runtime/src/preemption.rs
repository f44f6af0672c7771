//! Whether a poll took long, or only seemed to because its thread had lost the core to somebody else.
//! Knows times; reads no clock.
//!
//! The scheduler counts for every thread how long that was ready to run and had no core. To read it is a system
//! call, so it is read when a poll seems long, and compared with what it was when it was last read. What is
//! left of the poll's time was spent computing or blocked, which is the handler's doing.

/// Age from which on a reading is made anew before the next poll: what was waited for cores since then is
/// taken for the poll's.
const FRESH_NS: u64 = 1_000_000_000;
/// For so long after a poll that was excused, readings are never older than [`DOUBTFUL_NS`]: cores are short,
/// and only what was waited within a poll is to excuse it.
const DOUBT_NS: u64 = 100_000_000;
/// A quarter of what is long by default; a reading costs half a microsecond.
const DOUBTFUL_NS: u64 = 50_000;

/// What is known of one thread's waits for a core.
#[derive(Default, Debug)]
pub(crate) struct Preemption {
    /// The last reading, in nanoseconds waited since the thread began.
    waited_ns: u64,
    /// When the next is to be made before a poll.
    due_ns: u64,
    doubt_until_ns: u64,
}

impl Preemption {
    /// Whether to [`look`](Self::look) before a poll that begins now.
    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns
    }

    /// Takes note of what the thread has waited until now, in all.
    pub(crate) fn look(&mut self, now_ns: u64, waited_ns: u64) {
        self.waited_ns = waited_ns;
        self.due_ns = match now_ns < self.doubt_until_ns {
            true => now_ns + DOUBTFUL_NS,
            false => now_ns + FRESH_NS,
        };
    }

    /// Whether a poll that seemed to take `ns`, and has just ended, may have taken no more than `most_ns`.
    pub(crate) fn excuses(&mut self, ns: u64, most_ns: u64, now_ns: u64, waited_ns: u64) -> bool {
        self.own_ns(ns, most_ns, now_ns, waited_ns) <= most_ns
    }

    /// What a poll that seemed to take `ns`, and has just ended, took at least; it is excused if that is no
    /// more than `most_ns`.
    pub(crate) fn own_ns(&mut self, ns: u64, most_ns: u64, now_ns: u64, waited_ns: u64) -> u64 {
        let elsewhere_ns = waited_ns.saturating_sub(self.waited_ns);
        let own_ns = ns.saturating_sub(elsewhere_ns);
        if own_ns <= most_ns {
            self.doubt_until_ns = now_ns + DOUBT_NS;
        }
        self.look(now_ns, waited_ns);
        own_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 200_000;
    const LONG: u64 = 4_000_000;

    #[test]
    fn what_was_waited_for_the_core_is_not_the_handlers() {
        let mut preemption = Preemption::default();
        preemption.look(0, 7);
        assert!(preemption.excuses(LONG, MOST, LONG, 7 + LONG - MOST));
        // Nothing was waited since.
        let waited_ns = 7 + LONG - MOST;
        assert!(!preemption.excuses(LONG, MOST, 2 * LONG, waited_ns));
        assert!(!preemption.excuses(LONG, MOST, 2 * LONG, waited_ns + 50_000));
    }

    #[test]
    fn a_quiet_thread_looks_once_a_second() {
        let mut preemption = Preemption::default();
        assert!(preemption.is_due(0));
        preemption.look(0, 0);
        let due = (1..100_000).filter(|poll| {
            let now_ns = poll * 100_000;
            let is_due = preemption.is_due(now_ns);
            if is_due {
                preemption.look(now_ns, 0);
            }
            is_due
        });
        assert_eq!(due.count(), 9);
    }

    /// Waits between polls excuse one that is long, and none behind it.
    #[test]
    fn in_doubt_only_waits_within_a_poll_excuse_it() {
        let mut preemption = Preemption::default();
        preemption.look(0, 0);
        let now_ns = 900_000_000;
        assert!(preemption.excuses(LONG, MOST, now_ns, 30_000_000));
        assert!(preemption.is_due(now_ns + DOUBTFUL_NS));
        preemption.look(now_ns + LONG, 60_000_000);
        assert!(!preemption.excuses(LONG, MOST, now_ns + 2 * LONG, 60_000_000));
        let later_ns = now_ns + DOUBT_NS;
        preemption.look(later_ns, 60_000_000);
        assert!(!preemption.is_due(later_ns + DOUBTFUL_NS));
    }
}
