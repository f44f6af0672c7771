//! No futex in steady state: a request that is answered on its shard makes no thread wait for another, or
//! wake one. And far fewer system calls than requests where requests come together.
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
/// How often a pass is tried.
const PASSES_MAX: usize = 20;
/// How often requests gather behind one that does not go on.
const GATHERINGS: usize = 50;

const GET: &[u8] = b"GET /plaintext HTTP/1.1\r\nhost: localhost\r\n\r\n";
const GATE_REQUEST: &[u8] = b"GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Closed while requests gather behind the one that waits here, on the shard itself.
static GATE: Mutex<()> = Mutex::new(());

fn app(request: HttpRequest<'_>) -> ZeroResponse {
    match request.path() {
        "/plaintext" => ZeroResponse::ok().text("Hello, World!"),
        "/gate" => {
            drop(GATE.lock());
            ZeroResponse::ok().text("Hello, World!")
        }
        _ => ZeroResponse::not_found(),
    }
}

fn io(dispatch: Dispatch) -> (Io, SocketAddr) {
    let config = Config::default().shards(1).dispatch(dispatch);
    let mut io = Io::new(config).expect("io_uring");
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    (io, addr)
}

/// A server to be counted.
struct Mode {
    name: &'static str,
    /// None for a loop of its own, in a thread that ends with the process.
    handle: Option<ShutdownHandle>,
    addr: SocketAddr,
    /// Whether all handlers run on the shard, whatever they do.
    always_inline: bool,
}

fn modes() -> Vec<Mode> {
    let mut modes = Vec::new();
    let mut add = |name, dispatch, start: &dyn Fn(Io) -> io::Result<ShutdownHandle>| {
        let (io, addr) = io(dispatch);
        modes.push(Mode {
            name,
            handle: Some(start(io).unwrap()),
            addr,
            always_inline: matches!(dispatch, Dispatch::Inline),
        });
    };
    let axum = |io| {
        let hello = axum::routing::get(async || "Hello, World!");
        let gate = axum::routing::get(async || {
            drop(GATE.lock());
            "Hello, World!"
        });
        let app = axum::Router::new();
        zero_axum::serve(io, app.route("/plaintext", hello).route("/gate", gate))
    };
    add("run_sync", Dispatch::Inline, &|io| {
        ZeroRuntime::new(io).run_sync(app)
    });
    add("run_per_core", Dispatch::Inline, &|io| {
        let local = || async |request: HttpOwnedRequest| app(request.as_request());
        ZeroRuntime::new(io).run_per_core(local)
    });
    add("run_tower + router", Dispatch::Inline, &|io| {
        let here = |request: HttpRequest<'_>, _: &Params<'_, '_>| app(request);
        let router = Router::new().get("/plaintext", here).get("/gate", here);
        ZeroRuntime::new(io).run_tower(router)
    });
    add("axum inline", Dispatch::Inline, &axum);
    add("axum adaptive", Dispatch::default(), &axum);
    let raw = server::start(Backend::ZeroRaw, zero_bench::app::router(), 1, 0);
    modes.push(Mode {
        name: "raw shard",
        handle: None,
        addr: raw.expect("io_uring").addr,
        always_inline: false,
    });
    modes
}

#[test]
fn no_request_waits_for_a_thread_or_wakes_one() {
    the_counter_counts();
    for mode in modes() {
        let name = mode.name;
        let mut clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| Client::connect(mode.addr).unwrap())
            .collect();
        exchange(&mut clients, WARM_UP);
        // Whoever is still on his way to sleep gets there.
        thread::sleep(Duration::from_millis(50));
        exchange(&mut clients, WARM_UP);
        let (futexes, enters) = count_inline(&mode, || exchange(&mut clients, REQUESTS));
        let each = enters as f64 / REQUESTS as f64;
        eprintln!("{name}: {futexes} futexes, {each:.3} io_uring_enter a request");
        assert!(enters > 0, "{name}: its system calls are not seen");
        assert_eq!(futexes, 0, "{name}: in {REQUESTS} requests");
        if mode.always_inline {
            let each = enters_of_gathered(mode.addr, &mut clients);
            eprintln!("{name}: {each:.3} io_uring_enter a request that does not come alone");
            assert!(each < 0.5, "{name}: {each} io_uring_enter a request");
        }
    }
}

/// Futexes and enters of a pass in which all handlers ran on the shard. An adaptive server takes a route to its
/// workers when a stall of the machine makes a handler look slow: then the pass is another's to show.
fn count_inline(mode: &Mode, mut pass: impl FnMut()) -> (u64, u64) {
    let detached = || {
        let stats = mode.handle.as_ref().map(ShutdownHandle::stats);
        stats.map_or(0, |stats| stats.handlers_detached)
    };
    for _ in 0..PASSES_MAX {
        let (futexes, enters) = (FUTEXES.load(Relaxed), ENTERS.load(Relaxed));
        let before = detached();
        pass();
        if detached() == before {
            let futexes = FUTEXES.load(Relaxed) - futexes;
            return (futexes, ENTERS.load(Relaxed) - enters);
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{}: handlers leave their shard again and again", mode.name);
}

/// Enters a request where requests gather: while the shard is held up by one of them, the others are sent.
fn enters_of_gathered(addr: SocketAddr, clients: &mut [Client]) -> f64 {
    let mut first = Client::connect(addr).unwrap();
    first.send(GET).unwrap();
    first.receive().unwrap();
    let mut enters = 0;
    for _ in 0..GATHERINGS {
        let gate = GATE.lock().unwrap();
        first.send(GATE_REQUEST).unwrap();
        for client in &mut *clients {
            client.send(GET).unwrap();
        }
        // Only when the gate has stopped the shard; it does so sooner or later, and enters no more until then.
        let mut before = ENTERS.load(Relaxed);
        loop {
            thread::sleep(Duration::from_millis(2));
            let now = ENTERS.load(Relaxed);
            if now == before {
                break;
            }
            before = now;
        }
        drop(gate);
        assert!(first.receive().unwrap().ends_with(b"Hello, World!"));
        receive(clients);
        enters += ENTERS.load(Relaxed) - before;
    }
    enters as f64 / (GATHERINGS * (clients.len() + 1)) as f64
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
        receive(clients);
    }
}

fn receive(clients: &mut [Client]) {
    for client in clients {
        assert!(client.receive().unwrap().ends_with(b"Hello, World!"));
    }
}
