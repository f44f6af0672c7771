//! Every copy of a message's bytes that our code makes: made here, and counted by its reason in debug builds.
//!
//! A request that lies whole in its receive buffer is answered by `run_sync` without any of them; a large
//! `Bytes` goes to the kernel without any. Where a copy is the better choice it has a name here.
//! `tests/copies_counted.rs` reads the sources for copies that are made elsewhere.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

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
    /// What was written from where it may not stay: by a protocol, by the owner of a loop, or by a worker whose socket did
    /// not take it.
    Written,
    /// A head that is written anew: because a layer has changed it, or since it was in `http`'s types.
    HeadRewritten,
    /// A piece of a response's body that is no `Bytes`.
    BodyMade,
}

const REASONS: [Copied; 11] = [
    Copied::HeadKept,
    Copied::BodyKept,
    Copied::BodyGathered,
    Copied::Carried,
    Copied::Joined,
    Copied::ReadAhead,
    Copied::Text,
    Copied::Detached,
    Copied::Written,
    Copied::HeadRewritten,
    Copied::BodyMade,
];

#[cfg(debug_assertions)]
static COPIES: [AtomicU64; REASONS.len()] = [const { AtomicU64::new(0) }; REASONS.len()];

/// Notes a copy. Nothing in release builds.
#[inline(always)]
fn note(why: Copied) {
    // Relaxed: the counts publish nothing but themselves.
    #[cfg(debug_assertions)]
    COPIES[why as usize].fetch_add(1, Relaxed);
    let _ = why;
}

/// Takes copies of bytes behind what it has.
pub(crate) trait Append {
    fn append(&mut self, bytes: &[u8]);
}

impl Append for Vec<u8> {
    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Append for BytesMut {
    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Copies `bytes` behind what is in `to`. No bytes are no copy.
#[inline(always)]
pub(crate) fn append(why: Copied, bytes: &[u8], to: &mut impl Append) {
    if cfg!(debug_assertions) && !bytes.is_empty() {
        note(why);
    }
    to.append(bytes);
}

/// Copies parts of one whole behind what is in `to`, which is one copy, however many they are.
#[inline]
pub(crate) fn append_all<'a>(
    why: Copied,
    parts: impl IntoIterator<Item = &'a [u8]>,
    to: &mut impl Append,
) {
    note(why);
    parts.into_iter().for_each(|part| to.append(part));
}

/// A piece to be appended to: itself, unless others share its memory.
pub(crate) fn appendable(why: Copied, piece: Bytes) -> BytesMut {
    piece.try_into_mut().unwrap_or_else(|shared| {
        let mut moved = BytesMut::new();
        append(why, &shared, &mut moved);
        moved
    })
}

/// Copies `bytes` into memory of their own. No bytes are no copy.
#[inline]
pub(crate) fn shared(why: Copied, bytes: &[u8]) -> Bytes {
    if cfg!(debug_assertions) && !bytes.is_empty() {
        note(why);
    }
    Bytes::copy_from_slice(bytes)
}

/// All of `data` in one piece: itself, if it is a `Bytes`, else a copy.
#[inline(always)]
pub(crate) fn in_one_piece(why: Copied, mut data: impl Buf) -> Bytes {
    let at = data.chunk().as_ptr();
    let bytes = data.copy_to_bytes(data.remaining());
    if cfg!(debug_assertions) && bytes.as_ptr() != at {
        note(why);
    }
    bytes
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

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// No other test of this crate copies for this reason.
    const WHY: Copied = Copied::BodyMade;

    #[test]
    fn what_is_copied_is_counted_and_what_is_not_is_not() {
        let made = |make: &mut dyn FnMut() -> Bytes| {
            let before = Copies::now();
            let bytes = make();
            (bytes, Copies::now().since(before).of(WHY))
        };
        let text = Bytes::from_static(b"text");
        let whole = made(&mut || in_one_piece(WHY, text.clone()));
        assert_eq!(whole, (text.clone(), 0));
        let other = made(&mut || in_one_piece(WHY, VecDeque::from(b"text".to_vec())));
        assert_eq!(other, (text.clone(), 1));
        assert_eq!(made(&mut || shared(WHY, &text)), (text.clone(), 1));
        assert_eq!(made(&mut || shared(WHY, &[])).1, 0);
        let appended = made(&mut || {
            let mut bytes = b"t".to_vec();
            append(WHY, b"ext", &mut bytes);
            append(WHY, b"", &mut bytes);
            bytes.into()
        });
        assert_eq!(appended, (text, 1));
        // One that nobody shares is appended to where it lies.
        let (alone, shared) = (
            Bytes::from(b"alone".to_vec()),
            Bytes::from(b"shared".to_vec()),
        );
        let at = alone.as_ptr();
        let mut pieces = vec![shared.clone(), alone];
        let mut next = || made(&mut || appendable(WHY, pieces.pop().unwrap()).freeze());
        let (alone, copied) = next();
        assert_eq!((alone.as_ptr(), &alone[..], copied), (at, &b"alone"[..], 0));
        assert_eq!(next(), (shared, 1));
    }
}
