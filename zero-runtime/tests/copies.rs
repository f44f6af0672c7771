//! Which bytes are copied on their way, and which are not: counted in debug builds.
//!
//! One test, for the counts are the process's.
#![cfg(debug_assertions)]
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::layer::util::Identity;
use tower::util::MapRequestLayer;
use tower::{Layer, service_fn};
use zero_runtime::raw::Event;
use zero_runtime::router::{Params, Router};
use zero_runtime::service::{ConnInfo, HttpService, Made, MakeHttpService, Tower};
use zero_runtime::tower_http_compat::{FromHttp, HttpLayer};
use zero_runtime::upgrade::OnUpgrade;
use zero_runtime::{
    BoxError, Config, Copied, Copies, HttpOwnedRequest, HttpRequest, Io, RawShard, RequestBody,
    SendBuffer, ShutdownHandle, ZeroResponse, ZeroRuntime,
};

#[path = "support/patience.rs"]
mod patience;

use patience::eventually;

const REQUESTS: u64 = 100;

fn app(request: HttpRequest<'_>) -> ZeroResponse {
    match request.path() {
        "/nothing" => ZeroResponse::ok(),
        "/small" => ZeroResponse::ok().bytes(&b"small"[..]),
        "/text" => ZeroResponse::ok().text("text"),
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
    let (io, addr) = bound();
    (ZeroRuntime::new(io), addr)
}

fn bound() -> (Io, SocketAddr) {
    let mut io = Io::new(Config::default().shards(1)).expect("io_uring");
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    (io, addr)
}

/// The copies of a hundred requests, one after the other, each answered with `bytes` of body.
fn copies(addr: SocketAddr, request: &str, bytes: usize) -> Copies {
    let mut stream = TcpStream::connect(addr).unwrap();
    let before = Copies::now();
    for _ in 0..REQUESTS {
        stream.write_all(request.as_bytes()).unwrap();
        read_head(&mut stream);
        stream.read_exact(&mut vec![0; bytes]).unwrap();
    }
    Copies::now().since(before)
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend_from_slice(&byte);
    }
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

/// So many of each reason, a request; no others.
fn expect(what: &str, copies: Copies, each: &[(Copied, u64)]) {
    for &(why, times) in each {
        assert_eq!(
            copies.of(why),
            times * REQUESTS,
            "{what}: {why:?} in {copies:?}"
        );
    }
    let all: u64 = each.iter().map(|(_, times)| times).sum();
    assert_eq!(copies.total(), all * REQUESTS, "{what}: {copies:?}");
}

/// One test: the counts are the process's.
#[test]
fn bytes_are_copied_only_where_that_is_the_better_choice() {
    assert_eq!(Copies::now().total(), 0);
    borrowed_requests();
    heads_in_two_writes();
    owned_requests();
    https_types();
    rewritten_heads();
    read_ahead_of_an_upgrade();
    raw_requests();
    raw_streams();
}

fn borrowed_requests() {
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
        expect(&request[..20], copies(addr, &request, bytes), &[]);
    }
    let small = copies(addr, &get("/small"), 5);
    expect("small", small, &[(Copied::Joined, 1)]);
    // Into the response, and behind its head.
    let text = copies(addr, &get("/text"), 4);
    expect("text", text, &[(Copied::Text, 1), (Copied::Joined, 1)]);
    stop(handle);
}

/// A head that comes in two writes is put together: both parts of it.
fn heads_in_two_writes() {
    let (runtime, addr) = listening();
    let handle = runtime.run_sync(app).unwrap();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = get("/nothing");
    let (first, second) = request.split_at(20);
    let mut come = 0;
    let before = Copies::now();
    for _ in 0..REQUESTS {
        stream.write_all(first.as_bytes()).unwrap();
        come += first.len() as u64;
        eventually("it has come", || handle.stats().bytes_in == come);
        stream.write_all(second.as_bytes()).unwrap();
        come += second.len() as u64;
        read_head(&mut stream);
    }
    let copies = Copies::now().since(before);
    expect("two writes", copies, &[(Copied::Carried, 2)]);
    stop(handle);
}

