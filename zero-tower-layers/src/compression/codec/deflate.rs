//! gzip (RFC 1952) and deflate, which in HTTP is zlib's format (RFC 1950), by flate2.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::{Progress, Verb};
use crate::compression::level::CompressionLevel;

/// The largest window there is, 32 KiB, as everybody uses.
const WINDOW_BITS: u8 = 15;

pub(super) struct Deflate {
    compress: Compress,
    /// Nothing has been encoded, or all has been ended.
    is_clean: bool,
}

impl Deflate {
    #[cfg(feature = "compression-gzip")]
    pub(super) fn gzip(level: CompressionLevel) -> Self {
        Self::new(Compress::new_gzip(scale(level), WINDOW_BITS))
    }

    #[cfg(feature = "compression-deflate")]
    pub(super) fn zlib(level: CompressionLevel) -> Self {
        Self::new(Compress::new_with_window_bits(
            scale(level),
            true,
            WINDOW_BITS,
        ))
    }

    fn new(compress: Compress) -> Self {
        Self {
            compress,
            is_clean: true,
        }
    }

    pub(super) fn run(
        &mut self,
        verb: Verb,
        input: &[u8],
        output: &mut [u8],
    ) -> io::Result<Progress> {
        let flush = match verb {
            Verb::Encode => FlushCompress::None,
            Verb::Flush => FlushCompress::Sync,
            Verb::Finish => FlushCompress::Finish,
        };
        let before = (self.compress.total_in(), self.compress.total_out());
        // Until the end is seen: an error, too, leaves something behind.
        self.is_clean = false;
        let status = self.compress.compress(input, output, flush)?;
        let read = (self.compress.total_in() - before.0) as usize;
        let written = (self.compress.total_out() - before.1) as usize;
        let is_done = match verb {
            Verb::Encode => false,
            // There was room left, so there is nothing left.
            Verb::Flush => written < output.len(),
            Verb::Finish => status == Status::StreamEnd,
        };
        self.is_clean = verb == Verb::Finish && is_done;
        Ok(Progress {
            read,
            written,
            is_done,
        })
    }

    /// Forgets the stream, if it has been ended.
    ///
    /// # Errors
    /// If it has not: zlib-rs 0.6.8 then forgets to forget, at level 1, that a block is open, and the
    /// next stream lacks its beginning.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        if !self.is_clean {
            return Err(io::Error::other("left in the middle of a stream"));
        }
        self.compress.reset();
        Ok(())
    }
}

fn scale(level: CompressionLevel) -> Compression {
    Compression::new(level.for_deflate())
}
