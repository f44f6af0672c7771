//! What must not compile: borrowed input that is kept, and slots used out of turn.
//!
//! Each case in `compile_fail` marks the line that is refused and why: `//~ E0499`. That and no wording is what
//! is asserted, so that compilers may change their words.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cases are compiled: a copy, since what the compiler says is written beside them.
fn copied() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail")
}

fn cases(of: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = all
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    cases.sort();
    cases
}

/// The marks of a case, as `(line, code)`.
fn marked(source: &str) -> Vec<(usize, String)> {
    let lines = source.lines().enumerate();
    let marks =
        lines.filter_map(|(at, line)| Some((at + 1, line.split_once("//~ ")?.1.to_owned())));
    marks.collect()
}

/// The errors that the compiler told of, as `(line, code)`: `lifetime` for those that have no code.
fn told(stderr: &str) -> Vec<(usize, String)> {
    let mut errors = Vec::new();
    let mut lines = stderr.lines();
    while let Some(line) = lines.next() {
        let code = match line.strip_prefix("error") {
            Some(": lifetime may not live long enough") => "lifetime",
            Some(coded) if coded.starts_with('[') => coded[1..].split(']').next().unwrap(),
            _ => continue,
        };
        let place = lines
            .by_ref()
            .find(|line| line.trim_start().starts_with("--> "));
        let at = place.and_then(|place| place.split(':').nth(1)?.parse().ok());
        errors.push((at.expect("an error has a place"), code.to_owned()));
    }
    errors
}

/// Run by the other test, in a process of its own: trybuild is told by the environment to keep what the compiler says.
#[test]
#[ignore = "started by what_must_not_compile_does_not"]
fn compile_each_case() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail(copied().join("*.rs"));
}

#[test]
fn what_must_not_compile_does_not() {
    let copied = copied();
    let _ = fs::remove_dir_all(&copied);
    fs::create_dir_all(&copied).unwrap();
    let sources = cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail"));
    assert!(sources.len() > 25, "{} are not all", sources.len());
    for source in &sources {
        fs::copy(source, copied.join(source.file_name().unwrap())).unwrap();
    }
    let compiled = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "compile_each_case", "--ignored"])
        .env("TRYBUILD", "overwrite")
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&compiled.stdout) + String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    let mut wrong = String::new();
    for case in cases(&copied) {
        let expected = marked(&fs::read_to_string(&case).unwrap());
        let stderr = fs::read_to_string(case.with_extension("stderr")).unwrap_or_default();
        let told = told(&stderr);
        // One thing may be wrong for two reasons, in one line.
        let is_told = matches!(&expected[..], [mark] if told.contains(mark)
            && told.iter().all(|(line, _)| *line == mark.0));
        if !is_told {
            wrong += &format!("{}: {expected:?}, not {told:?}\n{stderr}\n", case.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}{said}");
}

#[test]
fn marks_and_errors_are_read() {
    assert_eq!(marked("a\nb //~ E0499\n"), [(2, "E0499".to_owned())]);
    let stderr = "warning: unused\n --> x.rs:1:1\n\nerror[E0499]: cannot\n --> x.rs:9:13\n  |\n";
    assert_eq!(told(stderr), [(9, "E0499".to_owned())]);
}
