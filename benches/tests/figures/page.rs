//! The page of the recorded comparison: each figure is where it belongs, and there is no other.

use std::collections::BTreeMap;

use zero_bench::compare::figures::Figures;
use zero_bench::page;

use crate::expected::expected;
use crate::recorded;

/// What a page shows, by table, scenario, rate, side, label and key, as far as these apply.
pub type Shown = BTreeMap<Vec<String>, String>;

/// Reads every element with a key, and every line of a chart.
fn read(page: &str) -> Shown {
    let mut shown = Shown::new();
    let mut place: Vec<String> = Vec::new();
    let mut tags = page.split('<').skip(1).peekable();
    while let Some(tag) = tags.next() {
        let (tag, text) = tag.split_once('>').expect("a tag's end");
        let attribute = |name: &str| {
            let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
            Some(unescape(rest.split('"').next()?))
        };
        if attribute("data-table").is_some() {
            let parts = [
                "data-table",
                "data-case",
                "data-rate",
                "data-side",
                "data-label",
            ];
            place = parts.map(|part| attribute(part).unwrap_or_default()).into();
        }
        let found = match attribute("data-key") {
            Some(key) => Some((key, unescape(text))),
            None if tag.starts_with("path class=\"line") => {
                let title = tags.peek().and_then(|next| next.strip_prefix("title>"));
                let title = title.expect("a line has a name");
                Some((unescape(title), attribute("d").expect("a line has points")))
            }
            None => None,
        };
        if let Some((key, text)) = found {
            let place = [place.clone(), vec![key]].concat();
            let before = shown.insert(place.clone(), text);
            assert_eq!(before, None, "{place:?} is shown twice");
        }
    }
    shown
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

#[test]
fn the_page_shows_every_figure_where_it_belongs_and_no_other() {
    let record = recorded();
    let figures = Figures::of(&record);
    let expected = expected(&record, &figures);
    let shown = read(&page::render(&record, &figures));
    for (place, text) in &expected {
        assert_eq!(shown.get(place), Some(text), "{place:?}");
    }
    let more: Vec<_> = shown
        .keys()
        .filter(|place| !expected.contains_key(*place))
        .collect();
    assert_eq!(more, Vec::<&Vec<String>>::new());
    assert!(shown.len() > 300, "{} figures", shown.len());
}

/// The check above can fail: by a figure, by its place, by a figure too few.
#[test]
fn a_figure_that_is_wrong_misplaced_or_missing_is_found_out() {
    let record = recorded();
    let figures = Figures::of(&record);
    let expected = expected(&record, &figures);
    let page = page::render(&record, &figures);
    assert_eq!(read(&page), expected);
    let exchanged = page
        .replace("data-side=\"zero\"", "data-side=\"?\"")
        .replace("data-side=\"hyper\"", "data-side=\"zero\"")
        .replace("data-side=\"?\"", "data-side=\"hyper\"");
    let (place, text) = expected
        .iter()
        .find(|(place, _)| place[0] == "paced" && place[5] == "p99_us")
        .expect("latency at a rate");
    let cell = format!("data-key=\"p99_us\">{text}<");
    assert!(page.contains(&cell), "{place:?}");
    let wrong = page.replacen(&cell, "data-key=\"p99_us\">1.0<", 1);
    let missing = page.replacen(&cell, &format!(">{text}<"), 1);
    let (_, line) = expected
        .iter()
        .find(|(place, _)| place[0] == "by-load")
        .expect("a line");
    let moved = page.replacen(line, &line.replacen('M', "M1", 1), 1);
    for page in [exchanged, wrong, missing, moved] {
        assert_ne!(read(&page), expected);
    }
}
