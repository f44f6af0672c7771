//! What zero may take from the heap: nothing per request that the router does not take itself, and
//! little per idle connection.
//!
//! One test, for the counts are the process's: a second test, or its start, would be counted too.
#![cfg(feature = "zero")]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tower::ServiceExt as _;
use zero_bench::alloc::{AllocCount, Counting, CountingAlloc};
use zero_bench::app;
use zero_bench::client::Client;
use zero_bench::scenario::{self, Scenario};
use zero_bench::server::{self, Backend, Running};

#[global_allocator]
static ALLOCATOR: LiveAlloc = LiveAlloc;

/// Requests before counting: buffers, pools and tables reach their size.
const WARM_UP: usize = 512;
const REQUESTS: usize = 10_000;
/// Requests sent at once in the second run. Divides the other two.
const PIPELINE: usize = 16;
/// What may happen now and then, as a new block of the arena, counted per request.
const NOW_AND_THEN: f64 = 0.02;

/// Allocations of the router alone, called through `oneshot`; how many of ours a request may take beyond those; and
/// how many it takes in all. All exactly.
///
/// On us plaintext, JSON and path take one less than through `oneshot`, which clones the router, and echo as many.
const ALLOWED: [(&str, f64, f64, f64); 5] = [
    ("plain1", 12.0, 0.0, 11.0),
    ("json64", 14.0, 0.0, 13.0),
    ("users64", 16.0, 0.0, 15.0),
    // A header map grows beyond six fields, in two blocks: its entries and its index. A map is
    // reused only if the application gives one back with its response, and that is the small one that
    // it made; the counted router gets its map grown.
    ("hdr64", 12.0, 2.0, 13.0),
    // axum's `Body` boxes whatever body it is given; the counted router gets it boxed.
    ("echo1k", 14.0, 1.0, 14.0),
];

const IDLE: usize = 2000;
const IDLE_BYTES_MAX: f64 = 1536.0;

#[test]
fn zero_takes_little_from_the_heap() {
    let server = server::start(Backend::ZeroInline, app::router(), 1, 0).expect("io_uring");
    for (name, alone, allowed, exactly) in ALLOWED {
        let scenario = scenario::find(name).unwrap();
        let router = count_router(scenario);
        assert!(
            (router - alone).abs() <= NOW_AND_THEN,
            "{name}: {router:.3} by the router alone, not {alone}"
        );
        for pipeline in [1, PIPELINE] {
            let zero = count_server(scenario, &server, pipeline);
            eprintln!("{name} x{pipeline}: {zero:.3} allocations, router alone {router:.3}");
            assert!(
                zero <= router + allowed + NOW_AND_THEN,
                "{name} x{pipeline}: {zero:.3} a request, {router:.3} of them the router's"
            );
            assert!(
                (zero - exactly).abs() <= NOW_AND_THEN,
                "{name} x{pipeline}: {zero:.3} a request, not {exactly}"
            );
        }
    }
    let each = idle_bytes(&server);
    eprintln!("an idle connection: {each:.0} bytes");
    assert!(each <= IDLE_BYTES_MAX, "{each:.0} bytes an idle connection");
}

/// Allocations a request over one keep-alive connection, of the whole process; the client makes none.
fn count_server(scenario: &Scenario, server: &Running, pipeline: usize) -> f64 {
    let requests = scenario.request(&server.addr.to_string()).repeat(pipeline);
    let mut client = Client::connect(server.addr).unwrap();
    let mut exchange = |count| client.exchange_batches(&requests, pipeline, count).unwrap();
    exchange(WARM_UP);
    let before = AllocCount::now();
    exchange(REQUESTS);
    per_request(AllocCount::now().since(before))
}

/// Allocations of a call of the router; making the request is left out of the count.
fn count_router(scenario: &Scenario) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    // As `axum::serve` does once per connection.
    let router = app::router().with_state(());
    let prepare = |count| -> Vec<_> {
        (0..count)
            .map(|_| scenario.http_request().unwrap())
            .collect()
    };
    let (warm_up, counted) = (prepare(WARM_UP), prepare(REQUESTS));
    runtime.block_on(async {
        call_all(&router, warm_up).await;
        let before = AllocCount::now();
        call_all(&router, counted).await;
        per_request(AllocCount::now().since(before))
    })
}

fn per_request(count: AllocCount) -> f64 {
    count.allocations as f64 / REQUESTS as f64
}

async fn call_all(router: &Router, requests: Vec<Request<Body>>) {
    for request in requests {
        let response = router.clone().oneshot(request).await.unwrap();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            drop(frame.unwrap());
        }
    }
}

/// Heap held by each of many connections that had a request answered and stay open.
fn idle_bytes(server: &Running) -> f64 {
    raise_descriptors();
    let request = scenario::find("plain1").unwrap();
    let request = request.request(&server.addr.to_string());
    let mut sockets = Vec::with_capacity(IDLE);
    let before = settled_bytes();
    for _ in 0..IDLE {
        let mut client = Client::connect(server.addr).unwrap();
        client.exchange(&request).unwrap();
        sockets.push(client.into_socket());
    }
    let held = settled_bytes() - before;
    held as f64 / IDLE as f64
}

/// Bytes live now, once the server has done what it still had to: nothing for a while, however often it
/// is looked at.
fn settled_bytes() -> isize {
    let give_up = Instant::now() + Duration::from_secs(20);
    let mut last = LIVE_BYTES.load(Relaxed);
    let mut same = 0;
    while same < 10 && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(20));
        let now = LIVE_BYTES.load(Relaxed);
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Both ends of every connection are in this process.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

// Relaxed: read while the threads it counts for are quiet.
static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);

/// The counting allocator inside.
const COUNTING: CountingAlloc = Counting(System);

/// [`CountingAlloc`], which also knows how much is live.
struct LiveAlloc;

fn add(bytes: usize) {
    LIVE_BYTES.fetch_add(bytes as isize, Relaxed);
}

fn take(bytes: usize) {
    LIVE_BYTES.fetch_sub(bytes as isize, Relaxed);
}

// SAFETY: every method hands its arguments unchanged to `CountingAlloc`, which upholds the trait's
// contract, and counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for LiveAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises about `layout` are those asked for.
        unsafe { COUNTING.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises about `layout` are those asked for.
        unsafe { COUNTING.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        take(layout.size());
        // SAFETY: `block` came from `CountingAlloc` through this allocator; the caller promises
        // the rest.
        unsafe { COUNTING.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        take(layout.size());
        // SAFETY: `block` came from `CountingAlloc` through this allocator, with this layout.
        unsafe { COUNTING.dealloc(block, layout) }
    }
}
