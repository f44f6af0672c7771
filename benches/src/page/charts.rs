//! The page's pictures: latency by percentile and by load, CPU per request, memory.

use super::svg::{Axis, Line, chart, escape, short, stacked_bar};
use super::{COLOURS, add, swatch};
use crate::compare::figures::{Figures, metric_of};
use crate::compare::record::{CaseRecord, Record, Run};
use crate::stats::median;

/// The percentiles under the curves.
const NINES: [(f64, &str); 5] = [
    (0.0, "0"),
    (0.5, "50"),
    (0.9, "90"),
    (0.99, "99"),
    (0.999, "99.9"),
];

/// Curves of latency: of every case in a closed loop, and of those at fixed rates by load too.
pub(super) fn push_latency(page: &mut String, record: &Record) {
    page.push_str("<section class=\"latency\"><h2>Latency</h2>");
    push_legend(page, record);
    let paced: Vec<_> = record
        .cases
        .iter()
        .filter(|case| !case.paced.is_empty())
        .collect();
    if !paced.is_empty() {
        page.push_str("<p class=\"soft\">At fixed rates, counted from the moment a request was due: a stall is felt by all who came meanwhile.</p><div class=\"charts\">");
        for case in &paced {
            push_by_load(page, record, case);
            let last = case.paced.len() - 1;
            for at in std::iter::once(last / 2).chain((last > 0).then_some(last)) {
                let rate = &case.paced[at];
                let title = format!(
                    "{}, at {:.0} % of capacity ({}/s)",
                    case.name,
                    rate.share * 100.0,
                    short(rate.per_second)
                );
                let attributes = attributes(case, &format!("{:.0}", rate.share * 100.0));
                push_curve(page, record, &title, &attributes, &rate.runs);
            }
        }
        page.push_str("</div>");
    }
    page.push_str("<p class=\"soft\">In a closed loop, by percentile.</p><div class=\"charts\">");
    for case in &record.cases {
        let attributes = attributes(case, "closed");
        push_curve(page, record, &case.name, &attributes, &case.closed);
    }
    page.push_str("</div></section>");
}

fn attributes(case: &CaseRecord, rate: &str) -> String {
    let name = escape(&case.name);
    format!("data-case=\"{name}\" data-rate=\"{rate}\"")
}

fn push_legend(page: &mut String, record: &Record) {
    page.push_str("<div class=\"legend\">");
    for (i, subject) in record.subjects.iter().enumerate() {
        add(
            page,
            format_args!("<span>{}{}</span>", swatch(i), escape(&subject.label)),
        );
    }
    page.push_str("</div>");
}

/// Where a quantile stands on an axis on which 90, 99 and 99.9 % are equally far apart.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile.min(0.9999)).log10()
}

/// `attributes` say which case's curve it is, and at what rate.
fn push_curve(
    page: &mut String,
    record: &Record,
    title: &str,
    attributes: &str,
    runs: &[Vec<Run>],
) {
    let lines: Vec<Line> = record
        .subjects
        .iter()
        .enumerate()
        .filter_map(|(i, subject)| {
            let points = curve(runs.get(i)?);
            (!points.is_empty()).then(|| Line {
                name: subject.label.clone(),
                colour: i % COLOURS,
                is_dashed: false,
                points: points.into_iter().map(|(q, us)| (nines(q), us)).collect(),
            })
        })
        .collect();
    if lines.is_empty() {
        return;
    }
    let x = Axis {
        title: "percentile".into(),
        marks: NINES
            .iter()
            .map(|(q, words)| (nines(*q), (*words).into()))
            .collect(),
        from: 0.0,
        to: nines(0.9999),
        is_log: false,
    };
    let y = Axis::log(
        "µs",
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|point| point.1)),
    );
    let about = format!("latency by percentile, {title}");
    let picture = chart(&x, &y, &lines, &about);
    add(
        page,
        format_args!(
            "<figure data-table=\"curve\" {attributes}><h3>{}</h3>{picture}</figure>",
            escape(title)
        ),
    );
}

/// At every quantile the median over the good runs.
fn curve(runs: &[Run]) -> Vec<(f64, f64)> {
    let good: Vec<_> = runs.iter().filter(|run| run.problem.is_none()).collect();
    let Some(first) = good.first() else {
        return Vec::new();
    };
    let quantiles = first
        .outcome
        .latency
        .curve_us
        .iter()
        .map(|(q, _)| *q)
        .filter(|q| *q < 0.9999);
    let points = quantiles.enumerate().map(|(i, q)| {
        let values: Vec<_> = good
            .iter()
            .filter_map(|run| run.outcome.latency.curve_us.get(i))
            .map(|p| p.1)
            .collect();
        (q, median(&values))
    });
    points.collect()
}

