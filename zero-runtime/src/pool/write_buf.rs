//! Bytes on their way out: small ones copied flat, large ones spliced in by reference.
//!
//! Owns the bytes of one batch of responses until the kernel has taken the last of them. Knows
//! nothing of sockets or HTTP.

use std::collections::VecDeque;

use bytes::Bytes;

use super::copies::{self, Append, Copied};

/// Bodies up to this size are copied behind their head: one flat send is cheaper than a vector.
pub const COPY_BYTES_MAX: usize = 4096;

/// A `Bytes` that goes out after the first `flat_end` bytes of the flat part.
struct Splice {
    flat_end: usize,
    bytes: Bytes,
}

/// A place in a [`WriteBuf`], to go back to while nothing has been sent since.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    flat: usize,
    splices: usize,
    unsent: usize,
}

/// A queue of bytes to send: a flat buffer with large chunks spliced in.
#[derive(Default)]
pub struct WriteBuf {
    flat: Vec<u8>,
    /// Sorted by `flat_end`, which never decreases.
    splices: VecDeque<Splice>,
    /// How much of `flat` has been sent; never past the first splice's `flat_end`.
    flat_sent: usize,
    /// How much of the first splice's bytes has been sent.
    splice_sent: usize,
    /// Bytes not yet sent, flat and spliced.
    unsent: usize,
}

impl WriteBuf {
    /// Makes an empty buffer whose flat part holds `capacity` bytes without growing.
    pub fn with_capacity(capacity: usize) -> Self {
        WriteBuf {
            flat: Vec::with_capacity(capacity),
            ..WriteBuf::default()
        }
    }

    /// Bytes queued and not yet sent.
    #[inline]
    pub fn len(&self) -> usize {
        self.unsent
    }

    /// Whether everything has been sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.unsent == 0
    }

    /// Whether a single contiguous send carries everything.
    #[inline]
    pub fn is_flat(&self) -> bool {
        self.splices.is_empty()
    }

    /// Capacity of the flat part, in bytes.
    pub fn capacity(&self) -> usize {
        self.flat.capacity()
    }

    /// Appends what the server says by itself: a head's lines, what frames a body. A message's own bytes are
    /// [appended](copies::append) with a reason.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.flat.extend_from_slice(bytes);
        self.unsent += bytes.len();
    }

    /// Lets `write` append to the flat part.
    #[inline]
    pub fn write_flat<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.flat.len();
        let out = write(&mut self.flat);
        debug_assert!(self.flat.len() >= before, "write_flat only appends");
        self.unsent += self.flat.len() - before;
        out
    }

    /// Appends `bytes`: copied when small, by reference when large.
    #[inline]
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() <= COPY_BYTES_MAX {
            return copies::append(Copied::Joined, &bytes, self);
        }
        self.unsent += bytes.len();
        self.splices.push_back(Splice {
            flat_end: self.flat.len(),
            bytes,
        });
    }

    /// The unsent bytes, if a single contiguous send carries them all.
    #[inline]
    pub fn flat(&self) -> Option<&[u8]> {
        match self.is_flat() {
            true => Some(&self.flat[self.flat_sent..]),
            false => None,
        }
    }

    /// The unsent bytes in order, as slices, at most `slices_max` of them.
    pub fn slices(&self, slices_max: usize) -> impl Iterator<Item = &[u8]> {
        let mut flat_at = self.flat_sent;
        let mut skip = self.splice_sent;
        let mut splices = self.splices.iter();
        let mut pending: Option<&Splice> = None;
        let mut ended = false;
        std::iter::from_fn(move || {
            loop {
                if let Some(splice) = pending.take() {
                    let bytes = &splice.bytes[skip..];
                    skip = 0;
                    return Some(bytes);
                }
                if ended {
                    return None;
                }
                let flat_end = match splices.next() {
                    Some(splice) => {
                        pending = Some(splice);
                        splice.flat_end
                    }
                    None => {
                        ended = true;
                        self.flat.len()
                    }
                };
                if flat_at < flat_end {
                    let flat = &self.flat[flat_at..flat_end];
                    flat_at = flat_end;
                    return Some(flat);
                }
            }
        })
        .take(slices_max)
    }

    /// Takes `sent` bytes off the front.
    ///
    /// # Panics
    /// When `sent` is more than [`len`](Self::len).
    pub fn advance(&mut self, mut sent: usize) {
        assert!(sent <= self.unsent, "sent more than was queued");
        self.unsent -= sent;
        if self.unsent == 0 {
            return self.clear();
        }
        while sent > 0 {
            let flat_end = self
                .splices
                .front()
                .map_or(self.flat.len(), |splice| splice.flat_end);
            let flat = sent.min(flat_end - self.flat_sent);
            self.flat_sent += flat;
            sent -= flat;
            let Some(splice) = self.splices.front() else {
                continue;
            };
            let spliced = sent.min(splice.bytes.len() - self.splice_sent);
            self.splice_sent += spliced;
            sent -= spliced;
            if self.splice_sent == splice.bytes.len() {
                self.splices.pop_front();
                self.splice_sent = 0;
            }
        }
    }

    /// The present end.
    pub fn mark(&self) -> Mark {
        Mark {
            flat: self.flat.len(),
            splices: self.splices.len(),
            unsent: self.unsent,
        }
    }

    /// Takes back what was put in after `mark`. Nothing may have been sent in between.
    pub fn rewind(&mut self, mark: Mark) {
        assert!(mark.flat <= self.flat.len() && mark.splices <= self.splices.len());
        self.flat.truncate(mark.flat);
        self.splices.truncate(mark.splices);
        self.unsent = mark.unsent;
    }

    /// Drops everything queued and keeps the flat part's capacity.
    #[inline]
    pub fn clear(&mut self) {
        self.flat.clear();
        if !self.splices.is_empty() {
            self.splices.clear();
        }
        self.flat_sent = 0;
        self.splice_sent = 0;
        self.unsent = 0;
    }
}

