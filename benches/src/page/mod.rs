//! The report as one page: nothing is loaded from elsewhere and no script is needed to read it.

mod against;
mod charts;
pub mod svg;
mod tables;

use std::fmt::Write as _;

use crate::compare::figures::{CaseFigures, Figures, HEADLINE, METRICS};
use crate::compare::record::Record;
use crate::compare::text::{interval, word};
use crate::stats::{PAIRS_MIN, Verdict};
use svg::{escape, ratio_bar};

/// Colours that the style sheet has for subjects.
pub const COLOURS: usize = 12;

/// The page for a record and its figures.
pub fn render(record: &Record, figures: &Figures) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">";
    add(
        &mut page,
        format_args!("<title>{}</title>", escape(&title(record))),
    );
    add(
        &mut page,
        format_args!(
            "<style>{}</style></head><body><main>",
            include_str!("style.css")
        ),
    );
    push_summary(&mut page, record, figures);
    for i in 0..record.subjects.len().saturating_sub(1) {
        push_ratios(&mut page, record, figures, i);
    }
    if let Some(against) = &figures.against {
        against::push(&mut page, record, against);
    }
    charts::push_latency(&mut page, record);
    charts::push_cpu(&mut page, record, figures);
    charts::push_memory(&mut page, record);
    tables::push(&mut page, record, figures);
    push_method(&mut page, record);
    page += "</main></body></html>\n";
    page
}

fn add(page: &mut String, what: std::fmt::Arguments<'_>) {
    page.write_fmt(what)
        .expect("writing to a String cannot fail");
}

fn title(record: &Record) -> String {
    let labels: Vec<_> = record
        .subjects
        .iter()
        .map(|subject| subject.label.as_str())
        .collect();
    labels.join(" against ")
}

fn push_summary(page: &mut String, record: &Record, figures: &Figures) {
    add(
        page,
        format_args!(
            "<p class=\"kicker\">Measured by turns, {}</p>",
            day(record.made_at)
        ),
    );
    add(page, format_args!("<h1>{}</h1>", escape(&title(record))));
    push_sides(page, record);
    if record.subjects.len() > 1 {
        push_tally(page, record, figures);
    }
    page.push_str("<dl class=\"facts\">");
    let settings = &record.settings;
    let runs = format!(
        "{} runs of each side in each scenario, {} s each after {} s of warm-up, a fresh server every time",
        settings.runs, settings.seconds, settings.warm_up_seconds
    );
    let commit = record.commit.as_deref().unwrap_or("unknown");
    let facts = [
        ("Machine", record.machine.as_str()),
        ("Commit", commit),
        ("Runs", &runs),
        ("Where", &settings.pinning),
        ("Build", &settings.build),
    ];
    for (name, value) in facts {
        add(
            page,
            format_args!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(value)),
        );
    }
    page.push_str("</dl>");
}

/// What the sides are: before any figure of them, for their names alone could mislead.
fn push_sides(page: &mut String, record: &Record) {
    page.push_str("<ul class=\"sides\">");
    for (i, subject) in record.subjects.iter().enumerate() {
        let (label, about) = (escape(&subject.label), escape(&subject.about));
        let size = subject.program_bytes.map_or(String::new(), |n| {
            format!("; program {}", charts::with_unit(n as f64, "B"))
        });
        let swatch = swatch(i);
        add(
            page,
            format_args!("<li>{swatch}<b>{label}</b> {about}{size}</li>"),
        );
    }
    page.push_str("</ul>");
    if let Some(names) = record.about_names() {
        add(page, format_args!("<p class=\"soft\">{names}</p>"));
    }
}

/// How many rows are better, worse and neither, by CPU per request.
fn push_tally(page: &mut String, record: &Record, figures: &Figures) {
    for (i, other) in record.subjects.iter().skip(1).enumerate() {
        let verdicts = figures.cases.iter().filter_map(|case| {
            let headline = case.metric(HEADLINE)?;
            headline.ratios.get(i).copied().flatten()?;
            headline.verdicts.get(i).copied()
        });
        let count = |wanted| verdicts.clone().filter(|v| *v == wanted).count();
        add(
            page,
            format_args!(
                "<p>CPU time per request, {} against {}:</p><ul class=\"tally\" data-table=\"tally\" data-side=\"{}\">",
                escape(&record.subjects[0].label),
                escape(&other.label),
                escape(&other.label)
            ),
        );
        let same = match record.settings.runs < PAIRS_MIN {
            true => "too few runs for a verdict",
            false => "no difference shown",
        };
        let rows = [
            (Verdict::Better, "better", "less"),
            (Verdict::Worse, "worse", "more"),
            (Verdict::NotShown, "same", same),
        ];
        for (verdict, class, words) in rows {
            let n = count(verdict);
            add(
                page,
                format_args!("<li class=\"{class}\"><b data-key=\"{class}\">{n}</b>{words}</li>"),
            );
        }
        page.push_str("</ul>");
    }
}

