//! What becomes of a peer that has let its time pass: the same, whoever has the clock. Reads none.

use crate::config::Conformance;

/// What a peer has not done in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overdue {
    /// Said anything, since the last answer.
    NextRequest,
    /// Sent a whole head.
    Head {
        /// It has sent a part of it.
        has_begun: bool,
    },
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Late {
    /// Nothing yet: it still reads answers, and the write side has a deadline of its own.
    StillReads,
    /// It is told, by 408, and closed.
    Refused,
    /// It is closed without a word.
    Cut,
}

impl Overdue {
    /// Whoever has sent a part of a head is told so; whoever has not sent a byte may have opened the connection
    /// in advance, and would take the answer for its first request's.
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9
    //# The 408 (Request Timeout) status code indicates that the server did
    //# not receive a complete request message within the time that it was
    //# prepared to wait.
    pub fn consequence(self, unsent_bytes: usize, conformance: Conformance) -> Late {
        let is_told = Overdue::Head { has_begun: true };
        match (self, conformance) {
            _ if unsent_bytes > 0 => Late::StillReads,
            (overdue, Conformance::Strict) if overdue == is_told => Late::Refused,
            _ => Late::Cut,
        }
    }
}

/// Whether `bytes` of a body in `span_ns` are fewer than `rate_min` a second.
pub fn is_too_slow(bytes: u64, rate_min: u32, span_ns: u64) -> bool {
    let least_bytes = u128::from(rate_min) * u128::from(span_ns) / 1_000_000_000;
    u128::from(bytes) < least_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_begun_is_told_and_nobody_who_still_reads() {
        let begun = Overdue::Head { has_begun: true };
        let silent = Overdue::Head { has_begun: false };
        for overdue in [begun, silent, Overdue::NextRequest] {
            let told = match overdue == begun {
                true => Late::Refused,
                false => Late::Cut,
            };
            assert_eq!(overdue.consequence(0, Conformance::Strict), told);
            assert_eq!(overdue.consequence(0, Conformance::Hyper), Late::Cut);
            assert_eq!(
                overdue.consequence(1, Conformance::Strict),
                Late::StillReads
            );
        }
    }

    #[test]
    fn a_rate_is_of_bytes_a_second() {
        assert!(is_too_slow(499, 1000, 500_000_000));
        assert!(!is_too_slow(500, 1000, 500_000_000));
        assert!(!is_too_slow(0, 0, u64::MAX));
        assert!(!is_too_slow(u64::MAX, u32::MAX, u64::MAX / 8));
    }
}
