//! Five protocols, each on one atomic word that both sides only read-modify-write, so that
//! neither can miss the other. Modelled under loom (`RUSTFLAGS="--cfg zero_loom"`).
//!
//! What the models leave out: the queue beside the word is one cell there, and the bell is a
//! condition variable rather than an eventfd or a task's waker.

#[cfg(zero_loom)]
use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(zero_loom))]
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// What wakes a sleeper.
pub(crate) trait Bell {
    /// Wakes the sleeper, now or when it next goes to sleep.
    fn ring(&self);
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// One sleeper and any number of wakers: the bell is rung only for a sleeper that sleeps.
pub(crate) struct Wakeup<B> {
    state: AtomicU32,
    bell: B,
}

impl<B: Bell> Wakeup<B> {
    pub(crate) fn new(bell: B) -> Self {
        Wakeup {
            state: AtomicU32::new(AWAKE),
            bell,
        }
    }

    pub(crate) fn bell(&self) -> &B {
        &self.bell
    }

    /// Makes the sleeper look at what was published before this call.
    #[inline]
    pub(crate) fn wake(&self) {
        // Pairs with the swap in `prepare_sleep`: either that one comes first and this one sees
        // ASLEEP, or this one comes first and releases what was published to it.
        if self.state.swap(AWAKE, Ordering::AcqRel) == ASLEEP {
            self.bell.ring();
        }
    }

    /// Announces sleep, unless `has_work`. Returns whether to sleep; call [`awake`](Self::awake) after.
    #[inline]
    pub(crate) fn prepare_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        // Pairs with the swap in `wake`.
        self.state.swap(ASLEEP, Ordering::AcqRel);
        if !has_work() {
            return true;
        }
        self.awake();
        false
    }

    /// Whether the sleeper has not announced sleep. It may do so at any time.
    pub(crate) fn is_awake(&self) -> bool {
        // Relaxed: nothing may follow from it.
        self.state.load(Ordering::Relaxed) == AWAKE
    }

    /// Ends the sleep. The bell may have been rung in between; it then rings once in vain.
    #[inline]
    pub(crate) fn awake(&self) {
        self.state.swap(AWAKE, Ordering::AcqRel);
    }
}

/// Raised by many, lowered by one; only the first to raise it has to tell.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn new() -> Self {
        Flag(AtomicBool::new(false))
    }

    /// Returns whether the caller has to tell: nobody had raised it since it was lowered.
    #[inline]
    pub(crate) fn raise(&self) -> bool {
        // Pairs with the swap in `lower`: what was published before raising is seen after it.
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether it is raised now.
    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        // Pairs with the swap in `raise`.
        self.0.load(Ordering::Acquire)
    }

    /// Lowers the flag; look at what it stands for after this, never before.
    #[inline]
    pub(crate) fn lower(&self) -> bool {
        // Pairs with the swap in `raise`.
        self.0.swap(false, Ordering::AcqRel)
    }
}

const POLLED: u32 = 0;
const PARKED: u32 = 1;
const WOKEN: u32 = 2;

/// One who parks something once, and any number who may wake it: exactly one of them takes it from
/// there, be it the one who parks, because he came too late.
pub(crate) struct Parking(AtomicU32);

impl Parking {
    pub(crate) fn new() -> Self {
        Parking(AtomicU32::new(POLLED))
    }

    /// Says that it has been put down. Returns false if it was woken before: the caller takes it.
    pub(crate) fn park(&self) -> bool {
        // Pairs with the swap in `unpark`: either that one sees PARKED, and what was put down before,
        // or this sees WOKEN, and what was published before the call.
        let parked = self
            .0
            .compare_exchange(POLLED, PARKED, Ordering::AcqRel, Ordering::Acquire);
        parked.is_ok()
    }

    /// Wakes it. Returns true if it was parked: the caller takes it.
    pub(crate) fn unpark(&self) -> bool {
        // Pairs with the exchange in `park`.
        self.0.swap(WOKEN, Ordering::AcqRel) == PARKED
    }

    /// Begins anew, unless somebody else is known to have it: by a count of references, read in any order.
    #[inline]
    pub(crate) fn renew_unless(&self, is_known: bool) -> bool {
        if is_known {
            return false;
        }
        // Pairs with the release by which the last other owner gave its share back: what it did to the word comes
        // before what we do.
        fence(Ordering::Acquire);
        self.0.store(POLLED, Ordering::Relaxed);
        true
    }
}

const LENT: u8 = 0;
const IN_USE: u8 = 1;
const AWAITED: u8 = 2;
const BACK: u8 = 3;

/// One who lends something once, and one who may use it once: never both at a time. Who lent it and finds
/// it in use is told when it is back.
pub(crate) struct Loan(AtomicU8);

impl Loan {
    /// Something that is lent from the beginning, or never.
    pub(crate) fn new(is_lent: bool) -> Self {
        Loan(AtomicU8::new(if is_lent { LENT } else { BACK }))
    }

