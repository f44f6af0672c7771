//! The seeded source of every choice in the simulation, and the bytes derived from a seed.

/// splitmix64: small, fast, and good enough to find bugs with.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Rng(seed ^ 0x5eed_5eed_5eed_5eed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A generator whose choices do not depend on how often this one is asked later.
    pub(super) fn fork(&mut self) -> Rng {
        Rng::new(self.next())
    }

    /// Less than `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From `low` to `high`, both included.
    pub(super) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// As [`range`](Self::range), for sizes.
    pub(super) fn size(&mut self, low: usize, high: usize) -> usize {
        self.range(low as u64, high as u64) as usize
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Mostly small, sometimes large, at most `high`.
    pub(super) fn skewed(&mut self, high: usize) -> usize {
        match self.below(20) {
            0 => self.size(0, high),
            1..=4 => self.size(0, high.min(20_000)),
            5..=9 => self.size(0, high.min(2_000)),
            _ => self.size(0, high.min(120)),
        }
    }
}

/// `len` bytes that nobody mistakes for those of another seed.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A running hash (FNV-1a over words) of everything that happened; told aloud where wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    pub(super) hash: u64,
    pub(super) verbose: bool,
}

impl Trace {
    pub(super) fn new() -> Self {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            verbose: false,
        }
    }

    pub(super) fn note(&mut self, words: &[u64]) {
        for word in words {
            self.hash = (self.hash ^ word)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(5);
        }
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("{}", what());
        }
    }
}
