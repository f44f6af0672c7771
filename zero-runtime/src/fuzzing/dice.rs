//! Decisions out of a fuzzer's bytes: taken from the end, so that what is before stays readable text.

pub(super) struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Dice(bytes)
    }

    /// Zero once there is nothing left.
    pub(super) fn byte(&mut self) -> u8 {
        match self.0 {
            [] => 0,
            [rest @ .., last] => {
                self.0 = rest;
                *last
            }
        }
    }

    /// Less than `bound`, which is from 1 to 256.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// What no decision was made of.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }
}
