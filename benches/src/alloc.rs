//! An allocator that counts. A program chooses it with `#[global_allocator]`; see `bin/allocs.rs`.
//!
//! The only unsafe code of this package: everything is handed on to the system's allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

// Relaxed throughout: the counts publish nothing but themselves. Readers read them while the
// threads they count for are quiet.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static REALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted over all threads of the process.
#[derive(Clone, Copy, Default, Debug)]
pub struct CountingAlloc;

/// What has been asked of the allocator, since the start or between two readings.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct AllocCount {
    /// Blocks asked for.
    pub allocations: u64,
    /// Blocks asked to grow or shrink.
    pub reallocations: u64,
    /// Bytes asked for: whole blocks, and what blocks grew by.
    pub bytes: u64,
}

impl AllocCount {
    /// Reads the counts. All zero unless [`CountingAlloc`] is the program's allocator.
    pub fn now() -> Self {
        AllocCount {
            allocations: ALLOCATIONS.load(Relaxed),
            reallocations: REALLOCATIONS.load(Relaxed),
            bytes: BYTES.load(Relaxed),
        }
    }

    /// What was asked since `earlier`.
    pub fn since(self, earlier: AllocCount) -> AllocCount {
        AllocCount {
            allocations: self.allocations - earlier.allocations,
            reallocations: self.reallocations - earlier.reallocations,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

fn count_block(layout: Layout) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(layout.size() as u64, Relaxed);
}

// SAFETY: every method hands its arguments unchanged to `System`, which upholds the trait's contract,
// and counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for CountingAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_block(layout);
        // SAFETY: the caller's promises about `layout` are those `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_block(layout);
        // SAFETY: the caller's promises about `layout` are those `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(size.saturating_sub(layout.size()) as u64, Relaxed);
        // SAFETY: `block` came from `System` through this allocator; the rest the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` through this allocator, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}
