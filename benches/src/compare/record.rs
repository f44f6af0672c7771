//! All that was measured, as it is kept in `report.json`: raw, so that every figure can be computed again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::args::Failure;
use crate::load::Outcome;

/// Everything a comparison measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// When, in seconds since 1970.
    pub made_at: u64,
    /// Cores, kernel, congestion control.
    pub machine: String,
    /// The code's version, when it is known.
    pub commit: Option<String>,
    /// How often and how long, on which cores, how built.
    pub settings: Settings,
    /// The sides; ratios are of the first to each other one.
    pub subjects: Vec<SubjectRecord>,
    /// The rows.
    pub cases: Vec<CaseRecord>,
    /// What could not be measured here, and why.
    pub notes: Vec<String>,
    /// What it is held against.
    #[serde(default)]
    pub against: Option<Box<Earlier>>,
}

/// A record that was kept before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Earlier {
    /// Under which name.
    pub name: String,
    /// It as a whole, but for what it was held against itself.
    pub record: Record,
}

/// How it was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Runs of each side in each row.
    pub runs: usize,
    /// Load that counts, in seconds.
    pub seconds: f64,
    /// Load before that, in seconds.
    pub warm_up_seconds: f64,
    /// What runs on which core, or why nothing is bound.
    pub pinning: String,
    /// How the programs were built.
    pub build: String,
}

/// One side.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SubjectRecord {
    /// What it is called.
    pub label: String,
    /// What it is.
    pub about: String,
    /// Bytes that are loaded of a program that serves one route in this way; of a peer, of the program that was
    /// measured.
    pub program_bytes: Option<u64>,
    /// Memory of an idle keep-alive connection, in bytes.
    pub idle_connection_bytes: Option<f64>,
    /// Memory of an idle WebSocket, in bytes.
    pub idle_websocket_bytes: Option<f64>,
}

/// One row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CaseRecord {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub title: String,
    /// Of each subject its runs in a closed loop, in order; `closed[a][i]` and `closed[b][i]` ran one
    /// right after the other. Empty for a subject that does not serve this row.
    pub closed: Vec<Vec<Run>>,
    /// Runs at fixed rates, from the lowest.
    pub paced: Vec<Paced>,
    /// Of each subject what was counted in runs of their own.
    pub counts: Vec<Counts>,
    /// Subjects that do not serve this row, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// Runs at one rate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Paced {
    /// The rate, as a share of what the slowest subject can do.
    pub share: f64,
    /// The rate, per second.
    pub per_second: f64,
    /// Of each subject its runs, as in [`CaseRecord::closed`].
    pub runs: Vec<Vec<Run>>,
}

/// Counted per request; none where it could not be counted.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Blocks asked of the allocator.
    pub allocations: Option<f64>,
    /// Bytes asked of the allocator.
    pub allocated_bytes: Option<f64>,
    /// System calls.
    pub syscalls: Option<f64>,
    /// Instructions outside the kernel.
    pub instructions: Option<f64>,
}

/// One run: a fresh server, a warm-up, a load.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// What the load generator saw.
    pub outcome: Outcome,
    /// Time on a core, all threads of the server, in seconds.
    pub cpu_seconds: f64,
    /// The part of it outside the kernel.
    pub user_seconds: f64,
    /// Time in which a thread of the server was ready and had no core, in seconds.
    pub waited_seconds: f64,
    /// How often a thread of the server went to sleep.
    pub switches: u64,
    /// How often one had to leave its core.
    pub preemptions: u64,
    /// Calls of `io_uring_enter`, where the backend counts them.
    pub enters: Option<u64>,
    /// Memory at the end that no file backs (heap, stacks, pools), in bytes: not the RSS, which has the
    /// program's own pages in it too.
    pub resident_bytes: u64,
    /// From the server's start to the moment it listened, in seconds.
    pub start_up_seconds: f64,
    /// Why the run must not be believed, if so.
    pub problem: Option<String>,
}

impl Record {
    /// What to know of the sides' names, where they could mislead.
    pub fn about_names(&self) -> Option<&'static str> {
        let is_hyper = |subject: &SubjectRecord| subject.label.starts_with("hyper");
        self.subjects.iter().any(is_hyper).then_some(
            "hyper here is axum::serve, which runs on hyper, with TCP_NODELAY; hyper-default is axum::serve \
             as it comes, and hyper-alone is hyper without axum.",
        )
    }

    /// Reads a record that was written before.
    ///
    /// # Errors
    /// When there is none, or it is of another version.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| {
            format!("{} is no record of this version: {error}", path.display()).into()
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string(self)?)
            .map_err(|error| format!("{} cannot be written: {error}", path.display()).into())
    }
}
