//! Builds the programs that a comparison starts, when it was cargo that ran it: one command then measures the
//! sources as they are. Run by itself, a comparison takes the programs that lie beside it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use super::options::Options;
use super::subject::Subject;
use crate::args::Failure;
use crate::server::Home;

/// This package.
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Builds what `options` needs, with the profile and the features of this program, if `cargo run` started it.
///
/// # Errors
/// When cargo fails; it has said why.
pub fn build(options: &Options) -> Result<(), Failure> {
    let is_run_by_cargo = std::env::var_os("CARGO_MANIFEST_DIR").is_some_and(|dir| dir == PACKAGE);
    let (Some(cargo), true) = (std::env::var_os("CARGO"), is_run_by_cargo) else {
        return Ok(());
    };
    let program = std::env::current_exe()?;
    run(&cargo, own(options, &program)?)?;
    let is_peer = |home| matches!(home, Home::Peer(_));
    if options.subjects.iter().any(|s| is_peer(s.backend.home())) {
        let manifest = Path::new(PACKAGE).join("peers/Cargo.toml");
        let arguments = ["build".into(), "--release".into(), "--manifest-path".into()];
        run(&cargo, [&arguments[..], &[manifest.into()]].concat())?;
    }
    Ok(())
}

/// What cargo is asked for of this package.
fn own(options: &Options, program: &Path) -> Result<Vec<OsString>, Failure> {
    let folder = program.parent().ok_or("this program is in no folder")?;
    let target = folder
        .parent()
        .ok_or("this program is in no target folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let has_mimalloc = options.subjects.iter().any(|subject| subject.has_mimalloc);
    let features = [
        (cfg!(feature = "sqlite"), "sqlite"),
        (cfg!(feature = "mimalloc") || has_mimalloc, "mimalloc"),
    ];
    let features: Vec<_> = features.iter().filter(|f| f.0).map(|f| f.1).collect();
    let mut arguments: Vec<OsString> = ["build", "--package", "zero-bench", "--profile", profile]
        .map(OsString::from)
        .to_vec();
    // The same set of features as this program's own: another would compile everything anew.
    if cfg!(not(feature = "zero")) {
        arguments.push("--no-default-features".into());
    }
    if !features.is_empty() {
        arguments.extend(["--features".into(), features.join(",").into()]);
    }
    arguments.extend([
        "--manifest-path".into(),
        Path::new(PACKAGE).join("Cargo.toml").into(),
    ]);
    arguments.extend(["--target-dir".into(), target.into()]);
    let programs = [
        (true, "server"),
        (has_mimalloc, "server-mimalloc"),
        (options.cases.iter().any(|case| case.spinner), "spin"),
        (
            options.cases.iter().any(|case| case.asks("/db")),
            "database",
        ),
    ];
    let mut names: Vec<_> = programs.iter().filter(|p| p.0).map(|p| p.1).collect();
    if options.sizes && !options.is_quick {
        names.extend(options.subjects.iter().filter_map(Subject::minimal_name));
    }
    names.sort_unstable();
    names.dedup();
    for program in names {
        arguments.extend(["--bin".into(), program.into()]);
    }
    Ok(arguments)
}

fn run(cargo: &OsString, arguments: Vec<OsString>) -> Result<(), Failure> {
    let status = Command::new(cargo).args(&arguments).status()?;
    let words: Vec<_> = arguments.iter().map(|a| a.to_string_lossy()).collect();
    match status.success() {
        true => Ok(()),
        false => Err(format!("this failed: cargo {}", words.join(" ")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use crate::compare::options::Asked;
    use crate::scenario::SCENARIOS;
    use crate::server::Backend;

    fn programs(line: &str) -> Vec<String> {
        let cases = SCENARIOS.iter().map(Case::from).collect();
        let args = line.split_whitespace().map(OsString::from);
        let options = match Options::parse(args, cases, &[Backend::Hyper]) {
            Ok(Asked::Compare(options)) => options,
            other => panic!("{line}: {other:?}"),
        };
        let arguments = own(&options, Path::new("/somewhere/target/release/compare"));
        let words = arguments.expect("two folders").into_iter();
        let words: Vec<_> = words.map(|w| w.to_string_lossy().into_owned()).collect();
        assert!(
            words.windows(2).any(|w| w == ["--profile", "release"]),
            "{words:?}"
        );
        assert!(
            words
                .windows(2)
                .any(|w| w == ["--target-dir", "/somewhere/target"]),
            "{words:?}"
        );
        let pairs = words.windows(2).filter(|w| w[0] == "--bin");
        pairs.map(|w| w[1].clone()).collect()
    }

    #[test]
    fn what_is_started_is_built_and_nothing_else() {
        assert_eq!(programs("--scenario plain64"), ["minimal-hyper", "server"]);
        assert_eq!(programs("--quick --scenario sat256"), ["server", "spin"]);
        assert_eq!(
            programs("--quick --scenario plain1,db8"),
            ["database", "server"]
        );
        assert_eq!(
            programs("--scenario plain1 --backend hyper@mimalloc --no-counts"),
            ["server", "server-mimalloc"]
        );
    }
}
