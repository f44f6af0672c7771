//! The deterministic simulation: whole shards on a kernel, a network, peers, workers and a clock
//! that all follow from one seed.
//!
//! * [`kernel`], [`accept`], [`ops`], [`ring`]: sockets, their operations and faults; the edge that
//!   holds a shard to its contract.
//! * [`lent`]: sockets that workers write to.
//! * [`script`], [`request`], [`peer`], [`answers`]: clients, and what they may get.
//! * [`plan`], [`app`], [`body`], [`spawn`]: the application under test, and its tasks.
//! * [`polls`]: the time that handlers take, and what must follow from it.
//! * [`world`], [`run`]: put them together, move the time, and check what is left at the end.
//! * [`raw`]: the same world around shards whose loop is somebody else's.
//!
//! A failure prints the line that replays it. What is not simulated: preemption
//! inside a step (tasks run between a shard's calls of its ring, never within one), memory orders
//! (loom's), kernels that lie.

mod accept;
mod answers;
mod app;
mod body;
mod kernel;
mod lent;
mod ops;
mod peer;
mod plan;
mod polls;
mod raw;
mod request;
mod ring;
mod rng;
mod run;
mod script;
mod spawn;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use self::run::{Report, Run};
use crate::overload::{Change, Level};

/// Runs one seed; says how to replay it if it fails.
fn simulate(seed: u64) -> Report {
    replayable(seed, "simulation_seeds", || {
        Run::new(seed, 1, chosen_seed().is_some()).run()
    })
}

/// The same with two shards, or three.
fn simulate_several(seed: u64) -> Report {
    replayable(seed, "several_shards", || {
        let shards = 2 + (seed % 4 == 3) as usize;
        Run::new(seed, shards, chosen_seed().is_some()).run()
    })
}

/// Says how to run `seed` again with the test of this name if it fails.
fn replayable<T>(seed: u64, test: &str, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        eprintln!("ZERO_SIM_SEED={seed} cargo test -p zero-runtime --lib {test}");
        resume_unwind(panic)
    })
}

/// The one seed to run, if there is to be only one.
fn chosen_seed() -> Option<u64> {
    std::env::var("ZERO_SIM_SEED").ok()?.parse().ok()
}

/// So many of [`REGRESSIONS`] failed before handlers took time, and shards dozed: they go as they did then.
const OF_OLD: usize = 10;
/// Seeds that once failed, and what they found.
const REGRESSIONS: [(u64, &str); 10] = [
    (
        179,
        "an end of stream forgotten while half a request waited in the carry",
    ),
    (830, "likewise"),
    (
        1930,
        "a connection accepted while terminating was served and never ended",
    ),
    (
        2,
        "a maker that panicked later left its connection open for ever",
    ),
    (
        1_753_196_425_061_210,
        "a chunk's first byte in a large buffer kept bodies from coming, its own rest included",
    ),
    (
        1_753_198_337_019_522,
        "a handler that never read its body kept everybody from being accepted",
    ),
    (
        1_753_203_694_513_992,
        "the last connection went between two turns: its bytes stayed on the gauge",
    ),
    (
        1_753_209_679_804_230,
        "a body that was to have a buffer of its own, and got none, was watched and told of without end",
    ),
    (
        1_753_209_979_790_526,
        "of those who found no buffer the same one always went first, until another one was cut for silence",
    ),
    (
        1_753_270_850_685_289,
        "a receive that found no buffer, and was asked for anew when a loan was settled, was asked for once more",
    ),
];

/// Whether it is to go as it did before simulations learnt more.
fn is_of_old(seed: u64) -> bool {
    REGRESSIONS[..OF_OLD]
        .iter()
        .any(|(of_old, _)| *of_old == seed)
}

/// What a shard does when it is short of something.
const WAYS_OF_GIVING_WAY: [&str; 3] = ["shed_idle", "shed_silent", "shed_stalled"];

/// Every change of level there can be: each thing that runs out goes up and down by single steps.
fn every_overload_step() -> BTreeSet<(&'static str, Change)> {
    let up = [Level::Warning, Level::Critical, Level::Drain].map(Change::Rose);
    let down = [Level::Critical, Level::Warning, Level::Healthy].map(Change::Fell);
    let steps = up.into_iter().chain(down);
    steps
        .flat_map(|step| ["buffers", "connections"].map(|of| (of, step)))
        .collect()
}

