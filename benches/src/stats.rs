//! Medians, and ratios with an interval.
//!
//! Runs are taken in pairs, one of each side, one right after the other, so that whatever the machine does
//! meanwhile falls on both. The ratio of two sides is the geometric mean of the ratios of the pairs, and
//! its interval is Student's on their logarithms. One outlying pair widens the interval rather than moving
//! the verdict.

use std::f64::consts::FRAC_2_PI;

use serde::{Deserialize, Serialize};

/// A report of this many verdicts shows a difference where there is none with this probability at most.
const FALSE_ALARM: f64 = 0.05;
/// What the drawn intervals hold.
pub const SHOWN: f64 = 0.95;
/// Differences smaller than this are nobody's concern, however certain: where something lies in memory
/// makes as much.
pub const IRRELEVANT: f64 = 0.01;

/// The middle value; the mean of the two middle ones when their number is even. NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (n, middle) if n % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Fewer pairs than this allow no verdict: on a machine whose noise has two modes, a few pairs that agree
/// come by chance.
pub const PAIRS_MIN: usize = 6;

/// A median and the ends of what it is the median of.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// The spread of some values; none of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let min = values.iter().copied().reduce(f64::min)?;
        let max = values.iter().copied().reduce(f64::max)?;
        Some(Spread {
            median: median(values),
            min,
            max,
        })
    }
}

/// A ratio with its interval.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ratio {
    /// The geometric mean of the pairs' ratios.
    pub ratio: f64,
    /// Where the interval of [`SHOWN`] starts. 0 when there are too few pairs to tell.
    pub low: f64,
    /// Where it ends. Infinite, which JSON writes as null, when there are too few pairs to tell.
    #[serde(deserialize_with = "null_is_infinite")]
    pub high: f64,
    /// How likely pairs as far apart as these are when the sides are equal. 1 with too few pairs.
    pub p: f64,
    /// How many pairs there are.
    pub pairs: usize,
}

fn null_is_infinite<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::INFINITY))
}

/// What the interval lets one say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The first side is better.
    Better,
    /// The first side is worse.
    Worse,
    /// Nothing, at this noise.
    NotShown,
}

impl Ratio {
    /// The ratio of `a[i]` to `b[i]` over all pairs; none without a pair of two positive values.
    pub fn of_pairs(a: &[f64], b: &[f64]) -> Option<Self> {
        let logs = a.iter().zip(b).filter(|(a, b)| **a > 0.0 && **b > 0.0);
        let logs: Vec<f64> = logs.map(|(a, b)| (a / b).ln()).collect();
        let (mean, variance) = mean_and_variance(&logs)?;
        let n = logs.len() as f64;
        Some(Ratio::from_logs(
            mean,
            (variance / n).sqrt(),
            n - 1.0,
            logs.len(),
        ))
    }

    /// The ratio of two sides measured at different times, by Welch's method.
    pub fn of_sessions(a: &[f64], b: &[f64]) -> Option<Self> {
        let logs = |values: &[f64]| -> Vec<f64> {
            values
                .iter()
                .filter(|v| **v > 0.0)
                .map(|v| v.ln())
                .collect()
        };
        let (a, b) = (logs(a), logs(b));
        let (mean_a, variance_a) = mean_and_variance(&a)?;
        let (mean_b, variance_b) = mean_and_variance(&b)?;
        let (part_a, part_b) = (variance_a / a.len() as f64, variance_b / b.len() as f64);
        let squares =
            part_a * part_a / (a.len() as f64 - 1.0) + part_b * part_b / (b.len() as f64 - 1.0);
        let pairs = a.len().min(b.len());
        let freedom = match squares > 0.0 {
            true => ((part_a + part_b).powi(2) / squares).floor(),
            false => pairs as f64 - 1.0,
        };
        Some(Ratio::from_logs(
            mean_a - mean_b,
            (part_a + part_b).sqrt(),
            freedom,
            pairs,
        ))
    }

    fn from_logs(mean: f64, error: f64, freedom: f64, pairs: usize) -> Self {
        if pairs < 2 {
            let (low, high, p) = (0.0, f64::INFINITY, 1.0);
            return Ratio {
                ratio: mean.exp(),
                low,
                high,
                p,
                pairs,
            };
        }
        let freedom = freedom.max(1.0) as u32;
        let reach = student_quantile(SHOWN, freedom) * error;
        let p = match error > 0.0 {
            true => 1.0 - student_within(mean.abs() / error, freedom),
            false => f64::from(u8::from(mean == 0.0)),
        };
        Ratio {
            ratio: mean.exp(),
            low: (mean - reach).exp(),
            high: (mean + reach).exp(),
            p,
            pairs,
        }
    }

    /// What this says in a report of so many verdicts.
    ///
    /// The more verdicts there are, the more certain each must be, so that one of them is a false
    /// alarm in a twentieth of all reports at most.
    pub fn verdict(&self, less_is_better: bool, verdicts: usize) -> Verdict {
        let allowed = 1.0 - (1.0 - FALSE_ALARM).powf(1.0 / verdicts.max(1) as f64);
        let is_small = self.ratio.ln().abs() < IRRELEVANT;
        if self.pairs < PAIRS_MIN || self.p >= allowed || is_small {
            Verdict::NotShown
        } else if (self.ratio < 1.0) == less_is_better {
            Verdict::Better
        } else {
            Verdict::Worse
        }
    }
}

fn mean_and_variance(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((mean, squares / (n - 1.0).max(1.0)))
}

