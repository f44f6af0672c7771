//! The one file that reads the clock. Everyone else is handed a [`Now`].

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
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

/// Nanoseconds since somebody in this process first asked. Alike on all threads, which a shard's clock is not.
pub fn process_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// What the scheduler says a thread has done since it began, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CoreTimes {
    /// On a core.
    pub ran_ns: u64,
    /// Ready to run, without a core.
    pub waited_ns: u64,
}

/// Reads what the calling thread has done, from `/proc`.
#[derive(Default, Debug)]
pub struct CoreAccount {
    /// The scheduler's account of this thread; `None` before the first reading, and where there is none.
    file: Option<File>,
}

impl CoreAccount {
    /// Zeros where the kernel does not tell. A value is read on one thread only: it stays with the one that
    /// reads it first.
    pub fn read(&mut self) -> CoreTimes {
        if self.file.is_none() {
            self.file = File::open(SCHEDSTAT).ok();
        }
        let mut text = [0; 64];
        let read = self.file.as_ref().map(|file| file.read_at(&mut text, 0));
        match read {
            Some(Ok(count)) => core_times(&text[..count]).unwrap_or_default(),
            _ => CoreTimes::default(),
        }
    }
}

/// Three numbers: time run, time waited, and how often it ran.
fn core_times(text: &[u8]) -> Option<CoreTimes> {
    let text = std::str::from_utf8(text).ok()?;
    let mut numbers = text.split_ascii_whitespace();
    Some(CoreTimes {
        ran_ns: numbers.next()?.parse().ok()?,
        waited_ns: numbers.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn the_schedulers_account_is_read() {
        let times = CoreTimes {
            ran_ns: 174_572,
            waited_ns: 3_109_168,
        };
        assert_eq!(core_times(b"174572 3109168 2\n"), Some(times));
        assert_eq!(core_times(b""), None);
        assert_eq!(core_times(b"1 -2 3"), None);
    }

    /// Two threads that compute on one core wait for each other.
    #[test]
    fn a_thread_without_its_core_waits() {
        // Kernels without the account are asked nothing.
        if !std::path::Path::new(SCHEDSTAT).exists() {
            return;
        }
        let core = crate::cpus::usable()[0];
        let is_over = Arc::new(AtomicBool::new(false));
        let other = std::thread::spawn({
            let is_over = is_over.clone();
            move || {
                crate::sys::pin_current_thread(core).unwrap();
                while !is_over.load(Ordering::Relaxed) {}
            }
        });
        let waited = std::thread::spawn(move || {
            crate::sys::pin_current_thread(core).unwrap();
            let mut account = CoreAccount::default();
            let give_up = Instant::now() + Duration::from_secs(60);
            while account.read().waited_ns < 20_000_000 && Instant::now() < give_up {}
            is_over.store(true, Ordering::Relaxed);
            account.read()
        });
        let times = waited.join().unwrap();
        other.join().unwrap();
        assert!(times.waited_ns >= 20_000_000, "{times:?}");
        assert!(times.ran_ns > 0, "{times:?}");
    }

    #[test]
    fn the_clock_agrees_with_the_machine() {
        let wall_s = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs()
        };
        let clock = Clock::new();
        let before_s = wall_s();
        let first = clock.now();
        let after_s = wall_s();
        // Its second may be one that has just ended.
        assert!((before_s - 1..=after_s).contains(&first.unix_s));
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
