//! The figures as GitHub markdown, for a terminal and for pasting.

use std::fmt::Write as _;

use super::against;
use super::figures::{CaseFigures, Figures, METRICS, Metric, MetricFigures};
use super::record::{CaseRecord, Record};
use super::text_paced::{push_labels, push_paced};
use crate::stats::{PAIRS_MIN, Ratio, Spread, Verdict};

/// Every case's table and the table of verdicts.
pub fn report(record: &Record, figures: &Figures) -> String {
    let mut text = format!(
        "{}; {} runs of {} s, {}; {}; commit {}\n\n",
        record.machine,
        record.settings.runs,
        record.settings.seconds,
        record.settings.pinning,
        record.settings.build,
        record.commit.as_deref().unwrap_or("unknown")
    );
    push_sides(&mut text, record);
    if let Some(names) = record.about_names() {
        line(&mut text, format_args!("{names}\n"));
    }
    for (case, figures) in record.cases.iter().zip(&figures.cases) {
        push_case(&mut text, record, case, figures);
    }
    push_verdicts(&mut text, record, figures);
    if let Some(against) = &figures.against {
        against::push(&mut text, record, against);
    }
    for note in &record.notes {
        line(&mut text, format_args!("- {note}"));
    }
    text
}

pub(super) fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("writing to a String cannot fail");
}

/// What the sides are, and what they take without load.
fn push_sides(text: &mut String, record: &Record) {
    text.push_str(
        "| side | what | program MiB | idle connection B | idle WebSocket B |\n|---|---|---|---|---|\n",
    );
    let cell = |value: Option<f64>, digits: usize| {
        value.map_or("–".into(), |value| format!("{value:.digits$}"))
    };
    for subject in &record.subjects {
        let program = subject.program_bytes.map(|n| n as f64 / f64::from(1 << 20));
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} |",
                subject.label,
                subject.about,
                cell(program, 1),
                cell(subject.idle_connection_bytes, 0),
                cell(subject.idle_websocket_bytes, 0)
            ),
        );
    }
    text.push('\n');
}

fn push_case(text: &mut String, record: &Record, case: &CaseRecord, figures: &CaseFigures) {
    line(text, format_args!("### {}\n", case.title));
    for (label, why) in &case.left_out {
        line(text, format_args!("{label} is left out: {why}\n"));
    }
    let heads: Vec<_> = METRICS.iter().map(heading).collect();
    line(
        text,
        format_args!("| side | runs | bad | {} |", heads.join(" | ")),
    );
    line(
        text,
        format_args!("|---|---|---|{}", "---|".repeat(METRICS.len())),
    );
    for (i, subject) in record.subjects.iter().enumerate() {
        let runs = &case.closed[i];
        if runs.is_empty() {
            continue;
        }
        let bad = runs.iter().filter(|run| run.problem.is_some()).count();
        let cells = METRICS.iter().zip(&figures.closed);
        let cells: Vec<_> = cells.map(|(m, f)| spread(f.spreads[i], m.digits)).collect();
        let good = runs.len() - bad;
        line(
            text,
            format_args!(
                "| {} | {good} | {bad} | {} |",
                subject.label,
                cells.join(" | ")
            ),
        );
    }
    for (i, subject) in record.subjects.iter().skip(1).enumerate() {
        let cells: Vec<_> = figures
            .closed
            .iter()
            .map(|f| ratio(f.ratios.get(i)))
            .collect();
        if cells.iter().any(|cell| cell != "–") {
            let (a, b) = (&record.subjects[0].label, &subject.label);
            line(
                text,
                format_args!("| **{a} / {b}** | | | {} |", cells.join(" | ")),
            );
        }
    }
    text.push('\n');
    push_counts(text, record, case);
    push_paced(text, record, figures);
    push_labels(text, record, figures);
}

pub(crate) fn heading(metric: &Metric) -> String {
    match metric.unit {
        "" | "1/s" => metric.title.into(),
        unit => format!("{} {unit}", metric.title),
    }
}

