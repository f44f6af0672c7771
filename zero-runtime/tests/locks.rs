//! No lock of ours is on a request's way: the modules it passes name none.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// What a request passes, under `src`.
const HOT: [&str; 21] = [
    "body.rs",
    "bridge",
    "dispatch.rs",
    "driver.rs",
    "message",
    "pool",
    "proto",
    "protocol",
    "raw",
    "overload.rs",
    "ring",
    "runtime",
    "service",
    "service.rs",
    "shard",
    "slots.rs",
    "standby.rs",
    "time.rs",
    "timer.rs",
    "waking.rs",
    "worker",
];

/// Taken once for a connection: each time it changes its shard, and where
/// `connections_per_peer_max` is set.
const EXCEPT: [&str; 2] = ["bridge/arrivals.rs", "bridge/peers.rs"];

const LOCKS: [&str; 6] = [
    "Mutex",
    "RwLock",
    "Condvar",
    "parking_lot",
    "Semaphore",
    "Barrier",
];

fn files(path: &Path, all: &mut Vec<PathBuf>) {
    if path.is_file() {
        return all.push(path.to_owned());
    }
    for entry in fs::read_dir(path).unwrap() {
        files(&entry.unwrap().path(), all);
    }
}

/// The code of a file, without its comments and its tests, which stand last.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_test =
        |line: &str| line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
    let lines = text.lines().enumerate();
    lines
        .take_while(move |(_, line)| !is_test(line))
        .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
}

#[test]
fn no_module_on_a_requests_way_names_a_lock() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    HOT.iter().for_each(|name| files(&src.join(name), &mut all));
    assert!(all.len() > 60, "{} files are not all of them", all.len());
    let mut found = Vec::new();
    for file in all {
        let name = file
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if EXCEPT.contains(&&*name) || name.contains("test") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (at, line) in code(&text) {
            if LOCKS.iter().any(|lock| line.contains(lock)) {
                found.push(format!("{name}:{at}: {line}"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "locks on a request's way:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_lock_would_be_found() {
    let text =
        "// A Mutex would be slow.\nuse std::sync::Mutex;\n#[cfg(test)]\nmod tests {\nRwLock\n}\n";
    let found: Vec<_> = code(text)
        .filter(|(_, line)| line.contains("Mutex"))
        .collect();
    assert_eq!(found, [(2, "use std::sync::Mutex;")]);
    assert!(!code(text).any(|(_, line)| line.contains("RwLock")));
}
