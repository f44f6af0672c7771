//! Short byte strings as machine words, to be compared or hashed at once. Knows bytes, nothing else.

/// Up to eight bytes as a word; among strings of one length the same word only for the same bytes.
#[inline]
pub(crate) fn short_word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}
