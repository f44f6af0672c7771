//! Clients that go away: what they asked for is dropped, and their connections leave nothing.

use std::future::pending;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};

use crate::support::client::Client;
use crate::support::{Guard, Mode, PATIENCE, Server, eventually, in_every_mode, on_shards};

in_every_mode![
    a_close_drops_the_waiting_handler,
    a_half_close_drops_the_waiting_handler,
    a_reset_drops_the_waiting_handler,
    a_close_drops_the_streaming_body,
    a_reset_drops_a_body_that_is_held_back,
    a_close_fails_the_request_body,
    a_spawned_task_outlives_its_client,
    clients_who_vanish_in_any_phase_leave_nothing,
];

on_shards![
    a_detached_handler_runs_to_its_end,
    a_half_closed_client_may_wait_for_its_answer,
];

/// Routes that never end by themselves. Each tells when it is entered, and each holds a guard.
struct Endless {
    entered: mpsc::Receiver<()>,
    dropped: crate::support::Dropped,
}

fn endless() -> (Router, Endless) {
    let (tx, entered) = mpsc::channel();
    let tx = Arc::new(Mutex::new(tx));
    let (guard, dropped) = Guard::new();
    let guard = Arc::new(Mutex::new(Some(guard)));
    let enter = move || {
        tx.lock().unwrap().send(()).unwrap();
        guard.lock().unwrap().take()
    };
    let enter_stream = enter.clone();
    let wait = move || async move {
        let _guard = enter();
        // Waits somewhere else than at its first poll.
        tokio::task::yield_now().await;
        pending::<&'static str>().await
    };
    let stream = move || async move {
        let guard = enter_stream();
        let first = stream::iter([Ok::<_, std::io::Error>("first")]);
        let rest = stream::poll_fn(move |_| {
            let _held = &guard;
            std::task::Poll::Pending
        });
        Body::from_stream(first.chain(rest))
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/wait", get(wait))
        .route("/stream", get(stream));
    (app, Endless { entered, dropped })
}

impl Endless {
    fn wait_until_entered(&self) {
        let entered = self.entered.recv_timeout(PATIENCE);
        entered.expect("the handler was not called");
    }
}

fn drops_the_waiting_handler(mode: Mode, leave: fn(Client)) {
    let (app, endless) = endless();
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/wait");
    endless.wait_until_entered();
    assert!(!endless.dropped.happened());
    leave(client);
    endless.dropped.wait("the handler's future");
    server.assert_serves("/");
}

fn a_close_drops_the_waiting_handler(mode: Mode) {
    drops_the_waiting_handler(mode, drop);
}

fn a_half_close_drops_the_waiting_handler(mode: Mode) {
    drops_the_waiting_handler(mode, |mut client| client.half_close().assert_closed());
}

fn a_reset_drops_the_waiting_handler(mode: Mode) {
    drops_the_waiting_handler(mode, Client::reset);
}

fn a_close_drops_the_streaming_body(mode: Mode) {
    let (app, endless) = endless();
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/stream").head();
    assert_eq!(client.chunk().unwrap(), b"first");
    assert!(!endless.dropped.happened());
    drop(client);
    endless.dropped.wait("the response's body");
    server.assert_serves("/");
}

fn a_reset_drops_a_body_that_is_held_back(mode: Mode) {
    let (guard, dropped) = Guard::new();
    let guard = Arc::new(Mutex::new(Some(guard)));
    let flood = move || async move {
        let guard = guard.lock().unwrap().take();
        Body::from_stream(stream::repeat_with(move || {
            let _held = &guard;
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'f'; 16 * 1024]))
        }))
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/flood", get(flood));
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/flood").head();
    assert!(!dropped.happened());
    client.reset();
    dropped.wait("the body that nobody reads");
    server.assert_serves("/");
}

fn a_close_fails_the_request_body(mode: Mode) {
    let (tx, rx) = mpsc::channel();
    let upload = move |body: Body| async move {
        let mut data = body.into_data_stream();
        while let Some(piece) = data.next().await {
            tx.send(piece.is_ok()).unwrap();
        }
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/upload", post(upload));
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send("POST /upload HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n");
    assert!(rx.recv_timeout(PATIENCE).unwrap());
    drop(client);
    let cut_off = rx.recv_timeout(PATIENCE);
    assert_eq!(cut_off, Ok(false), "the cut-off body must fail");
    server.assert_serves("/");
}

fn a_spawned_task_outlives_its_client(mode: Mode) {
    let (tx, rx) = mpsc::channel();
    let (go, wait) = tokio::sync::watch::channel(false);
    let (entered_tx, entered) = mpsc::channel();
    let handler = move || async move {
        let task = tokio::spawn(async move {
            let mut wait = wait;
            entered_tx.send(()).unwrap();
            wait.wait_for(|go| *go).await.unwrap();
            tx.send("done").unwrap();
        });
        task.await.unwrap();
    };
    let server = mode.serve(Router::new().route("/", get(handler)));
    let mut client = server.connect();
    client.send_get("/");
    entered.recv_timeout(PATIENCE).unwrap();
    drop(client);
    go.send(true).unwrap();
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), "done");
}

