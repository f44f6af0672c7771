//! zstd (RFC 8878), by the reference library.

use std::io;

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer};

use super::{Progress, Verb};
use crate::compression::level::CompressionLevel;

/// The first level whose window is 8 MiB, the most that RFC 9659 lets a response ask of its reader.
const WINDOW_LIMIT_FROM: i32 = 17;
const WINDOW_LOG_MAX: u32 = 23;

pub(super) struct Zstd(Encoder<'static>);

impl Zstd {
    /// # Panics
    /// If there is no memory for the library's state.
    pub(super) fn new(level: CompressionLevel) -> Self {
        let levels = zstd::compression_level_range();
        let level = level.for_zstd(*levels.start(), *levels.end());
        let mut encoder = Encoder::new(level).expect("memory for a zstd encoder");
        if level >= WINDOW_LIMIT_FROM {
            let limit = CParameter::WindowLog(WINDOW_LOG_MAX);
            encoder.set_parameter(limit).expect("a window zstd has");
        }
        Self(encoder)
    }

    pub(super) fn run(
        &mut self,
        verb: Verb,
        input: &[u8],
        output: &mut [u8],
    ) -> io::Result<Progress> {
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let left = match verb {
            Verb::Encode => self.0.run(&mut input, &mut output)?,
            Verb::Flush => self.0.flush(&mut output)?,
            Verb::Finish => self.0.finish(&mut output, true)?,
        };
        Ok(Progress {
            read: input.pos(),
            written: output.pos(),
            is_done: verb != Verb::Encode && left == 0,
        })
    }

    pub(super) fn reset(&mut self) -> io::Result<()> {
        self.0.reinit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The window that a frame asks of its reader, as a power of two: RFC 8878 §3.1.1.1.2.
    fn window_log(frame: &[u8]) -> u32 {
        assert_eq!(frame[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        let is_single_segment = frame[4] & 0x20 != 0;
        assert!(!is_single_segment, "it would have no window of its own");
        10 + u32::from(frame[5] >> 3)
    }

    #[test]
    fn no_level_asks_for_more_than_8_mib_of_window() {
        // The library's own is 2 MiB at 5, and 32 MiB at 20.
        for (level, log) in [(5, 21), (20, 23)] {
            let mut encoder = Zstd::new(CompressionLevel::Precise(level));
            let mut frame = [0; 256];
            let begun = encoder.run(Verb::Encode, b"text", &mut frame).unwrap();
            let rest = &mut frame[begun.written..];
            assert!(encoder.run(Verb::Finish, b"", rest).unwrap().is_done);
            assert_eq!(window_log(&frame), log, "level {level}");
        }
    }
}
