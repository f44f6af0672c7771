//! What the command lines of this package have in common.

use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use lexopt::ValueExt as _;

/// What a program here fails with: a sentence for whoever ran it.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Runs a program and turns a failure into a line on stderr and exit code 1.
pub fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a program as [`exit_code`] does; asked for help it prints what its source says of it instead. `source`
/// is the text of its file.
pub fn program(source: &str, run: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{}", about(source));
        return ExitCode::SUCCESS;
    }
    exit_code(run())
}

/// The documentation on top of a file, without its marks.
fn about(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines: Vec<_> = lines.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
    lines.join("\n")
}

/// Parses the comma-separated value of the option just read.
///
/// # Errors
/// When the value is missing, or one of its items cannot be parsed.
pub fn list<T>(parser: &mut lexopt::Parser) -> Result<Vec<T>, Failure>
where
    T: FromStr,
    T::Err: Into<Failure>,
{
    let text = parser.value()?.string()?;
    text.split(',')
        .map(|item| item.trim().parse().map_err(Into::into))
        .collect()
}

/// Parses the value of the option just read, a time in seconds.
///
/// # Errors
/// When the value is missing, or no time.
pub fn seconds(parser: &mut lexopt::Parser) -> Result<Duration, Failure> {
    Ok(Duration::try_from_secs_f64(parser.value()?.parse()?)?)
}

/// Warns when the program was built without optimisations.
pub fn warn_if_debug_build() {
    if cfg!(debug_assertions) {
        eprintln!("warning: a debug build; its figures mean nothing. Build with --release.");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_program_says_what_its_file_says_of_it() {
        let source = "//! Counts.\n//!\n//! Run: `count`\n\nuse std::io;\n//! Not this.\n";
        assert_eq!(super::about(source), "Counts.\n\nRun: `count`");
    }
}
