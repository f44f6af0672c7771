//! What the load generator says of a server whose every answer is known: latencies at a fixed rate without
//! coordinated omission, failures of every kind, what is counted and what is not.
//!
//! The server is scripted ([`server`]). Bounds that a slow machine could break are told [`at_any_pace`].

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use zero_bench::load::{self, Exchange, LatencySummary, Moment, Outcome, Pace, Plan};

use crate::patience::at_any_pace;
use crate::server::{Act, Scripted, Stall, exchange, response};

mod failures;
#[path = "../../../zero-runtime/tests/support/patience.rs"]
mod patience;
mod server;

/// Connections of every load here.
const CONNECTIONS: usize = 4;
/// Requests that are due while the server stands still.
const DUE_IN_STALL: u64 = 200;
/// The request with which it stands still.
const STALL_FROM: u64 = 300;

fn hello() -> Vec<u8> {
    response(200, "hello")
}

fn plan(server: &Scripted, exchanges: Vec<Exchange>) -> Plan {
    let mut plan = Plan::new(server.addr, exchanges);
    plan.connections = CONNECTIONS;
    plan.warm_up = Duration::ZERO;
    plan
}

fn hello_plan(server: &Scripted) -> Plan {
    plan(server, vec![exchange("/", &hello(), 1)])
}

