//! The crates' own sources, for tests that read them: without comments, and without what is compiled for tests
//! only.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of code.
pub struct Line {
    /// Crate and file, as `zero-runtime/pool/arena.rs`.
    pub file: String,
    pub number: usize,
    pub code: String,
}

/// All lines of the crates' `src`, but for files and folders of tests.
pub fn lines(crates: &[&str]) -> Vec<Line> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut lines = Vec::new();
    for name in crates {
        let src = workspace.join(name).join("src");
        let mut all = Vec::new();
        files(&src, &mut all);
        assert!(!all.is_empty(), "{name} has sources");
        for path in all {
            let within = path.strip_prefix(&src).unwrap().to_str().unwrap();
            if within.contains("tests") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            lines.extend(code(&text).into_iter().map(|(number, code)| Line {
                file: format!("{name}/{within}"),
                number,
                code,
            }));
        }
    }
    lines
}

fn files(path: &Path, all: &mut Vec<PathBuf>) {
    if path.is_file() {
        return all.push(path.to_owned());
    }
    let entries = fs::read_dir(path).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().for_each(|entry| files(entry, all));
}

/// The numbered lines of a file, without comments and without its modules of tests: those behind
/// `#[cfg(test)]`, up to the brace that ends them in the first column. Other items behind one are code like all.
pub fn code(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let is_for_tests = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        if is_for_tests {
            while lines.next_if(|(_, line)| line.starts_with("#[")).is_some() {}
            if lines
                .next_if(|(_, line)| is_module(line) && line.ends_with('{'))
                .is_some()
            {
                lines.by_ref().find(|(_, line)| *line == "}");
            }
            continue;
        }
        let code = line.split("//").next().unwrap_or_default();
        kept.push((at + 1, code.to_owned()));
    }
    kept
}

fn is_module(line: &str) -> bool {
    ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
        .iter()
        .any(|start| line.starts_with(start))
}
