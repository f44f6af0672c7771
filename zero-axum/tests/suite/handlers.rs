//! What handlers may do with tokio, and what their panics do to others.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::routing::get;
use futures_util::stream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Barrier;
use tracing::Instrument as _;
use zero_axum::Conformance;

use crate::support::client::Client;
use crate::support::log::Log;
use crate::support::{Mode, PATIENCE, Server, in_every_mode};

in_every_mode![
    handlers_may_wait,
    handlers_may_spawn,
    handlers_may_spawn_blocking,
    handlers_may_block_in_place,
    handlers_may_use_files,
    handlers_may_use_sockets,
    handlers_may_keep_task_locals,
    handlers_see_a_multi_thread_runtime,
    handlers_may_wait_for_each_other,
    waiting_handlers_wait_side_by_side,
    a_budget_bounds_a_greedy_handler,
    blocking_handlers_do_not_stop_the_server,
    a_panic_closes_its_own_connection,
    a_panic_after_waiting_closes_its_own_connection,
    a_panic_while_a_request_is_pipelined,
    by_hypers_rules_a_panic_is_not_answered,
    a_body_that_panics_before_anything_is_sent,
    a_nested_block_on_panics,
    a_span_around_a_handler_is_entered_for_its_polls_only,
];

tokio::task_local! {
    static NAME: &'static str;
}

async fn spawned() -> String {
    let task = tokio::spawn(async {
        tokio::task::yield_now().await;
        "spawned"
    });
    task.await.unwrap().to_owned()
}

async fn file() -> String {
    // Of its own: another's write would be seen half done.
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let (process, file) = (std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(format!("zero-{process}-{file}"));
    tokio::fs::write(&path, "from a file").await.unwrap();
    let read = tokio::fs::read_to_string(&path).await.unwrap();
    tokio::fs::remove_file(&path).await.unwrap();
    read
}

async fn socket() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    tokio::io::AsyncWriteExt::write_all(&mut client.unwrap(), b"from a socket")
        .await
        .unwrap();
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut server.unwrap().0, &mut text)
        .await
        .unwrap();
    text
}

fn app() -> Router {
    let slept = || async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        "slept"
    };
    let blocking = || async { tokio::task::spawn_blocking(|| "blocking").await.unwrap() };
    let scoped = || {
        NAME.scope("scoped", async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            NAME.with(|name| *name)
        })
    };
    let flavor = || async {
        assert_eq!(
            Handle::current().runtime_flavor(),
            RuntimeFlavor::MultiThread
        );
        "multi-thread"
    };
    let panics = || async { panics_here() };
    let panics_later = || async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        panics_here()
    };
    let panics_in_body = || async {
        Body::from_stream(stream::poll_fn(
            |_| -> Poll<Option<Result<Bytes, Infallible>>> {
                panics_here();
                Poll::Pending
            },
        ))
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/sleep", get(slept))
        .route("/spawn", get(spawned))
        .route("/spawn_blocking", get(blocking))
        .route(
            "/block_in_place",
            get(|| async { tokio::task::block_in_place(|| "in place") }),
        )
        .route("/file", get(file))
        .route("/socket", get(socket))
        .route("/task_local", get(scoped))
        .route("/flavor", get(flavor))
        .route("/panic", get(panics))
        .route("/panic_later", get(panics_later))
        .route("/panic_in_body", get(panics_in_body))
}

fn panics_here() -> &'static str {
    panic!("this panic belongs to the test")
}

/// Asks twice on each of several connections, so that every shard is asked.
fn assert_answers(server: &Server, path: &str, expected: &str) {
    for _ in 0..4 {
        let mut client = server.connect();
        for _ in 0..2 {
            let response = client.get(path);
            assert_eq!((response.status, response.text()), (200, expected));
        }
    }
}

fn handlers_may_wait(mode: Mode) {
    assert_answers(&mode.serve(app()), "/sleep", "slept");
}

