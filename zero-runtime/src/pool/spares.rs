//! Write buffers that are used again. Knows nothing of who writes.

use super::write_buf::WriteBuf;
use crate::limits::{SPARE_BUF_BYTES_MAX, SPARE_BUFS_MAX};

/// Write buffers without content: at most [`SPARE_BUFS_MAX`], none that has grown beyond
/// [`SPARE_BUF_BYTES_MAX`] bytes.
pub struct Spares {
    // Boxed, because they are handed on at every step of their way.
    #[allow(clippy::vec_box)]
    bufs: Vec<Box<WriteBuf>>,
    /// Size of a new buffer.
    buf_bytes: usize,
}

impl Spares {
    /// Holds none; new ones have `buf_bytes` each at first.
    pub fn new(buf_bytes: usize) -> Self {
        Spares {
            bufs: Vec::new(),
            buf_bytes,
        }
    }

    /// An empty buffer.
    #[inline]
    pub fn take(&mut self) -> Box<WriteBuf> {
        self.bufs.pop().unwrap_or_else(|| self.new_buf())
    }

    #[cold]
    fn new_buf(&self) -> Box<WriteBuf> {
        Box::new(WriteBuf::with_capacity(self.buf_bytes))
    }

    /// Keeps a buffer whose content is of no use any more.
    #[inline]
    pub fn recycle(&mut self, mut buf: Box<WriteBuf>) {
        if self.bufs.len() < SPARE_BUFS_MAX && buf.capacity() <= SPARE_BUF_BYTES_MAX {
            buf.clear();
            self.bufs.push(buf);
        }
    }
}
