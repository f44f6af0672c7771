//! The `date` line of responses. Owns its text; is told the time, never asks for it.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

/// The last second that an HTTP date can express: the end of the year 9999.
const UNIX_S_MAX: u64 = 253_402_300_799;

const NAME: &[u8] = b"date: ";
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_BYTES: usize = 29;
const LINE_BYTES: usize = NAME.len() + DATE_BYTES + 2;

/// The current date, formatted once a second for all responses of a shard.
#[derive(Debug, Clone)]
pub struct DateCache {
    unix_s: u64,
    /// The line, and behind it the empty line that ends a head.
    text: [u8; LINE_BYTES + 2],
}

impl DateCache {
    /// Makes a cache that holds the epoch.
    pub fn new() -> Self {
        let mut cache = DateCache {
            unix_s: 0,
            text: [b'\n'; LINE_BYTES + 2],
        };
        cache.text[..NAME.len()].copy_from_slice(NAME);
        cache.text[LINE_BYTES - 2..].copy_from_slice(b"\r\n\r\n");
        cache.format(0);
        cache
    }

    /// Sets the date; formats only when the second has changed.
    #[inline]
    pub fn update(&mut self, unix_s: u64) {
        if unix_s != self.unix_s {
            self.format(unix_s);
        }
    }

    /// `date: `, the date, the end of the line, and the empty line that ends a head.
    #[inline]
    pub fn last_line(&self) -> &[u8; LINE_BYTES + 2] {
        &self.text
    }

    #[cold]
    fn format(&mut self, unix_s: u64) {
        self.unix_s = unix_s;
        let time = UNIX_EPOCH + Duration::from_secs(unix_s.min(UNIX_S_MAX));
        let mut value = &mut self.text[NAME.len()..NAME.len() + DATE_BYTES];
        write!(value, "{}", HttpDate::from(time)).expect("a date has 29 bytes");
        debug_assert!(value.is_empty(), "a date has 29 bytes");
    }
}

impl Default for DateCache {
    fn default() -> Self {
        DateCache::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_follows_the_second_it_is_told() {
        let mut cache = DateCache::new();
        assert_eq!(
            cache.last_line(),
            b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
        );
        cache.update(784_111_777);
        assert_eq!(
            cache.last_line(),
            b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        );
    }

    #[test]
    fn a_clock_gone_mad_stays_in_the_calendar() {
        let mut cache = DateCache::new();
        cache.update(u64::MAX);
        assert_eq!(
            cache.last_line(),
            b"date: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n"
        );
    }
}
