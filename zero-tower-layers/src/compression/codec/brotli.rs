//! br (RFC 7932), by the brotli crate.

use std::io;

use brotli::enc::BrotliEncoderParams;
use brotli::enc::encode::{
    BrotliEncoderDestroyInstance, BrotliEncoderOperation, BrotliEncoderStateStruct,
};

use super::recycler::Recycler;
use super::{Progress, Verb};
use crate::compression::level::CompressionLevel;

/// The library's own bound.
const SIZE_HINT_MAX: usize = 1 << 30;

/// Windows, as powers of two: the library's own, and the smallest that is worth choosing.
const WINDOW_LOG: i32 = 22;
const WINDOW_LOG_MIN: i32 = 16;

pub(super) struct Brotli {
    state: BrotliEncoderStateStruct<Recycler>,
    quality: i32,
}

impl Brotli {
    pub(super) fn new(level: CompressionLevel) -> Self {
        let quality = level.for_brotli();
        let state = fresh(quality, Recycler::default());
        Self { state, quality }
    }

    pub(super) fn run(
        &mut self,
        verb: Verb,
        input: &[u8],
        output: &mut [u8],
    ) -> io::Result<Progress> {
        let operation = match verb {
            Verb::Encode => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
            Verb::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            Verb::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        };
        let (mut read, mut written) = (0, 0);
        let is_fine = self.state.compress_stream(
            operation,
            &mut input.len(),
            input,
            &mut read,
            &mut output.len(),
            output,
            &mut written,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !is_fine {
            return Err(io::Error::other("brotli failed"));
        }
        let is_done = match verb {
            Verb::Encode => false,
            Verb::Flush => !self.state.has_more_output(),
            Verb::Finish => self.state.is_finished(),
        };
        Ok(Progress {
            read,
            written,
            is_done,
        })
    }

    /// Says how many bytes are there to begin with: by that the library chooses its tables when it is given
    /// them all at once. And how many there will be, if that is known: no larger window is needed, whose memory
    /// is twice its size. More may come all the same.
    pub(super) fn expect(&mut self, bytes: usize, total: Option<u64>) {
        self.state.params.size_hint = bytes.min(SIZE_HINT_MAX);
        self.state.params.lgwin = total.map_or(WINDOW_LOG, window_log);
    }

    /// The library has no reset: a new state is made, in the old one's memory.
    pub(super) fn reset(&mut self) {
        BrotliEncoderDestroyInstance(&mut self.state);
        let memory = std::mem::take(&mut self.state.m8);
        self.state = fresh(self.quality, memory);
    }
}

/// The smallest window that all of a body fits in, but for the 16 bytes that a window is short of its size.
fn window_log(total: u64) -> i32 {
    let bits = u64::BITS - total.saturating_sub(1).leading_zeros();
    (bits as i32).clamp(WINDOW_LOG_MIN, WINDOW_LOG)
}

fn fresh(quality: i32, memory: Recycler) -> BrotliEncoderStateStruct<Recycler> {
    let mut state = BrotliEncoderStateStruct::new(memory);
    state.params = BrotliEncoderParams {
        quality,
        ..BrotliEncoderParams::default()
    };
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_the_whole_body_up_to_the_librarys_own() {
        for (total, log) in [
            (0, 16),
            (1 << 16, 16),
            ((1 << 16) + 1, 17),
            (1 << 20, 20),
            (1 << 22, 22),
            (u64::MAX, 22),
        ] {
            assert_eq!(window_log(total), log, "{total}");
        }
    }
}
