//! Calls that wait on their shard, many at once, take nothing from the heap: they are given the places of calls that
//! have ended there, of which a shard keeps a stock. Beyond it they take a place each.
//!
//! One test, for the counts are the process's: a second test, or its start, would be counted too.
#![cfg(feature = "zero")]

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use zero_bench::alloc::{AllocCount, CountingAlloc};
use zero_bench::client::Client;
use zero_runtime::raw::Event;
use zero_runtime::{
    Config, HttpOwnedRequest, Io, RawShard, ShutdownHandle, ZeroResponse, ZeroRuntime,
};

#[global_allocator]
static ALLOCATOR: CountingAlloc = zero_bench::alloc::Counting(std::alloc::System);

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const HOLD: &[u8] = b"GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// Rounds before counting: buffers and pools settle.
const WARM_UP: usize = 64;
const ROUNDS: u64 = 500;
/// A future so large that a shard keeps the places of seven such.
const LARGE_BYTES: usize = 128 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn calls_that_wait_together_are_given_the_places_of_others() {
    for (at_once, a_round) in [(1, 0), (16, 0), (64, 0), (80, 80 - 64)] {
        let (server, addr) = per_core::<0>(at_once);
        takes(addr, at_once, a_round, "of a small future");
        end(server);
    }
    let (server, addr) = per_core::<LARGE_BYTES>(16);
    takes(addr, 16, 16 - 7, "of a large one");
    end(server);
    // The application's own: a block for each body.
    takes(raw_shard(16), 16, 16, "of a raw shard's response");

    calls_that_are_dropped_leave_their_places_to_others();
}

/// Held while a shard is to be held up, and whether one is.
static DOOR: Mutex<()> = Mutex::new(());
static IS_HELD: AtomicBool = AtomicBool::new(false);

/// Holds up the shard that calls it.
fn hold() -> ZeroResponse {
    IS_HELD.store(true, Ordering::SeqCst);
    drop(DOOR.lock());
    ZeroResponse::ok()
}

/// Requires that each round takes so many blocks; unless a thread that began late takes its own meanwhile, each time.
fn takes(addr: SocketAddr, at_once: usize, blocks: u64, what: &str) {
    let mut tries = 0;
    loop {
        let taken = count(addr, at_once);
        tries += 1;
        if (taken.allocations, taken.reallocations) == (blocks * ROUNDS, 0) {
            return;
        }
        assert!(tries < 5, "{at_once} {what}: {taken:?}");
    }
}

/// What the process takes for `ROUNDS` rounds after the warm-up, in each of which so many requests wait for each
/// other; the clients take nothing.
fn count(addr: SocketAddr, at_once: usize) -> AllocCount {
    let connect = |_| Client::connect(addr).unwrap();
    let mut clients: Vec<_> = (0..at_once).map(connect).collect();
    let mut round = |held: Option<MutexGuard<'_, ()>>| {
        for client in &mut clients {
            client.send(GET).unwrap();
        }
        drop(held);
        for client in &mut clients {
            assert!(client.receive().unwrap().ends_with(b"together"));
        }
    };
    round(None);
    // Once all requests lie there in one turn: no later one finds more.
    let door = DOOR.lock().unwrap();
    let mut holder = Client::connect(addr).unwrap();
    holder.send(HOLD).unwrap();
    until(|| IS_HELD.swap(false, Ordering::SeqCst));
    round(Some(door));
    (0..WARM_UP).for_each(|_| round(None));
    let before = AllocCount::now();
    (0..ROUNDS).for_each(|_| round(None));
    AllocCount::now().since(before)
}

/// Lets pass those who come, as soon as so many wait.
struct Gate {
    at_once: usize,
    waiting: Mutex<Vec<Waker>>,
    /// How often it has been open.
    opened: AtomicUsize,
}

impl Gate {
    fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Gate {
            at_once,
            waiting: Mutex::new(Vec::with_capacity(at_once)),
            opened: AtomicUsize::new(0),
        })
    }

    /// `came` is how often it had been open when the caller came.
    fn poll_pass(&self, came: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap();
        let opened = self.opened.load(Ordering::SeqCst);
        match *came {
            Some(before) if before < opened => return Poll::Ready(()),
            Some(_) => return Poll::Pending,
            None => *came = Some(opened),
        }
        waiting.push(cx.waker().clone());
        if waiting.len() == self.at_once {
            self.opened.store(opened + 1, Ordering::SeqCst);
            waiting.drain(..).for_each(Waker::wake);
        }
        Poll::Pending
    }
}

