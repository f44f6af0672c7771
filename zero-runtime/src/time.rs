//! The one file that reads the clock. Everyone else is handed a [`Now`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An instant on a shard's clock: monotonic for deadlines, with the wall clock beside it for `Date`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Nanoseconds since the clock was made.
    pub mono_ns: u64,
    /// Seconds since the Unix epoch.
    pub unix_s: u64,
}

impl Now {
    /// The monotonic instant `after` from now, saturating.
    pub fn deadline(self, after: Duration) -> u64 {
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.mono_ns.saturating_add(after_ns)
    }
}

/// Reads the machine's clocks.
///
/// The wall clock is derived from the monotonic one and looked at again once a second, so that a
/// shard pays for one clock read a turn.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    unix_s: std::cell::Cell<u64>,
    /// When the wall clock's next second begins, on the monotonic clock.
    next_second_ns: std::cell::Cell<u64>,
}

impl Clock {
    /// Starts a clock at zero.
    pub fn new() -> Self {
        Clock {
            origin: Instant::now(),
            unix_s: std::cell::Cell::new(0),
            next_second_ns: std::cell::Cell::new(0),
        }
    }

    /// Reads the clock.
    pub fn now(&self) -> Now {
        let mono_ns = self.origin.elapsed().as_nanos() as u64;
        if mono_ns >= self.next_second_ns.get() {
            let wall = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            self.unix_s.set(wall.as_secs());
            let to_next_second = 1_000_000_000 - u64::from(wall.subsec_nanos());
            self.next_second_ns.set(mono_ns + to_next_second);
        }
        Now {
            mono_ns,
            unix_s: self.unix_s.get(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_agrees_with_the_machine() {
        let clock = Clock::new();
        let first = clock.now();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(wall.as_secs() - first.unix_s <= 1);
        assert!(clock.now().mono_ns >= first.mono_ns);
    }

    #[test]
    fn a_deadline_too_far_away_saturates() {
        let now = Now {
            mono_ns: 5,
            unix_s: 0,
        };
        assert_eq!(now.deadline(Duration::MAX), u64::MAX);
        assert_eq!(now.deadline(Duration::from_nanos(7)), 12);
    }
}
