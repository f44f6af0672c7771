//! What changed since an earlier record: a table, and what to know before believing it.

use super::svg::escape;
use super::{add, class_of, day};
use crate::compare::against::{Against, METHOD};
use crate::compare::figures::METRICS;
use crate::compare::record::Record;
use crate::compare::text::{interval, word};

pub(super) fn push(page: &mut String, record: &Record, against: &Against) {
    let Some(earlier) = record.against.as_deref() else {
        return;
    };
    let commit = |record: &Record| escape(record.commit.as_deref().unwrap_or("unknown"));
    add(
        page,
        format_args!(
            "<section class=\"against\"><h2>Now / {}</h2><p class=\"soft\">{METHOD} Commit {} now, {} on {}.</p>",
            escape(&against.name),
            commit(record),
            commit(&earlier.record),
            day(earlier.record.made_at)
        ),
    );
    if !against.unlike.is_empty() {
        page.push_str(
            "<div class=\"warning\"><b>The two are not alike in more than the code:</b><ul>",
        );
        for unlike in &against.unlike {
            add(page, format_args!("<li>{}</li>", escape(unlike)));
        }
        page.push_str("</ul></div>");
    }
    match against.rows.is_empty() {
        true => add(
            page,
            format_args!("<p>{}</p>", escape(&Against::nothing(earlier))),
        ),
        false => push_rows(page, against),
    }
    page.push_str("</section>");
}

fn push_rows(page: &mut String, against: &Against) {
    page.push_str("<div class=\"wide\"><table><tr><th class=\"name\">scenario</th><th class=\"name\">side</th>");
    let judged = || METRICS.iter().filter(|metric| metric.is_judged);
    for metric in judged() {
        add(page, format_args!("<th>{}</th>", metric.title));
    }
    page.push_str("</tr>");
    let mut sides: Vec<(&str, &str)> = Vec::new();
    for row in &against.rows {
        if !sides.contains(&(&row.case, &row.side)) {
            sides.push((&row.case, &row.side));
        }
    }
    for (case, side) in sides {
        let (name, label) = (escape(case), escape(side));
        add(
            page,
            format_args!(
                "<tr data-table=\"against\" data-case=\"{name}\" data-side=\"{label}\"><td>{name}</td><td>{label}</td>"
            ),
        );
        for metric in judged() {
            let mut rows = against.rows.iter();
            let row = rows.find(|r| r.case == case && r.side == side && r.key == metric.key);
            let (class, cell) = match row {
                None => ("same", "–".into()),
                Some(row) => {
                    let word = word(row.verdict, &row.ratio).replace("**", "");
                    let class = class_of(Some(row.verdict));
                    (class, format!("{} {word}", interval(&row.ratio)))
                }
            };
            let key = metric.key;
            add(
                page,
                format_args!("<td class=\"{class}\" data-key=\"{key}\">{cell}</td>"),
            );
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
}
