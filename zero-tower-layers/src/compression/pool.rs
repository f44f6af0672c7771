//! The encoders a thread keeps between responses.
//!
//! Knows which encoder serves which coding and level; knows no body. An encoder is taken on the thread
//! that answers and given back on the thread that drops the body; both may be any.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::codec::Encoder;
use super::level::CompressionLevel;
use super::policy::Coding;

/// Encoders a thread keeps that are not in use. The one longest unused makes room.
const IDLE_MAX: usize = 4;

thread_local! {
    #[expect(clippy::vec_box, reason = "a lease is to be small, for it moves with its body")]
    static IDLE: RefCell<Vec<Box<Encoder>>> = const { RefCell::new(Vec::new()) };
}

/// An encoder, fit for a new body, until it is dropped.
pub(super) struct Lease {
    /// There until dropped.
    encoder: Option<Box<Encoder>>,
    is_kept: bool,
}

impl Lease {
    /// `None` for a coding that is none.
    pub(super) fn take(coding: Coding, level: CompressionLevel) -> Option<Self> {
        let idle = take_idle(coding, level);
        let encoder = idle.or_else(|| Encoder::new(coding, level).map(Box::new))?;
        Some(Lease {
            encoder: Some(encoder),
            is_kept: true,
        })
    }

    /// As [`take`](Self::take), of an encoder that serves one body only.
    pub(super) fn fresh(coding: Coding, level: CompressionLevel) -> Option<Self> {
        let encoder = Encoder::new(coding, level).map(Box::new)?;
        Some(Lease {
            encoder: Some(encoder),
            is_kept: false,
        })
    }
}

fn take_idle(coding: Coding, level: CompressionLevel) -> Option<Box<Encoder>> {
    let taken = IDLE.try_with(|idle| {
        let mut idle = idle.borrow_mut();
        let at = idle
            .iter()
            .rposition(|encoder| encoder.serves(coding, level))?;
        Some(idle.remove(at))
    });
    // There is no pool any more while the thread ends.
    taken.ok().flatten()
}

impl Drop for Lease {
    fn drop(&mut self) {
        let encoder = self.encoder.take().filter(|_| self.is_kept);
        let Some(encoder) = encoder.and_then(reset) else {
            return;
        };
        // As above: at the thread's end the encoder is dropped with it.
        let _ = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() == IDLE_MAX {
                idle.remove(0);
            }
            idle.push(encoder);
        });
    }
}

/// One that cannot be reset is not kept.
fn reset(mut encoder: Box<Encoder>) -> Option<Box<Encoder>> {
    encoder.reset().is_ok().then_some(encoder)
}

impl Deref for Lease {
    type Target = Encoder;

    fn deref(&self) -> &Encoder {
        self.encoder.as_deref().expect("there until dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Encoder {
        self.encoder.as_deref_mut().expect("there until dropped")
    }
}

#[cfg(all(test, feature = "compression-gzip"))]
mod tests {
    use super::*;

    fn idle() -> usize {
        IDLE.with(|idle| idle.borrow().len())
    }

    fn lease(level: i32) -> Lease {
        Lease::take(Coding::Gzip, CompressionLevel::Precise(level)).unwrap()
    }

    #[test]
    fn encoders_are_reused_by_coding_and_level_and_their_number_is_bounded() {
        let (first, second) = (lease(1), lease(2));
        drop((first, second));
        assert_eq!(idle(), 2);
        let again = lease(1);
        assert_eq!(idle(), 1);
        let other = lease(3);
        assert_eq!(idle(), 1);
        drop((again, other));
        drop((4..10).map(lease).collect::<Vec<_>>());
        assert_eq!(idle(), IDLE_MAX);
    }

    #[test]
    fn a_fresh_encoder_is_not_kept() {
        drop(Lease::fresh(Coding::Gzip, CompressionLevel::Best));
        assert_eq!(idle(), 0);
    }

    #[test]
    fn there_is_no_encoder_for_identity() {
        assert!(Lease::take(Coding::Identity, CompressionLevel::Best).is_none());
    }
}
