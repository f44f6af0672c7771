//! Memory for the brotli crate that is used again for the next body.

use std::any::{Any, TypeId};

use brotli::enc::{Allocator, BrotliAlloc, SliceWrapper, SliceWrapperMut};

/// Pieces kept at most, and bytes in them: what one body at a high level asks for.
const PIECES_MAX: usize = 64;
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Hands out memory the encoder has given back, before it asks the heap.
#[derive(Default)]
pub(super) struct Recycler {
    free: Vec<Free>,
    bytes: usize,
}

/// A piece not in use. Its memory is a `Vec` of some type, boxed when it was first made.
struct Free {
    memory: Box<dyn Any + Send + Sync>,
    /// The vector's type: told here, it need not be asked of every piece that is looked at.
    kind: TypeId,
    bytes: usize,
}

/// A piece in use; of no length without memory.
#[expect(
    clippy::box_collection,
    reason = "becomes a `Box<dyn Any>` without another allocation"
)]
pub(super) struct Piece<T>(Option<Box<Vec<T>>>);

impl Recycler {
    /// The smallest piece of the type with room for `len`.
    #[expect(clippy::box_collection, reason = "as above")]
    fn take<T: 'static>(&mut self, len: usize) -> Option<Box<Vec<T>>> {
        let (kind, wanted) = (TypeId::of::<Vec<T>>(), len * size_of::<T>());
        let fits = |free: &Free| (free.kind == kind && free.bytes >= wanted).then_some(free.bytes);
        let pieces = self.free.iter().enumerate();
        let fitting = pieces.filter_map(|(at, free)| Some((fits(free)?, at)));
        let (_, at) = fitting.min()?;
        let free = self.free.swap_remove(at);
        self.bytes -= free.bytes;
        free.memory.downcast().ok()
    }
}

impl<T: Clone + Default + Send + Sync + 'static> Allocator<T> for Recycler {
    type AllocatedMemory = Piece<T>;

    fn alloc_cell(&mut self, len: usize) -> Piece<T> {
        if len == 0 {
            return Piece(None);
        }
        let mut memory = self.take(len).unwrap_or_default();
        memory.clear();
        memory.resize(len, T::default());
        Piece(Some(memory))
    }

    fn free_cell(&mut self, piece: Piece<T>) {
        let Some(memory) = piece.0 else { return };
        let bytes = memory.capacity() * size_of::<T>();
        if self.free.len() < PIECES_MAX && self.bytes + bytes <= BYTES_MAX {
            self.bytes += bytes;
            self.free.push(Free {
                memory,
                kind: TypeId::of::<Vec<T>>(),
                bytes,
            });
        }
    }
}

impl BrotliAlloc for Recycler {}

impl<T> Default for Piece<T> {
    fn default() -> Self {
        Piece(None)
    }
}

impl<T> SliceWrapper<T> for Piece<T> {
    fn slice(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |memory| memory.as_slice())
    }
}

impl<T> SliceWrapperMut<T> for Piece<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        self.0
            .as_mut()
            .map_or(&mut [], |memory| memory.as_mut_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_cleared_and_is_used_again() {
        let mut recycler = Recycler::default();
        let mut piece: Piece<u32> = recycler.alloc_cell(100);
        piece.slice_mut().fill(7);
        let address = piece.slice().as_ptr();
        recycler.free_cell(piece);

        let other: Piece<u8> = recycler.alloc_cell(100);
        let again: Piece<u32> = recycler.alloc_cell(50);
        assert_eq!(again.slice().as_ptr(), address);
        assert_eq!(again.slice(), [0; 50]);
        assert_eq!(other.slice(), [0; 100]);
        assert!(recycler.free.is_empty() && recycler.bytes == 0);
    }

    #[test]
    fn no_more_is_kept_than_the_limits_say() {
        let mut recycler = Recycler::default();
        let pieces: Vec<Piece<u16>> = (1..=PIECES_MAX + 1)
            .map(|n| recycler.alloc_cell(n))
            .collect();
        pieces
            .into_iter()
            .for_each(|piece| recycler.free_cell(piece));
        assert_eq!(recycler.free.len(), PIECES_MAX);

        let mut recycler = Recycler::default();
        let piece: Piece<u8> = recycler.alloc_cell(BYTES_MAX + 1);
        recycler.free_cell(piece);
        assert_eq!(recycler.bytes, 0);
    }
}
