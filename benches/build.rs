//! Tells the benchmark what it was built with, for its reports.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What serves, and what it serves with.
const TOLD: [&str; 5] = ["axum", "hyper", "tokio", "http", "io-uring"];

fn main() {
    let said = |name: &str| env::var(name).unwrap_or_default();
    let rustc = Command::new(said("RUSTC")).arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("cargo::rerun-if-changed=build.rs");
    // Of the workspace that builds this, which may be a user's: the target folder lies in it.
    let out = PathBuf::from(said("OUT_DIR"));
    let mut locks = out.ancestors().map(|folder| folder.join("Cargo.lock"));
    let lock = locks.find(|lock| lock.exists()).map(|lock| {
        println!("cargo::rerun-if-changed={}", lock.display());
        fs::read_to_string(lock).unwrap_or_default()
    });
    let lock = lock.unwrap_or_default();
    let mut told = vec![
        rustc.unwrap_or_else(|_| "unknown compiler".into()),
        format!("opt-level {}", said("OPT_LEVEL")),
    ];
    for name in TOLD {
        let package = format!("[[package]]\nname = \"{name}\"\nversion = \"");
        // The last of several is the newest.
        let versions = lock.split(&package).skip(1);
        let version = versions.last().and_then(|rest| rest.split('"').next());
        told.extend(version.map(|version| format!("{name} {version}")));
    }
    println!("cargo::rustc-env=ZERO_BENCH_BUILT_WITH={}", told.join(", "));
}
