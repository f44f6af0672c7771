//! What a comparison is expected to show: so that a check of the instrument itself is one command.

use std::str::FromStr;

use super::figures::{Figures, HEADLINE};
use super::record::Record;
use crate::stats::Verdict;

/// What must come out of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// No verdict but "no difference shown", in any row.
    Same,
    /// The first side takes more CPU per request than each other one, in every row.
    Slower,
    /// The first side takes less CPU per request than each other one, in every row.
    Faster,
}

impl FromStr for Expected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "same" => Ok(Expected::Same),
            "slower" => Ok(Expected::Slower),
            "faster" => Ok(Expected::Faster),
            other => Err(format!("same, slower or faster is expected, not {other:?}")),
        }
    }
}

impl Expected {
    /// The verdicts that are none of what is expected, a line each; empty if all is as it should be.
    pub fn disappointments(self, record: &Record, figures: &Figures) -> Vec<String> {
        let mut lines = Vec::new();
        for row in &figures.cases {
            for metric in &row.closed {
                let others = record.subjects.iter().skip(1).zip(&metric.verdicts);
                for ((other, verdict), ratio) in others.zip(&metric.ratios) {
                    if self.is_met(&metric.key, *verdict) {
                        continue;
                    }
                    let (name, key, side) = (&row.name, &metric.key, &other.label);
                    let said = ratio.as_ref().map_or_else(
                        || "nothing was measured".into(),
                        |r| format!("{:.3} [{:.3}-{:.3}], {verdict:?}", r.ratio, r.low, r.high),
                    );
                    lines.push(format!("{name}, {key}, against {side}: {said}"));
                }
            }
        }
        lines
    }

    fn is_met(self, key: &str, verdict: Verdict) -> bool {
        match self {
            Expected::Same => verdict == Verdict::NotShown,
            Expected::Slower => key != HEADLINE || verdict == Verdict::Worse,
            Expected::Faster => key != HEADLINE || verdict == Verdict::Better,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sides_have_no_verdict_at_all() {
        for key in ["per_second", HEADLINE] {
            assert!(Expected::Same.is_met(key, Verdict::NotShown));
            assert!(!Expected::Same.is_met(key, Verdict::Better));
            assert!(!Expected::Same.is_met(key, Verdict::Worse));
        }
    }

    #[test]
    fn a_slower_side_is_judged_by_its_cpu() {
        assert!(Expected::Slower.is_met(HEADLINE, Verdict::Worse));
        assert!(!Expected::Slower.is_met(HEADLINE, Verdict::NotShown));
        assert!(!Expected::Slower.is_met(HEADLINE, Verdict::Better));
        assert!(Expected::Slower.is_met("p50_us", Verdict::NotShown));
        assert!(Expected::Faster.is_met(HEADLINE, Verdict::Better));
        assert!(!Expected::Faster.is_met(HEADLINE, Verdict::NotShown));
    }
}
