//! Requests that nobody thought of, for as long as there is time.
//!
//! `ZERO_DIFF_SECONDS` sets how long each mode has (default: 2). Every difference is told with its
//! seed; `ZERO_DIFF_SEED` plays that one again, alone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::mutations::steps;
use crate::play::{App, Servers};
use crate::support::Mode;

/// Differences after which a run ends.
const DIFFERENCES_MAX: usize = 8;

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn generated(mode: Mode) {
    let servers = Servers::start(mode, App::Reading);
    if let Some(seed) = variable("ZERO_DIFF_SEED") {
        let steps = steps(seed);
        eprintln!("seed {seed}: {steps:?}");
        let difference = servers.difference(&steps);
        if let Some(difference) = difference {
            panic!("{difference}");
        }
        return;
    }
    let seconds = variable("ZERO_DIFF_SECONDS").unwrap_or(2);
    let from = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let run = Run {
        servers: &servers,
        until: Instant::now() + Duration::from_secs(seconds),
        next: AtomicU64::new(from),
        found: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| run.go());
        }
    });
    let played = run.next.load(Ordering::Relaxed) - from;
    eprintln!("{mode:?}: {played} exchanges, seeds from {from}");
    let found = run.found.into_inner().unwrap();
    assert!(found.is_empty(), "answers differ:\n{}", found.join("\n"));
}

struct Run<'a> {
    servers: &'a Servers,
    until: Instant,
    next: AtomicU64,
    found: Mutex<Vec<String>>,
}

impl Run<'_> {
    fn go(&self) {
        while Instant::now() < self.until {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            let steps = steps(seed);
            let Some(difference) = self.servers.difference(&steps) else {
                continue;
            };
            if difference.is_in_manners_only() {
                continue;
            }
            let mut found = self.found.lock().unwrap();
            found.push(format!(
                "ZERO_DIFF_SEED={seed}\n  sent: {steps:?}\n{difference}\n"
            ));
            if found.len() >= DIFFERENCES_MAX {
                return;
            }
        }
    }
}

#[test]
fn io_uring_inline() {
    Mode::IoUringInline.run("generated", generated);
}

#[test]
fn io_uring_workers() {
    Mode::IoUringWorkers.run("generated", generated);
}