fn push_by_load(page: &mut String, record: &Record, case: &CaseRecord) {
    let mut lines = Vec::new();
    for (i, subject) in record.subjects.iter().enumerate() {
        for (key, is_dashed) in [("p50_us", false), ("p99_us", true)] {
            let metric = metric_of(key);
            let points = case.paced.iter().filter_map(|paced| {
                let good = paced
                    .runs
                    .get(i)?
                    .iter()
                    .filter(|run| run.problem.is_none());
                let values: Vec<_> = good.filter_map(metric.of).collect();
                (!values.is_empty()).then(|| (paced.share * 100.0, median(&values)))
            });
            lines.push(Line {
                name: format!("{} {}", subject.label, metric.title),
                colour: i % COLOURS,
                is_dashed,
                points: points.collect(),
            });
        }
    }
    lines.retain(|line| !line.points.is_empty());
    if lines.is_empty() {
        return;
    }
    let shares = case.paced.iter().map(|paced| paced.share * 100.0);
    let x = Axis {
        title: "load, % of the slower side's capacity".into(),
        marks: shares.map(|share| (share, format!("{share:.0}"))).collect(),
        from: 15.0,
        to: 100.0,
        is_log: false,
    };
    let y = Axis::log(
        "µs",
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|point| point.1)),
    );
    let picture = chart(&x, &y, &lines, &format!("latency by load, {}", case.name));
    let name = escape(&case.name);
    add(
        page,
        format_args!(
            "<figure data-table=\"by-load\" data-case=\"{name}\"><h3>{name}, by load</h3>{picture}<figcaption>p50 solid, p99 dashed</figcaption></figure>",
        ),
    );
}

/// CPU per request of every case and side, user and system apart.
pub(super) fn push_cpu(page: &mut String, record: &Record, figures: &Figures) {
    page.push_str("<section class=\"cpu\"><h2>CPU per request</h2><p class=\"soft\">Medians in µs. Full colour is time in the program, pale is time in the kernel; each scenario has a scale of its own.</p>");
    push_legend(page, record);
    page.push_str("<div class=\"charts\">");
    for (case, row) in record.cases.iter().zip(&figures.cases) {
        let value = |key: &str, i: usize| {
            row.metric(key)?
                .spreads
                .get(i)
                .copied()
                .flatten()
                .map(|s| s.median)
        };
        let totals = (0..record.subjects.len()).filter_map(|i| value("cpu_us", i));
        let most = totals.fold(0.0, f64::max);
        let name = escape(&case.name);
        add(
            page,
            format_args!(
                "<figure data-table=\"cpu\" data-case=\"{name}\"><h3>{name}</h3><div class=\"bars\">",
            ),
        );
        for (i, subject) in record.subjects.iter().enumerate() {
            let (Some(user), Some(system)) = (value("user_us", i), value("system_us", i)) else {
                continue;
            };
            let (full, pale) = (
                format!("f{}", i % COLOURS),
                format!("f{} faint", i % COLOURS),
            );
            let bar = stacked_bar(&[(user, &full), (system, &pale)], most);
            let label = escape(&subject.label);
            add(
                page,
                format_args!(
                    "<span>{label}</span>{bar}<span data-key=\"{label}\">{user:.2} + {system:.2}</span>",
                ),
            );
        }
        page.push_str("</div></figure>");
    }
    page.push_str("</div></section>");
}

/// A value in few characters with its unit: 6.1 ms, 850 B, 7.8 MB.
pub(super) fn with_unit(value: f64, unit: &str) -> String {
    let short = short(value);
    match short.trim_end_matches(['k', 'M']) {
        digits if digits.len() == short.len() => format!("{short} {unit}"),
        digits => format!("{digits} {}{unit}", &short[digits.len()..]),
    }
}

/// Memory, start-up and size of every side.
pub(super) fn push_memory(page: &mut String, record: &Record) {
    type Of = fn(&Record, usize) -> Option<f64>;
    let start_up: Of = |record, i| {
        let runs = record
            .cases
            .iter()
            .filter_map(|case| case.closed.get(i))
            .flatten();
        let values: Vec<_> = runs
            .filter(|run| run.problem.is_none())
            .map(|run| run.start_up_seconds * 1e3)
            .collect();
        (!values.is_empty()).then(|| median(&values))
    };
    let charts: [(&str, &str, Of); 4] = [
        ("Idle keep-alive connection", "B", |record, i| {
            record.subjects[i].idle_connection_bytes
        }),
        ("Idle WebSocket", "B", |record, i| {
            record.subjects[i].idle_websocket_bytes
        }),
        ("Start to first accept", "ms", start_up),
        ("Program", "B", |record, i| {
            record.subjects[i].program_bytes.map(|n| n as f64)
        }),
    ];
    page.push_str("<section class=\"memory\"><h2>Memory, start, size</h2><p class=\"soft\">Memory is the server's (heap, stacks, pools of buffers) over the number of connections; the kernel's own is not in it.</p><div class=\"charts\">");
    for (title, unit, of) in charts {
        let values: Vec<_> = (0..record.subjects.len()).map(|i| of(record, i)).collect();
        let most = values.iter().flatten().copied().fold(0.0, f64::max);
        if values.iter().all(Option::is_none) {
            continue;
        }
        add(
            page,
            format_args!(
                "<figure data-table=\"memory\" data-case=\"{title}\"><h3>{title}</h3><div class=\"bars\">"
            ),
        );
        for (i, (subject, value)) in record.subjects.iter().zip(values).enumerate() {
            let Some(value) = value else { continue };
            let bar = stacked_bar(&[(value, &format!("f{}", i % COLOURS))], most);
            let label = escape(&subject.label);
            add(
                page,
                format_args!(
                    "<span>{label}</span>{bar}<span data-key=\"{label}\">{}</span>",
                    with_unit(value, unit)
                ),
            );
        }
        page.push_str("</div></figure>");
    }
    page.push_str("</div></section>");
}