/// How likely Student's t is to lie within ±`t`, with so many degrees of freedom: the finite series of
/// Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn student_within(t: f64, freedom: u32) -> f64 {
    let theta = (t / f64::from(freedom).sqrt()).atan();
    let (sin, cos) = theta.sin_cos();
    // Terms are multiplied by cos² and a ratio of successive numbers, even or odd ones.
    let is_odd = freedom % 2 == 1;
    let mut term = if is_odd { cos } else { 1.0 };
    let mut sum = if freedom == 1 { 0.0 } else { term };
    let mut k = if is_odd { 3 } else { 2 };
    while k < freedom {
        term *= cos * cos * f64::from(k - 1) / f64::from(k);
        sum += term;
        k += 2;
    }
    match is_odd {
        true => FRAC_2_PI * (theta + sin * sum),
        false => sin * sum,
    }
}

/// The t within which Student's t lies with probability `within`.
fn student_quantile(within: f64, freedom: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_within(high, freedom) < within {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match student_within(middle, freedom) < within {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn students_table_is_met() {
        // Two-sided 95 % and 99 %, from any printed table.
        let table = [
            (1, 12.706, 63.657),
            (2, 4.303, 9.925),
            (5, 2.571, 4.032),
            (30, 2.042, 2.750),
        ];
        for (freedom, at_95, at_99) in table {
            assert!(
                (student_quantile(0.95, freedom) - at_95).abs() < 1e-3,
                "{freedom}"
            );
            assert!(
                (student_quantile(0.99, freedom) - at_99).abs() < 1e-3,
                "{freedom}"
            );
        }
    }

    #[test]
    fn a_ratio_lies_in_its_interval() {
        let ratio = Ratio::of_pairs(&[2.0, 2.2, 1.9], &[1.0, 1.0, 1.0]).expect("pairs");
        assert!(ratio.low < ratio.ratio && ratio.ratio < ratio.high);
        assert!((ratio.ratio - (2.0_f64 * 2.2 * 1.9).cbrt()).abs() < 1e-12);
        let inverse = Ratio::of_pairs(&[1.0, 1.0, 1.0], &[2.0, 2.2, 1.9]).expect("pairs");
        assert!((inverse.low * ratio.high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_pair_says_nothing_and_none_is_no_ratio() {
        let one = Ratio::of_pairs(&[2.0], &[1.0]).expect("a pair");
        assert_eq!(one.verdict(true, 1), Verdict::NotShown);
        assert_eq!(Ratio::of_pairs(&[], &[]), None);
        assert_eq!(Ratio::of_pairs(&[0.0], &[1.0]), None);
    }

    /// Welch's method by hand: with L = ln 2 the logarithms are 0, L, 2L and 0, 0, 0, L; their means L and L/4,
    /// their variances L² and L²/4, so the error's square is L² (1/3 + 1/16), at 2.76 degrees of freedom,
    /// taken as 2, whose t of 95 % is 4.302653.
    #[test]
    fn sessions_are_compared_as_welch_does() {
        let ratio = Ratio::of_sessions(&[1.0, 2.0, 4.0], &[1.0, 1.0, 1.0, 2.0]).expect("values");
        let about = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-4;
        assert!(about(ratio.ratio, 1.681793), "{ratio:?}");
        assert!(about(ratio.low, 0.257560), "{ratio:?}");
        assert!(about(ratio.high, 10.981556), "{ratio:?}");
        assert!(about(ratio.p, 0.355497), "{ratio:?}");
        assert_eq!(ratio.pairs, 3);
    }

    #[test]
    fn a_clear_difference_is_shown_and_noise_is_not() {
        let b = [1.00, 1.01, 0.99, 1.02, 1.00, 0.98, 1.01, 1.00];
        let slower: Vec<f64> = b
            .iter()
            .zip([1.04, 1.06, 1.05, 1.05, 1.06, 1.04, 1.05, 1.05])
            .map(|(b, f)| b * f)
            .collect();
        let ratio = Ratio::of_pairs(&slower, &b).expect("pairs");
        assert_eq!(ratio.verdict(true, 40), Verdict::Worse);
        assert_eq!(ratio.verdict(false, 40), Verdict::Better);
        let noise = [1.01, 0.98, 1.02, 1.00, 0.99, 1.01, 0.99, 1.01];
        let ratio = Ratio::of_pairs(&noise, &b).expect("pairs");
        assert_eq!(ratio.verdict(true, 1), Verdict::NotShown);
    }

    /// The promise itself: of reports of twenty verdicts on equal sides, few show a difference.
    #[test]
    fn equal_sides_seldom_look_different() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise = || {
            // The machine's two modes, and a little besides.
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let mode = if state >> 63 == 1 { 6.0 } else { 4.8 };
            mode * (1.0 + 0.04 * ((state >> 40) as f64 / (1 << 24) as f64 - 0.5))
        };
        let (reports, verdicts, pairs) = (400, 20, PAIRS_MIN);
        let mut alarms = 0;
        for _ in 0..reports {
            let any = (0..verdicts).any(|_| {
                let a: Vec<f64> = (0..pairs).map(|_| noise()).collect();
                let b: Vec<f64> = (0..pairs).map(|_| noise()).collect();
                Ratio::of_pairs(&a, &b)
                    .expect("pairs")
                    .verdict(true, verdicts)
                    != Verdict::NotShown
            });
            alarms += usize::from(any);
        }
        assert!(
            alarms <= reports / 15,
            "{alarms} of {reports} reports raised an alarm"
        );
    }
}
