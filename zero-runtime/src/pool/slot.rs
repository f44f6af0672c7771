//! Equal slots of memory for bytes that leave their shard: taken, filled, read and given back in that
//! order, which the types hold.
//!
//! [`Empty`] → [`Reserved`] (may be written) → [`Committed`] (may be read, by any thread) → released:
//! a slot that is released or dropped is the pool's again, and nobody else's.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

/// A slot that was taken from its pool and has no use yet.
#[derive(Debug)]
pub struct Empty(());

/// A slot whose bytes may be written, and not be read by anybody else.
#[derive(Debug)]
pub struct Reserved(());

/// A slot whose first bytes are final: they may be read, sent and moved to other threads.
#[derive(Debug)]
pub struct Committed {
    len: usize,
}

/// Bytes that were taken out of an event: `Send`, `Sync`, and the pool's again when it is dropped.
pub type OwnedSlot = Slot<Committed>;

/// One slot of a [`SlotPool`], in a state that says what may be done with it.
///
/// What the state does not allow does not compile. A slot is read after it was committed, not before:
///
/// ```compile_fail
/// # let pool = zero_runtime::raw::SlotPool::new(1, 64);
/// let slot = pool.take().unwrap().reserve();
/// let bytes: zero_runtime::OwnedSlot = slot;
/// ```
///
/// It is committed once:
///
/// ```compile_fail
/// # let pool = zero_runtime::raw::SlotPool::new(1, 64);
/// let slot = pool.take().unwrap().reserve();
/// let first = slot.commit(1);
/// let second = slot.commit(2);
/// ```
///
/// And one that was released is gone:
///
/// ```compile_fail
/// # let pool = zero_runtime::raw::SlotPool::new(1, 64);
/// let slot = pool.take().unwrap().reserve().commit(1);
/// slot.release();
/// assert_eq!(slot.len(), 1);
/// ```
///
/// The way it is meant:
///
/// ```
/// let pool = zero_runtime::raw::SlotPool::new(1, 64);
/// let mut slot = pool.take().unwrap().reserve();
/// slot[..2].copy_from_slice(b"hi");
/// let slot = slot.commit(2);
/// assert_eq!(&slot[..], b"hi");
/// slot.release();
/// assert_eq!(pool.free(), 1);
/// ```
pub struct Slot<S> {
    place: Place,
    state: S,
}

/// A slot's memory, and the way home.
struct Place {
    /// Empty once it has gone home.
    memory: Box<[u8]>,
    home: Arc<ArrayQueue<Box<[u8]>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // There is room for all slots of the pool at once.
        let _ = self.home.push(std::mem::take(&mut self.memory));
    }
}

impl Slot<Empty> {
    /// Makes the slot writable. What is in it is of former users, or zero.
    pub fn reserve(self) -> Slot<Reserved> {
        Slot {
            place: self.place,
            state: Reserved(()),
        }
    }
}

impl Slot<Reserved> {
    /// Makes the first `len` bytes final.
    ///
    /// # Panics
    /// When the slot is shorter.
    pub fn commit(self, len: usize) -> OwnedSlot {
        assert!(len <= self.place.memory.len(), "the slot is shorter");
        Slot {
            place: self.place,
            state: Committed { len },
        }
    }
}

/// All of the slot, to be written.
impl Deref for Slot<Reserved> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.place.memory
    }
}

impl DerefMut for Slot<Reserved> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.place.memory
    }
}

impl Slot<Committed> {
    /// Gives the slot back; dropping it does the same.
    pub fn release(self) {}
}

/// What was committed.
impl Deref for Slot<Committed> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.place.memory[..self.state.len]
    }
}

impl AsRef<[u8]> for Slot<Committed> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The same bytes, shared; the slot goes home with the last of them. Allocates the count of those who
/// share it.
impl From<OwnedSlot> for Bytes {
    fn from(slot: OwnedSlot) -> Bytes {
        Bytes::from_owner(slot)
    }
}

impl<S> fmt::Debug for Slot<S>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("bytes", &self.place.memory.len())
            .field("state", &self.state)
            .finish()
    }
}

/// A bounded number of equal slots. One thread takes them; they come home from any.
///
/// Memory is allocated as slots are first taken, and kept until pool and slots are gone.
pub struct SlotPool {
    home: Arc<ArrayQueue<Box<[u8]>>>,
    /// Slots that exist.
    made: Cell<usize>,
    slot_bytes: usize,
    /// It is one thread's.
    _local: PhantomData<*const ()>,
}

impl SlotPool {
    /// A pool of at most `slots` slots of `slot_bytes` bytes each; at least one of either.
    pub fn new(slots: usize, slot_bytes: usize) -> Self {
        SlotPool {
            home: Arc::new(ArrayQueue::new(slots.max(1))),
            made: Cell::new(0),
            slot_bytes: slot_bytes.max(1),
            _local: PhantomData,
        }
    }

    /// Takes a slot; `None` while all are out.
    pub fn take(&self) -> Option<Slot<Empty>> {
        let memory = match self.home.pop() {
            Some(memory) => memory,
            None if self.made.get() < self.slots() => {
                self.made.set(self.made.get() + 1);
                vec![0; self.slot_bytes].into_boxed_slice()
            }
            None => return None,
        };
        Some(Slot {
            place: Place {
                memory,
                home: self.home.clone(),
            },
            state: Empty(()),
        })
    }

    /// How many there are in all, those that have never been used included.
    pub fn slots(&self) -> usize {
        self.home.capacity()
    }

    /// How many could be taken now.
    pub fn free(&self) -> usize {
        self.slots() - self.made.get() + self.home.len()
    }

    /// The size of each, in bytes.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }
}

impl fmt::Debug for SlotPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotPool")
            .field("slots", &self.slots())
            .field("free", &self.free())
            .field("slot_bytes", &self.slot_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_so_many_slots_and_no_more_until_one_comes_home() {
        let pool = SlotPool::new(2, 8);
        assert_eq!(pool.free(), 2);
        let first = pool.take().unwrap();
        let second = pool.take().unwrap().reserve().commit(8);
        assert!(pool.take().is_none());
        drop(first);
        assert_eq!(pool.free(), 1);
        std::thread::spawn(move || drop(second)).join().unwrap();
        assert_eq!(pool.free(), 2);
        assert_eq!(pool.made.get(), 2);
    }

    #[test]
    fn a_slot_shows_what_was_committed_and_goes_home_with_its_last_bytes() {
        fn anywhere<T: Send + Sync + 'static>() {}
        anywhere::<OwnedSlot>();
        let pool = SlotPool::new(1, 4);
        let mut slot = pool.take().unwrap().reserve();
        slot.copy_from_slice(b"abcd");
        let bytes = Bytes::from(slot.commit(3));
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!((&part[..], pool.free()), (&b"bc"[..], 0));
        drop(part);
        assert_eq!(pool.free(), 1);
    }

    #[test]
    #[should_panic(expected = "the slot is shorter")]
    fn no_more_is_committed_than_there_is() {
        let pool = SlotPool::new(1, 4);
        let _ = pool.take().unwrap().reserve().commit(5);
    }

    #[test]
    fn slots_outlive_their_pool() {
        let pool = SlotPool::new(1, 4);
        let slot = pool.take().unwrap().reserve().commit(4);
        drop(pool);
        assert_eq!(slot.len(), 4);
    }
}
