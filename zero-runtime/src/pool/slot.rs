//! Equal slots of memory for bytes that leave their shard: taken, filled, read and given back in that
//! order, which the types hold.
//!
//! [`Empty`] → [`Reserved`] (may be written) → [`Committed`] (may be read, by any thread) → released:
//! a slot that is released or dropped is the pool's again, and nobody else's.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
#[cfg(not(zero_loom))]
use crossbeam_queue::ArrayQueue;

use super::copies::Append;

/// A slot that was taken from its pool and has no use yet.
#[derive(Debug)]
pub struct Empty(());

/// A slot that is being written: behind what was written before, and not read by anybody.
#[derive(Debug)]
pub struct Reserved(());

/// A slot whose bytes are final: they may be read, sent and moved to other threads.
#[derive(Debug)]
pub struct Committed(());

/// Bytes that were taken out of an event: `Send`, `Sync`, and the pool's again when it is dropped.
pub type OwnedSlot = Slot<Committed>;

/// One slot of a [`SlotPool`], in a state that says what may be done with it.
///
/// What the state does not allow does not compile (`tests/compile_fail`): a slot is read after it was
/// committed, not before; it is committed once; one that was released is gone. Whatever its state, nobody
/// sees a byte that was not written since it was taken: of former users nothing is left but memory.
///
/// ```
/// use std::io::Write;
///
/// let pool = zero_runtime::raw::SlotPool::new(1, 64);
/// let mut slot = pool.take().unwrap().reserve();
/// assert_eq!(slot.put_slice(b"hi "), 3);
/// write!(slot, "{}", 7).unwrap();
/// slot.put_zeros(2)[0] = b'!';
/// let slot = slot.commit();
/// assert_eq!(&slot[..], b"hi 7!\0");
/// slot.release();
/// assert_eq!(pool.free(), 1);
/// ```
pub struct Slot<S> {
    place: Place,
    state: S,
}

/// A slot's memory, and the way home.
struct Place {
    /// As long as what was written, so that what lies behind is out of reach. Without memory once it has
    /// gone home.
    memory: Vec<u8>,
    /// Never more is written.
    slot_bytes: usize,
    home: Arc<ArrayQueue<Vec<u8>>>,
}

impl Place {
    fn room_bytes(&self) -> usize {
        self.slot_bytes - self.memory.len()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.clear();
        // There is room for all slots of the pool at once.
        let _ = self.home.push(memory);
    }
}

impl Slot<Empty> {
    /// Makes the slot writable.
    pub fn reserve(self) -> Slot<Reserved> {
        Slot {
            place: self.place,
            state: Reserved(()),
        }
    }
}

