//! Header names seen before, so that a custom one costs no allocation. Owns a bounded table of names;
//! knows nothing of heads.

use http::HeaderName;

use super::ParseError;

/// A power of two: the hash's top bits are an index.
const SLOTS: usize = 256;
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

/// Longer names are made anew each time.
const NAME_BYTES_MAX: usize = 64;

/// A lossy table of header names, one per slot: a name that misses takes the place of the one there.
///
/// A peer that invents names pushes others out, which costs what it would cost without a table.
#[derive(Debug)]
pub struct NameTable {
    slots: Box<[Option<HeaderName>]>,
}

impl NameTable {
    /// Makes an empty table.
    pub fn new() -> Self {
        NameTable {
            slots: vec![None; SLOTS].into_boxed_slice(),
        }
    }

    /// The name that `raw` spells in any case.
    #[inline]
    pub(super) fn get(&mut self, raw: &[u8]) -> Result<HeaderName, ParseError> {
        if raw.len() > NAME_BYTES_MAX {
            return HeaderName::from_bytes(raw).map_err(|_| ParseError::Header);
        }
        let slot = &mut self.slots[slot_of(raw)];
        match slot {
            Some(name) if is_spelled(name.as_str().as_bytes(), raw) => Ok(name.clone()),
            _ => take_place(slot, raw),
        }
    }
}

impl Default for NameTable {
    fn default() -> Self {
        NameTable::new()
    }
}

#[cold]
fn take_place(slot: &mut Option<HeaderName>, raw: &[u8]) -> Result<HeaderName, ParseError> {
    let name = HeaderName::from_bytes(raw).map_err(|_| ParseError::Header)?;
    *slot = Some(name.clone());
    Ok(name)
}

/// Whether `raw` is `name`, which is in lower case, but for its case.
#[inline]
fn is_spelled(name: &[u8], raw: &[u8]) -> bool {
    name.len() == raw.len()
        && words(name)
            .zip(words(raw))
            .all(|(name, raw)| name == to_lower_case(raw))
}

/// A multiplicative hash over the name in lower case.
#[inline]
fn slot_of(raw: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let hash = words(raw).fold(raw.len() as u64, |hash, word| {
        (hash.rotate_left(23) ^ to_lower_case(word)).wrapping_mul(FACTOR)
    });
    (hash >> (u64::BITS - SLOT_BITS)) as usize
}

/// The bytes as words: whole ones, and one that overlaps where the length is no multiple of eight.
#[inline]
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let last = match (rest.len(), bytes.last_chunk::<8>()) {
        (0, _) => None,
        (_, Some(last)) => Some(u64::from_le_bytes(*last)),
        (_, None) => Some(short_word(bytes)),
    };
    whole
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .chain(last)
}

/// One to seven bytes as a word; the same word only for the same bytes of the same length.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Maps `A` to `Z` in a word of ASCII bytes to lower case, and every other byte to itself.
#[inline]
fn to_lower_case(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let low = word & !HIGH;
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let past_z = low + (0x7f - b'Z' as u64) * ONES;
    let is_upper = !word & from_a & !past_z & HIGH;
    word | is_upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_in_any_case() {
        let mut names = NameTable::new();
        for raw in [
            "Host",
            "hOsT",
            "X-Request-Id",
            "x-request-id",
            "TE",
            "A",
            "Sec-WebSocket-Key",
        ] {
            for _ in 0..2 {
                let name = names.get(raw.as_bytes()).unwrap();
                assert_eq!(name, HeaderName::from_bytes(raw.as_bytes()).unwrap());
                assert_eq!(name.as_str(), raw.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn a_name_in_the_table_is_shared() {
        let mut names = NameTable::new();
        let first = names.get(b"x-shared-name").unwrap();
        let again = names.get(b"X-Shared-Name").unwrap();
        assert_eq!(first.as_str().as_ptr(), again.as_str().as_ptr());
    }

    #[test]
    fn names_that_share_a_slot_are_told_apart() {
        let mut names = NameTable::new();
        for round in 0..3 {
            for number in 0..4 * SLOTS {
                let raw = format!("X-{number}-{round}");
                let name = names.get(raw.as_bytes()).unwrap();
                assert_eq!(name.as_str(), raw.to_ascii_lowercase());
            }
        }
    }

    /// `^` and `~` differ by the bit that tells cases apart, and both may be in a name.
    #[test]
    fn only_letters_have_a_case() {
        let mut names = NameTable::new();
        for len in 1..=17 {
            for byte in 0..=255u8 {
                let mut raw = vec![b'a'; len];
                raw[len / 2] = byte;
                let made = names.get(&raw).ok();
                assert_eq!(made, HeaderName::from_bytes(&raw).ok(), "{raw:?}");
                let word = u64::from_ne_bytes([byte; 8]);
                assert_eq!(
                    to_lower_case(word).to_ne_bytes(),
                    [byte.to_ascii_lowercase(); 8]
                );
            }
        }
    }

    #[test]
    fn long_and_malformed_names_are_left_to_http() {
        let mut names = NameTable::new();
        let long = vec![b'L'; NAME_BYTES_MAX + 1];
        assert_eq!(names.get(&long).unwrap().as_str().len(), long.len());
        assert_eq!(names.get(b""), Err(ParseError::Header));
        assert_eq!(names.get(b"a b"), Err(ParseError::Header));
    }
}
