//! An application of a user's own, compared as the guide says: this program runs itself as what it asks, and
//! that again as the servers.
//!
//! It has a `main` of its own for that, and no harness.
#![cfg(feature = "zero")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use axum::extract::Path as Segment;
use axum::routing::{get, post};
use axum::{Json, Router};
use zero_bench::compare::record::Record;
use zero_bench::{Plan, Request};

use crate::patience::at_any_pace;

#[path = "../../zero-runtime/tests/support/patience.rs"]
mod patience;

zero_bench::count_allocations!();

/// Tells this program which plan to compare by.
const PLAN: &str = "OWN_APP_PLAN";

fn main() -> ExitCode {
    match std::env::var(PLAN) {
        Ok(plan) => zero_bench::compare(plan_of(&plan), router),
        Err(_) => {
            at_any_pace(a_user_gets_a_report_of_their_own_router);
            a_recording_that_cannot_be_read_is_said();
            ExitCode::SUCCESS
        }
    }
}

fn router() -> Router {
    Router::new()
        .route(
            "/articles/{id}",
            get(async |Segment(id): Segment<u64>| Json(id)),
        )
        .route("/articles", post(async |body: String| body))
}

fn plan_of(name: &str) -> Plan {
    match name {
        "mixed" => Plan::new()
            .request(Request::new("GET", "/articles/7").weight(4))
            .post("/articles", "text/plain", "news")
            .get("/favicon.ico")
            .connections(4),
        file => Plan::new().file(file),
    }
}

fn run(plan: &str, out: &Path, seconds: f64) -> Output {
    let program = std::env::current_exe().expect("a program");
    let mut command = Command::new(program);
    command.env(PLAN, plan).arg("--out").arg(out);
    let line = format!("--quick --runs 1 --seconds {seconds} --warm-up 0.05");
    command.args(line.split(' ')).output().expect("it runs")
}

fn a_user_gets_a_report_of_their_own_router(unit: Duration) {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("own_app");
    let output = run("mixed", &out, unit.as_secs_f64() / 2.0);
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("cannot use io_uring") {
        eprintln!("SKIPPED: io_uring is refused");
        return;
    }
    // The request that nobody answers has a row, which fails; the mix goes on without it.
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("answered differently: request3"),
        "the one that is not answered, and no other: {said}"
    );
    let record = Record::read(&out.join("report.json")).expect("a record");
    let sides: Vec<_> = record.subjects.iter().map(|s| s.label.as_str()).collect();
    assert_eq!(sides, ["zero", "hyper"]);
    let rows: Vec<_> = record.cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(rows, ["mix", "request1", "request2", "request3"]);
    for row in &record.cases[..3] {
        for (side, runs) in row.closed.iter().enumerate() {
            let [run] = &runs[..] else {
                panic!("{} of {}: {} runs", row.name, sides[side], runs.len());
            };
            assert_eq!(run.problem, None, "{} of {}", row.name, sides[side]);
            assert!(run.outcome.answers > 0, "{} of {}", row.name, sides[side]);
            let counts = &row.counts[side];
            let blocks = counts.allocations.expect("this program counts its own");
            assert!(blocks >= 1.0, "{}: {blocks} blocks a request", row.name);
        }
    }
    for side in &record.subjects {
        let bytes = side.idle_connection_bytes.expect("measured by request 1");
        assert!(bytes > 0.0 && bytes < 1e6, "{}: {bytes} bytes", side.label);
        assert_eq!(side.idle_websocket_bytes, None, "there is none to open");
    }
    let notes = record.notes.join("\n");
    for expected in ["/favicon.ico in mix", "instructions"] {
        assert!(notes.contains(expected), "{notes}");
    }
    assert!(out.join("report.html").exists());
}

fn a_recording_that_cannot_be_read_is_said() {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("own_app_unread");
    let output = run("no/such.har", &out, 0.1);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("no/such.har cannot be read"), "{said}");
}
