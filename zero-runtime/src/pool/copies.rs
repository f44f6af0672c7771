//! Every copy of a message's bytes that our code makes, counted by its reason in debug builds.
//!
//! A request that lies whole in its receive buffer is answered by `run_sync` without any of them; a large
//! `Bytes` goes to the kernel without any. Where a copy is the better choice it has a name here.

use std::fmt;

#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why bytes are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// A head that outlives its receive buffer, with its request: to hold the buffer instead would let
    /// slow handlers starve the ring.
    HeadKept,
    /// A piece of a body that outlives its receive buffer.
    BodyKept,
    /// Pieces of a body, put behind one another.
    BodyGathered,
    /// What could not be read yet: part of a head, or a request behind one that is not answered.
    Carried,
    /// A small body, put behind its head: one flat send is cheaper than a vector.
    Joined,
    /// What was read ahead of an upgrade.
    ReadAhead,
    /// A text, into its response.
    Text,
    /// Bytes or a request that were taken out of an event, to outlive it.
    Detached,
}

const REASONS: [Copied; 8] = [
    Copied::HeadKept,
    Copied::BodyKept,
    Copied::BodyGathered,
    Copied::Carried,
    Copied::Joined,
    Copied::ReadAhead,
    Copied::Text,
    Copied::Detached,
];

#[cfg(debug_assertions)]
static COPIES: [AtomicU64; REASONS.len()] = [const { AtomicU64::new(0) }; REASONS.len()];

/// Notes a copy. Nothing in release builds.
#[inline]
pub(crate) fn note(why: Copied) {
    // Relaxed: the counts publish nothing but themselves.
    #[cfg(debug_assertions)]
    COPIES[why as usize].fetch_add(1, Relaxed);
    let _ = why;
}

/// How often bytes have been copied in this process, by reason.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Copies([u64; REASONS.len()]);

impl Copies {
    /// Reads the counts. All zero in release builds.
    pub fn now() -> Self {
        #[cfg(debug_assertions)]
        return Copies(std::array::from_fn(|at| COPIES[at].load(Relaxed)));
        #[cfg(not(debug_assertions))]
        return Copies([0; REASONS.len()]);
    }

    /// What has been copied since `earlier`.
    pub fn since(self, earlier: Copies) -> Copies {
        Copies(std::array::from_fn(|at| self.0[at] - earlier.0[at]))
    }

    /// How often for this reason.
    pub fn of(self, why: Copied) -> u64 {
        self.0[why as usize]
    }

    /// How often in all.
    pub fn total(self) -> u64 {
        self.0.iter().sum()
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = REASONS.iter().map(|&why| (why, self.of(why)));
        f.debug_map()
            .entries(all.filter(|(_, count)| *count > 0))
            .finish()
    }
}
