//! Clients that misbehave and descriptors that run out: what must be cut is cut and counted, and
//! everybody else is served meanwhile. A process of its own, for it opens thousands of sockets.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use bytes::Bytes;

use support::child::{self, ChildServer, counted};
use support::client::{Client, pattern};
use support::{Mode, PATIENCE, at_any_pace, eventually, in_every_mode, on_shards};

in_every_mode![
    without_descriptors_open_connections_are_served,
    idle_connections_do_not_slow_live_ones,
    half_a_head_is_cut_and_others_live,
    idle_keep_alive_is_cut_and_a_busy_one_lives,
    a_peer_that_takes_slowly_is_not_cut,
    an_idle_deadline_does_not_cut_a_transfer,
    one_who_pipelines_does_not_starve_others,
    half_a_request_behind_a_whole_one_leaves_nothing,
    a_thousand_stalled_uploads_do_not_starve_others,
];

on_shards![
    slow_clients_of_every_kind_are_cut_and_counted,
    a_peer_that_takes_nothing_is_cut,
    an_early_413_reaches_a_client_that_still_sends,
];

// Descriptors run out.

/// Descriptors of the server's process: enough to start, few enough to be used up.
const DESCRIPTORS: usize = 96;

fn without_descriptors_open_connections_are_served(mode: Mode) {
    let nofile = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    let started = Instant::now();
    let mut server = ChildServer::start("child_with_few_descriptors", mode, &["prlimit", &nofile]);
    let mut live = Client::connect(server.addr);
    assert_eq!(live.get("/").status, 200);
    // The kernel completes their handshakes; most are never accepted.
    let hoard: Vec<_> = (0..2 * DESCRIPTORS)
        .map(|_| TcpStream::connect(server.addr).unwrap())
        .collect();
    let mut late = Client::connect(server.addr);
    late.send_get("/");
    assert!(late.is_silent_for(Duration::from_millis(300)));
    if mode.is_io_uring() {
        eventually("accepting pauses", || server.count("accept_backoffs") > 0);
    }

    // What a machine takes away while it stalls may be on its bill: one second of several will do.
    let mut spins = || {
        let (began, cpu_before) = (Instant::now(), server.cpu_time());
        while began.elapsed() < Duration::from_secs(1) {
            assert_eq!(live.get("/").status, 200);
            std::thread::sleep(Duration::from_millis(50));
        }
        server.cpu_time() - cpu_before > Duration::from_millis(300)
    };
    assert!(!(0..5).all(|_| spins()), "starved, it spins");
    // At most one pause in 500 ms for each of the two shards, since their start.
    if mode.is_io_uring() {
        let backoffs = server.count("accept_backoffs");
        let pauses_max = 2 * (1 + started.elapsed().as_millis() / 500);
        assert!(u128::from(backoffs) <= pauses_max, "{backoffs}");
    }

    drop(hoard);
    assert_eq!(late.response().status, 200, "accepting goes on");
    assert_eq!(live.get("/").status, 200);
    assert_eq!(Client::connect(server.addr).get("/").status, 200);
}

#[test]
#[ignore = "the server of the tests above, in its own process"]
fn child_with_few_descriptors() {
    child::serve_as_told(|mode| mode.serve(hello()));
}

// Crowds.

fn idle_connections_do_not_slow_live_ones(mode: Mode) {
    const IDLE: usize = 1100;
    let _alone = many_descriptors();
    let config = mode.config().connections_max(4096);
    let config = config.head_timeout(None).keep_alive_timeout(None);
    let server = mode.serve_with(config, hello());
    let mut live = server.connect();
    let best_time_of_ten = |live: &mut Client| {
        let mut time_of_ten = || {
            let began = Instant::now();
            (0..10).for_each(|_| assert_eq!(live.get("/").status, 200));
            began.elapsed()
        };
        (0..200).map(|_| time_of_ten()).min().unwrap()
    };
    let alone = best_time_of_ten(&mut live);
    let mut crowd: Vec<_> = (0..IDLE).map(|_| server.connect()).collect();
    for (nth, idle) in crowd.iter_mut().enumerate() {
        match nth % 3 {
            0 => assert_eq!(idle.get("/").status, 200),
            1 => drop(idle.send("GET / HTTP/1.1\r\nho")),
            // Says nothing at all.
            _ => {}
        }
    }
    // The best of very many is not a stall's. Five times as much is a system call for each of the crowd.
    let best = best_time_of_ten(&mut live);
    assert!(
        best < 5 * alone,
        "{best:?} for ten, {alone:?} without the crowd"
    );
    if mode.is_io_uring() {
        let stats = server.stats();
        assert_eq!(stats.connections_open, IDLE as u64 + 1);
        assert_eq!(stats.accept_paused_full, 0);
    }
    for (nth, idle) in crowd.iter_mut().enumerate() {
        let answer = match nth % 3 {
            1 => idle.send("st: test\r\n\r\n").response(),
            _ => idle.get("/"),
        };
        assert_eq!(answer.status, 200);
    }
    drop((crowd, live));
    if mode.is_io_uring() {
        eventually("all are closed", || server.stats().connections_open == 0);
    }
}

