//! How hard to try, in words that all codings understand.

/// The compression level.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, Default)]
pub enum CompressionLevel {
    /// The fastest that still compresses: gzip and deflate 1, br 0, zstd 1.
    Fastest,
    /// The smallest: gzip and deflate 9, br 11, zstd 22.
    Best,
    /// gzip and deflate 6, br 4, zstd 3.
    #[default]
    Default,
    /// The coding's own scale; brought within its bounds.
    Precise(i32),
}

#[allow(dead_code)]
impl CompressionLevel {
    /// As zlib counts: 0 to 9.
    pub(super) fn for_deflate(self) -> u32 {
        match self {
            CompressionLevel::Fastest => 1,
            CompressionLevel::Best => 9,
            CompressionLevel::Default => 6,
            CompressionLevel::Precise(level) => level.clamp(0, 9).unsigned_abs(),
        }
    }

    /// As brotli counts: 0 to 11. Its own default, 11, is far too slow to compress on the fly.
    pub(super) fn for_brotli(self) -> i32 {
        match self {
            CompressionLevel::Fastest => 0,
            CompressionLevel::Best => 11,
            CompressionLevel::Default => 4,
            CompressionLevel::Precise(level) => level.clamp(0, 11),
        }
    }

    /// As zstd counts: `lowest` (far below zero) to `best`.
    pub(super) fn for_zstd(self, lowest: i32, best: i32) -> i32 {
        match self {
            CompressionLevel::Fastest => 1,
            CompressionLevel::Best => best,
            CompressionLevel::Default => 3,
            CompressionLevel::Precise(level) => level.clamp(lowest, best),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CompressionLevel::{Best, Default, Fastest, Precise};

    #[test]
    fn levels_are_those_documented_and_stay_within_bounds() {
        let levels = [Fastest, Best, Default, Precise(-5), Precise(5), Precise(99)];
        assert_eq!(levels.map(|l| l.for_deflate()), [1, 9, 6, 0, 5, 9]);
        assert_eq!(levels.map(|l| l.for_brotli()), [0, 11, 4, 0, 5, 11]);
        assert_eq!(levels.map(|l| l.for_zstd(-7, 22)), [1, 22, 3, -5, 5, 22]);
    }
}
