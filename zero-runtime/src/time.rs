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

/// Reads how long the calling thread was ready to run and had no core, from `/proc`.
#[derive(Default, Debug)]
pub struct CoreWaits {
    /// The scheduler's account of this thread; `None` before the first reading, and where there is none.
    account: Option<File>,
}

impl CoreWaits {
    /// Nanoseconds since the thread began; 0 where the kernel does not tell. A value is read on one thread
    /// only: it stays with the one that reads it first.
    pub fn read_ns(&mut self) -> u64 {
        if self.account.is_none() {
            self.account = File::open(SCHEDSTAT).ok();
        }
        let mut text = [0; 64];
        let read = self.account.as_ref().map(|file| file.read_at(&mut text, 0));
        match read {
            Some(Ok(count)) => waited_ns(&text[..count]).unwrap_or(0),
            _ => 0,
        }
    }
}

/// The second of three numbers: time run, time waited, and how often it ran.
fn waited_ns(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn the_schedulers_account_is_read() {
        assert_eq!(waited_ns(b"174572 3109168 2\n"), Some(3_109_168));
        assert_eq!(waited_ns(b""), None);
        assert_eq!(waited_ns(b"1 -2 3"), None);
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
            let mut waits = CoreWaits::default();
            let give_up = Instant::now() + Duration::from_secs(60);
            while waits.read_ns() < 20_000_000 && Instant::now() < give_up {}
            is_over.store(true, Ordering::Relaxed);
            waits.read_ns()
        });
        let waited_ns = waited.join().unwrap();
        other.join().unwrap();
        assert!(waited_ns >= 20_000_000, "{waited_ns}");
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