/// Runs it; none where the kernel refuses io_uring.
fn run(plan: &Plan, observe: impl FnMut(Moment)) -> Option<Outcome> {
    match load::run(plan, observe) {
        Ok(outcome) => Some(outcome),
        Err(error) if error.to_string().contains("cannot use io_uring") => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// How many took at least so long, by what is kept of a run.
fn at_least(latency: &LatencySummary, time: Duration) -> u64 {
    let histogram = latency.histogram().expect("kept");
    let ns = time.as_nanos() as u64;
    // The histogram knows three digits: what is equal in them is as long.
    let is_as_long = |value: u64| value >= histogram.lowest_equivalent(ns);
    let slow = histogram
        .iter_recorded()
        .filter(|step| is_as_long(step.value_iterated_to()));
    slow.map(|step| step.count_since_last_iteration()).sum()
}

/// A server that stands still for `unit` from [`STALL_FROM`] on, loaded for five units.
fn stalled(unit: Duration, pace: Pace) -> Option<Outcome> {
    let stall = Stall::new(STALL_FROM, unit);
    let server = Scripted::start(move |asked| {
        stall.hold(asked.of_all);
        Act::Say(hello())
    });
    let mut plan = hello_plan(&server);
    plan.pace = pace;
    plan.duration = 5 * unit;
    run(&plan, |_| {})
}

#[test]
fn at_a_fixed_rate_a_stall_is_felt_by_all_who_came_meanwhile() {
    at_any_pace(|unit| {
        let rate = DUE_IN_STALL as f64 / unit.as_secs_f64();
        let Some(outcome) = stalled(unit, Pace::Open(rate)) else {
            return;
        };
        assert_eq!(outcome.first_failure, None);
        // The schedule does not wait for the server: five units of requests were due, and all were sent.
        assert_eq!(outcome.answers, 5 * DUE_IN_STALL);
        assert_eq!((outcome.latency.count, outcome.unanswered), (1000, 0));
        // Whoever came when it had still so much to go waited so long: latencies fall in equal steps. A machine
        // that is slow itself can only add to them.
        for tenths in 1..10 {
            let came_before = DUE_IN_STALL * (10 - tenths) / 10;
            let slow = at_least(&outcome.latency, unit * tenths as u32 / 10);
            assert!(
                slow + 2 >= came_before,
                "{slow} of {came_before} waited for {tenths} tenths"
            );
        }
        // And nobody else did.
        let slow = at_least(&outcome.latency, unit / 2);
        assert!(slow <= DUE_IN_STALL, "{slow} waited");
    });
}

#[test]
fn in_a_closed_loop_a_stall_is_felt_once_on_each_connection() {
    at_any_pace(|unit| {
        let Some(outcome) = stalled(unit, Pace::Closed) else {
            return;
        };
        assert_eq!(outcome.first_failure, None);
        assert!(
            outcome.answers > STALL_FROM,
            "{} were answered",
            outcome.answers
        );
        assert_eq!(at_least(&outcome.latency, unit / 2), CONNECTIONS as u64);
    });
}

#[test]
fn what_is_answered_while_warming_up_is_not_counted() {
    at_any_pace(|unit| {
        for pace in [
            Pace::Closed,
            Pace::Open(DUE_IN_STALL as f64 / unit.as_secs_f64()),
        ] {
            let server = Scripted::start(|_| Act::Say(hello()));
            let mut plan = hello_plan(&server);
            (plan.warm_up, plan.duration, plan.pace) = (unit, unit, pace);
            let mut seen = Vec::new();
            let requests = || server.counts.requests.load(SeqCst);
            let Some(outcome) = run(&plan, |_| seen.push(requests())) else {
                return;
            };
            let [before, after] = seen[..] else {
                panic!("observed {} times", seen.len())
            };
            // Each connection may have had an answer under way at either moment.
            let under_way = 2 * CONNECTIONS as u64;
            assert!(before > 2 * under_way, "{before} while warming up");
            let counted = outcome.answers;
            assert!(
                counted.abs_diff(after - before) <= under_way,
                "{counted} counted, {before} before and {after} at the end"
            );
            assert_eq!(outcome.latency.count, counted);
        }
    });
}

#[test]
fn with_churn_every_answer_has_a_connection_of_its_own() {
    at_any_pace(|unit| {
        let server = Scripted::start(|_| Act::SayAndClose(hello()));
        let mut plan = hello_plan(&server);
        plan.churn = true;
        plan.duration = unit;
        let Some(outcome) = run(&plan, |_| {}) else {
            return;
        };
        assert_eq!(outcome.first_failure, None);
        let under_way = CONNECTIONS as u64;
        assert!(outcome.answers > 10 * under_way, "{}", outcome.answers);
        assert!(
            outcome.connects.abs_diff(outcome.answers) <= under_way,
            "{} connections, {} answers",
            outcome.connects,
            outcome.answers
        );
        assert_eq!(server.counts.most_on_one.load(SeqCst), 1);
        assert!(server.counts.accepted.load(SeqCst) >= outcome.answers);
    });
}

#[test]
fn requests_of_a_pipeline_are_sent_without_waiting() {
    const DEPTH: u64 = 8;
    // Nothing is answered before all of them have come.
    let server = Scripted::start(|asked| match (asked.nth + 1) % DEPTH {
        0 => Act::Say(hello().repeat(DEPTH as usize)),
        _ => Act::Ignore,
    });
    at_any_pace(|unit| {
        let mut plan = hello_plan(&server);
        plan.pipeline = DEPTH as usize;
        plan.duration = unit / 2;
        let Some(outcome) = run(&plan, |_| {}) else {
            return;
        };
        assert_eq!(outcome.first_failure, None);
        assert!(outcome.answers > 4 * DEPTH, "{}", outcome.answers);
        assert_eq!(outcome.latency.count, outcome.answers);
    });
}

#[test]
fn requests_of_a_mix_keep_their_shares_and_their_latencies_apart() {
    at_any_pace(|unit| {
        let slowness = unit / 20;
        let server = Scripted::start(move |asked| match asked.path {
            "/slow" => {
                std::thread::sleep(slowness);
                Act::Say(response(200, "slow"))
            }
            _ => Act::Say(hello()),
        });
        let mix = vec![
            exchange("/fast", &hello(), 3),
            exchange("/slow", &response(200, "slow"), 1),
        ];
        let mut plan = plan(&server, mix);
        plan.duration = unit;
        let Some(outcome) = run(&plan, |_| {}) else {
            return;
        };
        assert_eq!(outcome.first_failure, None);
        let [(fast, quick), (slow, late)] = &outcome.by_label[..] else {
            panic!("{:?}", outcome.by_label)
        };
        assert_eq!((&**fast, &**slow), ("/fast", "/slow"));
        assert_eq!(quick.count + late.count, outcome.latency.count);
        // A round of turns is three and one; of the last, some are under way.
        let rounds = 4 + CONNECTIONS as u64;
        assert!(late.count > 3 && quick.count.abs_diff(3 * late.count) <= 3 * rounds);
        assert_eq!(at_least(late, slowness), late.count);
        assert!(at_least(quick, slowness) < quick.count / 2, "{quick:?}");
        let all = outcome.latency.histogram().expect("kept");
        let mut sum = quick.histogram().expect("kept");
        sum.add(late.histogram().expect("kept")).expect("as wide");
        assert_eq!(sum, all);
    });
}
