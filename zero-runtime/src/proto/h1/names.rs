//! Header names seen before, so that a custom one costs no allocation. Owns a bounded table of names;
//! knows nothing of heads.

use http::header::{self, HeaderName};

use super::ParseError;
use super::known::{self, Known};
use crate::words::short_word;

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
    slots: Box<[Slot; SLOTS]>,
    /// The last name that was too long for a slot.
    long: HeaderName,
}

/// Within one line of the cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Slot {
    spelling: Spelling,
    name: HeaderName,
    known: &'static Known,
}

impl NameTable {
    /// Makes a table without custom names.
    pub fn new() -> Self {
        let name = header::HOST;
        let spelling = Spelling::of(name.as_str().as_bytes());
        let slot = Slot {
            spelling,
            name,
            known: &known::NOTHING,
        };
        let slots = vec![slot; SLOTS].into_boxed_slice();
        NameTable {
            slots: slots.try_into().expect("there are so many"),
            long: header::HOST,
        }
    }

    /// The name that `raw` spells in any case, and what is known of it.
    #[inline(always)]
    pub(super) fn get(&mut self, raw: &[u8]) -> Result<(&HeaderName, &'static Known), ParseError> {
        if raw.len() > NAME_BYTES_MAX {
            self.long = HeaderName::from_bytes(raw).map_err(|_| ParseError::Header)?;
            return Ok((&self.long, &known::NOTHING));
        }
        let spelling = Spelling::of(raw);
        let slot = &mut self.slots[spelling.slot()];
        if slot.spelling == spelling && is_same_middle(&slot.name, raw) {
            return Ok((&slot.name, slot.known));
        }
        take_place(slot, spelling, raw)?;
        Ok((&slot.name, slot.known))
    }
}

impl Default for NameTable {
    fn default() -> Self {
        NameTable::new()
    }
}

#[cold]
fn take_place(slot: &mut Slot, spelling: Spelling, raw: &[u8]) -> Result<(), ParseError> {
    let name = HeaderName::from_bytes(raw).map_err(|_| ParseError::Header)?;
    let known = Known::of(&name);
    *slot = Slot {
        spelling,
        // A known name is counted by nobody.
        name: match known.name == name {
            true => known.name.clone(),
            false => name,
        },
        known,
    };
    Ok(())
}

/// A name's length, its first and its last eight bytes, in lower case: all of a short name, and with
/// [`is_same_middle`] all of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spelling {
    first: u64,
    last: u64,
    bytes: usize,
}

impl Spelling {
    #[inline]
    fn of(raw: &[u8]) -> Self {
        let (first, last) = match (raw.first_chunk::<8>(), raw.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (short_word(raw), 0),
        };
        Spelling {
            first: to_lower_case(first),
            last: to_lower_case(last),
            bytes: raw.len(),
        }
    }

    /// A multiplicative hash. Names that share it push each other out, no more.
    #[inline]
    fn slot(self) -> usize {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = self.first ^ self.last.rotate_left(29) ^ self.bytes as u64;
        (mixed.wrapping_mul(FACTOR) >> (u64::BITS - SLOT_BITS)) as usize
    }
}

/// Whether the bytes that a [`Spelling`] leaves out are the same; the lengths are.
#[inline]
fn is_same_middle(name: &HeaderName, raw: &[u8]) -> bool {
    if raw.len() <= 16 {
        return true;
    }
    let middle = 8..raw.len() - 8;
    name.as_str().as_bytes()[middle.clone()].eq_ignore_ascii_case(&raw[middle])
}

/// Maps `A` to `Z` to lower case in a word, and every other byte to itself.
#[inline]
fn to_lower_case(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // No sum exceeds a byte: none carries into the next.
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
                let (name, _) = names.get(raw.as_bytes()).unwrap();
                assert_eq!(name, HeaderName::from_bytes(raw.as_bytes()).unwrap());
                assert_eq!(name.as_str(), raw.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn a_name_in_the_table_is_shared() {
        let mut names = NameTable::new();
        let first = names.get(b"x-shared-name").unwrap().0.clone();
        let (again, _) = names.get(b"X-Shared-Name").unwrap();
        assert_eq!(first.as_str().as_ptr(), again.as_str().as_ptr());
    }

    #[test]
    fn names_that_share_a_slot_are_told_apart() {
        let mut names = NameTable::new();
        for round in 0..3 {
            for number in 0..4 * SLOTS {
                let raw = format!("X-{number}-{round}");
                let (name, _) = names.get(raw.as_bytes()).unwrap();
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
                let made = names.get(&raw).ok().map(|(name, _)| name.clone());
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
        assert_eq!(names.get(&long).unwrap().0.as_str().len(), long.len());
        for malformed in [&b""[..], b"a b"] {
            assert_eq!(names.get(malformed).err(), Some(ParseError::Header));
        }
    }
}
