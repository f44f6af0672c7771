//! What a layer knows, handed on to every request for nothing.
//!
//! A service is cloned for each request, and its future holds what the service does. Counting references
//! to it costs more than most layers do with it. Programs make their layers when they start and keep them,
//! so the first of them are kept for good, and only later ones are counted. Those that say the same are kept
//! once, however many layers were made of them: `Router::layer` applies a layer to each route.

use std::any::Any;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// So many are kept for good: a bound on what programs leave behind that make layers again and again.
const FOREVER_MAX: usize = 64;

type Slot = OnceLock<Box<dyn Any + Send + Sync>>;

/// Filled from the first on.
static FOREVER: [Slot; FOREVER_MAX] = [const { Slot::new() }; FOREVER_MAX];

/// A value that is cheap to clone.
#[derive(Debug)]
pub(crate) enum Kept<T: 'static> {
    Forever(&'static T),
    Counted(Arc<T>),
}

/// What may stand for another of its kind.
pub(crate) trait Same {
    /// Whether nobody can tell one from the other.
    fn is_same(&self, other: &Self) -> bool;
}

#[cfg(feature = "sensitive-headers")]
impl Same for Arc<[http::HeaderName]> {
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

/// Equal values, of which both are marked as sensitive or neither.
#[cfg(any(feature = "auth", feature = "cors"))]
pub(crate) fn is_same_value(a: &http::HeaderValue, b: &http::HeaderValue) -> bool {
    a == b && a.is_sensitive() == b.is_sensitive()
}

impl<T: Same + Send + Sync> Kept<T> {
    /// Keeps a value that may live as long as the program: one that holds nothing of the user's which is
    /// waited for to be dropped. For others there is [`counted`](Self::counted).
    pub(crate) fn new(value: T) -> Self {
        Self::new_in(&FOREVER, value)
    }

    fn new_in(slots: &'static [Slot], value: T) -> Self {
        // There until it is in a slot.
        let mut value = Some(value);
        for slot in slots {
            let kept = slot.get_or_init(|| Box::new(value.take().expect("put into one slot only")));
            let Some(kept) = kept.downcast_ref::<T>() else {
                continue;
            };
            if value.as_ref().is_none_or(|value| value.is_same(kept)) {
                return Kept::Forever(kept);
            }
        }
        Kept::counted(value.expect("no slot took it"))
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

    impl Same for usize {
        fn is_same(&self, other: &Self) -> bool {
            self == other
        }
    }

    struct Other(usize);

    impl Same for Other {
        fn is_same(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    fn is_forever<T>(kept: &&Kept<T>) -> bool {
        matches!(kept, Kept::Forever(_))
    }

    fn slots() -> &'static [Slot] {
        Box::leak((0..4).map(|_| Slot::new()).collect())
    }

    #[test]
    fn every_value_is_itself_and_only_the_first_are_kept_for_good() {
        let slots = slots();
        let kept: Vec<_> = (0..9).map(|n| Kept::new_in(slots, n)).collect();
        for (n, value) in kept.iter().enumerate() {
            assert_eq!((**value, *value.clone()), (n, n));
        }
        assert!(kept.iter().take(4).all(|kept| is_forever(&kept)));
        assert!(!kept.iter().skip(4).any(|kept| is_forever(&kept)));
    }

    #[test]
    fn equal_values_of_a_kind_share_a_slot() {
        let slots = slots();
        let equal: Vec<_> = (0..9).map(|_| Kept::new_in(slots, 7)).collect();
        assert!(equal.iter().all(|kept| is_forever(&kept)));
        assert!(equal.iter().all(|kept| std::ptr::eq(&**kept, &*equal[0])));
        assert_eq!(slots.iter().filter(|slot| slot.get().is_some()).count(), 1);

        let other = Kept::new_in(slots, Other(7));
        assert_eq!(other.0, 7);
        assert_eq!(slots.iter().filter(|slot| slot.get().is_some()).count(), 2);
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
