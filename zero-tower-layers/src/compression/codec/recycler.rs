//! Memory for the brotli crate that is used again for the next body.

use std::any::{Any, TypeId};

use brotli::enc::{Allocator, BrotliAlloc, SliceWrapper, SliceWrapperMut};

/// Pieces kept at most, and bytes in them: what one body at a high level asks for.
const PIECES_MAX: usize = 64;
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Hands out memory the encoder has given back, before it asks the heap. The encoder wants it cleared, half a MiB
/// of it for the shortest body: that is done when it is given back, not when somebody waits for it.
#[derive(Default)]
pub(super) struct Recycler {
    free: Vec<Free>,
    bytes: usize,
}

/// A piece not in use. Its memory is a `Vec` of some type, clear as far as it is long.
struct Free {
    memory: Box<dyn Any + Send + Sync>,
    /// The vector's type: told here, it need not be asked of every piece that is looked at.
    kind: TypeId,
    bytes: usize,
}

/// A piece in use.
#[expect(
    clippy::box_collection,
    reason = "becomes a `Box<dyn Any>` without another allocation"
)]
pub(super) struct Piece<T> {
    /// Not in its box, for the encoder comes here in its innermost loops.
    memory: Vec<T>,
    /// What the memory goes back in. Not there if there is none.
    shell: Option<Box<Vec<T>>>,
}

impl Recycler {
    /// The smallest piece of the type with room for `len`; without one the largest: the encoder asks for more
    /// and more of some types, and what it has grown out of would be left lying about.
    #[expect(clippy::box_collection, reason = "as above")]
    fn take<T: 'static>(&mut self, len: usize) -> Option<Box<Vec<T>>> {
        let (kind, wanted) = (TypeId::of::<Vec<T>>(), len * size_of::<T>());
        let pieces = self.free.iter().enumerate();
        let of_kind = pieces.filter(|(_, free)| free.kind == kind);
        let (at, _) = of_kind.min_by_key(|(_, free)| match free.bytes.checked_sub(wanted) {
            Some(to_spare) => (false, to_spare),
            None => (true, wanted - free.bytes),
        })?;
        let free = self.free.swap_remove(at);
        self.bytes -= free.bytes;
        free.memory.downcast().ok()
    }
}

impl<T: Clone + Default + Send + Sync + 'static> Allocator<T> for Recycler {
    type AllocatedMemory = Piece<T>;

    fn alloc_cell(&mut self, len: usize) -> Piece<T> {
        if len == 0 {
            return Piece::default();
        }
        let mut shell = self.take(len).unwrap_or_default();
        let mut memory = std::mem::take(&mut *shell);
        match memory.capacity() >= len {
            true => memory.resize(len, T::default()),
            false => memory = vec![T::default(); len],
        }
        Piece {
            memory,
            shell: Some(shell),
        }
    }

    fn free_cell(&mut self, piece: Piece<T>) {
        let Piece { mut memory, shell } = piece;
        let Some(mut shell) = shell else { return };
        let bytes = memory.capacity() * size_of::<T>();
        if self.free.len() < PIECES_MAX && self.bytes + bytes <= BYTES_MAX {
            memory.fill(T::default());
            *shell = memory;
            self.bytes += bytes;
            self.free.push(Free {
                memory: shell,
                kind: TypeId::of::<Vec<T>>(),
                bytes,
            });
        }
    }
}

impl BrotliAlloc for Recycler {}

impl<T> Default for Piece<T> {
    fn default() -> Self {
        Piece {
            memory: Vec::new(),
            shell: None,
        }
    }
}

impl<T> SliceWrapper<T> for Piece<T> {
    fn slice(&self) -> &[T] {
        &self.memory
    }
}

impl<T> SliceWrapperMut<T> for Piece<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.memory
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

        // And as far as it went at first.
        recycler.free_cell(again);
        let whole: Piece<u32> = recycler.alloc_cell(100);
        assert_eq!(whole.slice().as_ptr(), address);
        assert_eq!(whole.slice(), [0; 100]);
    }

    #[test]
    fn pieces_grow_and_leave_nothing_behind() {
        let mut recycler = Recycler::default();
        for len in [100, 200, 150, 400] {
            let piece: Piece<u8> = recycler.alloc_cell(len);
            assert_eq!(piece.slice(), vec![0; len]);
            recycler.free_cell(piece);
        }
        assert_eq!((recycler.free.len(), recycler.bytes), (1, 400));
        let pieces = [30, 20].map(|len| -> Piece<u8> { recycler.alloc_cell(len) });
        pieces
            .into_iter()
            .for_each(|piece| recycler.free_cell(piece));
        assert_eq!((recycler.free.len(), recycler.bytes), (2, 420));
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
