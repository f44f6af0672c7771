//! Counts the heap allocations of a request, server and router apart, in this process.
//!
//! Run: `cargo run --release -p zero-bench --bin allocs` (`--backend zero,hyper`,
//! `--requests 5000`).
//!
//! See: a row per scenario; in each cell `blocks + regrown, bytes` per request, to be compared along
//! the row. Router alone is `router.clone().oneshot(request)` with the response's body read to its
//! end: what any backend pays that runs an unchanged axum app. The client allocates nothing, so the
//! rest of a row is the backend's: parsing, building the request, the body, the response.

use std::alloc::System;
use std::process::ExitCode;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use zero_bench::alloc::{AllocCount, Counting, CountingAlloc};
use zero_bench::app;
use zero_bench::args::{Failure, list, program};
use zero_bench::client::Client;
use zero_bench::scenario::{self, Scenario};
use zero_bench::server::{self, Backend, Running};

#[global_allocator]
static ALLOCATOR: CountingAlloc = Counting(System);

/// Requests before counting: buffers, pools and tables reach their size.
const WARM_UP: usize = 500;

const COUNTED: [&str; 5] = ["plain1", "hdr64", "json64", "users64", "echo1k"];

fn main() -> ExitCode {
    program(include_str!("allocs.rs"), run)
}

fn run() -> Result<(), Failure> {
    let (backends, requests) = parse_args()?;
    let mut head = String::from("| request | router alone |");
    let mut servers = Vec::new();
    for backend in backends {
        servers.push(server::start(backend, app::router(), 1, 0)?);
        head.push_str(&format!(" {backend} |"));
    }
    println!("{head}\n|---|{}", "---|".repeat(servers.len() + 1));
    for name in COUNTED {
        println!("{}", row(scenario::find(name)?, &servers, requests)?);
    }
    Ok(())
}

fn row(scenario: &Scenario, servers: &[Running], requests: usize) -> Result<String, Failure> {
    let label = match scenario.headers.len() {
        0 => String::new(),
        n => format!(", {} header fields", n + 1),
    };
    let mut row = format!("| {} {}{label} |", scenario.method, scenario.path);
    row.push_str(&cell(count_router(scenario, requests)?, requests));
    for server in servers {
        row.push_str(&cell(count_server(scenario, server, requests)?, requests));
    }
    Ok(row)
}

fn cell(count: AllocCount, requests: usize) -> String {
    let each = |n: u64| n as f64 / requests as f64;
    format!(
        " {:.2} + {:.2}, {:.0} B |",
        each(count.allocations),
        each(count.reallocations),
        each(count.bytes)
    )
}

/// Counts over one keep-alive connection.
fn count_server(s: &Scenario, server: &Running, requests: usize) -> Result<AllocCount, Failure> {
    let request = s.request(&server.addr.to_string());
    let mut client = Client::connect(server.addr)?;
    for _ in 0..WARM_UP {
        client.exchange(&request)?;
    }
    let before = AllocCount::now();
    for _ in 0..requests {
        client.exchange(&request)?;
    }
    Ok(AllocCount::now().since(before))
}

/// Counts the router's calls without a server. Making the requests is left out of the count.
fn count_router(scenario: &Scenario, requests: usize) -> Result<AllocCount, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    // As `axum::serve` does once per connection.
    let router = app::router().with_state(());
    let prepare = |n| {
        (0..n)
            .map(|_| scenario.http_request())
            .collect::<Result<Vec<_>, _>>()
    };
    let (warm_up, counted) = (prepare(WARM_UP)?, prepare(requests)?);
    runtime.block_on(async {
        call_all(&router, warm_up).await?;
        let before = AllocCount::now();
        call_all(&router, counted).await?;
        Ok(AllocCount::now().since(before))
    })
}

async fn call_all(router: &Router, requests: Vec<Request<Body>>) -> Result<(), Failure> {
    for request in requests {
        let response = router.clone().oneshot(request).await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            drop(frame?);
        }
    }
    Ok(())
}

fn parse_args() -> Result<(Vec<Backend>, usize), Failure> {
    use lexopt::{Arg::Long, Parser, ValueExt as _};

    let (mut backends, mut requests) = (Backend::defaults(), 5_000);
    let mut parser = Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("backend") => backends = list(&mut parser)?,
            Long("requests") => requests = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if requests == 0 {
        return Err("--requests must be at least 1".into());
    }
    Ok((backends, requests))
}
