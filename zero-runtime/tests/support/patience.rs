//! How tests deal with time, on machines that are busy, slow, or stand still for a second: none may
//! fail for that, and each must fail for a bug.
//!
//! What must happen is waited for with [`PATIENCE`]. Where a story depends on what happens *within* a
//! time, or not before one, it is told [`at_any_pace`].

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// Longer than anything takes on a slow and busy machine; only failing tests wait for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The unit of each telling of a story: first quick, at last longer than machines stall.
const UNITS: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Tells a story that measures by the unit it is given; one that fails is told again, with a unit
/// several times longer, three times in all.
///
/// A machine that stalls may bend a telling whose unit is shorter than the stall, and only that one.
/// A bug spoils them all, unless it shows by chance: the last one's panic is the test's. So nothing but the
/// pace may differ between two tellings, and only stories that measure by the unit are told like this.
pub fn at_any_pace(story: impl Fn(Duration)) {
    let mut failure = None;
    for unit in UNITS {
        match catch_unwind(AssertUnwindSafe(|| story(unit))) {
            Ok(()) => return,
            Err(panic) => failure = Some(panic),
        }
        eprintln!("did not hold with a unit of {unit:?}");
    }
    resume_unwind(failure.expect("there are units"));
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
