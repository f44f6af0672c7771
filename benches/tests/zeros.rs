//! The modes of `ZeroRuntime`, and a raw shard, take nothing from the heap: not one allocation in ten thousand
//! requests; on workers not one in a hundred.
//!
//! One test, for the counts are the process's: a second test, or its start, would be counted too.
#![cfg(feature = "zero")]

use std::net::SocketAddr;

use zero_bench::alloc::{AllocCount, CountingAlloc};
use zero_bench::client::Client;
use zero_runtime::raw::Event;
use zero_runtime::router::{Params, Router};
use zero_runtime::{
    Config, HttpOwnedRequest, HttpRequest, Io, RawShard, ShutdownHandle, ZeroResponse, ZeroRuntime,
};

#[global_allocator]
static ALLOCATOR: CountingAlloc = zero_bench::alloc::Counting(std::alloc::System);

/// Requests before counting: buffers, pools and classes settle.
const WARM_UP: usize = 1024;
const REQUESTS: usize = 10_000;
/// Next to none of as many.
const FEW: u64 = REQUESTS as u64 / 100;
/// Requests sent at once in the second run.
const PIPELINE: usize = 16;

const GET: &str = "GET /plaintext HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Twelve fields, four of them of nobody's standard.
const FIELDS: &str = "GET /plaintext?a=b HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a browser\r\n\
    Accept: text/html\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\nCookie: a=b\r\n\
    Referer: http://localhost/\r\nCache-Control: no-cache\r\nX-Request-Start: 1\r\n\
    X-Tenant-Of-Ours: acme\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
    X-Feature-Flags-And-More: one,two,three\r\n\r\n";

fn post() -> String {
    let body = "0123456789abcdef".repeat(64);
    format!("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1024\r\n\r\n{body}")
}

fn app(request: HttpRequest<'_>) -> ZeroResponse {
    match request.path() {
        "/plaintext" => {
            let tenant = request.header("x-tenant-of-ours").unwrap_or("nobody");
            ZeroResponse::ok()
                .text("Hello, World!")
                .header("x-tenant", tenant)
        }
        "/echo" => echo(request.body()),
        _ => ZeroResponse::not_found(),
    }
}

fn echo(body: &[u8]) -> ZeroResponse {
    let mut echo = zero_runtime::SendBuffer::with_capacity(body.len());
    echo.put_slice(body);
    ZeroResponse::ok().buffer(echo)
}

async fn on_workers(request: HttpOwnedRequest) -> ZeroResponse {
    app(request.as_request())
}

fn router() -> Router {
    let here = |request: HttpRequest<'_>, _: &Params<'_, '_>| app(request);
    Router::new().get("/plaintext", here).post("/echo", here)
}

fn listening() -> (ZeroRuntime, SocketAddr) {
    let mut io = Io::new(Config::default().shards(1)).expect("io_uring");
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    (ZeroRuntime::new(io), addr)
}

#[test]
fn no_mode_takes_anything_from_the_heap() {
    let (sync, at_sync) = listening();
    let (per_core, at_per_core) = listening();
    let (workers, at_workers) = listening();
    let (tower, at_tower) = listening();
    let local = || async |request: HttpOwnedRequest| app(request.as_request());
    let modes: [(&str, ShutdownHandle, SocketAddr); 4] = [
        ("run_sync", sync.run_sync(app).unwrap(), at_sync),
        (
            "run_per_core",
            per_core.run_per_core(local).unwrap(),
            at_per_core,
        ),
        (
            "run_async",
            workers.run_async(on_workers).unwrap(),
            at_workers,
        ),
        (
            "run_tower + router",
            tower.run_tower(router()).unwrap(),
            at_tower,
        ),
    ];
    let requests = [
        ("GET", GET.to_owned()),
        ("12 fields", FIELDS.to_owned()),
        ("POST 1 KiB", post()),
    ];
    let at = modes.iter().map(|(mode, _, addr)| (*mode, *addr));
    for (mode, addr) in at.chain([("raw shard", raw_shard())]) {
        for (request, bytes) in &requests {
            for pipeline in [1, PIPELINE] {
                let mut taken = count(addr, bytes, pipeline);
                // A worker that waits for its core is relieved each time by a task of its own.
                for _ in 1..3 {
                    if mode == "run_async" && taken.allocations >= FEW {
                        taken = count(addr, bytes, pipeline);
                    }
                }
                eprintln!("{mode}, {request} x{pipeline}: {taken:?}");
                let what = format!("{mode}, {request} x{pipeline}");
                match mode {
                    // Requests take nothing there, either; but a thread of the runtime that has not served
                    // before, or takes over from one that is held up, makes itself what it needs.
                    "run_async" => assert!(taken.allocations < FEW, "{what}: {taken:?}"),
                    _ => assert_eq!(taken, AllocCount::default(), "{what}"),
                }
            }
        }
    }
}

/// A loop of its own, in a thread that ends with the process.
fn raw_shard() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut shard = RawShard::new(Config::default()).expect("io_uring");
        let endpoint = shard.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
        tell.send(shard.local_addr(endpoint).unwrap()).unwrap();
        // Of a pipeline's request that lies in two receive buffers.
        let mut body = Vec::with_capacity(1024);
        loop {
            shard.poll(None).unwrap();
            while let Some(event) = shard.next_event() {
                let (conn, response) = match event {
                    Event::Request {
                        conn,
                        request,
                        is_whole: true,
                    } => (conn, app(request)),
                    Event::Request { .. } => {
                        body.clear();
                        continue;
                    }
                    Event::Body { data, .. } => {
                        body.extend_from_slice(data);
                        continue;
                    }
                    Event::BodyEnd { conn, .. } => (conn, echo(&body)),
                    _ => continue,
                };
                shard.http_respond(conn, response).unwrap();
            }
        }
    });
    told.recv().unwrap()
}

/// What the process takes for all requests after the warm-up; the client takes nothing.
fn count(addr: SocketAddr, request: &str, pipeline: usize) -> AllocCount {
    let requests = request.as_bytes().repeat(pipeline);
    let mut client = Client::connect(addr).unwrap();
    let mut exchange = |count| client.exchange_batches(&requests, pipeline, count).unwrap();
    exchange(WARM_UP);
    let before = AllocCount::now();
    exchange(REQUESTS);
    AllocCount::now().since(before)
}
