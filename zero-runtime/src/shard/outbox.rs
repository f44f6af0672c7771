//! Bytes on their way from responses to sends: the buffers they are staged in, and which connections
//! have some. Knows no ring.

use super::conn::{Conn, State};
use crate::pool::spares::Spares;
use crate::pool::write_buf::WriteBuf;
use crate::service::HttpService;
use crate::slots::Key;

/// What a shard has to send, by connection, and buffers for more.
pub(super) struct Outbox {
    /// Connections with something to send.
    dirty: Vec<Key>,
    pub(super) spares: Spares,
}

impl Outbox {
    /// Makes an outbox whose buffers have `buf_bytes` each at first.
    pub(super) fn new(buf_bytes: usize) -> Self {
        Outbox {
            dirty: Vec::new(),
            spares: Spares::new(buf_bytes),
        }
    }

    /// The connection's staged bytes, to append to; give them back with [`put`](Self::put).
    #[inline]
    pub(super) fn take<K, S: HttpService>(&mut self, conn: &mut Conn<K, S>) -> Box<WriteBuf> {
        conn.out.take().unwrap_or_else(|| self.spares.take())
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

    /// Stages what was written to the connection's own buffer.
    pub(super) fn stage<K, S: HttpService>(&mut self, key: Key, conn: &mut Conn<K, S>) {
        if let Some(out) = conn.out.take() {
            self.put(key, conn, out);
        }
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
    pub(super) fn recycle(&mut self, buf: Box<WriteBuf>) {
        self.spares.recycle(buf);
    }
}
