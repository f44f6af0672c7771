//! Hands exclusive use of a value from thread to thread, for a few instructions at a time.
//!
//! Unlike a lock nobody ever sleeps in it, and no code of applications runs while it is held (a
//! waker may be registered, and must not come back): it is for values that have one user except in the
//! moment of a hand-over.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;

#[cfg(zero_loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(zero_loom))]
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Baton<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `held` lets one thread at a time at the value, as a mutex would; so the value is sent
// between threads but never shared by them.
unsafe impl<T: Send> Sync for Baton<T> {}

/// Puts the baton down, also when the user panics.
struct Held<'a>(&'a AtomicBool);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Pairs with the exchange in `take`: the next user sees what this one did.
        self.0.store(false, Ordering::Release);
    }
}

impl<T> Baton<T> {
    pub(crate) fn new(value: T) -> Self {
        Baton {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Uses the value, after spinning while another thread does.
    pub(crate) fn with<R>(&self, with: impl FnOnce(&mut T) -> R) -> R {
        // Pairs with the store in `Held::drop`.
        while !self.take() {
            spin();
        }
        let _held = Held(&self.held);
        // SAFETY: `held` was false and is now true by our doing; until `_held` drops, nobody
        // else gets here.
        let value = unsafe { &mut *self.value.get() };
        with(value)
    }

    fn take(&self) -> bool {
        let taken = self
            .held
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok()
    }
}

#[cfg(zero_loom)]
fn spin() {
    loom::thread::yield_now();
}

#[cfg(not(zero_loom))]
fn spin() {
    std::hint::spin_loop();
}

#[cfg(all(test, zero_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn loom_one_thread_at_a_time() {
        loom::model(|| {
            // A loom cell reports concurrent access.
            let baton = Arc::new(Baton::new(loom::cell::UnsafeCell::new(0)));
            let other = {
                let baton = baton.clone();
                loom::thread::spawn(move || {
                    // SAFETY: exclusive by the baton, which is what is being tested.
                    baton.with(|cell| cell.with_mut(|n| unsafe { *n += 1 }));
                })
            };
            // SAFETY: as above.
            baton.with(|cell| cell.with_mut(|n| unsafe { *n += 1 }));
            other.join().unwrap();
            // SAFETY: as above.
            assert_eq!(baton.with(|cell| cell.with(|n| unsafe { *n })), 2);
        });
    }
}

#[cfg(all(test, not(zero_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_puts_the_baton_down() {
        let baton = Baton::new(1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            baton.with(|_| panic!("in use"))
        }));
        assert!(panicked.is_err());
        assert_eq!(baton.with(|n| *n), 1);
    }
}