fn push_counts(text: &mut String, record: &Record, case: &CaseRecord) {
    if case
        .counts
        .iter()
        .all(|counts| *counts == Default::default())
    {
        return;
    }
    line(
        text,
        format_args!(
            "| per request | allocations | bytes allocated | system calls | instructions |"
        ),
    );
    line(text, format_args!("|---|---|---|---|---|"));
    for (subject, counts) in record.subjects.iter().zip(&case.counts) {
        let cell = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:.digits$}"),
            None => "–".into(),
        };
        line(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} |",
                subject.label,
                cell(counts.allocations, 2),
                cell(counts.allocated_bytes, 0),
                cell(counts.syscalls, 2),
                cell(counts.instructions, 0)
            ),
        );
    }
    text.push('\n');
}

fn push_verdicts(text: &mut String, record: &Record, figures: &Figures) {
    let judged: Vec<_> = METRICS.iter().filter(|metric| metric.is_judged).collect();
    let heads: Vec<_> = judged.iter().map(|metric| metric.title).collect();
    for (i, other) in record.subjects.iter().skip(1).enumerate() {
        let (a, b) = (&record.subjects[0].label, &other.label);
        line(
            text,
            format_args!("### {a} / {b}: ratio [95 % interval], verdict\n"),
        );
        line(text, format_args!("| scenario | {} |", heads.join(" | ")));
        line(text, format_args!("|---|{}", "---|".repeat(heads.len())));
        for case in &figures.cases {
            let cells = judged.iter().map(|metric| match case.metric(metric.key) {
                Some(figures) => verdict_cell(figures, i),
                None => "–".into(),
            });
            let cells: Vec<_> = cells.collect();
            line(
                text,
                format_args!("| {} | {} |", case.name, cells.join(" | ")),
            );
        }
        text.push('\n');
    }
    if record.settings.runs < PAIRS_MIN {
        line(
            text,
            format_args!(
                "Fewer than {PAIRS_MIN} runs of each side allow no verdict: --runs {PAIRS_MIN}\n"
            ),
        );
    }
}

fn verdict_cell(figures: &MetricFigures, i: usize) -> String {
    let Some(Some(ratio)) = figures.ratios.get(i) else {
        return "–".into();
    };
    let word = figures.verdicts.get(i).map_or("", |v| word(*v, ratio));
    format!("{} {word}", interval(ratio))
}

/// A verdict in words.
pub fn word(verdict: Verdict, ratio: &Ratio) -> &'static str {
    match verdict {
        Verdict::Better => "**better**",
        Verdict::Worse => "**worse**",
        Verdict::NotShown if ratio.pairs < PAIRS_MIN => "too few runs",
        Verdict::NotShown => "no difference shown",
    }
}

/// A ratio with its interval.
pub fn interval(ratio: &Ratio) -> String {
    match ratio.high.is_finite() {
        true => format!("{:.3} [{:.3}–{:.3}]", ratio.ratio, ratio.low, ratio.high),
        false => format!("{:.3}", ratio.ratio),
    }
}

fn ratio(ratio: Option<&Option<Ratio>>) -> String {
    match ratio {
        Some(Some(ratio)) => format!("**{:.2}**", ratio.ratio),
        _ => "–".into(),
    }
}

/// `median [min–max]`, or the median alone of a single run.
pub fn spread(spread: Option<Spread>, digits: usize) -> String {
    match spread {
        None => "–".into(),
        Some(Spread { median, min, max }) if min == max => format!("{median:.digits$}"),
        Some(Spread { median, min, max }) => {
            format!("{median:.digits$} [{min:.digits$}–{max:.digits$}]")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_its_ends() {
        assert_eq!(spread(Spread::of(&[2.0, 1.0, 4.0]), 1), "2.0 [1.0–4.0]");
        assert_eq!(spread(Spread::of(&[2.0]), 0), "2");
        assert_eq!(spread(None, 0), "–");
    }
}