    /// Begins to use it, for the one to whom it is lent. Returns false if it has been taken back, or was
    /// used before.
    pub(crate) fn take_up(&self) -> bool {
        // Acquire pairs with whatever handed the borrower its end; the success, with the exchange in
        // `recall`: one of the two comes first in this word, and the other sees it.
        let taken = self
            .0
            .compare_exchange(LENT, IN_USE, Ordering::AcqRel, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Ends the use that [`take_up`](Self::take_up) began. Returns whether the lender must be told.
    #[must_use]
    pub(crate) fn give_back(&self) -> bool {
        // Pairs with the exchanges in `recall`: either that one sees BACK, and with it what was done and
        // published before, or this sees AWAITED.
        self.0.swap(BACK, Ordering::AcqRel) == AWAITED
    }

    /// Whether it is back, whoever has been told.
    #[cfg(test)]
    pub(crate) fn is_back(&self) -> bool {
        self.0.load(Ordering::Acquire) == BACK
    }

    /// Takes it back, for the one who lent it. Returns false if it is in use: the lender is told when it
    /// is back, and asks again.
    #[inline]
    pub(crate) fn recall(&self) -> bool {
        // Pairs with the exchange in `take_up`.
        let recalled = self
            .0
            .compare_exchange(LENT, BACK, Ordering::AcqRel, Ordering::Acquire);
        match recalled {
            Ok(_) | Err(BACK) => true,
            Err(AWAITED) => false,
            // Pairs with the swap in `give_back`.
            Err(_in_use) => self
                .0
                .compare_exchange(IN_USE, AWAITED, Ordering::AcqRel, Ordering::Acquire)
                .is_err(),
        }
    }
}

const WAITING: u64 = 1;

/// Bytes one side has taken, so that the other may send more: `taken << 1 | waiting`.
pub(crate) struct Credit(AtomicU64);

impl Credit {
    pub(crate) fn new() -> Self {
        Credit(AtomicU64::new(0))
    }

    /// Says that `bytes` were taken. Returns whether the other side waits and must be told.
    #[inline]
    pub(crate) fn give(&self, bytes: usize) -> bool {
        // Pairs with the read-modify-write in `wait`: either it sees these bytes, or this sees it wait.
        let before = self.0.fetch_add((bytes as u64) << 1, Ordering::AcqRel);
        if before & WAITING == 0 {
            return false;
        }
        self.0.fetch_and(!WAITING, Ordering::AcqRel);
        true
    }

    /// Bytes taken so far.
    #[inline]
    pub(crate) fn taken(&self) -> u64 {
        // Pairs with the fetch_add in `give`.
        self.0.load(Ordering::Acquire) >> 1
    }

    /// Announces that this side waits for more to be taken; returns what was taken so far. The
    /// answer may already allow to go on: then the announcement costs one needless telling.
    #[inline]
    pub(crate) fn wait(&self) -> u64 {
        // Pairs with the fetch_add in `give`.
        self.0.fetch_or(WAITING, Ordering::AcqRel) >> 1
    }
}

#[cfg(all(test, not(zero_loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    impl Bell for Cell<u32> {
        fn ring(&self) {
            self.set(self.get() + 1);
        }
    }

    #[test]
    fn the_bell_rings_only_for_a_sleeper() {
        let wakeup = Wakeup::new(Cell::new(0));
        wakeup.wake();
        assert_eq!(wakeup.bell().get(), 0);
        assert!(wakeup.prepare_sleep(|| false));
        wakeup.wake();
        wakeup.wake();
        assert_eq!(wakeup.bell().get(), 1);
        assert!(!wakeup.prepare_sleep(|| true));
        wakeup.wake();
        assert_eq!(wakeup.bell().get(), 1);
    }

    #[test]
    fn only_the_first_to_raise_tells() {
        let flag = Flag::new();
        assert!(flag.raise());
        assert!(!flag.raise());
        assert!(flag.lower());
        assert!(flag.raise());
    }

    #[test]
    fn what_is_parked_is_taken_once() {
        let parking = Parking::new();
        assert!(parking.park());
        assert!(parking.unpark());
        assert!(!parking.unpark());
    }

    #[test]
    fn what_is_woken_before_it_is_parked_stays_with_its_owner() {
        let parking = Parking::new();
        assert!(!parking.unpark());
        assert!(!parking.park());
        assert!(!parking.renew_unless(true));
        assert!(parking.renew_unless(false));
        assert!(parking.park());
    }

    #[test]
    fn what_is_lent_is_used_once_or_taken_back() {
        let loan = Loan::new(true);
        assert!(loan.take_up());
        assert!(!loan.take_up());
        assert!(!loan.recall());
        assert!(!loan.recall());
        assert!(loan.give_back());
        assert!(loan.recall());
        assert!(!loan.take_up());

        let loan = Loan::new(true);
        assert!(loan.recall());
        assert!(!loan.take_up());

        let loan = Loan::new(true);
        assert!(loan.take_up());
        assert!(!loan.give_back());
        assert!(loan.recall());

        assert!(!Loan::new(false).take_up());
    }

    #[test]
    fn credit_counts_and_tells_who_waits() {
        let credit = Credit::new();
        assert!(!credit.give(5));
        assert_eq!(credit.wait(), 5);
        assert!(credit.give(2));
        assert!(!credit.give(1));
        assert_eq!(credit.taken(), 8);
    }
}

#[cfg(all(test, zero_loom))]
mod loom_tests;
