//! The page's tables: every figure of every scenario, folded away.
//!
//! A table says by `data-table`, `data-case` and the like what it is of, a row which side's, and a cell by
//! `data-key` which figure it holds: so tests find each where it belongs.

use super::svg::escape;
use super::{add, swatch};
use crate::compare::figures::{CaseFigures, Figures, METRICS, MetricFigures, PACED, metric_of};
use crate::compare::labels::LabelFigures;
use crate::compare::record::{CaseRecord, Record};
use crate::compare::text::{heading, spread};

/// Every figure, folded away.
pub(super) fn push(page: &mut String, record: &Record, figures: &Figures) {
    page.push_str("<section class=\"tables\"><h2>Every figure</h2><p class=\"soft\">Median [least–most] over the good runs.</p>");
    for (case, row) in record.cases.iter().zip(&figures.cases) {
        add(
            page,
            format_args!("<details><summary>{}</summary>", escape(&case.title)),
        );
        push_closed(page, record, row);
        push_paced(page, record, row);
        push_labels(page, record, row);
        push_counts(page, record, case);
        for (label, why) in &case.left_out {
            let (label, why) = (escape(label), escape(why));
            add(
                page,
                format_args!("<p class=\"soft\">{label} is left out: {why}</p>"),
            );
        }
        page.push_str("</details>");
    }
    page.push_str("</section>");
}

/// Opens a table with these columns behind those of the rows' names.
fn open(page: &mut String, title: &str, names: &[&str], columns: impl Iterator<Item = String>) {
    add(
        page,
        format_args!("<div class=\"wide\"><table><caption>{title}</caption><tr>"),
    );
    for name in names {
        add(page, format_args!("<th class=\"name\">{name}</th>"));
    }
    for column in columns {
        add(page, format_args!("<th>{}</th>", column.trim_end()));
    }
    page.push_str("</tr>");
}

/// Opens a row of one side in a table; `more` are further attributes.
fn open_row(page: &mut String, table: &str, case: &str, side: &str, more: &str) {
    let (case, side) = (escape(case), escape(side));
    add(
        page,
        format_args!("<tr data-table=\"{table}\" data-case=\"{case}\" data-side=\"{side}\"{more}>"),
    );
}

fn push_cell(page: &mut String, key: &str, cell: &str) {
    add(page, format_args!("<td data-key=\"{key}\">{cell}</td>"));
}

/// The cells of one side.
fn push_spreads<'a>(page: &mut String, of: impl Iterator<Item = &'a MetricFigures>, side: usize) {
    for figures in of {
        let digits = metric_of(&figures.key).digits;
        let cell = spread(figures.spreads.get(side).copied().flatten(), digits);
        push_cell(page, &figures.key, &cell);
    }
}

fn push_side(page: &mut String, record: &Record, side: usize) {
    let label = escape(&record.subjects[side].label);
    add(page, format_args!("<td>{}{label}</td>", swatch(side)));
}

fn push_closed(page: &mut String, record: &Record, row: &CaseFigures) {
    open(page, "closed loop", &["side"], METRICS.iter().map(heading));
    for (i, subject) in record.subjects.iter().enumerate() {
        open_row(page, "closed", &row.name, &subject.label, "");
        push_side(page, record, i);
        push_spreads(page, row.closed.iter(), i);
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}

fn push_paced(page: &mut String, record: &Record, row: &CaseFigures) {
    if row.paced.is_empty() {
        return;
    }
    let columns = PACED.iter().map(|key| heading(metric_of(key)));
    open(page, "fixed rates", &["rate", "side"], columns);
    for paced in &row.paced {
        for (i, subject) in record.subjects.iter().enumerate() {
            let share = format!("{:.0}", paced.share * 100.0);
            let rate = format!(" data-rate=\"{share}\"");
            open_row(page, "paced", &row.name, &subject.label, &rate);
            let per_second = format!("{share} % = {:.0}/s", paced.per_second);
            push_cell(page, "rate", &per_second);
            push_side(page, record, i);
            push_spreads(page, paced.shown(), i);
            page.push_str("</tr>");
        }
    }
    page.push_str("</table></div>");
}

fn push_labels(page: &mut String, record: &Record, row: &CaseFigures) {
    if row.labels.is_empty() {
        return;
    }
    let columns = ["p50 µs", "p99 µs"].map(String::from);
    let names = ["request", "pace", "side"];
    open(page, "its requests apart", &names, columns.into_iter());
    push_labels_at(page, record, row, "closed", "closed loop", &row.labels);
    for paced in &row.paced {
        let share = format!("{:.0}", paced.share * 100.0);
        let pace = format!("{share} %");
        push_labels_at(page, record, row, &share, &pace, &paced.labels);
    }
    page.push_str("</table></div>");
}

fn push_labels_at(
    page: &mut String,
    record: &Record,
    row: &CaseFigures,
    rate: &str,
    pace: &str,
    labels: &[LabelFigures],
) {
    for figures in labels {
        let label = escape(&figures.label);
        for (i, subject) in record.subjects.iter().enumerate() {
            let more = format!(" data-rate=\"{rate}\" data-label=\"{label}\"");
            open_row(page, "labels", &row.name, &subject.label, &more);
            add(page, format_args!("<td>{label}</td><td>{pace}</td>"));
            push_side(page, record, i);
            for (key, of) in [("p50_us", &figures.p50_us), ("p99_us", &figures.p99_us)] {
                push_cell(page, key, &spread(of.get(i).copied().flatten(), 1));
            }
            page.push_str("</tr>");
        }
    }
}

fn push_counts(page: &mut String, record: &Record, case: &CaseRecord) {
    if case
        .counts
        .iter()
        .all(|counts| *counts == Default::default())
    {
        return;
    }
    let columns = [
        "allocations",
        "bytes allocated",
        "system calls",
        "instructions",
    ];
    open(
        page,
        "counted, per request",
        &["side"],
        columns.map(String::from).into_iter(),
    );
    for (i, (subject, counts)) in record.subjects.iter().zip(&case.counts).enumerate() {
        open_row(page, "counts", &case.name, &subject.label, "");
        push_side(page, record, i);
        let cells = [
            ("allocations", counts.allocations, 2),
            ("allocated_bytes", counts.allocated_bytes, 0),
            ("syscalls", counts.syscalls, 2),
            ("instructions", counts.instructions, 0),
        ];
        for (key, value, digits) in cells {
            let cell = value.map_or("–".into(), |v| format!("{v:.digits$}"));
            push_cell(page, key, &cell);
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}