/// What becomes of connections that are lent, whoever comes first.
const WAYS_OF_A_LOAN: [&str; 3] = ["direct_replies", "direct_bytes_out", "loans_awaited"];

/// What becomes of requests whose handlers take their time.
const WAYS_OF_A_CLASS: [&str; 4] = ["promotions", "demotions", "stalls", "polls_excused"];

/// What all runs came to.
#[derive(Default)]
struct Sum {
    answered: usize,
    /// Shards woken that had announced sleep while a worker wrote.
    wakes: u64,
    /// Classes that came back to the shard.
    returns: u64,
    /// What they counted, by name.
    counts: BTreeMap<&'static str, u64>,
    overload_steps: BTreeSet<(&'static str, Change)>,
}

fn sum_of(reports: impl Iterator<Item = Report>) -> Sum {
    let mut sum = Sum::default();
    for report in reports {
        sum.answered += report.answered;
        sum.wakes += report.wakes;
        sum.returns += report.returns;
        for (name, count) in report.stats.iter() {
            *sum.counts.entry(name).or_insert(0) += count;
        }
        sum.overload_steps.extend(report.overload_steps);
    }
    sum
}

#[test]
fn simulation_seeds() {
    if let Some(seed) = chosen_seed() {
        println!("{:?}", simulate(seed));
        return;
    }
    let sum = sum_of((0..200).map(simulate));
    assert!(
        sum.answered > 1000,
        "the simulation serves hardly anything: {} answers",
        sum.answered
    );
    let ways = WAYS_OF_GIVING_WAY.into_iter().chain(WAYS_OF_A_LOAN);
    for way in ways.chain(WAYS_OF_A_CLASS) {
        assert!(sum.counts[way] > 0, "no seed has any {way}");
    }
    assert!(sum.wakes > 0, "no shard dozes while workers write");
    assert!(sum.returns > 0, "no class comes back to the shard");
    assert_eq!(sum.overload_steps, every_overload_step());
}

/// What shards do with each other's connections: seeds lead to all of it.
const WAYS_OF_SHARING: [&str; 4] = [
    "connections_given",
    "connections_moved",
    "standbys",
    "standby_recalls",
];

#[test]
fn several_shards() {
    if let Some(seed) = chosen_seed() {
        println!("{:?}", simulate_several(seed));
        return;
    }
    let sum = sum_of((0..100).map(simulate_several));
    let answered = sum.answered;
    assert!(answered > 500, "{answered} answers are hardly any");
    for way in WAYS_OF_SHARING {
        assert!(sum.counts[way] > 0, "no seed has any {way}");
    }
}

#[test]
fn simulation_regressions() {
    for (seed, found) in REGRESSIONS {
        println!("seed {seed}: {found}");
        simulate(seed);
    }
}

#[test]
fn replays_are_identical() {
    for seed in (1000..1040).chain(chosen_seed()) {
        assert_eq!(simulate(seed), simulate(seed), "seed {seed}");
    }
    for seed in (1000..1020).chain(chosen_seed()) {
        assert_eq!(
            simulate_several(seed),
            simulate_several(seed),
            "seed {seed}"
        );
    }
}

/// Fresh seeds for `ZERO_SIM_SECONDS`, 2 by default.
#[test]
fn simulation_for_a_while() {
    let seconds = std::env::var("ZERO_SIM_SECONDS").ok();
    let seconds = seconds
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(2);
    let started = Instant::now();
    let first: u64 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64 >> 10);
    // Before the first of them, for one may never end.
    println!("simulating seeds from {first}");
    let mut seed = first;
    let mut answered = 0;
    while chosen_seed().is_none() && started.elapsed() < Duration::from_secs(seconds) {
        answered += simulate(seed).answered;
        // Shards of which others own the loop have fewer ways of going wrong.
        if seed.is_multiple_of(8) {
            raw::simulate_both(seed);
        }
        if seed.is_multiple_of(3) {
            simulate_several(seed);
        }
        seed += 1;
    }
    let seeds = seed - first;
    println!("simulated {seeds} seeds from {first}: {answered} answers");
    assert!(seeds < 100 || answered > 0, "nobody was answered");
}
