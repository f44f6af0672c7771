//! What a layer knows, handed on to every request for nothing.
//!
//! A service is cloned for each request, and its future holds what the service does. Counting references
//! to it costs more than most layers do with it. Programs make their layers when they start and keep them,
//! so the first of them are kept for good, and only later ones are counted.

use std::any::Any;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// So many are kept for good: a bound on what programs leave behind that make layers again and again.
const FOREVER_MAX: usize = 64;

static FOREVER: [OnceLock<Box<dyn Any + Send + Sync>>; FOREVER_MAX] =
    [const { OnceLock::new() }; FOREVER_MAX];

/// A value that is cheap to clone.
#[derive(Debug)]
pub(crate) enum Kept<T: 'static> {
    Forever(&'static T),
    Counted(Arc<T>),
}

impl<T: Send + Sync> Kept<T> {
    /// Keeps a value that may live as long as the program: one that holds nothing of the user's which is
    /// waited for to be dropped. For others there is [`counted`](Self::counted).
    pub(crate) fn new(value: T) -> Self {
        // Nothing is published by the number: the slot's own lock does that.
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let next = |taken| (taken < FOREVER_MAX).then_some(taken + 1);
        match TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(slot) => {
                let kept = FOREVER[slot].get_or_init(|| Box::new(value));
                Kept::Forever(kept.downcast_ref().expect("no slot is given twice"))
            }
            Err(_) => Kept::counted(value),
        }
    }
}

impl<T> Kept<T> {
    /// Keeps a value until nobody holds it.
    pub(crate) fn counted(value: T) -> Self {
        Kept::Counted(Arc::new(value))
    }
}

impl<T> Clone for Kept<T> {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Kept::Forever(value) => Kept::Forever(value),
            Kept::Counted(value) => Kept::Counted(Arc::clone(value)),
        }
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Kept::Forever(value) => value,
            Kept::Counted(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_itself_and_only_the_first_are_kept_for_good() {
        let kept: Vec<_> = (0..2 * FOREVER_MAX).map(Kept::new).collect();
        assert!(kept.iter().enumerate().all(|(n, value)| **value == n));
        assert!(
            kept.iter()
                .enumerate()
                .all(|(n, value)| *value.clone() == n)
        );
        let forever = |kept: &&Kept<usize>| matches!(kept, Kept::Forever(_));
        assert!(kept.iter().filter(forever).count() <= FOREVER_MAX);
        assert!(matches!(kept.last(), Some(Kept::Counted(_))));
    }

    #[test]
    fn what_is_counted_is_dropped_with_its_last_clone() {
        let value = Arc::new(());
        let kept = Kept::counted(value.clone());
        let other = kept.clone();
        drop(kept);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(other);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