/// A request that may outlive its receive buffer is taken out of it, once.
fn owned_requests() {
    use Copied::*;

    let (per_core, at_per_core) = listening();
    let local = || async |request: HttpOwnedRequest| app(request.as_request());
    let per_core = per_core.run_per_core(local).unwrap();
    let (workers, at_workers) = listening();
    let workers = workers
        .run_async(async |request: HttpOwnedRequest| app(request.as_request()))
        .unwrap();
    let (tower, at_tower) = listening();
    let here = |request: HttpRequest<'_>, _: &Params<'_, '_>| app(request);
    let router = ["/nothing", "/small", "/buffer", "/large"]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.get(path, here).post(path, here)
        });
    let tower = tower.run_tower(router).unwrap();
    let modes = [
        ("run_per_core", at_per_core),
        ("run_async", at_workers),
        ("run_tower", at_tower),
    ];
    for (mode, addr) in modes {
        let of = |request: String, bytes| copies(addr, &request, bytes);
        expect(mode, of(get("/nothing"), 0), &[(HeadKept, 1)]);
        expect(mode, of(get("/small"), 5), &[(HeadKept, 1), (Joined, 1)]);
        expect(mode, of(get("/buffer"), 10_000), &[(HeadKept, 1)]);
        let both = of(post("/large", 1024), 100_000);
        expect(mode, both, &[(HeadKept, 1), (BodyKept, 1)]);
        // Once large bodies are what comes, they are received where they will lie: only one that comes in
        // crumbs is gathered.
        let large = of(post("/nothing", 100_000), 0);
        let bodies = large.of(BodyKept) + large.of(BodyGathered);
        assert!(bodies < REQUESTS / 2, "{mode}: {large:?}");
    }
    stop(per_core);
    stop(workers);
    stop(tower);
}

/// The body of every answer that `http_typed` gives: pieces that are no `Bytes`.
struct Pieces(u32);

impl Body for Pieces {
    type Data = VecDeque<u8>;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<VecDeque<u8>>, Infallible>>> {
        self.0 = match self.0.checked_sub(1) {
            None => return Poll::Ready(None),
            Some(left) => left,
        };
        Poll::Ready(Some(Ok(Frame::data(VecDeque::from(vec![b'x'; 5])))))
    }
}

/// Gives every connection the same service.
struct Everyone<S>(S);

impl<S> MakeHttpService for Everyone<S>
where
    Tower<S>: HttpService,
    S: Clone + Send + 'static,
{
    type Service = Tower<S>;
    const WANTS_PEER_ADDR: bool = false;

    fn make(&mut self, _: ConnInfo) -> Made<Tower<S>> {
        Made::Ready(Tower(self.0.clone()))
    }
}

impl<S: Clone> Clone for Everyone<S> {
    fn clone(&self) -> Self {
        Everyone(self.0.clone())
    }
}

