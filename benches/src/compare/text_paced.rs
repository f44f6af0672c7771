//! The tables of fixed rates, and of the requests of a mix, in markdown.

use super::figures::{CaseFigures, PACED, metric_of};
use super::labels::LabelFigures;
use super::record::Record;
use super::text::{heading, line, spread};

/// Latency and CPU at each rate.
pub(super) fn push_paced(text: &mut String, record: &Record, figures: &CaseFigures) {
    if figures.paced.is_empty() {
        return;
    }
    let heads: Vec<_> = PACED.iter().map(|key| heading(metric_of(key))).collect();
    line(
        text,
        format_args!("| fixed rate | side | {} |", heads.join(" | ")),
    );
    line(
        text,
        format_args!("|---|---|{}", "---|".repeat(PACED.len())),
    );
    for paced in &figures.paced {
        for (i, subject) in record.subjects.iter().enumerate() {
            let cells = paced.shown().map(|m| {
                let spread = m.spreads.get(i).copied().flatten();
                self::spread(spread, metric_of(&m.key).digits)
            });
            let cells: Vec<_> = cells.collect();
            line(
                text,
                format_args!(
                    "| {:.0} % = {:.0}/s | {} | {} |",
                    paced.share * 100.0,
                    paced.per_second,
                    subject.label,
                    cells.join(" | ")
                ),
            );
        }
    }
    text.push('\n');
}

/// Latency of each kind of request of a mix.
pub(super) fn push_labels(text: &mut String, record: &Record, figures: &CaseFigures) {
    if figures.labels.is_empty() {
        return;
    }
    line(
        text,
        format_args!("| pace | request | side | p50 µs | p99 µs |\n|---|---|---|---|---|"),
    );
    let mut push = |pace: String, labels: &[LabelFigures]| {
        for figures in labels {
            for (i, subject) in record.subjects.iter().enumerate() {
                let cell = |of: &[_]| spread(of.get(i).copied().flatten(), 1);
                line(
                    text,
                    format_args!(
                        "| {pace} | {} | {} | {} | {} |",
                        figures.label,
                        subject.label,
                        cell(&figures.p50_us),
                        cell(&figures.p99_us)
                    ),
                );
            }
        }
    };
    push("closed loop".into(), &figures.labels);
    for paced in &figures.paced {
        push(format!("{:.0} %", paced.share * 100.0), &paced.labels);
    }
    text.push('\n');
}