/// Its clock, if it has one, cuts each of them; a thousand in all, beside one who lives.
/// hyper has a clock for heads only, and counts nothing.
fn slow_clients_of_every_kind_are_cut_and_counted(mode: Mode) {
    at_any_pace(|unit| slow_clients(mode, 5 * unit));
}

fn slow_clients(mode: Mode, time: Duration) {
    const EACH: usize = 200;
    const KINDS: [&str; 5] = [
        "",
        "GET / HTTP/1.1\r\nhost: test\r\n",
        "GET / HT",
        "POST /small HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n",
        "GET /large HTTP/1.1\r\nhost: test\r\n\r\n",
    ];
    const DRIPS: [bool; 5] = [false, true, false, true, false];
    let _alone = many_descriptors();
    let config = mode.config().connections_max(4096).head_timeout(time);
    let server = mode.serve_with(
        config.body_timeout(time).write_timeout(time),
        shared_large(),
    );
    let mut live = server.connect();
    assert_eq!(live.get("/").status, 200);
    let mut crowd = Vec::new();
    for _ in 0..EACH {
        for (kind, drips) in KINDS.into_iter().zip(DRIPS) {
            let mut stream = TcpStream::connect(server.addr).unwrap();
            stream.write_all(kind.as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            crowd.push((stream, drips));
        }
    }
    let cut = |stats: zero_axum::Stats| {
        [
            stats.timeouts_head,
            stats.timeouts_body,
            stats.timeouts_write,
        ]
    };
    let each = EACH as u64;
    eventually("all are cut", || {
        for (stream, _) in crowd.iter_mut().filter(|(_, drips)| *drips) {
            // Those who are cut already are refused it.
            let _ = stream.write(b"x");
        }
        assert_eq!(live.get("/").status, 200);
        std::thread::sleep(time / 20);
        cut(server.stats()).iter().sum::<u64>() >= 5 * each
    });
    eventually("only the live one is left", || {
        server.stats().connections_open == 1
    });
    assert_eq!(live.get("/").status, 200);
    let by_its_clock = [3 * each, each, each];
    assert_eq!(cut(server.stats()), by_its_clock);
}

/// As [`hello`], with one copy of what is large.
fn shared_large() -> Router {
    let large = Bytes::from(pattern(LARGE_BYTES));
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async move { large }))
        .route("/small", post(|body: Bytes| async { body }))
}

/// Uploads that stop half way, and such as nobody reads: what they have sent is nobody's buffer.
fn a_thousand_stalled_uploads_do_not_starve_others(mode: Mode) {
    const STALLED: usize = 1000;
    let _alone = many_descriptors();
    let never = post(|_body: axum::body::Body| std::future::pending::<()>());
    let whole = post(|body: Bytes| async { body });
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/never", never)
        .route("/whole", whole);
    // Fewer buffers than uploads. Handlers that wait for ever end with the server.
    let config = mode.config().connections_max(4096).recv_buffers(64);
    let config = config.shutdown_timeout(SHORT);
    let server = mode.serve_with(config, app);
    let body = pattern(40_000);
    let stalled: Vec<_> = (0..STALLED)
        .map(|nth| {
            let path = ["/never", "/whole"][nth % 2];
            let mut client = server.connect();
            client.send(format!(
                "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n"
            ));
            client.send(&body[..10_000 + nth]);
            client
        })
        .collect();
    let mut live = server.connect();
    for _ in 0..100 {
        assert_eq!(live.get("/").status, 200);
        live.send("POST /whole HTTP/1.1\r\nhost: test\r\ncontent-length: 40000\r\n\r\n");
        live.send(&body);
        assert!(live.response().body == body);
    }
    drop(stalled);
    assert_eq!(live.get("/").status, 200);
}