/// The ratios of the first subject to another, a row per case.
fn push_ratios(page: &mut String, record: &Record, figures: &Figures, i: usize) {
    let (a, b) = (
        escape(&record.subjects[0].label),
        escape(&record.subjects[i + 1].label),
    );
    add(
        page,
        format_args!(
            "<section class=\"ratios\"><h2>{a} / {b}</h2><p class=\"soft\">CPU time of the server per request: a bar to \
         the left is {a} taking less. The thin line is the interval that holds 95 % of such ratios at this \
         noise; a verdict asks for more, so that the whole report has one false alarm in twenty at most.</p>\
         <div class=\"scale\"><span></span><div><span>¼</span><span>½</span><span>1</span><span>2</span><span>4</span>\
         </div><span></span></div>"
        ),
    );
    for (case, row) in record.cases.iter().zip(&figures.cases) {
        push_ratio_row(page, &case.title, &b, row, i);
    }
    page.push_str("</section>");
}

fn push_ratio_row(page: &mut String, title: &str, other: &str, row: &CaseFigures, i: usize) {
    let Some(headline) = row.metric(HEADLINE) else {
        return;
    };
    let Some(Some(ratio)) = headline.ratios.get(i) else {
        return;
    };
    let verdict = headline
        .verdicts
        .get(i)
        .copied()
        .unwrap_or(Verdict::NotShown);
    let class = class_of(Some(verdict));
    let name = escape(&row.name);
    let about = title.split_once(": ").map_or("", |(_, about)| about);
    let words = word(verdict, ratio).replace("**", "");
    let others = METRICS.iter().filter(|m| m.is_judged && m.key != HEADLINE);
    let others: Vec<_> = others
        .filter_map(|metric| {
            let figures = row.metric(metric.key)?;
            let ratio = figures.ratios.get(i).copied().flatten()?;
            let class = class_of(figures.verdicts.get(i).copied());
            let title = metric.title;
            Some(format!(
                "<span class=\"{class}\" data-key=\"{}\">{title} {:.2}</span>",
                metric.key, ratio.ratio
            ))
        })
        .collect();
    add(
        page,
        format_args!(
            "<div class=\"row\" data-table=\"ratio\" data-case=\"{name}\" data-side=\"{other}\">\
         <div class=\"what\"><b>{name}</b><small>{}</small></div><div class=\"bar\">{}</div>\
         <div class=\"says\"><b data-key=\"{HEADLINE}\">{}</b> <span class=\"chip {class}\" data-key=\"verdict\">{words}</span><small>{}</small></div></div>",
            escape(about),
            ratio_bar(ratio.ratio, ratio.low, ratio.high, class),
            interval(ratio),
            others.join(" · ")
        ),
    );
}

fn class_of(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Better) => "better",
        Some(Verdict::Worse) => "worse",
        Some(Verdict::NotShown) | None => "same",
    }
}

fn push_method(page: &mut String, record: &Record) {
    page.push_str(
        "<section><h2>How to read this</h2><p>Runs of the sides alternate (A B, then B A), each with a fresh \
         server, and are compared pair by pair: a ratio is the geometric mean of the pairs' ratios, its \
         interval Student's on their logarithms. A verdict needs six pairs, a difference of 1 % and a \
         certainty that grows with the number of verdicts in the report. In a closed loop every connection \
         waits for its answer before it asks again, so a slow answer delays the next request; at fixed rates \
         latency counts from the moment a request was due. Before a scenario is measured all sides must give \
         the same answer, but for Date, Server and Connection. Memory is what of the server no file backs: heap, \
         stacks, pools of buffers, and not its program's pages, which the RSS has in it, too.</p>",
    );
    for note in &record.notes {
        add(page, format_args!("<p class=\"soft\">{}</p>", escape(note)));
    }
    page.push_str("</section>");
}

fn swatch(i: usize) -> String {
    format!("<span class=\"swatch b{}\"></span>", i % COLOURS)
}

/// The day of a time in seconds since 1970, by Howard Hinnant's rule of eras of 400 years.
fn day(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn days_are_known() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(1_795_219_200), "2026-11-21");
    }
}
