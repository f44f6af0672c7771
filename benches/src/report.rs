//! Medians and GitHub markdown.

use std::fmt::Write as _;

use crate::measure::Run;
use crate::scenario::Scenario;
use crate::server::Backend;

/// The good runs of one backend, and the bad ones' number.
#[derive(Clone, Debug)]
pub struct Results {
    /// What served.
    pub backend: Backend,
    /// The runs that may be believed.
    pub good: Vec<Run>,
    /// How many others there were.
    pub bad: usize,
}

/// One column of figures; a run may lack one.
struct Column {
    title: &'static str,
    digits: usize,
    of: fn(&Run) -> Option<f64>,
}

const fn column(title: &'static str, digits: usize, of: fn(&Run) -> Option<f64>) -> Column {
    Column { title, digits, of }
}

const COLUMNS: [Column; 10] = [
    column("req/s", 0, |run| Some(run.requests_per_second)),
    column("p50 µs", 0, |run| run.p50_us),
    column("p99 µs", 0, |run| run.p99_us),
    column("**CPU µs/req**", 2, |run| Some(run.cpu_us)),
    column("user", 2, |run| Some(run.user_us)),
    column("sys", 2, |run| Some(run.system_us)),
    column("enters/req", 3, |run| run.enters),
    column("srv busy", 2, |run| Some(run.server_busy)),
    column("gen busy", 2, |run| Some(run.client_busy)),
    column("srv waited", 2, |run| Some(run.server_waited)),
];

/// How many of the columns, from the first, are worth a ratio.
const RATIO_COLUMNS: usize = 6;

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

/// A scenario's table: a row per backend, then the ratio of the first backend to each other one.
pub fn table(scenario: &Scenario, results: &[Results]) -> String {
    let mut text = format!("### {}\n\n| backend | runs | bad |", scenario.title());
    for column in &COLUMNS {
        write_cell(&mut text, column.title);
    }
    text.push_str("\n|---|---|---|");
    text.push_str(&"---|".repeat(COLUMNS.len()));
    text.push('\n');
    for result in results {
        push_row(&mut text, result);
    }
    if let Some((first, others)) = results.split_first() {
        for other in others {
            push_ratio_row(&mut text, first, other);
        }
    }
    push_notes(&mut text, scenario, results);
    text
}

fn push_row(text: &mut String, result: &Results) {
    let Results { backend, good, bad } = result;
    text.push_str(&format!("| {backend} | {} | {bad} |", good.len()));
    for column in &COLUMNS {
        write_cell(text, &spread(&values(result, column), column.digits));
    }
    text.push('\n');
}

fn push_ratio_row(text: &mut String, first: &Results, other: &Results) {
    let (a, b) = (first.backend, other.backend);
    text.push_str(&format!("| **{a} / {b}** | | |"));
    for column in &COLUMNS[..RATIO_COLUMNS] {
        let ratio = median(&values(first, column)) / median(&values(other, column));
        let cell = if ratio.is_finite() {
            format!("**{ratio:.2}**")
        } else {
            "–".into()
        };
        write_cell(text, &cell);
    }
    text.push_str(&" |".repeat(COLUMNS.len() - RATIO_COLUMNS));
    text.push('\n');
}

fn push_notes(text: &mut String, scenario: &Scenario, results: &[Results]) {
    // One connection at a time, or half a core, leaves everybody idle by design.
    if scenario.connections == 1 || scenario.spinner {
        return;
    }
    for result in results {
        let idle = result.good.iter().filter(|run| run.is_idle()).count();
        if idle > 0 {
            text.push_str(&format!(
                "\n{}: in {idle} of {} runs both sides were less than 80 % busy: another process had \
                 a core, or they wait for timers (Nagle).\n",
                result.backend,
                result.good.len()
            ));
        }
    }
}

fn values(result: &Results, column: &Column) -> Vec<f64> {
    result.good.iter().filter_map(column.of).collect()
}

/// `median [min–max]`, or the median alone of a single run.
fn spread(values: &[f64], digits: usize) -> String {
    let middle = median(values);
    match values.len() {
        0 => "–".into(),
        1 => format!("{middle:.digits$}"),
        _ => {
            let min = values.iter().copied().fold(f64::INFINITY, f64::min);
            let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            format!("{middle:.digits$} [{min:.digits$}–{max:.digits$}]")
        }
    }
}

fn write_cell(text: &mut String, cell: &str) {
    write!(text, " {cell} |").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_spread_names_its_ends() {
        assert_eq!(spread(&[2.0, 1.0, 4.0], 1), "2.0 [1.0–4.0]");
        assert_eq!(spread(&[2.0], 0), "2");
        assert_eq!(spread(&[], 0), "–");
    }
}