// Time.

const SHORT: Duration = Duration::from_millis(200);

fn half_a_head_is_cut_and_others_live(mode: Mode) {
    at_any_pace(|unit| {
        let server = mode.serve_with(mode.config().head_timeout(unit), hello());
        let mut live = server.connect();
        let started = Instant::now();
        let mut stuck: Vec<_> = (0..8).map(|_| server.connect()).collect();
        // hyper-util's clock starts with the first byte: it waits for that one to learn the version.
        let first = usize::from(mode == Mode::Hyper);
        for (nth, client) in stuck.iter_mut().enumerate() {
            // From nothing at all to all but the last bytes.
            client.send(&b"GET / HTTP/1.1\r\nhost: test\r\n\r"[..4 * nth + first]);
        }
        let mut dripping = server.connect();
        dripping.send("GET /");
        let mut alive = true;
        while alive {
            assert!(
                started.elapsed() < PATIENCE,
                "a byte now and then buys no time"
            );
            assert_eq!(live.get("/").status, 200);
            std::thread::sleep(unit / 8);
            alive = dripping.stream.write_all(b"x").is_ok();
        }
        assert!(started.elapsed() >= unit);
        for (nth, client) in stuck.iter_mut().enumerate() {
            // Who has begun to ask is told; hyper never says a word.
            if nth > 0 && mode.is_io_uring() {
                assert_eq!(client.response().status, 408);
            }
            client.assert_closed();
        }
        assert_eq!(live.get("/").status, 200);
        assert_eq!(server.connect().get("/").status, 200);
        if mode.is_io_uring() {
            let stats = server.stats();
            assert_eq!(stats.timeouts_head, 8 + 1);
            assert_eq!((stats.timeouts_keep_alive, stats.timeouts_write), (0, 0));
        }
    });
}

fn idle_keep_alive_is_cut_and_a_busy_one_lives(mode: Mode) {
    at_any_pace(|unit| {
        let config = match mode {
            // hyper has one clock for both: it runs while a head is waited for.
            Mode::Hyper => mode.config().head_timeout(unit),
            _ => mode.config().keep_alive_timeout(unit),
        };
        let server = mode.serve_with(config, hello());
        let mut busy = server.connect();
        assert_eq!(busy.get("/").status, 200);
        let started = Instant::now();
        let mut idle = server.connect();
        assert_eq!(idle.get("/").status, 200);
        while started.elapsed() < 3 * unit {
            assert_eq!(busy.get("/").status, 200);
            std::thread::sleep(unit / 10);
        }
        idle.assert_closed();
        assert_eq!(busy.get("/").status, 200);
        if mode.is_io_uring() {
            let stats = server.stats();
            assert_eq!(stats.timeouts_keep_alive, 1);
            assert_eq!((stats.timeouts_head, stats.timeouts_write), (0, 0));
        }
    });
}

const LARGE_BYTES: usize = 32 << 20;

/// hyper has no such clock.
fn a_peer_that_takes_nothing_is_cut(mode: Mode) {
    let server = mode.serve_with(mode.config().write_timeout(SHORT), hello());
    let mut live = server.connect();
    let mut stalled = server.connect();
    let began = Instant::now();
    stalled.send_get("/large");
    eventually("the stalled one is cut", || {
        assert_eq!(live.get("/").status, 200);
        server.stats().timeouts_write == 1
    });
    assert!(began.elapsed() >= SHORT);
    eventually("only the live one is open", || {
        server.stats().connections_open == 1
    });
    let (got, closed) = stalled.rest_if_closed();
    assert!(closed && got.len() < LARGE_BYTES);
    assert_eq!(live.get("/").status, 200);
}

fn a_peer_that_takes_slowly_is_not_cut(mode: Mode) {
    at_any_pace(|unit| {
        let server = mode.serve_with(mode.config().write_timeout(unit), hello());
        let mut slow = server.connect();
        let head = slow.send_get("/large").head();
        assert_eq!(head.status, 200);
        let began = Instant::now();
        let mut got = Vec::new();
        // For three times the timeout, and never a tenth of it without a byte taken. Too slow for the
        // kernel to ask for more, which it does once a third of its send buffer is free.
        while began.elapsed() < 3 * unit {
            got.extend(slow.exactly(32 << 10));
            std::thread::sleep(unit / 20);
        }
        got.extend(slow.exactly(LARGE_BYTES - got.len()));
        assert!(got == pattern(LARGE_BYTES));
        assert_eq!(server.stats().timeouts_write, 0);
    });
}