impl Append for WriteBuf {
    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(buf: &WriteBuf) -> Vec<u8> {
        buf.slices(usize::MAX).flatten().copied().collect()
    }

    fn sample() -> (WriteBuf, Vec<u8>) {
        let large = vec![b'L'; COPY_BYTES_MAX + 3];
        let mut buf = WriteBuf::default();
        buf.put_slice(b"head");
        buf.put_bytes(Bytes::from(large.clone()));
        buf.put_bytes(Bytes::from(large.clone()));
        buf.put_bytes(Bytes::from_static(b"tail"));
        let mut all = b"head".to_vec();
        all.extend_from_slice(&large);
        all.extend_from_slice(&large);
        all.extend_from_slice(b"tail");
        (buf, all)
    }

    #[test]
    fn bytes_come_out_in_the_order_they_went_in() {
        let (buf, all) = sample();
        assert_eq!(gather(&buf), all);
        assert_eq!(buf.len(), all.len());
        assert!(!buf.is_flat());
        assert_eq!(buf.slices(2).count(), 2);
    }

    #[test]
    fn every_short_send_leaves_the_rest() {
        for step in [1, 3, 4, 5, COPY_BYTES_MAX + 2, COPY_BYTES_MAX + 9] {
            let (mut buf, all) = sample();
            let mut sent = 0;
            while !buf.is_empty() {
                let n = step.min(buf.len());
                buf.advance(n);
                sent += n;
                assert_eq!(
                    gather(&buf),
                    &all[sent..],
                    "after {sent} bytes in steps of {step}"
                );
            }
            buf.put_slice(b"again");
            assert_eq!(gather(&buf), b"again");
        }
    }

    #[test]
    fn a_rewind_leaves_what_was_there_before() {
        let (mut buf, all) = sample();
        let mark = buf.mark();
        buf.put_slice(b"more");
        buf.put_bytes(Bytes::from(vec![b'X'; COPY_BYTES_MAX + 1]));
        buf.rewind(mark);
        assert_eq!(gather(&buf), all);
        assert_eq!(buf.len(), all.len());
    }

    #[test]
    #[should_panic(expected = "sent more than was queued")]
    fn advancing_past_the_end_is_refused() {
        let mut buf = WriteBuf::default();
        buf.put_slice(b"x");
        buf.advance(2);
    }
}
