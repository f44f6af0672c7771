//! Counts that are kept, and what has risen since.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::args::Failure;

/// How much a count may rise, as a part of itself.
pub const ALLOWED_RISE: f64 = 0.02;

/// Counts that may never be more, whatever the baseline says. The aim of `run_sync` is 1,500; at sixteen requests at
/// once each bears a sixteenth of a turn besides, some 130.
pub const CEILINGS: [(&str, f64); 1] = [("pipe16/zero-sync-sleep", 1680.0)];

/// Counts, and what they hold for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// What `rustc --version` says.
    pub compiler: String,
    /// The C library and its version.
    pub libc: String,
    /// Instructions for one request, by `scenario/backend`, and for one operation, by `group/operation`.
    pub instructions: BTreeMap<String, f64>,
    /// Why counts are more than they were in an earlier baseline, the last time each rose by too much.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
}

/// How a count of the baseline is now.
#[derive(Clone, Debug)]
pub struct Change {
    /// What was counted.
    pub name: String,
    /// Instructions in the baseline.
    pub then: f64,
    /// What it has risen by, as a part of that.
    pub rise: f64,
}

impl Baseline {
    /// Counts made here and now.
    ///
    /// # Errors
    /// When compiler or C library do not say what they are.
    pub fn here(instructions: BTreeMap<String, f64>) -> Result<Self, Failure> {
        Ok(Baseline {
            compiler: said_by("rustc", "--version")?,
            libc: said_by("getconf", "GNU_LIBC_VERSION")?,
            instructions,
            reasons: BTreeMap::new(),
        })
    }

    /// Takes the place of `earlier`, with its reasons, and with this one for what has risen by too much since.
    ///
    /// # Errors
    /// When something has, and there is no reason.
    pub fn follow(&mut self, earlier: &Baseline, why: Option<&str>) -> Result<(), Failure> {
        self.reasons = earlier.reasons.clone();
        let changes = earlier.changes(self).into_iter();
        for Change { name, rise, .. } in changes.filter(Change::is_too_much) {
            let percent = rise * 100.0;
            let why = why.ok_or_else(|| format!("{name} rose by {percent:.1} %; say --why"))?;
            self.reasons.insert(name, why.into());
        }
        Ok(())
    }

    /// How the counts of this baseline are `now`; those that were not made again are left out.
    pub fn changes(&self, now: &Baseline) -> Vec<Change> {
        let changes = self.instructions.iter().filter_map(|(name, &then)| {
            let now = now.instructions.get(name)?;
            Some(Change {
                name: name.clone(),
                then,
                rise: now / then - 1.0,
            })
        });
        changes.collect()
    }

    /// What is in this baseline and is not counted `now`.
    pub fn missing(&self, now: &Baseline) -> Vec<String> {
        let names = self.instructions.keys();
        let missing = names.filter(|name| !now.instructions.contains_key(*name));
        missing.cloned().collect()
    }

    /// What is above its ceiling.
    pub fn above_ceilings(&self) -> Vec<String> {
        let counted = |(name, most): &(&str, f64)| Some((self.instructions.get(*name)?, *most));
        let above = CEILINGS.iter().filter_map(|ceiling| {
            let (count, most) = counted(ceiling)?;
            (*count > most).then(|| format!("{}: {count:.0}, at most {most:.0}", ceiling.0))
        });
        above.collect()
    }

    /// Why counts `now` cannot be held against these; `None` when they can.
    pub fn differs_from(&self, now: &Baseline) -> Option<String> {
        let pairs = [(&self.compiler, &now.compiler), (&self.libc, &now.libc)];
        let (then, now) = pairs.into_iter().find(|(then, now)| then != now)?;
        Some(format!("counted with {now}, the baseline with {then}"))
    }
}

impl Change {
    /// Whether it is more than may be.
    pub fn is_too_much(&self) -> bool {
        self.rise > ALLOWED_RISE
    }
}

fn said_by(program: &str, argument: &str) -> Result<String, Failure> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(counts: &[(&str, f64)]) -> Baseline {
        Baseline {
            compiler: "rustc 1".into(),
            libc: "glibc 2".into(),
            instructions: counts.iter().map(|&(name, n)| (name.into(), n)).collect(),
            reasons: BTreeMap::new(),
        }
    }

    #[test]
    fn nothing_rises_without_a_reason() {
        let then = baseline(&[("a", 1000.0), ("b", 1000.0)]);
        let mut now = baseline(&[("a", 1100.0), ("b", 1010.0)]);
        assert!(now.clone().follow(&then, None).is_err());
        now.follow(&then, Some("it does more")).expect("a reason");
        assert_eq!(now.reasons["a"], "it does more");
        assert_eq!(now.reasons.len(), 1);
        let mut later = baseline(&[("a", 1100.0)]);
        later.follow(&now, None).expect("nothing rose");
        assert_eq!(later.reasons["a"], "it does more", "kept");
    }

    #[test]
    fn more_than_two_percent_is_too_much_and_less_is_not() {
        let then = baseline(&[("a", 1000.0), ("b", 1000.0), ("c", 1000.0), ("gone", 1.0)]);
        let now = baseline(&[("a", 1021.0), ("b", 1019.0), ("c", 500.0), ("new", 9.0)]);
        let changes = then.changes(&now);
        let too_much: Vec<_> = changes.iter().map(Change::is_too_much).collect();
        assert_eq!(too_much, [true, false, false]);
        assert_eq!(then.missing(&now), ["gone"]);
        assert!(now.missing(&now).is_empty());
    }

    #[test]
    fn no_count_goes_above_its_ceiling() {
        let (name, most) = CEILINGS[0];
        assert!(
            baseline(&[(name, most), ("a", 1e9)])
                .above_ceilings()
                .is_empty()
        );
        assert_eq!(baseline(&[(name, most + 1.0)]).above_ceilings().len(), 1);
    }

    #[test]
    fn counts_of_another_compiler_are_another_matter() {
        let then = baseline(&[]);
        let mut now = then.clone();
        assert_eq!(then.differs_from(&now), None);
        now.compiler = "rustc 2".into();
        assert!(then.differs_from(&now).is_some());
    }
}
