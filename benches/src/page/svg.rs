//! Pictures as SVG text, for a page to hold: they take their colours from its style sheet, light or dark.

use std::fmt::Write as _;

/// Width and height of a chart, in units that are about a pixel of a phone.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 230.0;
/// Where the plot's area starts and ends.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 350.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 192.0;

/// A line of a chart: its name, its style's number, and its points.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Which subject's colour.
    pub colour: usize,
    /// Whether it is drawn with dashes.
    pub is_dashed: bool,
    /// The points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// One axis: marks at values, each with its words.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub title: String,
    /// Values and their words.
    pub marks: Vec<(f64, String)>,
    /// The least value.
    pub from: f64,
    /// The greatest.
    pub to: f64,
    /// Whether equal steps are equal factors.
    pub is_log: bool,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let scale = |v: f64| {
            if self.is_log {
                v.max(f64::MIN_POSITIVE).ln()
            } else {
                v
            }
        };
        let (from, to) = (scale(self.from), scale(self.to));
        ((scale(value) - from) / (to - from).max(f64::EPSILON)).clamp(0.0, 1.0)
    }

    /// An axis of factors that holds all values, with marks at 1, 2 and 5 of every decade, or at 1 when there
    /// are many.
    pub fn log(title: &str, values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.filter(|v| *v > 0.0 && v.is_finite());
        let low = positive.clone().fold(f64::INFINITY, f64::min);
        let high = positive.fold(0.0, f64::max);
        let (low, high) = if low <= high {
            (low * 0.85, high * 1.15)
        } else {
            (1.0, 10.0)
        };
        let decades = (high / low).log10();
        let steps: &[f64] = if decades > 2.5 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let first = low.log10().floor() as i32;
        let last = high.log10().ceil() as i32;
        let marks = (first..=last).flat_map(|e| steps.iter().map(move |s| s * 10_f64.powi(e)));
        let marks = marks.filter(|v| (low..=high).contains(v));
        Axis {
            title: title.into(),
            marks: marks.map(|v| (v, short(v))).collect(),
            from: low,
            to: high,
            is_log: true,
        }
    }
}

/// A chart of lines. `about` is what a reader who sees no pictures is told.
pub fn chart(x: &Axis, y: &Axis, lines: &[Line], about: &str) -> String {
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(about)
    );
    let px = |v: f64| LEFT + x.place(v) * (RIGHT - LEFT);
    let py = |v: f64| BOTTOM - y.place(v) * (BOTTOM - TOP);
    for (value, words) in &y.marks {
        let at = py(*value);
        push(
            &mut svg,
            format_args!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>"),
        );
        let text = escape(words);
        push(
            &mut svg,
            format_args!(
                "<text class=\"tick end\" x=\"{:.0}\" y=\"{:.1}\">{text}</text>",
                LEFT - 5.0,
                at + 3.5
            ),
        );
    }
    for (value, words) in &x.marks {
        let at = px(*value);
        push(
            &mut svg,
            format_args!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>"),
        );
        let text = escape(words);
        push(
            &mut svg,
            format_args!(
                "<text class=\"tick mid\" x=\"{at:.1}\" y=\"{:.0}\">{text}</text>",
                BOTTOM + 15.0
            ),
        );
    }
    for line in lines {
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(a, b)| format!("{:.1} {:.1}", px(*a), py(*b)))
            .collect();
        let dashed = if line.is_dashed { " dashed" } else { "" };
        let (colour, name) = (line.colour, escape(&line.name));
        push(
            &mut svg,
            format_args!(
                "<path class=\"line c{colour}{dashed}\" d=\"M{}\"><title>{name}</title></path>",
                points.join("L")
            ),
        );
    }
    let middle = (LEFT + RIGHT) / 2.0;
    push(
        &mut svg,
        format_args!(
            "<text class=\"axis mid\" x=\"{middle:.0}\" y=\"{:.0}\">{}</text>",
            HEIGHT - 8.0,
            escape(&x.title)
        ),
    );
    push(
        &mut svg,
        format_args!(
            "<text class=\"axis\" x=\"{:.0}\" y=\"{:.0}\">{}</text></svg>",
            LEFT + 5.0,
            TOP + 10.0,
            escape(&y.title)
        ),
    );
    svg
}

/// A ratio on an axis of factors from a quarter to four: a bar from 1, and its interval.
pub fn ratio_bar(ratio: f64, low: f64, high: f64, class: &str) -> String {
    let place = |v: f64| 100.0 + 100.0 * (v.max(1e-9).ln() / 4_f64.ln()).clamp(-1.0, 1.0);
    let (at, from, to) = (place(ratio), place(low), place(high));
    let (left, width) = (at.min(100.0), (at - 100.0).abs().max(0.6));
    let mut svg = String::from(
        "<svg class=\"ratio\" viewBox=\"0 0 200 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    );
    for mark in [0.5, 2.0] {
        push(
            &mut svg,
            format_args!("<path class=\"grid\" d=\"M{:.1} 0V20\"/>", place(mark)),
        );
    }
    push(
        &mut svg,
        format_args!(
            "<rect class=\"{class}\" x=\"{left:.2}\" y=\"4\" width=\"{width:.2}\" height=\"12\"/>"
        ),
    );
    if high.is_finite() {
        push(
            &mut svg,
            format_args!(
                "<path class=\"whisker\" d=\"M{from:.2} 10H{to:.2}M{from:.2} 6V14M{to:.2} 6V14\"/>"
            ),
        );
    }
    svg.push_str("<path class=\"one\" d=\"M100 0V20\"/></svg>");
    svg
}

/// Parts of a bar, one behind the other, on a scale that ends at `most`.
pub fn stacked_bar(parts: &[(f64, &str)], most: f64) -> String {
    let mut svg = String::from(
        "<svg class=\"stack\" viewBox=\"0 0 200 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    );
    let mut at = 0.0;
    for (value, class) in parts {
        let width = 200.0 * value.max(0.0) / most.max(f64::MIN_POSITIVE);
        push(
            &mut svg,
            format_args!(
                "<rect class=\"{class}\" x=\"{at:.2}\" y=\"1\" width=\"{width:.2}\" height=\"12\"/>"
            ),
        );
        at += width;
    }
    svg.push_str("</svg>");
    svg
}

/// A number in few characters: 950, 1.2k, 35k, 2M.
pub fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        v if v >= 10.0 || (v - v.round()).abs() < 1e-9 => 0,
        v if v >= 1.0 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{suffix}")
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what)
        .expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_of_factors_has_marks_within_it() {
        for (low, high) in [(12.0, 450.0), (0.2, 90_000.0), (5.0, 5.0)] {
            let axis = Axis::log("x", [low, high].into_iter());
            assert!(!axis.marks.is_empty(), "{low}..{high}");
            assert!(
                axis.marks
                    .iter()
                    .all(|(v, _)| axis.from <= *v && *v <= axis.to)
            );
            assert!(axis.place(low) > 0.0 && axis.place(high) < 1.0);
        }
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (950.0, "950"),
            (1234.0, "1.2k"),
            (35_000.0, "35k"),
            (2e6, "2M"),
            (0.25, "0.25"),
            (5.0, "5"),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }
}