/// Services of `http`'s types, as axum's are.
fn https_types() {
    use Copied::*;

    let started = |io: Io| {
        let full = service_fn(async |request: http::Request<RequestBody>| {
            let bytes = match request.uri().path() {
                "/small" => Bytes::from_static(b"small"),
                "/large" => Bytes::from(vec![7; 100_000]),
                _ => Bytes::new(),
            };
            Ok::<_, Infallible>(http::Response::new(Full::new(bytes)))
        });
        io.serve(Everyone(full)).unwrap()
    };
    let (io, addr) = bound();
    let handle = started(io);
    let of = |request: String, bytes| copies(addr, &request, bytes);
    expect("http", of(get("/nothing"), 0), &[(HeadKept, 1)]);
    expect("http", of(get("/small"), 5), &[(HeadKept, 1), (Joined, 1)]);
    expect("http", of(get("/large"), 100_000), &[(HeadKept, 1)]);
    let both = of(post("/large", 1024), 100_000);
    expect("http", both, &[(HeadKept, 1), (BodyKept, 1)]);
    stop(handle);

    // A piece that is no `Bytes` is made one; without a length pieces are chunks, joined with their sizes.
    let (io, addr) = bound();
    let pieces = service_fn(async |_: http::Request<RequestBody>| {
        Ok::<_, Infallible>(http::Response::new(Pieces(3)))
    });
    let handle = io.serve(Everyone(pieces)).unwrap();
    let chunks = copies(
        addr,
        &get("/"),
        3 * "5\r\nxxxxx\r\n".len() + "0\r\n\r\n".len(),
    );
    expect(
        "pieces",
        chunks,
        &[(HeadKept, 1), (BodyMade, 3), (Joined, 3)],
    );
    stop(handle);

    // Around a service of our own requests nothing is copied but values that are asked for in another form.
    let (runtime, addr) = listening();
    let compat = FromHttp(service_fn(async |request: http::Request<RequestBody>| {
        drop(request);
        Ok::<_, BoxError>(http::Response::new(Full::new(Bytes::new())))
    }));
    let handle = runtime.run_tower(compat).unwrap();
    let of = copies(addr, &get("/nothing"), 0);
    expect("tower_http_compat", of, &[(HeadKept, 1)]);
    stop(handle);
}

/// A head that a layer has changed, or that has been in `http`'s types, is written anew: once, whatever it is made of.
fn rewritten_heads() {
    use Copied::*;

    let nothing = || {
        service_fn(async |request: HttpOwnedRequest| {
            assert_eq!((request.path(), request.header("host")), ("/", Some("h")));
            Ok::<_, Infallible>(ZeroResponse::ok())
        })
    };
    let (runtime, addr) = listening();
    let in_https_types = HttpLayer::new(Identity::new()).layer(nothing());
    let handle = runtime.run_tower(in_https_types).unwrap();
    let of = copies(addr, &get("/"), 0);
    expect("HttpLayer", of, &[(HeadKept, 1), (HeadRewritten, 1)]);
    stop(handle);

    let (runtime, addr) = listening();
    let appending = MapRequestLayer::new(|mut request: HttpOwnedRequest| {
        let name = HeaderName::from_static("x-id");
        request.append_header(&name, &HeaderValue::from_static("7"));
        request
    });
    let handle = runtime.run_tower(appending.layer(nothing())).unwrap();
    let of = copies(addr, &get("/"), 0);
    expect("append_header", of, &[(HeadKept, 1), (HeadRewritten, 1)]);
    stop(handle);
}

/// What came behind the head of an upgrade goes with the connection.
fn read_ahead_of_an_upgrade() {
    let (io, addr) = bound();
    let (tell, told) = std::sync::mpsc::channel();
    let upgrading = service_fn(move |mut request: http::Request<RequestBody>| {
        let on_upgrade: OnUpgrade = request.extensions_mut().remove().unwrap();
        let tell = tell.clone();
        tokio::spawn(async move { tell.send(on_upgrade.await.unwrap().read_ahead).unwrap() });
        let answer = http::Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "echo")
            .body(Full::new(Bytes::new()));
        std::future::ready(Ok::<_, Infallible>(answer.unwrap()))
    });
    let handle = io.serve(Everyone(upgrading)).unwrap();
    let before = Copies::now();
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect(addr).unwrap();
        let request =
            "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly";
        stream.write_all(request.as_bytes()).unwrap();
        read_head(&mut stream);
        assert_eq!(told.recv().unwrap(), "early");
    }
    let copies = Copies::now().since(before);
    let each = [
        (Copied::HeadKept, 1),
        (Copied::Carried, 1),
        (Copied::ReadAhead, 1),
    ];
    expect("an upgrade", copies, &each);
    stop(handle);
}

