//! Counts that are kept, and what has risen since.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::args::Failure;

/// How much a count may rise, as a part of itself.
pub const ALLOWED_RISE: f64 = 0.02;

/// Counts, and what they hold for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// What `rustc --version` says.
    pub compiler: String,
    /// The C library and its version.
    pub libc: String,
    /// Instructions for one request, by `scenario/backend`, and for one operation, by `group/operation`.
    pub instructions: BTreeMap<String, f64>,
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
        })
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
        }
    }

    #[test]
    fn more_than_two_percent_is_too_much_and_less_is_not() {
        let then = baseline(&[("a", 1000.0), ("b", 1000.0), ("c", 1000.0), ("gone", 1.0)]);
        let now = baseline(&[("a", 1021.0), ("b", 1019.0), ("c", 500.0), ("new", 9.0)]);
        let changes = then.changes(&now);
        let too_much: Vec<_> = changes.iter().map(Change::is_too_much).collect();
        assert_eq!(too_much, [true, false, false]);
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
