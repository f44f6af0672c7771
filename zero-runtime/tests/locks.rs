//! No lock of ours is on a request's way: no module names one, but those that say here what for.
#![forbid(unsafe_code)]

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;

const CRATES: [&str; 3] = ["zero-runtime", "zero-axum", "zero-tower-layers"];

/// Whatever may make a thread wait for another, under any name.
const LOCKS: [&str; 16] = [
    "Mutex",
    "RwLock",
    "Condvar",
    "parking_lot",
    "Semaphore",
    "Barrier",
    "OnceLock",
    "LazyLock",
    "Once::",
    "spin_loop",
    "yield_now",
    "watch::",
    "Notify",
    "mpsc",
    "oneshot",
    "broadcast",
];

/// Files, what they may name, and why no request waits for it. A folder ends with `/`.
const EXCEPT: &[(&str, &[&str], &str)] = &[
    // Once for a server: starting and ending.
    (
        "zero-runtime/server.rs",
        &["mpsc"],
        "shards report that they started",
    ),
    (
        "zero-runtime/lifecycle.rs",
        &["Mutex", "watch::"],
        "who waits for the server's end; its listeners",
    ),
    (
        "zero-runtime/phase.rs",
        &["Mutex", "watch::"],
        "turns read the number beside it; sockets that left the ring are kept in it",
    ),
    // Once for a connection, at most.
    (
        "zero-runtime/bridge/arrivals.rs",
        &["Mutex"],
        "a connection changes its shard",
    ),
    (
        "zero-runtime/bridge/peers.rs",
        &["Mutex"],
        "connections_per_peer_max is set",
    ),
    (
        "zero-runtime/shard/accept.rs",
        &["oneshot"],
        "a service is made that is not there at once",
    ),
    ("zero-runtime/shard/conn.rs", &["oneshot"], "the same"),
    (
        "zero-runtime/upgrade.rs",
        &["Mutex", "oneshot"],
        "a connection is upgraded",
    ),
    ("zero-axum/upgrade.rs", &["Mutex"], "the same"),
    (
        "zero-axum/make.rs",
        &["Mutex"],
        "a make service of the application's makes a service",
    ),
    // Without a lock: nobody sleeps, or who does has nothing to do.
    (
        "zero-runtime/bridge/baton.rs",
        &["spin_loop", "yield_now"],
        "while a relief takes over from a stuck worker",
    ),
    (
        "zero-runtime/bridge/reply.rs",
        &["yield_now"],
        "a shard that panics while somebody answers for it, until that send is done",
    ),
    (
        "zero-runtime/shard/wait.rs",
        &["spin_loop", "yield_now"],
        "a shard without news",
    ),
    (
        "zero-runtime/worker/spinner.rs",
        &["spin_loop"],
        "a worker without calls",
    ),
    (
        "zero-runtime/worker/turns.rs",
        &["yield_now"],
        "gives its core to the shard that shares it",
    ),
    (
        "zero-runtime/time.rs",
        &["OnceLock"],
        "the clock's origin: a load once it is set",
    ),
    (
        "zero-runtime/pool/slot.rs",
        &["Mutex"],
        "loom's, where loom cannot look into the queue",
    ),
    (
        "zero-tower-layers/compression/coder.rs",
        &["Mutex"],
        "makes an encoder `Sync`; reached through `get_mut` only",
    ),
    (
        "zero-tower-layers/cors/rules/questions.rs",
        &["Mutex"],
        "an async predicate of the application's is asked: boxes lie there between requests",
    ),
    (
        "zero-tower-layers/kept.rs",
        &["OnceLock"],
        "what layers keep for ever: a load once it is set",
    ),
    // Not our engine, and not in the server.
    (
        "zero-runtime/worker/direct/story.rs",
        &["Mutex"],
        "tests tell their stories with it",
    ),
    (
        "zero-runtime/fallback/",
        &["Semaphore"],
        "hyper in io_uring's place: a connection's place",
    ),
    ("zero-axum/fallback.rs", &["Semaphore"], "the same"),
    ("zero-axum/accept.rs", &["Semaphore"], "the same"),
];

fn excepted(file: &str, lock: &str) -> Option<usize> {
    EXCEPT.iter().position(|(name, locks, _)| {
        let is_it = file == *name || name.ends_with('/') && file.starts_with(name);
        is_it && locks.contains(&lock)
    })
}

#[test]
fn no_module_on_a_requests_way_names_a_lock() {
    let lines = sources::lines(&CRATES);
    let mut found = String::new();
    let mut needed = BTreeSet::new();
    for line in lines {
        for lock in LOCKS.into_iter().filter(|lock| line.code.contains(lock)) {
            match excepted(&line.file, lock) {
                Some(exception) => _ = needed.insert(exception),
                None if line.file.starts_with("zero-runtime/sim/") => {}
                None => found += &format!("{}:{}: {}\n", line.file, line.number, line.code),
            }
        }
    }
    assert!(found.is_empty(), "locks on a request's way:\n{found}");
    for (at, (file, locks, _)) in EXCEPT.iter().enumerate() {
        assert!(
            needed.contains(&at),
            "{file} needs no exception for {locks:?}"
        );
    }
}

#[test]
fn a_lock_would_be_found() {
    let text = "#[cfg(test)]\nuse crate::of_tests;\n// A Mutex would be slow.\nuse std::sync::Mutex;\n\
        #[cfg(test)]\n#[allow(x)]\nmod tests {\n    RwLock\n}\nuse std::sync::Condvar;\n";
    let found: Vec<_> = sources::code(text)
        .into_iter()
        .filter(|(_, line)| LOCKS.iter().any(|lock| line.contains(lock)))
        .collect();
    let expected = [
        (4, "use std::sync::Mutex;"),
        (10, "use std::sync::Condvar;"),
    ];
    assert_eq!(found, expected.map(|(at, line)| (at, line.to_owned())));
}

/// What stands behind the first `#[cfg(test)]` of a file is read, too.
#[test]
fn files_are_read_to_their_ends() {
    let lines = sources::lines(&CRATES);
    let files: BTreeSet<_> = lines.iter().map(|line| &line.file).collect();
    assert!(
        files.len() > 150,
        "{} files are not all of them",
        files.len()
    );
    let is_read = |file: &str, code: &str| {
        let has = |line: &&sources::Line| line.file == file && line.code.contains(code);
        assert!(lines.iter().any(|line| has(&line)), "{code} of {file}");
    };
    is_read("zero-runtime/runtime/mod.rs", "pub fn run_sync");
    is_read("zero-runtime/shard/mod.rs", "fn step");
}