/// A raw shard presents requests where they were received, and sends what it is given from where it lies.
fn raw_requests() {
    use Copied::*;

    let addr = raw_shard();
    for (request, bytes) in [
        (get("/nothing"), 0),
        (post("/nothing", 15_000), 0),
        (get("/buffer"), 10_000),
        (get("/large"), 100_000),
    ] {
        expect("raw", copies(addr, &request, bytes), &[]);
    }
    // One that is taken out is copied: its head, and its body if there is one.
    let head = copies(addr, &get("/detach"), 0);
    expect("detached", head, &[(Detached, 1)]);
    let both = copies(addr, &post("/detach", 1024), 0);
    expect("detached", both, &[(Detached, 2)]);
}

/// What a stream's data is copied by on its way back, of `bytes` bytes that come in one piece.
fn echoed(addr: SocketAddr, bytes: usize) -> Copies {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    let sent = vec![b'x'; bytes];
    let mut back = vec![0; bytes];
    let before = Copies::now();
    for _ in 0..REQUESTS {
        stream.write_all(&sent).unwrap();
        stream.read_exact(&mut back).unwrap();
    }
    Copies::now().since(before)
}

fn raw_streams() {
    use Copied::*;

    let [write, forward, slot, buffer] = raw_echoes();
    expect("stream_write", echoed(write, 100), &[(Written, 1)]);
    expect("stream_forward", echoed(forward, 100), &[(Written, 1)]);
    // Taken out, and sent from there if that is worth it.
    let small = echoed(slot, 100);
    expect("a small slot", small, &[(Detached, 1), (Joined, 1)]);
    expect("a slot", echoed(slot, 5000), &[(Detached, 1)]);
    // Written by the application where it is sent from.
    expect("a buffer", echoed(buffer, 5000), &[]);
}

/// A loop of its own, in a thread that ends with the process: an echo by each way there is.
fn raw_echoes() -> [SocketAddr; 4] {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut shard = RawShard::new(Config::default()).expect("io_uring");
        let endpoints: Vec<_> = (0..4)
            .map(|_| shard.tcp_listen(([127, 0, 0, 1], 0).into()).unwrap())
            .collect();
        let addrs = [0, 1, 2, 3].map(|at| shard.local_addr(endpoints[at]).unwrap());
        tell.send(addrs).unwrap();
        let mut by = std::collections::HashMap::new();
        loop {
            shard.poll(None).unwrap();
            while let Some(event) = shard.next_event() {
                let conn = event.conn();
                match event {
                    Event::Opened { endpoint, .. } => _ = by.insert(conn, endpoint),
                    Event::Data { data, .. } => {
                        let way = endpoints.iter().position(|way| Some(*way) == by[&conn]);
                        match way.unwrap() {
                            0 => {
                                let data: Box<[u8]> = data.into();
                                assert_eq!(shard.stream_write(conn, &data).unwrap(), data.len());
                            }
                            1 => assert!(shard.stream_forward(conn).unwrap() > 0),
                            2 => {
                                let slot = shard.detach_event_data().unwrap();
                                shard.stream_send(conn, slot).unwrap();
                            }
                            _ => {
                                let mut buffer = SendBuffer::with_capacity(data.len());
                                buffer.put_slice(data);
                                shard.stream_send(conn, buffer.freeze()).unwrap();
                            }
                        }
                    }
                    Event::HalfClosed { .. } => shard.close(conn),
                    _ => {}
                }
            }
        }
    });
    told.recv().unwrap()
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
                    let response = match request.path() {
                        "/detach" => {
                            let owned = shard.detach_http_request().unwrap();
                            assert_eq!(owned.path(), "/detach");
                            ZeroResponse::ok()
                        }
                        _ => app(request),
                    };
                    shard.http_respond(conn, response).unwrap();
                }
            }
        }
    });
    told.recv().unwrap()
}
