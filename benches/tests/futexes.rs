//! No futex in steady state: a request that is answered on its shard makes no thread wait for another, or
//! wake one.
//!
//! Counted where every one of ours passes: the standard library, tokio and io-uring make the system calls that
//! libc has no name for, futex and io_uring_enter among them, through libc's function `syscall`. This program
//! has a function of that name, which counts and hands on. No privilege, no tracer, no filter is needed; what
//! libc does by itself (a contended lock in its allocator) is not seen.
//!
//! One test, for the counts are the process's.
#![cfg(all(feature = "zero", target_env = "gnu"))]
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use libc::{c_char, c_long};
use zero_bench::client::Client;
use zero_bench::server::{self, Backend};
use zero_runtime::router::{Params, Router};
use zero_runtime::{
    Config, Dispatch, HttpOwnedRequest, HttpRequest, Io, ShutdownHandle, ZeroResponse, ZeroRuntime,
};

static FUTEXES: AtomicU64 = AtomicU64::new(0);
static ENTERS: AtomicU64 = AtomicU64::new(0);

/// libc's own, once it was looked up.
static REAL: AtomicUsize = AtomicUsize::new(0);

type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;

fn real() -> Syscall {
    let mut address = REAL.load(Relaxed);
    if address == 0 {
        let name: *const c_char = c"syscall".as_ptr();
        // SAFETY: the name ends with a zero; the next `syscall` behind this program's is libc's.
        address = unsafe { libc::dlsym(libc::RTLD_NEXT, name) } as usize;
        assert!(address != 0, "libc has the function");
        REAL.store(address, Relaxed);
    }
    // SAFETY: libc's `syscall` has this type.
    unsafe { std::mem::transmute::<usize, Syscall>(address) }
}

/// In the place of libc's.
///
/// # Safety
/// As of that.
// SAFETY: it does what libc's does. Those who call it pass a number and up to six words, all of which lie where
// a function of seven words finds them, on every Linux that Rust is built for; words that were not passed are
// not looked at by the kernel.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    match number {
        libc::SYS_futex => _ = FUTEXES.fetch_add(1, Relaxed),
        libc::SYS_io_uring_enter => _ = ENTERS.fetch_add(1, Relaxed),
        _ => {}
    }
    // SAFETY: the caller's promise, handed on.
    unsafe { real()(number, a, b, c, d, e, f) }
}

/// Requests before counting: threads start and settle, classes are learnt, buffers grow.
const WARM_UP: usize = 2048;
const REQUESTS: usize = 10_000;
const CONNECTIONS: usize = 16;

const GET: &[u8] = b"GET /plaintext HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn app(request: HttpRequest<'_>) -> ZeroResponse {
    match request.path() {
        "/plaintext" => ZeroResponse::ok().text("Hello, World!"),
        _ => ZeroResponse::not_found(),
    }
}

fn io() -> (Io, SocketAddr) {
    let config = Config::default().shards(1).dispatch(Dispatch::Inline);
    let mut io = Io::new(config).expect("io_uring");
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    (io, addr)
}

fn modes() -> Vec<(&'static str, ShutdownHandle, SocketAddr)> {
    let mut modes = Vec::new();
    let mut add = |name, start: &dyn Fn(Io) -> io::Result<ShutdownHandle>| {
        let (io, addr) = io();
        modes.push((name, start(io).unwrap(), addr));
    };
    add("run_sync", &|io| ZeroRuntime::new(io).run_sync(app));
    add("run_per_core", &|io| {
        let local = || async |request: HttpOwnedRequest| app(request.as_request());
        ZeroRuntime::new(io).run_per_core(local)
    });
    add("run_tower + router", &|io| {
        let here = |request: HttpRequest<'_>, _: &Params<'_, '_>| app(request);
        ZeroRuntime::new(io).run_tower(Router::new().get("/plaintext", here))
    });
    add("axum inline", &|io| {
        let hello = axum::routing::get(async || "Hello, World!");
        zero_axum::serve(io, axum::Router::new().route("/plaintext", hello))
    });
    modes
}

/// A loop of its own, in a thread that ends with the process.
fn raw_shard() -> SocketAddr {
    let raw = server::start(Backend::ZeroRaw, zero_bench::app::router(), 1, 0);
    raw.expect("io_uring").addr
}

#[test]
fn no_request_waits_for_a_thread_or_wakes_one() {
    the_counter_counts();
    let raw = ("raw shard", None, raw_shard());
    let modes = modes()
        .into_iter()
        .map(|(mode, handle, addr)| (mode, Some(handle), addr));
    for (mode, handle, addr) in modes.chain([raw]) {
        let mut clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| Client::connect(addr).unwrap())
            .collect();
        exchange(&mut clients, WARM_UP);
        // Whoever is still on his way to sleep gets there.
        thread::sleep(Duration::from_millis(50));
        exchange(&mut clients, WARM_UP);
        let (futexes, enters) = (FUTEXES.load(Relaxed), ENTERS.load(Relaxed));
        exchange(&mut clients, REQUESTS);
        let futexes = FUTEXES.load(Relaxed) - futexes;
        let enters = ENTERS.load(Relaxed) - enters;
        let each = enters as f64 / REQUESTS as f64;
        eprintln!("{mode}: {futexes} futexes, {each:.3} io_uring_enter a request");
        assert!(enters > 0, "{mode}: its system calls are not seen");
        assert_eq!(futexes, 0, "{mode}: in {REQUESTS} requests");
        drop(handle);
    }
}

/// A lock that is wanted by two is seen.
fn the_counter_counts() {
    let before = FUTEXES.load(Relaxed);
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let waiter = thread::spawn({
        let lock = lock.clone();
        move || drop(lock.lock().unwrap())
    });
    while FUTEXES.load(Relaxed) == before {
        thread::sleep(Duration::from_millis(1));
    }
    drop(held);
    waiter.join().unwrap();
}

/// So many requests, one on each connection at a time.
fn exchange(clients: &mut [Client], requests: usize) {
    for _ in 0..requests / clients.len() {
        for client in &mut *clients {
            client.send(GET).unwrap();
        }
        for client in &mut *clients {
            assert!(client.receive().unwrap().ends_with(b"Hello, World!"));
        }
    }
}