/// hyper closes at once: a reset may destroy the answer (DIFFERENCES.md).
fn an_early_413_reaches_a_client_that_still_sends(mode: Mode) {
    const BODY_BYTES: usize = 8 << 20;
    let server = mode.serve_with(mode.config().linger_timeout(PATIENCE), hello());
    let mut client = server.connect();
    client.send(format!(
        "POST /small HTTP/1.1\r\nhost: test\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    ));
    for piece in pattern(BODY_BYTES).chunks(128 << 10) {
        // Long after the answer: no write may fail, or the answer would be lost.
        client.send(piece);
        std::thread::sleep(Duration::from_millis(2));
    }
    let answer = client.response();
    assert_eq!(answer.status, 413);
    client.assert_closed();
    drop(client);
    eventually("lingering ends", || server.stats().connections_open == 0);

    // Nor is lingering for ever: its clock is the server's, not the client's.
    let config = mode.config().linger_timeout(SHORT);
    let server = mode.serve_with(config, hello());
    let mut client = server.connect();
    client.send(format!(
        "POST /small HTTP/1.1\r\nhost: test\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    ));
    // axum looks at the bytes, not at the length announced.
    client.send(pattern(64 << 10));
    assert_eq!(client.response().status, 413);
    eventually("the connection is closed under the sender", || {
        std::thread::sleep(SHORT / 10);
        client.stream.write_all(b"x").is_err()
    });
    eventually("it is gone", || server.stats().connections_open == 0);
}

fn an_idle_deadline_does_not_cut_a_transfer(mode: Mode) {
    at_any_pace(|unit| {
        let config = mode.config().keep_alive_timeout(unit).head_timeout(unit);
        let server = mode.serve_with(config, hello());
        let mut slow = server.connect();
        slow.send_get("/large").head();
        let began = Instant::now();
        let mut got = Vec::new();
        while began.elapsed() < 5 * unit {
            got.extend(slow.exactly(512 << 10));
            std::thread::sleep(unit / 8);
        }
        got.extend(slow.exactly(LARGE_BYTES - got.len()));
        assert!(got == pattern(LARGE_BYTES));
    });
}

fn one_who_pipelines_does_not_starve_others(mode: Mode) {
    // One shard, so that both meet.
    let server = mode.serve_with(mode.config().shards(1), hello());
    let greedy = server.connect();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let pipelines = std::thread::spawn(move || {
        let mut greedy = greedy;
        let many = "GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(500);
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            greedy.send(&many);
            for _ in 0..500 {
                assert_eq!(greedy.response().status, 200);
            }
        }
    });
    let mut other = server.connect();
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(other.get("/").status, 200);
    }
    assert!(started.elapsed() < PATIENCE, "starved");
    drop(stop);
    pipelines.join().expect("every answer came");
}

fn half_a_request_behind_a_whole_one_leaves_nothing(mode: Mode) {
    let server = mode.serve(hello());
    for _ in 0..50 {
        let mut client = server.connect();
        client.send(
            "GET / HTTP/1.1\r\nhost: test\r\n\r\n\
             POST /small HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nabc",
        );
        client.half_close();
        let (_answers, closed) = client.rest_if_closed();
        assert!(closed, "the connection leaks");
    }
    if mode.is_io_uring() {
        eventually("every connection is gone", || {
            counted(&server, "connections_open") == 0
        });
    }
}

// Helpers.

fn hello() -> Router {
    let small = post(|body: Bytes| async move { body }).layer(DefaultBodyLimit::max(1024));
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { pattern(LARGE_BYTES) }))
        .route("/small", small)
}

/// Raises the soft limit on descriptors once; whoever holds the guard may open thousands.
fn many_descriptors() -> MutexGuard<'static, ()> {
    static RAISED: Once = Once::new();
    static ALONE: Mutex<()> = Mutex::new(());
    RAISED.call_once(|| {
        let me = std::process::id().to_string();
        // As high as may be, and never lower than it is.
        let raise = "prlimit --pid \"$0\" --nofile=$(ulimit -Hn):";
        let raised = Command::new("sh")
            .args(["-c", raise, &me])
            .status()
            .expect("prlimit (of util-linux) runs");
        assert!(raised.success(), "the limit on descriptors can be raised");
    });
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
