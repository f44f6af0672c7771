//! Short-lived shared bytes without allocation: heads and small bodies are copied in, handed out
//! as `Bytes`, and their space is reused once the last slice is gone.

use bytes::{Bytes, BytesMut};

use super::copies::{self, Copied};
use crate::limits::ARENA_BLOCK_BYTES;

/// Size of one block. A larger piece gets an allocation of its own.
const BLOCK_BYTES: usize = ARENA_BLOCK_BYTES;
/// Larger pieces are allocated.
pub const PIECE_BYTES_MAX: usize = BLOCK_BYTES / 4;
/// How many blocks are kept; a block still in use when its turn comes again is let go.
const BLOCKS: usize = 4;

/// A few blocks used in turn.
pub struct Arena {
    blocks: [BytesMut; BLOCKS],
    is_allocated: [bool; BLOCKS],
    current: usize,
}

impl Arena {
    /// Makes an arena; blocks are allocated on first use.
    pub fn new() -> Self {
        Arena {
            blocks: std::array::from_fn(|_| BytesMut::new()),
            is_allocated: [false; BLOCKS],
            current: 0,
        }
    }

    /// Copies `bytes` into shared memory.
    #[inline]
    pub(crate) fn copy(&mut self, why: Copied, bytes: &[u8]) -> Bytes {
        if self.blocks[self.current].capacity() < bytes.len() {
            if bytes.len() > PIECE_BYTES_MAX {
                return copies::shared(why, bytes);
            }
            self.next_block();
        }
        let block = &mut self.blocks[self.current];
        copies::append(why, bytes, block);
        block.split().freeze()
    }

    /// Room for a piece of `bytes` bytes that does not come at once.
    pub fn room(&mut self, bytes: usize) -> BytesMut {
        if bytes > PIECE_BYTES_MAX {
            return BytesMut::with_capacity(bytes);
        }
        if self.blocks[self.current].capacity() < bytes {
            self.next_block();
        }
        let block = &mut self.blocks[self.current];
        let behind = block.split_off(bytes);
        std::mem::replace(block, behind)
    }

    /// Moves to the next block: reclaimed when none of its slices is alive, replaced otherwise.
    #[cold]
    fn next_block(&mut self) {
        // A block that is free again wins: few are touched, and stay in the cache. Only with all in
        // use is one replaced.
        for _ in 0..BLOCKS {
            self.current = (self.current + 1) % BLOCKS;
            if self.blocks[self.current].try_reclaim(BLOCK_BYTES) {
                return;
            }
        }
        let unused = self
            .is_allocated
            .iter()
            .position(|is_allocated| !is_allocated);
        self.current = unused.unwrap_or((self.current + 1) % BLOCKS);
        self.is_allocated[self.current] = true;
        self.blocks[self.current] = BytesMut::with_capacity(BLOCK_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Copied = Copied::HeadKept;

    #[test]
    fn pieces_keep_their_bytes_while_others_come_and_go() {
        let mut arena = Arena::new();
        let kept: Vec<Bytes> = (0..=255u8).map(|i| arena.copy(WHY, &[i; 100])).collect();
        for _ in 0..10_000 {
            assert_eq!(arena.copy(WHY, b"passing")[..], b"passing"[..]);
        }
        for (i, piece) in kept.iter().enumerate() {
            assert!(piece.iter().all(|byte| *byte as usize == i));
        }
    }

    #[test]
    fn a_block_with_a_piece_alive_is_left_for_another() {
        let mut arena = Arena::new();
        let mut last = Bytes::new();
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..10_000 {
            // The one before is alive while this one is made, whatever block it is in.
            last = arena.copy(WHY, &[last.len() as u8; 1000]);
            addresses.insert(last.as_ptr());
        }
        assert!(addresses.len() <= BLOCKS * BLOCK_BYTES / 1000);
        assert!(arena.is_allocated.iter().filter(|is| **is).count() <= 2);
    }

    #[test]
    fn a_block_is_reused_once_free() {
        let mut arena = Arena::new();
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..100_000 {
            addresses.insert(arena.copy(WHY, &[0; 1000]).as_ptr());
        }
        assert!(addresses.len() <= BLOCKS * BLOCK_BYTES / 1000 + BLOCKS);
    }

    #[test]
    fn room_is_for_its_piece_alone_and_comes_back() {
        let mut arena = Arena::new();
        let mut addresses = std::collections::HashSet::new();
        for n in 0..100_000u32 {
            let mut room = arena.room(1000);
            assert!(room.capacity() >= 1000 && room.is_empty());
            let beside = arena.copy(WHY, &n.to_le_bytes());
            room.extend_from_slice(&[n as u8; 1000]);
            assert_eq!(beside[..], n.to_le_bytes());
            assert!(room.freeze().iter().all(|byte| *byte == n as u8));
            addresses.insert(beside.as_ptr());
        }
        assert!(addresses.len() <= BLOCKS * BLOCK_BYTES / 1000 + BLOCKS);
        assert!(arena.room(2 * BLOCK_BYTES).capacity() >= 2 * BLOCK_BYTES);
    }

    #[test]
    fn a_large_piece_stands_alone() {
        let mut arena = Arena::new();
        assert_eq!(arena.copy(WHY, &[7; BLOCK_BYTES]).len(), BLOCK_BYTES);
        assert!(arena.blocks.iter().all(|block| block.capacity() == 0));
    }
}
