//! Short-lived shared bytes without allocation: heads and small bodies are copied in, handed out
//! as `Bytes`, and their space is reused once the last slice is gone.

use bytes::{Bytes, BytesMut};

/// Size of one block. A larger piece gets an allocation of its own.
const BLOCK_BYTES: usize = 16 * 1024;
/// How many blocks are kept; a block still in use when its turn comes again is let go.
const BLOCKS: usize = 4;

/// A few blocks used in turn.
pub struct Arena {
    blocks: [BytesMut; BLOCKS],
    current: usize,
}

impl Arena {
    /// Makes an arena; blocks are allocated on first use.
    pub fn new() -> Self {
        Arena {
            blocks: std::array::from_fn(|_| BytesMut::new()),
            current: 0,
        }
    }

    /// Copies `bytes` into shared memory.
    #[inline]
    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.blocks[self.current].capacity() < bytes.len() {
            if bytes.len() > BLOCK_BYTES / 4 {
                return Bytes::copy_from_slice(bytes);
            }
            self.next_block();
        }
        let block = &mut self.blocks[self.current];
        block.extend_from_slice(bytes);
        block.split().freeze()
    }

    /// Moves to the next block: reclaimed when none of its slices is alive, replaced otherwise.
    #[cold]
    fn next_block(&mut self) {
        // The first block that is free wins; only with all in use is one replaced.
        for _ in 0..BLOCKS {
            self.current = (self.current + 1) % BLOCKS;
            if self.blocks[self.current].try_reclaim(BLOCK_BYTES) {
                return;
            }
        }
        self.blocks[self.current] = BytesMut::with_capacity(BLOCK_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_bytes_while_others_come_and_go() {
        let mut arena = Arena::new();
        let kept: Vec<Bytes> = (0..=255u8).map(|i| arena.copy(&[i; 100])).collect();
        for _ in 0..10_000 {
            assert_eq!(arena.copy(b"passing")[..], b"passing"[..]);
        }
        for (i, piece) in kept.iter().enumerate() {
            assert!(piece.iter().all(|byte| *byte as usize == i));
        }
    }

    #[test]
    fn a_block_is_reused_once_free() {
        let mut arena = Arena::new();
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..100_000 {
            addresses.insert(arena.copy(&[0; 1000]).as_ptr());
        }
        assert!(addresses.len() <= BLOCKS * BLOCK_BYTES / 1000 + BLOCKS);
    }

    #[test]
    fn a_large_piece_stands_alone() {
        let mut arena = Arena::new();
        assert_eq!(arena.copy(&[7; BLOCK_BYTES]).len(), BLOCK_BYTES);
        assert!(arena.blocks.iter().all(|block| block.capacity() == 0));
    }
}
