//! How any thread tells a shard to look at one of its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Wake;

use crossbeam_queue::ArrayQueue;

use super::arrivals::Arrivals;
use super::crowd::Crowd;
use super::handshake::{Bell, Flag, Wakeup};
use crate::slots::Key;
use crate::sys::EventFd;

/// Keys that lie in the inbox of a shard that sleeps before it is told of the next one: what they stand for is
/// its work when it wakes, ahead of whatever wakes it.
pub(crate) const UNTOLD_MAX: usize = 8;

impl Bell for Arc<EventFd> {
    fn ring(&self) {
        // Full is as good as written: the shard will wake. Nothing else can fail on our own eventfd.
        let _ = self.write();
    }
}

/// A shard's mailbox: the keys of connections something happened to, and the shard's wakeup.
pub(crate) struct Inbox {
    keys: ArrayQueue<Key>,
    /// Some key found the queue full: look at every connection.
    overflowed: AtomicBool,
    /// A place in use elsewhere has become free.
    places: Flag,
    wakeup: Wakeup<Arc<EventFd>>,
    /// What others see of its door.
    arrivals: Arrivals,
    /// How far tasks may get ahead of the shard with a response, whatever they were told before.
    window_bytes: AtomicUsize,
    crowd: Arc<Crowd>,
    /// Keys put in without a call of the wakeup since the queue was last found empty.
    #[cfg(test)]
    quiet: AtomicUsize,
}

impl Inbox {
    /// Makes an inbox for `connections_max` connections, each of which is in it at most once.
    ///
    /// Signals of closed connections may still lie in it, hence twice the room.
    pub(crate) fn new(connections_max: usize, bell: Arc<EventFd>, crowd: Arc<Crowd>) -> Arc<Self> {
        Arc::new(Inbox {
            keys: ArrayQueue::new(2 * connections_max.max(1)),
            overflowed: AtomicBool::new(false),
            places: Flag::new(),
            wakeup: Wakeup::new(bell),
            arrivals: Arrivals::new(),
            window_bytes: AtomicUsize::new(usize::MAX),
            crowd,
            #[cfg(test)]
            quiet: AtomicUsize::new(0),
        })
    }

    /// Whether nothing lies here of which its shard was to be woken.
    #[cfg(test)]
    pub(crate) fn owes_nothing(&self) -> bool {
        let quiet = self.quiet.load(Ordering::Relaxed);
        self.is_empty() || (self.keys.len() <= quiet && !self.places.is_raised())
    }

    pub(crate) fn wakeup(&self) -> &Wakeup<Arc<EventFd>> {
        &self.wakeup
    }

    /// Whether so many keys lie here that its shard is to be told of the next one, even if it sleeps.
    pub(crate) fn is_owed_enough(&self) -> bool {
        self.keys.len() >= UNTOLD_MAX
    }

    /// The server's handlers that are away from their shards.
    #[inline]
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    pub(crate) fn is_empty(&self) -> bool {
        // Pairs with the store in `ConnSignal::raise`.
        self.keys.is_empty()
            && !self.overflowed.load(Ordering::Acquire)
            && !self.places.is_raised()
            && !self.arrivals.is_knocked()
    }

    #[inline]
    pub(crate) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// The next connection that something was said of.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Key> {
        // Looking takes two loads, popping from an empty queue a fence: nearly every turn finds it empty.
        match self.keys.is_empty() {
            true => {
                #[cfg(test)]
                self.quiet.store(0, Ordering::Relaxed);
                None
            }
            false => self.keys.pop(),
        }
    }

    /// Tells the shard that a place has become free, after that was published.
    pub(crate) fn place_freed(&self) {
        if self.places.raise() {
            self.wakeup.wake();
        }
    }

    /// Whether places have become free since the last call; count them after this.
    #[inline]
    pub(crate) fn take_places(&self) -> bool {
        self.places.is_raised() && self.places.lower()
    }

    /// Lets tasks get so far ahead from now on.
    pub(crate) fn set_window(&self, bytes: usize) {
        // Relaxed, as in `ConnSignal::window_bytes`: a limit that publishes nothing, and may come late.
        self.window_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether keys were lost since the last call.
    pub(crate) fn take_overflow(&self) -> bool {
        // Pairs with the store in `ConnSignal::raise`.
        self.overflowed.load(Ordering::Relaxed) && self.overflowed.swap(false, Ordering::AcqRel)
    }
}

/// One connection's way into its shard's inbox.
pub(crate) struct ConnSignal {
    key: Key,
    queued: Flag,
    inbox: Arc<Inbox>,
}

impl ConnSignal {
    pub(crate) fn new(key: Key, inbox: Arc<Inbox>) -> Arc<Self> {
        Arc::new(ConnSignal {
            key,
            queued: Flag::new(),
            inbox,
        })
    }

    /// Makes the shard look at this connection, after what was published before this call.
    pub(crate) fn raise(&self) {
        if self.queue() {
            self.inbox.wakeup.wake();
        }
    }

    /// The same, but lets a shard sleep on: it looks when it next wakes for whatever reason. Only for who
    /// knows that nobody raises the signal before the shard has looked, who would then not wake it either.
    pub(crate) fn raise_quietly(&self) {
        let _queued = self.queue();
        #[cfg(test)]
        self.inbox
            .quiet
            .fetch_add(usize::from(_queued), Ordering::Relaxed);
    }

    /// Puts the key into the inbox; false if it lies there already.
    fn queue(&self) -> bool {
        if !self.queued.raise() {
            return false;
        }
        if self.inbox.keys.push(self.key).is_err() {
            // Pairs with the loads in `is_empty` and `take_overflow`.
            self.inbox.overflowed.store(true, Ordering::Release);
        }
        true
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// The server's handlers that are away from their shards.
    pub(crate) fn crowd(&self) -> &Crowd {
        &self.inbox.crowd
    }

    /// How far a task may be ahead with its response now.
    #[inline]
    pub(crate) fn window_bytes(&self) -> usize {
        self.inbox.window_bytes.load(Ordering::Relaxed)
    }

    /// The shard has taken the key out and is about to look.
    pub(crate) fn lower(&self) {
        self.queued.lower();
    }
}

/// Wakes a call that stays on its shard.
impl Wake for ConnSignal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> Key {
        Key {
            index,
            generation: 0,
        }
    }

    #[test]
    fn a_signal_is_queued_once_until_it_is_lowered() {
        let inbox = Inbox::new(1, Arc::new(EventFd::new().unwrap()), Crowd::new(1, 1, 1));
        let signal = ConnSignal::new(key(3), inbox.clone());
        signal.raise();
        signal.raise();
        assert_eq!(inbox.pop(), Some(key(3)));
        assert_eq!(inbox.pop(), None);
        signal.lower();
        signal.raise();
        assert_eq!(inbox.pop(), Some(key(3)));
    }

    #[test]
    fn signals_beyond_the_room_are_not_lost() {
        let inbox = Inbox::new(1, Arc::new(EventFd::new().unwrap()), Crowd::new(1, 1, 1));
        for index in 0..3 {
            ConnSignal::new(key(index), inbox.clone()).raise();
        }
        assert!(!inbox.is_empty());
        assert!(inbox.take_overflow());
        assert!(!inbox.take_overflow());
    }
}
