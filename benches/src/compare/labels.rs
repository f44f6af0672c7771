//! The requests of a mix, told apart: whether slow ones hold up fast ones is in no figure of them all.

use serde::{Deserialize, Serialize};

use super::record::Run;
use crate::load::LatencySummary;
use crate::stats::Spread;

/// The latency of one kind of request among others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LabelFigures {
    /// What kind.
    pub label: String,
    /// Its median, of each subject; none without a good run.
    pub p50_us: Vec<Option<Spread>>,
    /// Its 99th percentile, in the same way.
    pub p99_us: Vec<Option<Spread>>,
}

/// The figures of each kind of request, in the order of the plan; none when there is one kind only.
pub(super) fn of(runs: &[Vec<Run>]) -> Vec<LabelFigures> {
    let is_good = |run: &&Run| run.problem.is_none();
    let good = runs
        .iter()
        .map(|runs| runs.iter().filter(is_good).collect());
    let good: Vec<Vec<&Run>> = good.collect();
    let Some(first) = good.iter().flatten().next() else {
        return Vec::new();
    };
    let figures = first.outcome.by_label.iter().enumerate();
    let figures = figures.map(|(nth, (label, _))| {
        let spreads = |of: fn(&LatencySummary) -> f64| {
            let spread = |runs: &Vec<&Run>| {
                let kinds = runs.iter().filter_map(|run| run.outcome.by_label.get(nth));
                let asked = kinds.filter(|(found, kind)| found == label && kind.count > 0);
                Spread::of(&asked.map(|(_, kind)| of(kind)).collect::<Vec<_>>())
            };
            good.iter().map(spread).collect()
        };
        LabelFigures {
            label: label.clone(),
            p50_us: spreads(|kind| kind.p50_us),
            p99_us: spreads(|kind| kind.p99_us),
        }
    });
    figures.collect()
}
