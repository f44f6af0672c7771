//! A record held against an earlier one: what changed since, and whether the two can be compared at all.

use serde::{Deserialize, Serialize};

use super::figures::{METRICS, Metric};
use super::record::{Earlier, Record, Run};
use super::text::{interval, line, word};
use crate::stats::{Ratio, Verdict};

/// What a record comes to beside an earlier one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Against {
    /// The name under which the earlier one was kept.
    pub name: String,
    /// What else differs between the two, a sentence each: it is part of every difference below.
    pub unlike: Vec<String>,
    /// Of every scenario and side that both have.
    pub rows: Vec<Row>,
}

/// One metric of one side in one scenario, now and then, in a closed loop.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The scenario.
    pub case: String,
    /// The side.
    pub side: String,
    /// Which metric.
    pub key: String,
    /// Now over then.
    pub ratio: Ratio,
    /// What it says.
    pub verdict: Verdict,
}

impl Against {
    /// Computes it; none of a record that is held against nothing.
    pub fn of(record: &Record) -> Option<Self> {
        let earlier = record.against.as_deref()?;
        let mut rows = Vec::new();
        for (case, side, metric, now, then) in pairs(record, &earlier.record) {
            let ratio = Ratio::of_sessions(&values(metric, now), &values(metric, then));
            rows.extend(ratio.map(|ratio| (case, side, metric, ratio)));
        }
        let verdicts = rows.len();
        let rows = rows.into_iter().map(|(case, side, metric, ratio)| Row {
            case: case.into(),
            side: side.into(),
            key: metric.key.into(),
            ratio,
            verdict: ratio.verdict(metric.less_is_better, verdicts),
        });
        Some(Against {
            name: earlier.name.clone(),
            unlike: unlike(record, &earlier.record),
            rows: rows.collect(),
        })
    }

    /// What is said when the two have nothing in common.
    pub fn nothing(earlier: &Earlier) -> String {
        let list = |names: Vec<&str>| names.join(", ");
        let record = &earlier.record;
        format!(
            "Nothing here can be held against {}: it has no good run of any of these scenarios and sides. It has {} of {}.",
            earlier.name,
            list(record.cases.iter().map(|case| &*case.name).collect()),
            list(record.subjects.iter().map(|side| &*side.label).collect())
        )
    }
}

/// The runs that have a counterpart: case, side, each judged metric, the runs of now and of then.
fn pairs<'a>(
    now: &'a Record,
    then: &'a Record,
) -> impl Iterator<Item = (&'a str, &'a str, &'static Metric, &'a [Run], &'a [Run])> {
    now.cases.iter().flat_map(move |case| {
        let old = then.cases.iter().find(|old| old.name == case.name);
        old.into_iter().flat_map(move |old| {
            let sides = now.subjects.iter().zip(&case.closed);
            sides.flat_map(move |(side, runs)| {
                let mut olds = then.subjects.iter().zip(&old.closed);
                let found = olds.find(|(old, _)| old.label == side.label);
                found.into_iter().flat_map(move |(_, olds)| {
                    let judged = METRICS.iter().filter(|metric| metric.is_judged);
                    judged.map(move |metric| {
                        (&*case.name, &*side.label, metric, &runs[..], &olds[..])
                    })
                })
            })
        })
    })
}

fn values(metric: &Metric, runs: &[Run]) -> Vec<f64> {
    let good = runs.iter().filter(|run| run.problem.is_none());
    good.filter_map(metric.of).collect()
}

/// What differs besides the code.
fn unlike(now: &Record, then: &Record) -> Vec<String> {
    let mut unlike = Vec::new();
    let mut note = |what: &str, now: String, then: String| {
        if now != then {
            unlike.push(format!("{what}: {now} now, {then} then"));
        }
    };
    note("machine", now.machine.clone(), then.machine.clone());
    let settings = (&now.settings, &then.settings);
    let seconds = |s: &super::record::Settings| {
        format!("{} s after {} s of warm-up", s.seconds, s.warm_up_seconds)
    };
    note("runs", seconds(settings.0), seconds(settings.1));
    let (pinned, pinned_then) = (&settings.0.pinning, &settings.1.pinning);
    note("cores", pinned.clone(), pinned_then.clone());
    let (built, built_then) = (&settings.0.build, &settings.1.build);
    note("build", built.clone(), built_then.clone());
    for side in &now.subjects {
        if let Some(old) = then.subjects.iter().find(|old| old.label == side.label) {
            note(&side.label, side.about.clone(), old.about.clone());
        }
    }
    for case in &now.cases {
        if let Some(old) = then.cases.iter().find(|old| old.name == case.name) {
            note("scenario", case.title.clone(), old.title.clone());
        }
    }
    unlike
}

/// What is said above the rows, a sentence or two.
pub(crate) const METHOD: &str =
    "Measured in different sessions: what the machine did meanwhile is part of the difference.";

/// The table in markdown.
pub(super) fn push(text: &mut String, record: &Record, against: &Against) {
    let Some(earlier) = record.against.as_deref() else {
        return;
    };
    let commit = |record: &Record| record.commit.clone().unwrap_or("unknown".into());
    line(
        text,
        format_args!(
            "### now / {}: ratio [95 % interval], verdict\n\n{METHOD} Commit {} now, {} then.\n",
            against.name,
            commit(record),
            commit(&earlier.record)
        ),
    );
    for unlike in &against.unlike {
        line(text, format_args!("**Warning**, not alike: {unlike}\n"));
    }
    if against.rows.is_empty() {
        line(text, format_args!("{}\n", Against::nothing(earlier)));
        return;
    }
    line(
        text,
        format_args!("| scenario | side | metric | |\n|---|---|---|---|"),
    );
    for row in &against.rows {
        let title = super::figures::metric_of(&row.key).title;
        let cells = format!("{} {}", interval(&row.ratio), word(row.verdict, &row.ratio));
        line(
            text,
            format_args!("| {} | {} | {title} | {cells} |", row.case, row.side),
        );
    }
    text.push('\n');
}
