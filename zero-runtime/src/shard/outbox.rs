//! Bytes on their way from responses to sends: the buffers they are staged in, and which connections
//! have some. Knows no ring.

use super::conn::{Conn, State};
use crate::limits::{SPARE_BUF_BYTES_MAX, SPARE_BUFS_MAX};
use crate::pool::write_buf::WriteBuf;
use crate::service::HttpService;
use crate::slots::Key;

/// What a shard has to send, by connection, and buffers for more.
pub(super) struct Outbox {
    /// Connections with something to send.
    dirty: Vec<Key>,
    // Boxed, because they are handed on at every step of their way.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<WriteBuf>>,
    /// Size of a new buffer.
    buf_bytes: usize,
}

impl Outbox {
    /// Makes an outbox whose buffers have `buf_bytes` each at first.
    pub(super) fn new(buf_bytes: usize) -> Self {
        Outbox {
            dirty: Vec::new(),
            spare: Vec::new(),
            buf_bytes,
        }
    }

    /// The connection's staged bytes, to append to; give them back with [`put`](Self::put).
    #[inline]
    pub(super) fn take<K, S: HttpService>(&mut self, conn: &mut Conn<K, S>) -> Box<WriteBuf> {
        let staged = conn.out.take().or_else(|| self.spare.pop());
        staged.unwrap_or_else(|| self.new_buf())
    }

    #[cold]
    fn new_buf(&self) -> Box<WriteBuf> {
        Box::new(WriteBuf::with_capacity(self.buf_bytes))
    }

    /// Stages `out` for the end of the turn.
    #[inline]
    pub(super) fn put<K, S: HttpService>(
        &mut self,
        key: Key,
        conn: &mut Conn<K, S>,
        out: Box<WriteBuf>,
    ) {
        if out.is_empty() || conn.state == State::Terminating {
            return self.recycle(out);
        }
        conn.out = Some(out);
        self.mark(key, conn);
    }

    /// Lets the end of the turn look for what is to be sent.
    #[inline]
    pub(super) fn mark<K, S: HttpService>(&mut self, key: Key, conn: &mut Conn<K, S>) {
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Takes the connections out that have something to send; to be given back empty.
    pub(super) fn take_dirty(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.dirty)
    }

    /// Gives the list back, for its memory. Nothing was marked meanwhile.
    pub(super) fn give_back(&mut self, dirty: Vec<Key>) {
        debug_assert!(dirty.is_empty() && self.dirty.is_empty());
        self.dirty = dirty;
    }

    /// Keeps a buffer whose content is of no use any more.
    #[inline]
    pub(super) fn recycle(&mut self, mut buf: Box<WriteBuf>) {
        if self.spare.len() < SPARE_BUFS_MAX && buf.capacity() <= SPARE_BUF_BYTES_MAX {
            buf.clear();
            self.spare.push(buf);
        }
    }
}