fn handlers_may_spawn(mode: Mode) {
    assert_answers(&mode.serve(app()), "/spawn", "spawned");
}

fn handlers_may_spawn_blocking(mode: Mode) {
    assert_answers(&mode.serve(app()), "/spawn_blocking", "blocking");
}

fn handlers_may_block_in_place(mode: Mode) {
    assert_answers(&mode.serve(app()), "/block_in_place", "in place");
}

fn handlers_may_use_files(mode: Mode) {
    assert_answers(&mode.serve(app()), "/file", "from a file");
}

fn handlers_may_use_sockets(mode: Mode) {
    assert_answers(&mode.serve(app()), "/socket", "from a socket");
}

fn handlers_may_keep_task_locals(mode: Mode) {
    assert_answers(&mode.serve(app()), "/task_local", "scoped");
}

fn handlers_see_a_multi_thread_runtime(mode: Mode) {
    assert_answers(&mode.serve(app()), "/flavor", "multi-thread");
}

/// More than there are shards and workers, all waiting for the last.
fn handlers_may_wait_for_each_other(mode: Mode) {
    const HANDLERS: usize = 32;
    let barrier = Arc::new(Barrier::new(HANDLERS));
    let meet = move || async move {
        barrier.wait().await;
        "met"
    };
    let server = mode.serve(Router::new().route("/", get(meet)));
    let mut clients: Vec<_> = (0..HANDLERS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send_get("/");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "met");
    }
}

fn waiting_handlers_wait_side_by_side(mode: Mode) {
    let wait = || tokio::time::sleep(Duration::from_secs(1));
    let server = mode.serve(Router::new().route("/", get(wait)));
    let started = Instant::now();
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send_get("/");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    // One after the other they would take 50 seconds.
    assert!(started.elapsed() < Duration::from_secs(15));
}

/// A handler that is always ready must still let others run: tokio's cooperative budget holds.
fn a_budget_bounds_a_greedy_handler(mode: Mode) {
    async fn greedy() -> String {
        let semaphore = tokio::sync::Semaphore::new(1);
        let mut polls = 0;
        let mut acquire = std::pin::pin!(async {
            for _ in 0..1_000 {
                drop(semaphore.acquire().await);
            }
        });
        std::future::poll_fn(|cx| {
            polls += 1;
            acquire.as_mut().poll(cx)
        })
        .await;
        (polls > 1).to_string()
    }
    let server = mode.serve(Router::new().route("/", get(greedy)));
    assert_answers(&server, "/", "true");
}

fn blocking_handlers_do_not_stop_the_server(mode: Mode) {
    let block = || async {
        std::thread::sleep(Duration::from_millis(300));
        "awake"
    };
    let server = mode.serve(app().route("/block", get(block)));
    let mut blocked: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut blocked {
        client.send_get("/block");
    }
    server.assert_serves("/");
    for client in &mut blocked {
        assert_eq!(client.response().text(), "awake");
    }
}

fn a_panic_closes_its_own_connection(mode: Mode) {
    assert_isolates(mode, "/panic");
}

fn a_panic_after_waiting_closes_its_own_connection(mode: Mode) {
    assert_isolates(mode, "/panic_later");
}

fn assert_isolates(mode: Mode, path: &str) {
    let server = mode.serve(app());
    let mut others: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for other in &mut others {
        assert_eq!(other.get("/").status, 200);
    }
    for _ in 0..4 {
        assert_apology(mode, server.connect().send_get(path));
    }
    if mode.is_io_uring() {
        assert_eq!(server.stats().handler_panics, 4);
    }
    for other in &mut others {
        assert_eq!(other.get("/").text(), "hello");
    }
    server.assert_serves("/");
}

fn a_panic_while_a_request_is_pipelined(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\nGET /panic HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    assert_apology(mode, &mut client);
}

