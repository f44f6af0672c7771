//! Buffers the kernel picks from when bytes arrive, and the leases by which they come home.
//!
//! Owns the memory and the entry ring shared with the kernel. A buffer is at any time either the
//! kernel's (its entry published), a lease's, or in reserve, never two of these: that is the
//! invariant every unsafe block here rests on.
//!
//! The kernel takes the buffers in turn, so the more there are the colder each one is when its turn
//! comes. Few are in use at first; whenever they did not suffice, twice as many are from then on.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::config::Toggle;
use crate::limits::RECV_STAGGER_BYTES;
use crate::pool::region::{Backing, Region};

/// The one buffer group of a shard's ring.
pub(super) const GROUP: u16 = 0;

/// How many buffers are in use at first.
const FIRST: u16 = 32;

/// A set of equal buffers shared with the kernel.
pub(super) struct RecvRing {
    buffers: Region,
    /// `count` entries; the tail lives in the unused field of the first.
    entries: Region,
    /// A power of two.
    count: u16,
    buffer_bytes: u32,
    /// Buffers with a lower number are in use, the others in reserve.
    used: Cell<u16>,
    /// How often a buffer was published, modulo 2^16.
    tail: Cell<u16>,
}

impl RecvRing {
    /// Maps `count` buffers of `buffer_bytes` and publishes the first of them.
    pub(super) fn new(count: u16, buffer_bytes: u32, huge_pages: Toggle) -> io::Result<Rc<Self>> {
        assert!(count.is_power_of_two());
        let entries_bytes = usize::from(count) * size_of::<BufRingEntry>();
        let stride = buffer_bytes as usize + RECV_STAGGER_BYTES as usize;
        let ring = RecvRing {
            buffers: Region::new(usize::from(count) * stride, huge_pages)?,
            entries: Region::new(entries_bytes, Toggle::Off)?,
            count,
            buffer_bytes,
            used: Cell::new(0),
            tail: Cell::new(0),
        };
        ring.use_up_to(FIRST);
        Ok(Rc::new(ring))
    }

    /// The kernel had no buffer left: from now on there are twice as many, while the reserve lasts.
    #[cold]
    pub(super) fn widen(&self) {
        self.use_up_to(self.used.get().saturating_mul(2));
    }

    fn use_up_to(&self, wanted: u16) {
        let wanted = wanted.min(self.count);
        for id in self.used.get()..wanted {
            self.publish(id);
        }
        self.used.set(wanted);
    }

    /// What the buffers lie on, and how many bytes of it were mapped.
    pub(super) fn backing(&self) -> (Backing, usize) {
        (self.buffers.backing(), self.buffers.len())
    }

    /// Tells the kernel about this ring.
    pub(super) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.entries.start().as_ptr() as u64;
        // SAFETY: the entries are page-aligned, `count` long, and mapped for as long as `self`
        // lives; `Uring` keeps `self` until its ring is closed.
        unsafe { submitter.register_buf_ring_with_flags(address, self.count, GROUP, 0) }
    }

    /// Wraps the `len` bytes the kernel has just put into buffer `id`.
    ///
    /// # Panics
    /// When `id` or `len` is out of range.
    ///
    /// # Safety
    /// A completion has just handed buffer `id` back, and this is called once for it.
    pub(super) unsafe fn lease(self: &Rc<Self>, id: u16, len: usize) -> Lease {
        assert!(id < self.used.get() && len <= self.buffer_bytes as usize);
        Lease {
            ring: self.clone(),
            id,
            len,
        }
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        let stride = self.buffer_bytes as usize + RECV_STAGGER_BYTES as usize;
        let offset = usize::from(id) * stride;
        debug_assert!(offset + self.buffer_bytes as usize <= self.buffers.len());
        // SAFETY: `id < count`, so the buffer lies inside the region.
        unsafe { self.buffers.start().add(offset) }
    }

    fn entry(&self, position: u16) -> NonNull<BufRingEntry> {
        let entries = self.entries.start().cast::<BufRingEntry>();
        let index = usize::from(position & (self.count - 1));
        // SAFETY: the region holds `count` entries, and the mask keeps the index below that.
        unsafe { entries.add(index) }
    }

    /// Hands buffer `id` to the kernel.
    fn publish(&self, id: u16) {
        let tail = self.tail.get();
        let mut entry = self.entry(tail);
        // SAFETY: entries at or behind the tail are not read by the kernel, and this thread is
        // the only writer. The tail field inside the first entry is not touched by the setters.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(self.buffer(id).as_ptr() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.tail.set(tail.wrapping_add(1));
        // Pairs with the kernel's acquiring load of the tail: publishes the entry written above.
        self.shared_tail().store(self.tail.get(), Ordering::Release);
    }

    fn shared_tail(&self) -> &AtomicU16 {
        let first = self.entry(0).as_ptr().cast_const();
        // SAFETY: `first` is the first entry of the ring, initialised (zeroed at mapping).
        let tail = unsafe { BufRingEntry::tail(first) };
        // SAFETY: the field is aligned, lives as long as `self`, and is only accessed atomically.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }
    }
}

/// Received bytes on loan from the ring. Dropping it hands the buffer back to the kernel.
///
/// Tied to the shard's thread: it cannot be sent elsewhere.
pub struct Lease {
    ring: Rc<RecvRing>,
    id: u16,
    len: usize,
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.ring.buffer(self.id).as_ptr();
        // SAFETY: buffer `id` is this lease's until it drops, so nobody writes to it; `len` was
        // checked when the lease was made, and the region was zeroed when it was mapped.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ring.publish(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_publishes_its_buffer_again() {
        let ring = RecvRing::new(4, 4096, Toggle::Off).unwrap();
        assert_eq!(ring.shared_tail().load(Ordering::Relaxed), 4);
        // SAFETY: no kernel is attached, so buffer 2 is nobody's.
        let lease = unsafe { ring.lease(2, 10) };
        assert_eq!(lease.len(), 10);
        drop(lease);
        assert_eq!(ring.shared_tail().load(Ordering::Relaxed), 5);
        // SAFETY: entry 0 (position 4) was just written by this thread.
        let entry = unsafe { ring.entry(4).as_ref() };
        assert_eq!(entry.bid(), 2);
        assert_eq!(entry.len(), 4096);
    }

    #[test]
    fn the_reserve_is_used_when_buffers_ran_out_and_only_then() {
        let ring = RecvRing::new(2 * FIRST, 4096, Toggle::Off).unwrap();
        let published = || ring.shared_tail().load(Ordering::Relaxed);
        assert_eq!(published(), FIRST);
        ring.widen();
        assert_eq!(published(), 2 * FIRST);
        ring.widen();
        assert_eq!(published(), 2 * FIRST);
        let last = ring.buffer(2 * FIRST - 1).as_ptr() as usize + 4096;
        let end = ring.buffers.start().as_ptr() as usize + ring.buffers.len();
        assert!(last <= end);
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_lease_cannot_reach_past_its_buffer() {
        let ring = RecvRing::new(4, 4096, Toggle::Off).unwrap();
        // SAFETY: no kernel is attached, so buffer 0 is nobody's.
        let _ = unsafe { ring.lease(0, 4097) };
    }
}
