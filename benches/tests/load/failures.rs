//! What is wrong with an answer, or with its absence, is told: each kind, once, and with its request's name.

use zero_bench::load::{self, Pace};

use crate::patience::{PATIENCE, at_any_pace};
use crate::server::{Act, Scripted, exchange, response};
use crate::{CONNECTIONS, DUE_IN_STALL, hello, hello_plan, plan, run};

/// One answer of one connection, and neither its first nor alone, is not as it should be.
#[test]
fn whatever_is_wrong_is_a_failure() {
    let head = "HTTP/1.1 200 Said\r\nContent-Length: 5\r\n\r\n";
    let wrong: [(Act, &str); 8] = [
        (Act::Say(response(200, "hellp")), "another body from byte 4"),
        (Act::Say(response(503, "hello")), "status 503, not 200"),
        (Act::Say(response(200, "hell")), "4 bytes of body, not 5"),
        (Act::Say(response(200, "hellos")), "6 bytes of body, not 5"),
        (Act::Say(b"hello, hello\r\n\r\n".to_vec()), "malformed head"),
        (
            Act::Say([hello(), hello()].concat()),
            "bytes that nobody asked for",
        ),
        (
            Act::SayAndClose(format!("{head}hel").into_bytes()),
            "the server closed the connection",
        ),
        (
            Act::SayAndClose(Vec::new()),
            "the server closed the connection",
        ),
    ];
    for (act, expected) in wrong {
        at_any_pace(|unit| {
            let act = act.clone();
            let server = Scripted::start(move |asked| match (asked.conn, asked.nth) {
                (0, 3) => act.clone(),
                _ => Act::Say(hello()),
            });
            let mut plan = hello_plan(&server);
            plan.duration = unit / 2;
            let Some(outcome) = run(&plan, |_| {}) else {
                return;
            };
            let first = outcome.first_failure.expect(expected);
            assert!(first.contains(expected), "{first}, not {expected}");
            // It names the request, where there is one.
            let is_named = first.starts_with("/: ");
            assert_eq!(is_named, !expected.starts_with("bytes that"), "{first}");
            assert_eq!(outcome.failures, 1, "{expected}");
            // The other connections go on.
            assert!(outcome.answers > 100, "{}", outcome.answers);
        });
    }
}

#[test]
fn a_long_body_is_compared_in_the_first_answer_of_each_connection() {
    let long = |last: &str| response(200, &format!("{}{last}", "x".repeat(100_000)));
    at_any_pace(|unit| {
        let server = Scripted::start(move |asked| match (asked.conn, asked.nth) {
            (2, 0) => Act::Say(long("z")),
            _ => Act::Say(long("y")),
        });
        let mut plan = plan(&server, vec![exchange("/long", &long("y"), 1)]);
        plan.duration = unit;
        let Some(outcome) = run(&plan, |_| {}) else {
            return;
        };
        assert_eq!(outcome.failures, 1);
        let first = outcome.first_failure.expect("one");
        assert!(first.contains("another body from byte 100000"), "{first}");
    });
}

#[test]
fn a_load_whose_every_connection_fails_is_an_error() {
    let server = Scripted::start(|_| Act::SayAndClose(Vec::new()));
    let mut plan = hello_plan(&server);
    // It ends at the first failure anyway.
    plan.duration = PATIENCE;
    match load::run(&plan, |_| {}) {
        Ok(outcome) => panic!("{outcome:?}"),
        Err(error) if error.to_string().contains("cannot use io_uring") => {}
        Err(error) => assert!(
            error.to_string().contains("no connection is left"),
            "{error}"
        ),
    }
}

#[test]
fn requests_without_an_answer_are_told() {
    at_any_pace(|unit| {
        // Of each connection the tenth request is the last that the server minds.
        for deaf in [1, CONNECTIONS as u64] {
            let server = Scripted::start(move |asked| match asked.conn < deaf && asked.nth >= 10 {
                true => Act::Ignore,
                false => Act::Say(hello()),
            });
            let mut plan = hello_plan(&server);
            plan.pace = Pace::Open(DUE_IN_STALL as f64 / unit.as_secs_f64());
            plan.duration = unit;
            let Some(outcome) = run(&plan, |_| {}) else {
                return;
            };
            assert_eq!(outcome.unanswered, deaf);
            let first = outcome.first_failure.unwrap_or_default();
            let unsent = DUE_IN_STALL - 11 * deaf;
            match deaf {
                1 => {
                    assert_eq!(outcome.answers, DUE_IN_STALL - 1);
                    assert_eq!(first, "");
                }
                // Nobody was left to ask on.
                _ => {
                    assert_eq!(outcome.answers, 10 * deaf);
                    let expected = format!("{unsent} requests were due and no connection was free");
                    assert_eq!(first, expected);
                }
            }
        }
    });
}

#[test]
fn with_churn_a_connection_that_ends_without_its_answer_is_a_failure() {
    let wrong = [
        (Act::SayAndClose(Vec::new()), "without an answer"),
        (
            Act::SayAndClose(hello()[..20].to_vec()),
            "the connection ended in a response",
        ),
        (
            Act::SayAndClose([hello(), hello()].concat()),
            "bytes that nobody asked for",
        ),
    ];
    for (act, expected) in wrong {
        at_any_pace(|unit| {
            let act = act.clone();
            let server = Scripted::start(move |asked| match asked.of_all {
                20 => act.clone(),
                _ => Act::SayAndClose(hello()),
            });
            let mut plan = hello_plan(&server);
            plan.churn = true;
            plan.duration = unit;
            let Some(outcome) = run(&plan, |_| {}) else {
                return;
            };
            let first = outcome.first_failure.expect(expected);
            assert!(first.contains(expected), "{first}, not {expected}");
            assert_eq!(outcome.failures, 1, "{expected}");
        });
    }
}
