//! An encoder of any coding, with room for its output.
//!
//! Bytes go in, bytes come out, whether there is a body or not. What the libraries differ in stays
//! within this folder.

use std::io;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::level::CompressionLevel;
use super::policy::Coding;

#[cfg(feature = "compression-br")]
mod brotli;
#[cfg(any(feature = "compression-deflate", feature = "compression-gzip"))]
mod deflate;
#[cfg(feature = "compression-br")]
mod recycler;
#[cfg(feature = "compression-zstd")]
mod zstd;

/// The first chunk of a body is sent when there are so many bytes; each later one may be twice as
/// large, up to `CHUNK_BYTES_MAX`.
const CHUNK_BYTES_MIN: usize = 4 * 1024;
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// What a codec did with what it was given.
pub(super) struct Progress {
    read: usize,
    written: usize,
    /// Nothing is held back. Has a meaning for `flush` and `finish` only.
    is_done: bool,
}

/// What a coding's library has to offer.
enum Codec {
    #[cfg(any(feature = "compression-deflate", feature = "compression-gzip"))]
    Deflate(deflate::Deflate),
    #[cfg(feature = "compression-br")]
    Brotli(Box<brotli::Brotli>),
    #[cfg(feature = "compression-zstd")]
    Zstd(zstd::Zstd),
}

/// What is asked of a codec. Input comes with `Encode` alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Encode,
    Flush,
    Finish,
}

impl Codec {
    fn new(coding: Coding, level: CompressionLevel) -> Option<Self> {
        match coding {
            #[cfg(feature = "compression-gzip")]
            Coding::Gzip => Some(Codec::Deflate(deflate::Deflate::gzip(level))),
            #[cfg(feature = "compression-deflate")]
            Coding::Deflate => Some(Codec::Deflate(deflate::Deflate::zlib(level))),
            #[cfg(feature = "compression-br")]
            Coding::Brotli => Some(Codec::Brotli(Box::new(brotli::Brotli::new(level)))),
            #[cfg(feature = "compression-zstd")]
            Coding::Zstd => Some(Codec::Zstd(zstd::Zstd::new(level))),
            _ => None,
        }
    }

    fn run(&mut self, verb: Verb, input: &[u8], output: &mut [u8]) -> io::Result<Progress> {
        match self {
            #[cfg(any(feature = "compression-deflate", feature = "compression-gzip"))]
            Codec::Deflate(codec) => codec.run(verb, input, output),
            #[cfg(feature = "compression-br")]
            Codec::Brotli(codec) => codec.run(verb, input, output),
            #[cfg(feature = "compression-zstd")]
            Codec::Zstd(codec) => codec.run(verb, input, output),
        }
    }

    fn expect(&mut self, bytes: usize, total: Option<u64>) {
        match self {
            #[cfg(feature = "compression-br")]
            Codec::Brotli(codec) => codec.expect(bytes, total),
            #[allow(unreachable_patterns, reason = "where br is the only coding")]
            _ => {
                let _ = (bytes, total);
            }
        }
    }

    fn reset(&mut self) -> io::Result<()> {
        match self {
            #[cfg(any(feature = "compression-deflate", feature = "compression-gzip"))]
            Codec::Deflate(codec) => codec.reset()?,
            #[cfg(feature = "compression-br")]
            Codec::Brotli(codec) => codec.reset(),
            #[cfg(feature = "compression-zstd")]
            Codec::Zstd(codec) => codec.reset()?,
        }
        Ok(())
    }
}

/// A codec and its output.
pub(super) struct Encoder {
    coding: Coding,
    level: CompressionLevel,
    codec: Codec,
    /// Where the codec writes; always `CHUNK_BYTES_MAX` long.
    stage: Box<[u8]>,
    /// Bytes of `stage` that are output. At most `chunk_bytes`.
    staged: usize,
    /// The size of the chunk being made.
    chunk_bytes: usize,
    /// What follows the body's data. It is kept here so that the body stays small.
    pub(super) trailers: Option<HeaderMap>,
    /// What chunks are cut from, again once they have been dropped.
    block: BytesMut,
}

impl Encoder {
    /// `None` for a coding that is none.
    pub(super) fn new(coding: Coding, level: CompressionLevel) -> Option<Self> {
        Some(Self {
            coding,
            level,
            codec: Codec::new(coding, level)?,
            stage: vec![0; CHUNK_BYTES_MAX].into(),
            staged: 0,
            chunk_bytes: CHUNK_BYTES_MIN,
            trailers: None,
            block: BytesMut::new(),
        })
    }

    pub(super) fn serves(&self, coding: Coding, level: CompressionLevel) -> bool {
        (self.coding, self.level) == (coding, level)
    }

    /// Says how much of a body is there at its beginning, before any of it is encoded, and how much it says it
    /// will be.
    pub(super) fn expect(&mut self, bytes: usize, total: Option<u64>) {
        self.codec.expect(bytes, total);
    }

    /// Takes input until it is used up or the output is full. Returns how much was taken.
    pub(super) fn encode(&mut self, input: &[u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < input.len() && !self.is_full() {
            read += self.run(Verb::Encode, &input[read..])?.read;
        }
        Ok(read)
    }

    /// Makes output of all input so far. Returns whether it is done; the output is full if not.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        self.run_to_end(Verb::Flush)
    }

    /// Ends the coded stream. Returns whether it is done; the output is full if not.
    pub(super) fn finish(&mut self) -> io::Result<bool> {
        self.run_to_end(Verb::Finish)
    }

    fn run_to_end(&mut self, verb: Verb) -> io::Result<bool> {
        while !self.is_full() {
            if self.run(verb, &[])?.is_done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn run(&mut self, verb: Verb, input: &[u8]) -> io::Result<Progress> {
        let output = &mut self.stage[self.staged..self.chunk_bytes];
        let progress = self.codec.run(verb, input, output)?;
        self.staged += progress.written;
        if progress.read == 0 && progress.written == 0 && !progress.is_done {
            // There was input or an end to make, and room: a codec that does nothing is broken.
            return Err(io::Error::other("the encoder makes no progress"));
        }
        Ok(progress)
    }

    pub(super) fn is_full(&self) -> bool {
        self.staged == self.chunk_bytes
    }

    pub(super) fn has_output(&self) -> bool {
        self.staged > 0
    }

    /// The output so far, as one chunk.
    pub(super) fn take_output(&mut self) -> Bytes {
        let output = &self.stage[..self.staged];
        if self.block.capacity() < output.len() && !self.block.try_reclaim(CHUNK_BYTES_MAX) {
            self.block = BytesMut::with_capacity(CHUNK_BYTES_MAX);
        }
        self.block.extend_from_slice(output);
        self.staged = 0;
        self.chunk_bytes = (2 * self.chunk_bytes).min(CHUNK_BYTES_MAX);
        self.block.split().freeze()
    }

    /// Forgets the body so far.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.staged = 0;
        self.chunk_bytes = CHUNK_BYTES_MIN;
        self.trailers = None;
        self.codec.reset()
    }
}
