//! Which bytes are copied on their way, and which are not: counted in debug builds.
//!
//! One test, for the counts are the process's.
#![cfg(debug_assertions)]
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use zero_runtime::raw::Event;
use zero_runtime::{
    Config, Copied, Copies, HttpOwnedRequest, HttpRequest, Io, RawShard, SendBuffer,
    ShutdownHandle, ZeroResponse, ZeroRuntime,
};

const REQUESTS: u64 = 100;

fn app(request: HttpRequest<'_>) -> ZeroResponse {
    match request.path() {
        "/nothing" => ZeroResponse::ok(),
        "/small" => ZeroResponse::ok().bytes(&b"small"[..]),
        "/buffer" => {
            let mut buffer = SendBuffer::with_capacity(10_000);
            buffer.put_slice(&[7; 10_000]);
            ZeroResponse::ok().buffer(buffer)
        }
        "/large" => ZeroResponse::ok().bytes(vec![7; 100_000]),
        path => panic!("{path}"),
    }
}

fn listening() -> (ZeroRuntime, SocketAddr) {
    let mut io = Io::new(Config::default().shards(1)).expect("io_uring");
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    (ZeroRuntime::new(io), addr)
}

/// The copies of a hundred requests, one after the other, each answered with `bytes` of body.
fn copies(addr: SocketAddr, request: &str, bytes: usize) -> Copies {
    let mut stream = TcpStream::connect(addr).unwrap();
    let before = Copies::now();
    for _ in 0..REQUESTS {
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        stream.read_exact(&mut vec![0; bytes]).unwrap();
    }
    Copies::now().since(before)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")
}

fn post(path: &str, bytes: usize) -> String {
    let body = "x".repeat(bytes);
    format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {bytes}\r\n\r\n{body}")
}

fn stop(handle: ShutdownHandle) {
    handle.shutdown();
    handle.wait().unwrap();
}

#[test]
fn bytes_are_copied_only_where_that_is_the_better_choice() {
    let before = Copies::now();
    assert_eq!(before.total(), 0);

    let (runtime, addr) = listening();
    let handle = runtime.run_sync(app).unwrap();
    for (request, bytes) in [
        (get("/nothing"), 0),
        (post("/nothing", 1024), 0),
        // Its size is that of a receive buffer, or nearly.
        (post("/nothing", 15_000), 0),
        (get("/buffer"), 10_000),
        (get("/large"), 100_000),
    ] {
        let copies = copies(addr, &request, bytes);
        assert_eq!(copies.total(), 0, "{:.40}: {copies:?}", request);
    }
    let small = copies(addr, &get("/small"), 5);
    assert_eq!(
        (small.of(Copied::Joined), small.total()),
        (REQUESTS, REQUESTS)
    );
    stop(handle);

    // A request that may outlive its receive buffer is taken out of it, once.
    let (runtime, addr) = listening();
    let local = || async |request: HttpOwnedRequest| app(request.as_request());
    let handle = runtime.run_per_core(local).unwrap();
    let head = copies(addr, &get("/nothing"), 0);
    assert_eq!(
        (head.of(Copied::HeadKept), head.total()),
        (REQUESTS, REQUESTS)
    );
    let both = copies(addr, &post("/large", 1024), 100_000);
    let kept = (
        both.of(Copied::HeadKept),
        both.of(Copied::BodyKept),
        both.total(),
    );
    assert_eq!(kept, (REQUESTS, REQUESTS, 2 * REQUESTS), "{both:?}");

    // Once large bodies are what comes, they are received where they will lie: only one that comes in
    // crumbs is gathered.
    let large = copies(addr, &post("/nothing", 100_000), 0);
    let bodies = large.of(Copied::BodyKept) + large.of(Copied::BodyGathered);
    assert!(bodies < REQUESTS / 2, "{large:?}");
    stop(handle);

    // A raw shard presents requests where they were received, and sends what it is given from where it lies.
    let addr = raw_shard();
    for (request, bytes) in [
        (get("/nothing"), 0),
        (post("/nothing", 15_000), 0),
        (get("/buffer"), 10_000),
        (get("/large"), 100_000),
    ] {
        let copies = copies(addr, &request, bytes);
        assert_eq!(copies.total(), 0, "raw, {:.40}: {copies:?}", request);
    }
}

/// A loop of its own, in a thread that ends with the process.
fn raw_shard() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut shard = RawShard::new(Config::default()).expect("io_uring");
        let endpoint = shard.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
        tell.send(shard.local_addr(endpoint).unwrap()).unwrap();
        loop {
            shard.poll(None).unwrap();
            while let Some(event) = shard.next_event() {
                if let Event::Request { conn, request, .. } = event {
                    let response = app(request);
                    shard.http_respond(conn, response).unwrap();
                }
            }
        }
    });
    told.recv().unwrap()
}
