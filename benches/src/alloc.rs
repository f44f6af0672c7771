//! An allocator that counts. A program chooses it with `#[global_allocator]`; see `bin/allocs.rs`.
//!
//! Unsafe, for the trait is; everything is handed on to the allocator inside.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

// Relaxed throughout: the counts publish nothing but themselves. Readers read them while the
// threads they count for are quiet.
static COUNTS: AtomicBool = AtomicBool::new(true);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static REALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// An allocator, counted over all threads of the process.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counting<A>(pub A);

/// The system's allocator, counted.
pub type CountingAlloc = Counting<System>;

/// Makes every [`Counting`] pass its calls on uncounted from now on, at the price of a look at a flag.
/// Programs whose time is measured do so, so that one build serves for both.
pub fn stop_counting() {
    COUNTS.store(false, Relaxed);
}

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
    if !COUNTS.load(Relaxed) {
        return;
    }
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(layout.size() as u64, Relaxed);
}

fn count_change(from: usize, to: usize) {
    if !COUNTS.load(Relaxed) {
        return;
    }
    REALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(to.saturating_sub(from) as u64, Relaxed);
}

// SAFETY: every method hands its arguments unchanged to the allocator inside, which upholds the trait's
// contract, and counting neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_block(layout);
        // SAFETY: the caller's promises about `layout` are those asked for.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_block(layout);
        // SAFETY: the caller's promises about `layout` are those asked for.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_change(layout.size(), size);
        // SAFETY: `block` came from the allocator inside through this allocator; the rest the caller promises.
        unsafe { self.0.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from the allocator inside through this allocator, with this layout.
        unsafe { self.0.dealloc(block, layout) }
    }
}

/// Makes the counting allocator this program's, so that a comparison of its application can count.
#[macro_export]
macro_rules! count_allocations {
    () => {
        #[global_allocator]
        static ZERO_BENCH_ALLOCATOR: $crate::alloc::CountingAlloc =
            $crate::alloc::Counting(std::alloc::System);
    };
}