fn clients_who_vanish_in_any_phase_leave_nothing(mode: Mode) {
    const EACH: usize = 4;
    type Enter = fn(&Server) -> Client;
    let phases: [(&str, Enter); 8] = [
        ("connected", |server| server.connect()),
        ("idle", |server| {
            let mut client = server.connect();
            assert_eq!(client.get("/").status, 200);
            client
        }),
        ("half a head", |server| {
            sent(server, "GET / HTTP/1.1\r\nhost: ")
        }),
        ("half a body", |server| {
            sent(
                server,
                "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n1234",
            )
        }),
        ("half a chunk", |server| {
            sent(
                server,
                "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n9\r\n1",
            )
        }),
        ("handler waits", |server| {
            sent(server, "GET /wait HTTP/1.1\r\nhost: h\r\n\r\n")
        }),
        ("body streams", |server| {
            let mut client = sent(server, "GET /stream HTTP/1.1\r\nhost: h\r\n\r\n");
            client.head();
            client
        }),
        ("pipelined", |server| {
            sent(server, &"GET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(50))
        }),
    ];
    for leave in [drop as fn(Client), Client::reset] {
        let (app, _endless) = endless();
        let server = mode.serve(app);
        for (phase, enter) in phases {
            let clients: Vec<_> = (0..EACH).map(|_| enter(&server)).collect();
            clients.into_iter().for_each(leave);
            let none_open = || server.stats().connections_open == 0;
            eventually(&format!("no connection is left open ({phase})"), none_open);
        }
        if mode.is_io_uring() {
            // Those who left before they were accepted are accepted all the same.
            let all = EACH * phases.len();
            let all_accepted = || server.stats().connections_accepted as usize == all;
            eventually("every connection is accepted", all_accepted);
            eventually("none is left", || server.stats().connections_open == 0);
        }
        server.assert_serves("/");
        server.stop();
    }
}

fn sent(server: &Server, bytes: &str) -> Client {
    let mut client = server.connect();
    client.send(bytes);
    client
}

/// Listed in DIFFERENCES.md.
fn a_detached_handler_runs_to_its_end(mode: Mode) {
    let (done, is_done) = std::sync::mpsc::channel();
    let (body_guard, body_dropped) = Guard::new();
    let body_guard = std::sync::Mutex::new(Some(body_guard));
    let work = move |shared: std::sync::Arc<std::sync::Mutex<Option<Guard>>>| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        done.send(()).unwrap();
        // Its body is not polled, but dropped.
        let guard = shared.lock().unwrap().take();
        let endless = futures_util::stream::unfold(guard, async |guard| {
            Some((Ok::<_, std::convert::Infallible>("never sent"), guard))
        });
        axum::body::Body::from_stream(endless)
    };
    let shared = std::sync::Arc::new(body_guard);
    let app = Router::new().route("/", get(move || work(shared.clone())));
    let config = mode.config().disconnect(zero_axum::Disconnect::Detach);
    let server = mode.serve_with(config, app);
    let mut client = server.connect();
    client.send_get("/");
    eventually("the handler waits", || {
        server.stats().handlers_detached == 1
    });
    drop(client);
    is_done
        .recv_timeout(PATIENCE)
        .expect("it went on to its end");
    body_dropped.wait("the body of a response that nobody gets");
    assert_eq!(server.stats().handlers_cancelled, 0);
    eventually("the connection is gone", || {
        server.stats().connections_open == 0
    });
    server.stop();
}

/// Listed in DIFFERENCES.md.
fn a_half_closed_client_may_wait_for_its_answer(mode: Mode) {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        "slow"
    };
    let app = Router::new().route("/slow", get(slow));
    let server = mode.serve_with(mode.config().half_close(true), app);
    let mut client = server.connect();
    client.send_get("/slow").half_close();
    assert_eq!(client.response().text(), "slow");
    client.assert_closed();
}
