//! [`SendBuffer`]: memory to write a response's body into, sent from where it lies.

use std::cell::RefCell;
use std::fmt;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use crate::pool::copies::Append;

/// Size of the blocks that small buffers are parts of.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that a thread keeps; one whose parts are all sent is used again.
const BLOCKS: usize = 8;

thread_local! {
    static BLOCKS_OF_THREAD: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// A writable part of pooled memory: filled by its owner, sent by the kernel, never copied between.
///
/// Holds at least as many bytes as it was made for and grows beyond, at the price of a copy. Memory
/// comes from blocks of 64 KiB that each thread keeps and uses again; a larger buffer is allocated.
pub struct SendBuffer(BytesMut);

impl SendBuffer {
    /// Makes a buffer for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        if bytes > BLOCK_BYTES {
            return SendBuffer(BytesMut::with_capacity(bytes));
        }
        BLOCKS_OF_THREAD.with_borrow_mut(|blocks| SendBuffer(take(blocks, bytes)))
    }

    /// How many bytes it takes without growing.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends a copy of `bytes`.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends `bytes` zeros, and lends them to be written in place: to a `Read`, or a codec.
    /// [`truncate`](Self::truncate) takes back what was not used.
    pub fn put_zeros(&mut self, bytes: usize) -> &mut [u8] {
        let at = self.0.len();
        self.0.resize(at + bytes, 0);
        &mut self.0[at..]
    }

    /// Takes back what was written behind the first `bytes`; nothing if that is no more.
    pub fn truncate(&mut self, bytes: usize) {
        self.0.truncate(bytes);
    }

    /// The bytes as they will be sent.
    pub fn freeze(self) -> Bytes {
        self.0.freeze()
    }
}

/// Cuts `bytes` off the first block that has them, or of one that is free again, or of a new one.
fn take(blocks: &mut Vec<BytesMut>, bytes: usize) -> BytesMut {
    let has_room =
        |block: &mut BytesMut| block.capacity() >= bytes || block.try_reclaim(BLOCK_BYTES);
    let at = match blocks.iter_mut().position(has_room) {
        Some(at) => at,
        None if blocks.len() < BLOCKS => {
            blocks.push(BytesMut::with_capacity(BLOCK_BYTES));
            blocks.len() - 1
        }
        None => {
            // All are being sent: let the oldest go, to be freed with its last part.
            blocks.rotate_left(1);
            blocks[BLOCKS - 1] = BytesMut::with_capacity(BLOCK_BYTES);
            BLOCKS - 1
        }
    };
    // What is behind `bytes` stays with the block.
    let behind = blocks[at].split_off(bytes);
    std::mem::replace(&mut blocks[at], behind)
}

impl Append for SendBuffer {
    fn append(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

impl io::Write for SendBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for SendBuffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put_slice(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for SendBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SendBuffer(bytes) = self;
        let (len, free) = (bytes.len(), bytes.capacity() - bytes.len());
        f.debug_struct("SendBuffer")
            .field("len", &len)
            .field("free", &free.min(bytes.remaining_mut()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_has_the_room_it_was_made_for_and_nobody_elses() {
        let mut buffers: Vec<_> = (1..200usize)
            .map(|n| (n, SendBuffer::with_capacity(n)))
            .collect();
        for (n, buffer) in &mut buffers {
            assert!(buffer.capacity() >= *n && buffer.is_empty());
            buffer.put_slice(&vec![*n as u8; *n]);
        }
        for (n, buffer) in buffers {
            assert_eq!(buffer.freeze(), vec![n as u8; n]);
        }
    }

    #[test]
    fn memory_is_used_again_once_it_is_sent() {
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let mut buffer = SendBuffer::with_capacity(1000);
            buffer.put_slice(&[1; 1000]);
            addresses.insert(buffer.freeze().as_ptr());
        }
        assert!(addresses.len() <= BLOCKS * BLOCK_BYTES / 1000 + BLOCKS);
    }

    #[test]
    fn nothing_is_seen_of_what_the_memory_held_before() {
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut buffer = SendBuffer::with_capacity(BLOCK_BYTES);
            assert!(buffer.put_zeros(100).iter().all(|&byte| byte == 0));
            buffer.put_zeros(BLOCK_BYTES - 100).fill(7);
            buffer.truncate(101);
            let bytes = buffer.freeze();
            assert_eq!((bytes.len(), bytes[100]), (101, 7));
            addresses.insert(bytes.as_ptr());
        }
        assert!(addresses.len() <= BLOCKS, "memory is used again");
    }

    #[test]
    fn it_grows_and_is_as_large_as_asked() {
        let mut buffer = SendBuffer::with_capacity(2 * BLOCK_BYTES);
        assert!(buffer.capacity() >= 2 * BLOCK_BYTES);
        let long = vec![7; 3 * BLOCK_BYTES];
        buffer.put_slice(&long);
        assert_eq!(buffer.len(), long.len());
        assert_eq!(buffer.freeze(), long);
    }
}
