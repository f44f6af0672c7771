//! Instructions, counted by callgrind: figures that hardly move between runs, on any machine.
//!
//! [`per_request`] counts any server, roughly. [`between_marks`] counts one of this package's, and [`parts`]
//! the operations of [`ops`](crate::ops); what these say agrees within a fraction of a percent, so that
//! a rise of two is one. Instructions of the kernel are not seen.

mod baseline;
mod life;
mod marks;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

pub use baseline::{ALLOWED_RISE, Baseline, Change};
pub use life::per_request;
pub use marks::{MARK_PATH, between_marks, count_here, mark, parts};

use crate::args::Failure;
use crate::compare::subject::find_program;

fn require_valgrind() -> Result<(), Failure> {
    match find_program("valgrind") {
        Some(_) => Ok(()),
        None => Err("valgrind is not installed; run: apt-get install valgrind".into()),
    }
}

/// Callgrind around `program`, which is still to get its arguments.
fn under_callgrind(out: &Path, program: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["-q", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(format!("--dump-before={}", marks::PATTERN))
        .arg(program)
        .stderr(Stdio::null());
    command
}

fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The sum over the program in callgrind's file.
fn total(out: &Path) -> Result<f64, Failure> {
    let text =
        fs::read_to_string(out).map_err(|error| format!("callgrind wrote no counts: {error}"))?;
    let sums = text.lines().filter_map(|line| {
        let sum = line
            .strip_prefix("totals:")
            .or_else(|| line.strip_prefix("summary:"))?;
        sum.split_whitespace().next()?.parse::<f64>().ok()
    });
    sums.reduce(f64::max)
        .ok_or_else(|| "callgrind's file has no sum".into())
}
