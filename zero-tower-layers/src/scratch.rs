//! Short byte strings that outlive a call, cut from a block each thread keeps.
//!
//! Knows bytes; knows nothing of headers or paths. A block is taken from the heap when a thread's
//! first string is made, and again only if some string of the old block is still held when it is full:
//! the strings of finished requests give their room back.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// Room of a block. A string that is held keeps its whole block alive.
const BLOCK_BYTES: usize = 4096;

/// Longer strings get memory of their own, so that one of them cannot hold up a block.
const SHARED_BYTES_MAX: usize = 512;

thread_local! {
    static BLOCK: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Joins `parts` into one shared byte string.
pub(crate) fn join(parts: &[&[u8]]) -> Bytes {
    let len = parts.iter().map(|part| part.len()).sum();
    if len > SHARED_BYTES_MAX {
        return Bytes::from(parts.concat());
    }
    // The cell is free: nothing below calls out. It is gone only while the thread ends.
    BLOCK
        .try_with(|block| cut(&mut block.borrow_mut(), parts, len))
        .unwrap_or_else(|_| Bytes::from(parts.concat()))
}

fn cut(block: &mut BytesMut, parts: &[&[u8]], len: usize) -> Bytes {
    if block.capacity() < len && !block.try_reclaim(BLOCK_BYTES) {
        *block = BytesMut::with_capacity(BLOCK_BYTES);
    }
    for part in parts {
        block.extend_from_slice(part);
    }
    block.split().freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_order() {
        assert_eq!(join(&[b"/a", b"?", b"b=c"]), "/a?b=c");
        assert_eq!(join(&[]), "");
        let long = vec![b'x'; SHARED_BYTES_MAX];
        assert_eq!(join(&[b"/", &long]).len(), SHARED_BYTES_MAX + 1);
    }

    #[test]
    fn held_strings_keep_their_bytes_while_blocks_are_reused() {
        let held: Vec<_> = (0..10_000u32)
            .filter_map(|n| {
                let text = join(&[b"id-", n.to_string().as_bytes()]);
                (n % 97 == 0).then_some((n, text))
            })
            .collect();
        for (n, text) in held {
            assert_eq!(text, format!("id-{n}"));
        }
    }
}