impl Slot<Reserved> {
    /// Writes a copy of the beginning of `bytes` behind what was written, as far as there is room; returns how
    /// much that was.
    pub fn put_slice(&mut self, bytes: &[u8]) -> usize {
        let taken = self.room_bytes().min(bytes.len());
        self.place.memory.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Writes `bytes` zeros, and lends them to be written in place: to a `Read`, or a codec. They count as
    /// written whether they are touched or not; [`truncate`](Self::truncate) takes back what was not used.
    ///
    /// # Panics
    /// When there is less [room](Self::room_bytes).
    pub fn put_zeros(&mut self, bytes: usize) -> &mut [u8] {
        assert!(bytes <= self.room_bytes(), "the slot is shorter");
        let memory = &mut self.place.memory;
        let at = memory.len();
        memory.resize(at + bytes, 0);
        &mut memory[at..]
    }

    /// Takes back what was written behind the first `bytes`; nothing if that is no more.
    pub fn truncate(&mut self, bytes: usize) {
        self.place.memory.truncate(bytes);
    }

    /// How many bytes were written.
    pub fn written_bytes(&self) -> usize {
        self.place.memory.len()
    }

    /// How many more may be.
    pub fn room_bytes(&self) -> usize {
        self.place.room_bytes()
    }

    /// Makes what was written final.
    pub fn commit(self) -> OwnedSlot {
        Slot {
            place: self.place,
            state: Committed(()),
        }
    }
}

/// As [`put_slice`](Slot::put_slice): takes less than all, or nothing, when there is no room.
impl io::Write for Slot<Reserved> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.put_slice(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Append for Slot<Reserved> {
    /// # Panics
    /// If there is not room for all of them: whoever copies so has looked.
    fn append(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.room_bytes(),
            "the slot has no room for all that is copied"
        );
        self.put_slice(bytes);
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
        &self.place.memory
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
            .field("bytes", &self.place.slot_bytes)
            .field("written_bytes", &self.place.memory.len())
            .field("state", &self.state)
            .finish()
    }
}

/// A bounded number of equal slots. One thread takes them; they come home from any.
///
/// Memory is allocated as slots are first taken, and kept until pool and slots are gone.
pub struct SlotPool {
    home: Arc<ArrayQueue<Vec<u8>>>,
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
                Vec::with_capacity(self.slot_bytes)
            }
            None => return None,
        };
        Some(Slot {
            place: Place {
                memory,
                slot_bytes: self.slot_bytes,
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

/// In the queue's place under loom, which cannot look into that.
#[cfg(zero_loom)]
struct ArrayQueue<T> {
    items: loom::sync::Mutex<Vec<T>>,
    capacity: usize,
}

#[cfg(zero_loom)]
impl<T> ArrayQueue<T> {
    fn new(capacity: usize) -> Self {
        ArrayQueue {
            items: loom::sync::Mutex::new(Vec::new()),
            capacity,
        }
    }

    fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock().unwrap();
        if items.len() == self.capacity {
            return Err(item);
        }
        items.push(item);
        Ok(())
    }

    fn pop(&self) -> Option<T> {
        self.items.lock().unwrap().pop()
    }

    fn len(&self) -> usize {
        self.items.lock().unwrap().len()
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

/// What the model leaves out: the queue by which slots come home, crossbeam's, is a lock in it.
#[cfg(all(test, zero_loom))]
mod loom_tests {
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::thread;

    use super::*;

    /// A slot that comes home from another thread is taken again behind all that was done with it there, empty,
    /// and by one.
    #[test]
    fn loom_slots_come_home_from_any_thread() {
        loom::model(|| {
            let pool = SlotPool::new(2, 8);
            let read = loom::sync::Arc::new(AtomicU32::new(0));
            let readers: Vec<_> = (1..=2)
                .map(|byte| {
                    let mut slot = pool.take().unwrap().reserve();
                    slot.put_slice(&[byte; 8]);
                    let (slot, read) = (slot.commit(), read.clone());
                    thread::spawn(move || {
                        assert_eq!(slot[..], [byte; 8]);
                        read.fetch_add(1, Ordering::Relaxed);
                        slot.release();
                    })
                })
                .collect();
            let mut taken = Vec::new();
            while taken.len() < 2 {
                match pool.take() {
                    Some(slot) => {
                        taken.push(slot.reserve());
                        assert!(read.load(Ordering::Relaxed) as usize >= taken.len());
                    }
                    None => thread::yield_now(),
                }
            }
            assert!(taken.iter().all(|slot| slot.written_bytes() == 0));
            assert!(pool.take().is_none());
            readers
                .into_iter()
                .for_each(|reader| reader.join().unwrap());
        });
    }
}

#[cfg(all(test, not(zero_loom)))]
mod tests {
    use std::io::Write;

    use super::*;

    fn written(pool: &SlotPool, bytes: &[u8]) -> OwnedSlot {
        let mut slot = pool.take().unwrap().reserve();
        assert_eq!(slot.put_slice(bytes), bytes.len());
        slot.commit()
    }

    #[test]
    fn a_pool_has_so_many_slots_and_no_more_until_one_comes_home() {
        let pool = SlotPool::new(2, 8);
        assert_eq!(pool.free(), 2);
        let first = pool.take().unwrap();
        let second = written(&pool, &[1; 8]);
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
        let bytes = Bytes::from(written(&pool, b"abc"));
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!((&part[..], pool.free()), (&b"bc"[..], 0));
        drop(part);
        assert_eq!(pool.free(), 1);
    }

    #[test]
    fn nothing_is_seen_of_who_had_the_slot_before() {
        let pool = SlotPool::new(1, 8);
        drop(written(&pool, b"secret!!"));
        assert_eq!(pool.take().unwrap().reserve().commit()[..], *b"");
        let mut slot = pool.take().unwrap().reserve();
        assert_eq!(slot.put_slice(b"ab"), 2);
        slot.put_zeros(3)[1] = b'c';
        assert_eq!(slot.commit()[..], *b"ab\0c\0");
        let mut slot = pool.take().unwrap().reserve();
        assert_eq!(slot.put_zeros(8), [0; 8]);
    }

    #[test]
    fn a_slot_takes_what_it_has_room_for() {
        let pool = SlotPool::new(1, 4);
        let mut slot = pool.take().unwrap().reserve();
        assert_eq!((slot.put_slice(b"abc"), slot.room_bytes()), (3, 1));
        assert_eq!(slot.put_slice(b"de"), 1);
        assert_eq!(slot.write(b"f").unwrap(), 0);
        slot.truncate(2);
        assert_eq!((slot.written_bytes(), slot.room_bytes()), (2, 2));
        assert_eq!(slot.commit()[..], *b"ab");
    }

    #[test]
    #[should_panic(expected = "the slot is shorter")]
    fn no_more_is_written_than_there_is() {
        let pool = SlotPool::new(1, 4);
        pool.take().unwrap().reserve().put_zeros(5);
    }

    #[test]
    #[should_panic(expected = "no room for all that is copied")]
    fn a_copy_that_does_not_fit_is_not_cut_short() {
        let pool = SlotPool::new(1, 4);
        let mut slot = pool.take().unwrap().reserve();
        Append::append(&mut slot, b"abcd");
        Append::append(&mut slot, b"e");
    }

    #[test]
    fn a_pool_has_one_slot_of_one_byte_at_least() {
        let pool = SlotPool::new(0, 0);
        assert_eq!((pool.slots(), pool.slot_bytes(), pool.free()), (1, 1, 1));
        assert_eq!(written(&pool, b"a")[..], *b"a");
    }

    #[test]
    fn slots_outlive_their_pool() {
        let pool = SlotPool::new(1, 4);
        let slot = written(&pool, &[1; 4]);
        drop(pool);
        assert_eq!(slot.len(), 4);
    }
}
