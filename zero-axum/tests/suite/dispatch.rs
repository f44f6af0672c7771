//! Where handlers run by default: quick ones come to the shard, blocking ones stay off it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use zero_axum::{BackendChoice, Config, Dispatch};

use crate::support::log::Log;
use crate::support::{Mode, PATIENCE, Server, at_any_pace, eventually};

/// Makes a test on a shard of each `fn()` named.
macro_rules! adaptively {
    ($($test:ident,)*) => {
        $(
            mod $test {
                use crate::support::Mode;

                #[test]
                fn io_uring_adaptive() {
                    Mode::IoUringAdaptive.run(stringify!($test), |_| super::$test());
                }
            }
        )*
    };
}

adaptively![
    a_quick_class_comes_to_the_shard,
    a_handler_that_waits_comes_to_the_shard,
    a_handler_that_blocks_never_holds_up_a_shard,
    a_handler_that_turns_to_blocking_is_sent_back,
    block_in_place_keeps_to_the_workers,
    a_stall_is_counted_and_told_with_its_class,
    sleepers_stall_a_shard_once,
    spinners_stall_a_shard_once,
    block_in_place_stalls_a_shard_once,
    an_answer_that_comes_too_late_is_counted,
];

/// One shard, so that whoever holds it up holds up everybody.
fn config() -> Config {
    let config = Mode::IoUringAdaptive.config().shards(1);
    // However long a machine takes a thread off its core, that does not count as blocking.
    config.inline_poll_max(PATIENCE).inline_streak(8)
}

fn gets(server: &Server, path: &str, count: usize) {
    let mut client = server.connect();
    for _ in 0..count {
        assert_eq!(client.get(path).status, 200);
    }
}

fn a_quick_class_comes_to_the_shard() {
    assert_eq!(Config::default().dispatch, Dispatch::Adaptive);
    let app = Router::new().route(
        "/users/{id}",
        get(|Path(id): Path<u32>| async move { id.to_string() }),
    );
    let server = Mode::IoUringAdaptive.serve_with(config(), app);
    let mut client = server.connect();
    for id in 0..100 {
        assert_eq!(client.get(&format!("/users/{id}")).text(), id.to_string());
    }
    let stats = server.stats();
    assert_eq!(
        (stats.classes_inline, stats.promotions, stats.demotions),
        (1, 1, 0)
    );
    // What came before it had earned its place is all that went over a link.
    assert_eq!(stats.late_completions, 0);
}

fn a_handler_that_waits_comes_to_the_shard() {
    let wait = || async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        "waited"
    };
    let server = Mode::IoUringAdaptive.serve_with(config(), Router::new().route("/", get(wait)));
    gets(&server, "/", 30);
    assert_eq!(server.stats().classes_inline, 1);
}

/// Blocks its thread until it is let go.
struct Gate {
    entered: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

fn gate() -> (Gate, impl Fn() + Clone + Send + Sync + 'static) {
    let (enter, entered) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let may_go = Arc::new(Mutex::new(may_go));
    let block = move || {
        enter.send(()).unwrap();
        let may_go = may_go.lock().unwrap();
        may_go.recv_timeout(PATIENCE).expect("it is let go");
    };
    (Gate { entered, go }, block)
}

impl Gate {
    /// While a request to `path` blocks its handler's thread, another one is answered.
    fn assert_others_live(&self, server: &Server, path: &str) {
        let mut blocked = server.connect();
        blocked.send_get(path);
        self.entered.recv_timeout(PATIENCE).expect("it is called");
        gets(server, "/fast", 20);
        // Longer than what counts as quick, however fast the others were.
        std::thread::sleep(Duration::from_millis(5));
        self.go.send(()).unwrap();
        assert_eq!(blocked.response().status, 200);
    }
}

fn a_handler_that_blocks_never_holds_up_a_shard() {
    let (gate, block) = gate();
    let blocking = move || {
        block();
        async { "blocked" }
    };
    let app = Router::new()
        .route("/fast", get(|| async { "fast" }))
        .route("/block", get(blocking));
    // Blocking for longer than counts as quick, each time.
    let config = config().inline_poll_max(Duration::from_millis(1));
    let server = Mode::IoUringAdaptive.serve_with(config, app);
    for _ in 0..20 {
        gate.assert_others_live(&server, "/block");
    }
}

/// Its client has gone while a worker was at it.
fn an_answer_that_comes_too_late_is_counted() {
    let (gate, block) = gate();
    let blocking = move || {
        block();
        async { "too late" }
    };
    let server =
        Mode::IoUringAdaptive.serve_with(config(), Router::new().route("/", get(blocking)));
    let mut gone = server.connect();
    gone.send_get("/");
    gate.entered.recv_timeout(PATIENCE).unwrap();
    gone.reset();
    eventually("the connection is gone", || {
        server.stats().connections_open == 0
    });
    assert_eq!(server.stats().late_completions, 0);
    gate.go.send(()).unwrap();
    eventually("the answer is counted", || {
        server.stats().late_completions == 1
    });
}

fn a_handler_that_turns_to_blocking_is_sent_back() {
    at_any_pace(|unit| {
        let (gate, block) = gate();
        let blocks = Arc::new(AtomicBool::new(false));
        let handler = {
            let blocks = blocks.clone();
            move || {
                if blocks.load(Ordering::SeqCst) {
                    block();
                }
                async { "done" }
            }
        };
        let app = Router::new()
            .route("/fast", get(|| async { "fast" }))
            .route("/turns", get(handler));
        let server = Mode::IoUringAdaptive.serve_with(config().inline_poll_max(unit), app);
        gets(&server, "/turns", 30);
        gets(&server, "/fast", 30);
        assert_eq!(server.stats().classes_inline, 2);
        blocks.store(true, Ordering::SeqCst);
        // Once it holds the shard up.
        let mut first = server.connect();
        first.send_get("/turns");
        gate.entered.recv_timeout(PATIENCE).unwrap();
        std::thread::sleep(unit * 3 / 2);
        gate.go.send(()).unwrap();
        assert_eq!(first.response().status, 200);
        eventually("the stall is known", || server.stats().stalls > 0);
        let stats = server.stats();
        assert_eq!((stats.demotions, stats.classes_inline), (1, 1));
        assert_eq!(stats.stalls, 1);
        assert!(u128::from(stats.inline_poll_ns_max) >= unit.as_nanos() * 3 / 2);
        // Never again.
        for _ in 0..5 {
            gate.assert_others_live(&server, "/turns");
        }
    });
}

fn block_in_place_keeps_to_the_workers() {
    let in_place = || async {
        tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(5)));
        "in place"
    };
    let app = Router::new()
        .route("/", get(in_place))
        .route("/fast", get(|| async { "fast" }));
    let config = config().inline_poll_max(Duration::from_millis(4));
    let server = Mode::IoUringAdaptive.serve_with(config, app);
    gets(&server, "/", 40);
    assert_eq!(server.stats().classes_inline, 0);
    gets(&server, "/fast", 40);
}

