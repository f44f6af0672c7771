//! How a worker and a shard that share a core take turns at it.
//!
//! Where threads outnumber cores, whoever is asleep is woken by the next packet, takes the core from whoever
//! has it, does one small thing and sleeps again: two switches of threads for each packet. A worker that
//! gives its core away instead stays awake, so that packets collect for it; a shard that has nothing
//! more to do gives it back in the same way.
//!
//! Nothing is lost by whatever is read here too early or too late: to give a core away is a hint to the
//! scheduler, and both sides look for work of their own before they sleep. So every access is relaxed.

use std::sync::atomic::{AtomicBool, Ordering};

/// What those who take turns know of each other.
///
/// On cache lines of its own: shards look at it in every turn.
#[repr(align(128))]
#[derive(Default, Debug)]
pub(crate) struct Turns {
    /// A task on the workers sees to it that they give way.
    begun: AtomicBool,
    /// A handler has been woken, and is to be polled by a worker, since it was last looked at.
    woken: AtomicBool,
    /// A shard has found that its core goes to strangers.
    suspended: AtomicBool,
}

impl Turns {
    /// Whether the caller is to begin: nobody else has, and it is worth it.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.load(Ordering::Relaxed)
            && !self.suspended.load(Ordering::Relaxed)
            && !self.begun.swap(true, Ordering::Relaxed)
    }

    /// Ends what [`begin`](Self::begin) began.
    pub(crate) fn end(&self) {
        self.begun.store(false, Ordering::Relaxed);
    }

    /// Whether workers give way, so that shards are to give way to them.
    #[inline]
    pub(crate) fn are_taken(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Takes note of a handler that a worker is to poll.
    pub(crate) fn note_woken(&self) {
        if self.begun.load(Ordering::Relaxed) {
            self.woken.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a handler has been woken since the last call.
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::Relaxed)
    }

    /// Nobody gives way from now on, or everybody may again.
    pub(crate) fn suspend(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_begins_and_nobody_while_it_is_suspended() {
        let turns = Turns::default();
        assert!(turns.begin());
        assert!(!turns.begin());
        assert!(turns.are_taken());
        turns.end();
        assert!(!turns.are_taken());
        turns.suspend(true);
        assert!(!turns.begin());
        turns.suspend(false);
        assert!(turns.begin());
    }

    #[test]
    fn wakes_are_noted_while_turns_are_taken() {
        let turns = Turns::default();
        turns.note_woken();
        assert!(!turns.take_woken());
        assert!(turns.begin());
        turns.note_woken();
        assert!(turns.take_woken());
        assert!(!turns.take_woken());
    }
}