/// Handlers on one shard that answer once so many wait there, each in a future of more than `BYTES`.
fn per_core<const BYTES: usize>(at_once: usize) -> (ShutdownHandle, SocketAddr) {
    serve(Config::default(), move || {
        let gate = Gate::new(at_once);
        move |request: HttpOwnedRequest| {
            let gate = gate.clone();
            async move {
                if request.path() == "/hold" {
                    return hold();
                }
                let (mut came, block) = (None, [0_u8; BYTES]);
                poll_fn(|cx| gate.poll_pass(&mut came, cx)).await;
                black_box(&block);
                ZeroResponse::ok().text("together")
            }
        }
    })
}

fn serve<F, H, R>(config: Config, factory: F) -> (ShutdownHandle, SocketAddr)
where
    F: Fn() -> H + Send + Sync + 'static,
    H: Fn(HttpOwnedRequest) -> R + 'static,
    R: Future<Output = ZeroResponse> + 'static,
{
    let mut io = Io::new(config.shards(1)).expect("io_uring");
    let endpoint = io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = io.local_addr(endpoint).unwrap();
    (ZeroRuntime::new(io).run_per_core(factory).unwrap(), addr)
}

/// A body that is there once so many wait for theirs.
struct Together {
    gate: Arc<Gate>,
    came: Option<usize>,
    is_over: bool,
}

impl Body for Together {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        this.gate.poll_pass(&mut this.came, cx).map(|()| {
            this.is_over = true;
            Some(Ok(Frame::data(Bytes::from_static(b"together"))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(8)
    }
}

/// A loop of its own, in a thread that ends with the process.
fn raw_shard(at_once: usize) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut shard = RawShard::new(Config::default()).expect("io_uring");
        let endpoint = shard.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
        tell.send(shard.local_addr(endpoint).unwrap()).unwrap();
        let gate = Gate::new(at_once);
        loop {
            shard.poll(None).unwrap();
            while let Some(event) = shard.next_event() {
                let Event::Request { conn, request, .. } = event else {
                    continue;
                };
                let response = match request.path() {
                    "/hold" => hold(),
                    _ => ZeroResponse::ok().stream(Together {
                        gate: gate.clone(),
                        came: None,
                        is_over: false,
                    }),
                };
                shard.http_respond(conn, response).unwrap();
            }
        }
    });
    told.recv().unwrap()
}

/// Their clients go, or they take too long.
fn calls_that_are_dropped_leave_their_places_to_others() {
    const CALLS: usize = 4;
    for is_late in [false, true] {
        let timeout = is_late.then_some(Duration::from_secs(1));
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = waiting.clone();
        let (server, addr) = serve(Config::default().request_timeout(timeout), move || {
            let counted = counted.clone();
            move |_request: HttpOwnedRequest| {
                let counted = counted.clone();
                async move {
                    let block = [0_u8; LARGE_BYTES];
                    counted.fetch_add(1, Ordering::SeqCst);
                    pending::<()>().await;
                    black_box(&block);
                    ZeroResponse::ok()
                }
            }
        });
        let round = |before: usize| {
            let connect = |_| Client::connect(addr).unwrap();
            let mut clients: Vec<_> = (0..CALLS).map(connect).collect();
            for client in &mut clients {
                client.send(GET).unwrap();
            }
            until(|| waiting.load(Ordering::SeqCst) == before + CALLS);
            for client in clients.iter_mut().filter(|_| is_late) {
                assert!(client.receive().unwrap().starts_with(b"HTTP/1.1 503"));
            }
            drop(clients);
            let calls = (before + CALLS) as u64;
            until(|| server.stats().handlers_cancelled == calls);
        };
        round(0);
        let before = AllocCount::now();
        round(CALLS);
        let taken = AllocCount::now().since(before);
        // Connections and their clients take blocks; not one is a place's.
        assert!(taken.bytes < LARGE_BYTES as u64, "{is_late}: {taken:?}");
        end(server);
    }
}

/// Until it is gone: what it takes in the end is not to be counted for the next.
fn end(server: ShutdownHandle) {
    server.shutdown();
    server.wait().unwrap();
}

fn until(is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}