/// Also where nobody is sent back for it.
fn a_stall_is_counted_and_told_with_its_class() {
    let log = Log::of_all();
    let sleeps = Arc::new(AtomicBool::new(false));
    let handler = {
        let sleeps = sleeps.clone();
        move |Path(_): Path<u32>| async move {
            if sleeps.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(50));
            }
            "done"
        }
    };
    let config = config().stall_min(Duration::from_millis(5));
    let app = Router::new().route("/stalls/{id}", get(handler));
    let server = Mode::IoUringAdaptive.serve_with(config, app);
    gets(&server, "/stalls/7", 30);
    assert_eq!(server.stats().classes_inline, 1);
    sleeps.store(true, Ordering::SeqCst);
    // Not for certain at the first time: the shard may seem to have waited for its core.
    eventually("a stall is counted", || {
        gets(&server, "/stalls/8", 1);
        server.stats().stalls > 0
    });
    let stats = server.stats();
    assert_eq!((stats.demotions, stats.classes_inline), (0, 1));
    assert!(stats.inline_poll_ns_max > 5_000_000);
    let told = log.count(&["WARN", "held up a shard", "class=GET /stalls/* "]);
    assert_eq!(told, stats.stalls);
}

fn sleepers_stall_a_shard_once() {
    assert_stalls_once("/sleeps", || std::thread::sleep(BLOCKED));
}

fn spinners_stall_a_shard_once() {
    assert_stalls_once("/spins", || {
        let started = Instant::now();
        while started.elapsed() < BLOCKED {
            std::hint::spin_loop();
        }
    });
}

fn block_in_place_stalls_a_shard_once() {
    assert_stalls_once("/blocks", || {
        tokio::task::block_in_place(|| std::thread::sleep(BLOCKED));
    });
}

const BLOCKED: Duration = Duration::from_millis(50);

/// With everything by default: a handler that was quick and then blocks, each time, stalls its shard once and is
/// sent back for it, and the requests beside it are answered. What is told of `path` is this test's alone.
fn assert_stalls_once(path: &'static str, block: fn()) {
    let log = Log::of_all();
    let blocks = Arc::new(AtomicBool::new(false));
    let handler = {
        let blocks = blocks.clone();
        move || async move {
            if blocks.load(Ordering::SeqCst) {
                block();
            }
            "done"
        }
    };
    let app = Router::new()
        .route("/fast", get(|| async { "fast" }))
        .route(path, get(handler));
    let config = Config::default().backend(BackendChoice::IoUring).shards(1);
    let server = Mode::IoUringAdaptive.serve_with(config, app);
    eventually("both come to the shard", || {
        gets(&server, path, 8);
        gets(&server, "/fast", 8);
        server.stats().classes_inline == 2
    });
    let before = server.stats();
    blocks.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| gets(&server, "/fast", 1000));
        eventually("it is sent back", || {
            gets(&server, path, 1);
            server.stats().demotions > before.demotions
        });
        gets(&server, path, 20);
    });
    let stats = server.stats();
    // A machine that stands still may have had the other one sent back; even that costs no more.
    assert!(stats.stalls <= stats.demotions, "{stats:?}");
    let told = log.count(&["WARN", "held up a shard", &format!("class=GET {path} ")]);
    assert_eq!(told, 1, "it came back while it blocks: {stats:?}");
    assert!(stats.classes_on_workers >= 1, "{stats:?}");
}
