//! Finds the first byte that is not of a class, sixteen bytes at a look. Knows bytes, nothing else.
//!
//! With SSE2, which every x86-64 has; elsewhere one byte after the other, with the same result.
#![allow(unsafe_code)]

/// So many bytes are looked at together.
pub(super) const BLOCK_BYTES: usize = 16;

/// The bytes in any of `ranges`, whose ends belong to them; and the letters in either case, if
/// `has_letters`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Class {
    pub(super) has_letters: bool,
    pub(super) ranges: [(u8, u8); 3],
}

/// Where in `input`, from `at` on, the first byte lies that is not of `class`. `None` if there is none,
/// and of an input shorter than [`BLOCK_BYTES`].
#[inline]
pub(super) fn find_stop(class: Class, input: &[u8], mut at: usize) -> Option<usize> {
    while let Some(block) = input.get(at..)?.first_chunk() {
        let stops = stops(class, block);
        if stops != 0 {
            return Some(at + stops.trailing_zeros() as usize);
        }
        at += BLOCK_BYTES;
    }
    // The last block overlaps what has been looked at: that is shifted out.
    let seen = BLOCK_BYTES - (input.len() - at);
    let stops = stops(class, input.last_chunk()?) >> seen;
    (stops != 0).then(|| at + stops.trailing_zeros() as usize)
}

/// A bit for each byte of `block` that is not of `class`, the first byte's the lowest.
#[inline]
fn stops(class: Class, block: &[u8; BLOCK_BYTES]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of x86-64.
    return unsafe { sse2::stops(class, block) };
    #[cfg(not(target_arch = "x86_64"))]
    return bytewise_stops(class, block);
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn bytewise_stops(class: Class, block: &[u8; BLOCK_BYTES]) -> u32 {
    let is_stop = |byte: u8| {
        let is_letter = class.has_letters && byte.is_ascii_alphabetic();
        let mut ranges = class.ranges.iter();
        !is_letter && !ranges.any(|&(first, last)| (first..=last).contains(&byte))
    };
    let bits = (0..BLOCK_BYTES).map(|at| u32::from(is_stop(block[at])) << at);
    bits.sum()
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    use super::{BLOCK_BYTES, Class};

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn stops(class: Class, block: &[u8; BLOCK_BYTES]) -> u32 {
        let word = u128::from_le_bytes(*block);
        let bytes = _mm_set_epi64x((word >> 64) as i64, word as i64);
        let [one, two, three] = class.ranges;
        let mut members = _mm_or_si128(within(bytes, one), within(bytes, two));
        members = _mm_or_si128(members, within(bytes, three));
        if class.has_letters {
            // The bit tells cases apart, and makes a letter of nothing else.
            let lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
            members = _mm_or_si128(members, within(lower, (b'a', b'z')));
        }
        !(_mm_movemask_epi8(members) as u32) & 0xffff
    }

    /// All bits of each byte that is in the range: what lies below it wraps to above.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn within(bytes: __m128i, (first, last): (u8, u8)) -> __m128i {
        let from_first = _mm_sub_epi8(bytes, _mm_set1_epi8(first as i8));
        let width = _mm_set1_epi8((last - first) as i8);
        _mm_cmpeq_epi8(_mm_min_epu8(from_first, width), from_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Class = Class {
        has_letters: true,
        ranges: [(b'0', b'9'), (b'-', b'.'), (b'_', b'_')],
    };
    const HIGH: Class = Class {
        has_letters: false,
        ranges: [(0x80, 0xff), (0, 0), (0, 0)],
    };

    fn is_member(class: Class, byte: u8) -> bool {
        match class.has_letters {
            true => byte.is_ascii_alphanumeric() || b"-._".contains(&byte),
            false => byte >= 0x80 || byte == 0,
        }
    }

    #[test]
    fn every_byte_at_every_place_is_told_apart() {
        for class in [WORDS, HIGH] {
            let member = if class.has_letters { b'a' } else { 0x80 };
            for at in 0..BLOCK_BYTES {
                for byte in 0..=255 {
                    let mut block = [member; BLOCK_BYTES];
                    block[at] = byte;
                    let expected = u32::from(!is_member(class, byte)) << at;
                    assert_eq!(stops(class, &block), expected, "{byte} at {at}");
                    assert_eq!(bytewise_stops(class, &block), expected, "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn the_first_stop_is_found_from_any_place_on() {
        for len in 0..70 {
            for stop in 0..=len {
                let mut input = vec![b'a'; len];
                // Two of them: the first counts.
                input[stop..]
                    .iter_mut()
                    .step_by(3)
                    .for_each(|byte| *byte = b':');
                for at in 0..=len {
                    let expected = (at..len).find(|&at| input[at] == b':');
                    let found = find_stop(WORDS, &input, at);
                    match len {
                        0..BLOCK_BYTES => assert_eq!(found, None),
                        _ => assert_eq!(found, expected, "{stop} of {len} from {at}"),
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_found_behind_the_end() {
        assert_eq!(find_stop(WORDS, &[b':'; 20], 20), None);
        assert_eq!(find_stop(WORDS, &[b':'; 20], 21), None);
    }
}
