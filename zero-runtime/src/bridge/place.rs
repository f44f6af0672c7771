//! Connections that a shard let go and that still live: they count towards its limit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::inbox::Inbox;
use super::peers::Ticket;

/// How many of a shard's places are in use elsewhere.
pub(crate) struct Away {
    count: AtomicUsize,
    inbox: Arc<Inbox>,
}

impl Away {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Arc<Self> {
        Arc::new(Away {
            count: AtomicUsize::new(0),
            inbox,
        })
    }

    pub(crate) fn count(&self) -> usize {
        // Pairs with the subtraction in `Place::drop`: whoever sees the place free finds closed
        // what it was held for.
        self.count.load(Ordering::Acquire)
    }

    /// Takes one more place.
    pub(crate) fn place(self: &Arc<Self>, ticket: Option<Box<Ticket>>) -> Place {
        // Only its own value counts.
        self.count.fetch_add(1, Ordering::Relaxed);
        Place {
            away: Some(self.clone()),
            _ticket: ticket,
        }
    }
}

/// A connection's place among those its shard may have (`Config::connections_max`). Free again when
/// dropped: keep it for as long as the socket is open.
pub struct Place {
    away: Option<Arc<Away>>,
    _ticket: Option<Box<Ticket>>,
}

impl Place {
    /// One that counts nowhere.
    pub(crate) fn nowhere() -> Self {
        Place {
            away: None,
            _ticket: None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(away) = &self.away {
            // Pairs with the load in `Away::count`.
            away.count.fetch_sub(1, Ordering::Release);
            away.inbox.place_freed();
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::crowd::Crowd;
    use crate::sys::EventFd;

    #[test]
    fn a_dropped_place_is_free_and_the_shard_hears_of_it() {
        let inbox = Inbox::new(1, Arc::new(EventFd::new().unwrap()), Crowd::new(1, 1, 1));
        let away = Away::new(inbox.clone());
        let (first, second) = (away.place(None), away.place(None));
        assert_eq!((away.count(), inbox.is_empty()), (2, true));
        drop(first);
        drop(second);
        assert_eq!((away.count(), inbox.is_empty()), (0, false));
        assert!(inbox.take_places());
        assert!(!inbox.take_places());
    }
}
