//! How many handlers of a server are away from their shards, and whether they lack cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::turns::Turns;

/// Counts the handlers that wait for a worker, are polled by one, or wait for something else there.
///
/// On cache lines of its own: shards that spin look at it.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Crowd {
    away: AtomicUsize,
    shards: usize,
    workers: usize,
    cores: usize,
    turns: Turns,
}

impl Crowd {
    /// `shards` and `workers` are threads, `cores` what they share.
    pub(crate) fn new(shards: usize, workers: usize, cores: usize) -> Arc<Self> {
        Arc::new(Crowd {
            away: AtomicUsize::new(0),
            shards,
            workers,
            cores,
            turns: Turns::default(),
        })
    }

    /// A handler has left its shard.
    #[inline]
    pub(crate) fn join(&self) {
        // Relaxed, as below: an estimate that publishes nothing.
        self.away.fetch_add(1, Ordering::Relaxed);
    }

    /// A handler is done.
    #[inline]
    pub(crate) fn leave(&self) {
        self.away.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no handler is away.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.away.load(Ordering::Relaxed) == 0
    }

    /// Whether a shard that spins may keep a handler from its core: there are some, and fewer cores
    /// than shards and workers that have something to do.
    ///
    /// A handler counts while it waits, too: what it waits for comes to a worker, which wants a
    /// core then and at once.
    #[inline]
    pub(crate) fn is_short_of_cores(&self) -> bool {
        let away = self.away.load(Ordering::Relaxed);
        away > 0 && self.shards + away.min(self.workers) > self.cores
    }

    #[inline]
    pub(crate) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Whether the caller, who makes a worker poll a handler, is to let workers and shards take turns: there
    /// is one core for all of them, and another handler that may come back meanwhile.
    pub(crate) fn begins_turns(&self) -> bool {
        self.cores == 1 && self.away.load(Ordering::Relaxed) > 1 && self.turns.begin()
    }

    /// Whether there are more cores than shards, so that a worker that spins takes none of theirs.
    #[inline]
    pub(crate) fn has_core_for_worker(&self) -> bool {
        self.shards < self.cores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_short_when_shards_and_busy_workers_outnumber_them() {
        let crowd = Crowd::new(2, 4, 4);
        assert!(!crowd.is_short_of_cores());
        crowd.join();
        crowd.join();
        assert!(!crowd.is_short_of_cores());
        crowd.join();
        assert!(crowd.is_short_of_cores());
        crowd.leave();
        assert!(!crowd.is_short_of_cores());
    }

    #[test]
    fn without_handlers_shards_may_have_all_cores() {
        let crowd = Crowd::new(2, 2, 1);
        assert!(!crowd.is_short_of_cores());
        crowd.join();
        assert!(crowd.is_short_of_cores());
    }
}