/// The answer to a request whose handler has panicked, and the end.
fn assert_apology(mode: Mode, client: &mut Client) {
    if mode.is_io_uring() {
        let response = client.response();
        assert_eq!(response.status, 500);
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(response.header("content-length"), Some("0"));
    }
    client.assert_closed();
}

fn by_hypers_rules_a_panic_is_not_answered(mode: Mode) {
    let config = mode.config().conformance(Conformance::Hyper);
    let server = mode.serve_with(config, app());
    for path in ["/panic", "/panic_later"] {
        server.connect().send_get(path).assert_closed();
    }
    if mode.is_io_uring() {
        assert_eq!(server.stats().handler_panics, 2);
    }
}

/// The head was written, and is taken back.
fn a_body_that_panics_before_anything_is_sent(mode: Mode) {
    let server = mode.serve(app());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\nGET /panic_in_body HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    assert_apology(mode, &mut client);
    server.assert_serves("/");
}

/// As under `axum::serve`, where it would stop a worker of the runtime: the handler panics, wherever it is
/// polled.
fn a_nested_block_on_panics(mode: Mode) {
    let nested = || async {
        Handle::current().block_on(async {});
        "never said"
    };
    let nested_later = || async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Handle::current().block_on(async {});
        "never said"
    };
    let quick = Arc::new(AtomicUsize::new(0));
    let nested_when_learnt = move || {
        // By then its class is polled on the shard, if it ever is.
        if quick.fetch_add(1, Ordering::SeqCst) >= 20 {
            Handle::current().block_on(async {});
        }
        async { "quick" }
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/nested", get(nested))
        .route("/nested_later", get(nested_later))
        .route("/learnt", get(nested_when_learnt));
    // However slow the machine is, the class is learnt.
    let config = mode.config().shards(1).inline_poll_max(PATIENCE);
    let server = mode.serve_with(config, app);
    let mut client = server.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/learnt").text(), "quick");
    }
    if mode == Mode::IoUringAdaptive {
        assert_eq!(server.stats().classes_inline, 1);
    }
    for path in ["/nested", "/nested_later", "/learnt"] {
        for _ in 0..4 {
            assert_apology(mode, server.connect().send_get(path));
        }
    }
    if mode.is_io_uring() {
        assert_eq!(server.stats().handler_panics, 12);
    }
    server.assert_serves("/");
}

/// The name of the span that is entered.
fn span_name() -> &'static str {
    let span = tracing::Span::current();
    span.metadata().map_or("none", |metadata| metadata.name())
}

/// Tells which span was entered in each of its polls, of which some come at once and some later.
async fn spans_of_polls() -> String {
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(span_name());
        tokio::task::yield_now().await;
        names.push(span_name());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    names.push(span_name());
    names.join(" ")
}

fn a_span_around_a_handler_is_entered_for_its_polls_only(mode: Mode) {
    // Spans are entered only if somebody wants to know.
    let _log = Log::of_all();
    let traced = axum::middleware::from_fn(|request: Request, next: Next| {
        next.run(request).instrument(tracing::info_span!("around"))
    });
    let app = Router::new()
        .route("/at_once", get(|| async { span_name() }))
        .route("/later", get(spans_of_polls))
        .layer(traced)
        .route("/bare", get(|| async { span_name() }));
    let config = mode.config().shards(1).inline_poll_max(PATIENCE);
    let server = mode.serve_with(config, app);
    let mut waiting: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let mut client = server.connect();
    let always = ["around"; 7].join(" ");
    for _ in 0..20 {
        for waiting in &mut waiting {
            waiting.send_get("/later");
        }
        // On the same shard, between their polls.
        assert_eq!(client.get("/bare").text(), "none");
        assert_eq!(client.get("/at_once").text(), "around");
        assert_eq!(client.get("/bare").text(), "none");
        for waiting in &mut waiting {
            assert_eq!(waiting.response().text(), always);
        }
    }
    if mode == Mode::IoUringAdaptive {
        assert_eq!(server.stats().classes_inline, 3);
    }
}
