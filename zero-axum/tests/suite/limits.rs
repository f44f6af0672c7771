//! Limits that keep slow, greedy and numerous peers from hurting others: each at its edge, counted,
//! and beside live traffic. hyper has none of these, so they are tested on shards only.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::routing::{any, get, post};
use futures_util::StreamExt;
use zero_axum::{BodyError, Config, Conformance};

use crate::support::{Guard, Mode, PATIENCE, at_any_pace, eventually, on_shards};

on_shards![
    a_part_of_a_head_is_answered_408,
    no_part_of_a_head_is_answered_nothing,
    hyper_says_nothing_to_a_late_head,
    a_dripping_body_is_cut_and_others_live,
    a_body_fast_enough_is_not_cut,
    a_reader_that_takes_its_time_is_not_its_peers_fault,
    a_client_that_waits_for_100_is_not_slow,
    a_handler_may_think_longer_than_its_body_might_take,
    what_waits_for_its_call_has_a_window,
    what_goes_over_a_limit_is_counted,
    a_handler_that_takes_too_long_is_answered_for,
    a_response_that_has_begun_takes_what_it_needs,
    a_connection_serves_so_many_requests,
    a_peer_has_so_many_connections,
    a_tunnel_counts_as_its_peers,
];

/// Where it makes no difference how long anything takes.
const SHORT: Duration = Duration::from_millis(200);

/// Its handlers take their time by `unit`.
fn app(unit: Duration) -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/judge", post(judge))
        .route("/late", post(read_late))
        .route("/forever", get(std::future::pending::<&str>))
        .route("/drip", get(drip))
        .route("/tunnel", any(tunnel))
        .with_state(unit)
}

/// Says why its body ended.
async fn judge(request: Request) -> String {
    let mut body = request.into_body().into_data_stream();
    while let Some(piece) = body.next().await {
        if let Err(error) = piece {
            let mut source: &(dyn std::error::Error + 'static) = &error;
            while let Some(next) = source.source() {
                if let Some(error) = source.downcast_ref::<BodyError>() {
                    return format!("{error:?}");
                }
                source = next;
            }
            return "another error".into();
        }
    }
    "whole".into()
}

/// Reads nothing for a good while, then everything.
async fn read_late(State(unit): State<Duration>, body: Body) -> String {
    tokio::time::sleep(4 * unit).await;
    let bytes = axum::body::to_bytes(body, usize::MAX).await;
    bytes.map_or("an error".into(), |bytes| bytes.len().to_string())
}

/// A response whose body outlasts every timeout here.
async fn drip(State(unit): State<Duration>) -> Body {
    let ticks = futures_util::stream::unfold(0, move |n| async move {
        tokio::time::sleep(unit).await;
        (n < 4).then_some((Ok::<_, Infallible>("tick"), n + 1))
    });
    Body::from_stream(ticks)
}

async fn tunnel(mut request: Request) -> axum::http::StatusCode {
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(&mut request).await;
        tokio::time::sleep(PATIENCE).await;
        drop(upgraded);
    });
    axum::http::StatusCode::SWITCHING_PROTOCOLS
}

fn a_part_of_a_head_is_answered_408(mode: Mode) {
    at_any_pace(|unit| {
        let server = mode.serve_with(mode.config().head_timeout(unit), app(unit));
        let mut client = server.connect();
        assert_eq!(client.get("/").text(), "hello");
        client.send("GET / HT");
        let answer = client.response();
        assert_eq!(answer.status, 408);
        assert_eq!(answer.header("connection"), Some("close"));
        client.assert_closed();
        assert_eq!(server.stats().timeouts_head, 1);
    });
}

fn no_part_of_a_head_is_answered_nothing(mode: Mode) {
    let server = mode.serve_with(mode.config().head_timeout(SHORT), app(SHORT));
    assert_eq!(server.connect().rest(), b"");
    assert_eq!(server.stats().timeouts_head, 1);
}

fn hyper_says_nothing_to_a_late_head(mode: Mode) {
    let config = mode.config().conformance(Conformance::Hyper);
    let server = mode.serve_with(config.head_timeout(SHORT), app(SHORT));
    assert_eq!(server.connect().send("GET / HT").rest(), b"");
}

/// A body must bring so many bytes in each unit.
fn slow_bodies(mode: Mode, unit: Duration, bytes: u32) -> Config {
    let config = mode.config().body_timeout(unit);
    config.body_rate_min((f64::from(bytes) / unit.as_secs_f64()) as u32)
}

const HEAD: &str = "POST /judge HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";

fn a_dripping_body_is_cut_and_others_live(mode: Mode) {
    let config = slow_bodies(mode, SHORT, 200).linger_timeout(PATIENCE);
    let server = mode.serve_with(config, app(SHORT));
    let mut live = server.connect();
    let started = Instant::now();
    let mut slow: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send(HEAD);
    }
    while server.stats().timeouts_body < 20 {
        assert!(started.elapsed() < PATIENCE, "{:?}", server.stats());
        for client in &mut slow {
            // Refused once it has been cut.
            let _ = client.stream.write_all(b"x");
        }
        assert_eq!(live.get("/").text(), "hello");
        std::thread::sleep(SHORT / 10);
    }
    assert!(started.elapsed() >= SHORT);
    for mut client in slow {
        let answer = client.response();
        assert_eq!(answer.text(), "TooSlow");
        client.rest();
    }
    assert_eq!(live.get("/").text(), "hello");
    eventually("the slow ones are gone", || {
        server.stats().connections_open == 1
    });
}

fn a_body_fast_enough_is_not_cut(mode: Mode) {
    at_any_pace(|unit| {
        let server = mode.serve_with(slow_bodies(mode, 2 * unit, 40), app(unit));
        let mut client = server.connect();
        client.send("POST /judge HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n");
        // Two spans and more, at ten times the least rate.
        for _ in 0..10 {
            client.send([b'x'; 100]);
            std::thread::sleep(unit / 2);
        }
        assert_eq!(client.response().text(), "whole");
        assert_eq!(server.stats().timeouts_body, 0);
    });
}

fn a_reader_that_takes_its_time_is_not_its_peers_fault(mode: Mode) {
    at_any_pace(|unit| {
        let config = slow_bodies(mode, unit, 2 << 10).request_window_bytes(1024);
        let server = mode.serve_with(config, app(unit));
        let body = crate::support::client::pattern(4 << 20);
        assert_eq!(server.connect().post("/late", &body).text(), "4194304");
        assert_eq!(server.stats().timeouts_body, 0);
    });
}

/// However the body was received: in one buffer, in several, or lent.
fn a_handler_may_think_longer_than_its_body_might_take(mode: Mode) {
    at_any_pace(|unit| {
        let app = app(unit).route(
            "/think",
            post(async move |body: Bytes| {
                tokio::time::sleep(3 * unit).await;
                body.len().to_string()
            }),
        );
        let server = mode.serve_with(slow_bodies(mode, unit, 200 << 10), app);
        let large = crate::support::client::pattern(100_000);
        for pause in [0, 100, 300, 600] {
            let mut client = server.connect();
            for _ in 0..4 {
                assert!(client.post("/echo", &large).body == large);
            }
            client.send("POST /think HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n");
            client.send(&large[..2000]);
            std::thread::sleep(Duration::from_micros(pause));
            client.send(&large[..3000]);
            assert_eq!(client.response().text(), "5000");
            assert_eq!(client.get("/").text(), "hello");
        }
        assert_eq!(server.stats().timeouts_body, 0);
    });
}

/// While others hold a shard up, an upload may not fill memory beside its call.
fn what_waits_for_its_call_has_a_window(mode: Mode) {
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Arc::new(Mutex::new(may_go));
    let block = async move || {
        let _ = may_go.lock().unwrap().recv();
    };
    let app = app(SHORT).route("/block", get(block));
    let config = mode.config().shards(1).request_window_bytes(64 << 10);
    let server = mode.serve_with(config, app);
    let mut blocking: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for client in &mut blocking {
        client.send_get("/block");
    }
    let mut upload = server.connect();
    upload.send("POST /judge HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n");
    upload.stream.set_nonblocking(true).unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..30 {
        (0..4).for_each(|_| drop(upload.stream.write(&piece)));
        // Fewer than there are, however the test is held up.
        (0..4).for_each(|_| go.send(()).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        // Inline the shard has hardly got to it; on workers the handler reads, and the window moves.
        if mode == Mode::IoUringInline {
            let bytes_in = server.stats().bytes_in;
            assert!(bytes_in < 2 << 20, "{bytes_in}");
        }
    }
    drop(go);
    upload.reset();
    for client in &mut blocking {
        assert_eq!(client.response().status, 200);
    }
}

fn what_goes_over_a_limit_is_counted(mode: Mode) {
    let config = mode.config().head_bytes_max(2048).uri_bytes_max(100);
    let config = config.chunk_extension_bytes_max(10).trailer_bytes_max(20);
    let server = mode.serve_with(config.requests_per_connection_max(2), app(SHORT));
    let long = "x".repeat(3000);
    let chunked = "POST /judge HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (request, status) in [
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
            431,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", &long[..100]),
            414,
        ),
        (format!("{chunked}1;{}\r\nx\r\n0\r\n\r\n", &long[..20]), 200),
        (format!("{chunked}0\r\nx: {}\r\n\r\n", &long[..30]), 200),
    ] {
        assert_eq!(server.connect().send(request).response().status, status);
    }
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(client.get("/").text(), "hello");
    client.assert_closed();
    let stats = server.stats();
    assert_eq!(
        [
            stats.heads_too_large,
            stats.targets_too_long,
            stats.bodies_over_limits,
            stats.connections_used_up,
        ],
        [1, 1, 2, 1]
    );
    assert_eq!(stats.parse_errors, 4);
}

fn a_client_that_waits_for_100_is_not_slow(mode: Mode) {
    at_any_pace(|unit| {
        let server = mode.serve_with(slow_bodies(mode, unit, 200), app(unit));
        let mut client = server.connect();
        client.send(
            "POST /late HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        );
        assert_eq!(client.head().status, 100);
        client.send("ready");
        assert_eq!(client.response().text(), "5");
    });
}

fn a_handler_that_takes_too_long_is_answered_for(mode: Mode) {
    at_any_pace(|unit| {
        let (guard, dropped) = Guard::new();
        let guard = Arc::new(guard);
        let stuck = move || {
            let guard = guard.clone();
            async move {
                let _guard = guard;
                std::future::pending::<&str>().await
            }
        };
        let app = Router::new().route("/stuck", get(stuck)).merge(app(unit));
        let server = mode.serve_with(mode.config().request_timeout(unit), app);
        let mut live = server.connect();
        let mut stuck = server.connect();
        stuck.send_get("/forever");
        while server.stats().timeouts_request == 0 {
            assert_eq!(live.get("/").text(), "hello");
            std::thread::sleep(unit / 20);
        }
        let answer = stuck.response();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("connection"), Some("close"));
        stuck.assert_closed();
        assert_eq!(server.connect().get("/stuck").status, 503);
        server.stop();
        dropped.wait("a handler that took too long");
    });
}

fn a_response_that_has_begun_takes_what_it_needs(mode: Mode) {
    at_any_pace(|unit| {
        let server = mode.serve_with(mode.config().request_timeout(unit), app(unit));
        let mut client = server.connect();
        assert_eq!(client.get("/drip").text(), "ticktickticktick");
        assert_eq!(client.get("/").text(), "hello");
        assert_eq!(server.stats().timeouts_request, 0);
    });
}

fn a_connection_serves_so_many_requests(mode: Mode) {
    let config = mode.config().requests_per_connection_max(3);
    let server = mode.serve_with(config, app(SHORT));
    let mut client = server.connect();
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send(get.repeat(5));
    for _ in 0..2 {
        let answer = client.response();
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    assert_eq!(client.response().header("connection"), Some("close"));
    client.assert_closed();
    assert_eq!(server.stats().requests, 3);
}

fn a_peer_has_so_many_connections(mode: Mode) {
    let config = mode.config().connections_per_peer_max(2);
    let server = mode.serve_with(config, app(SHORT));
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!(first.get("/").text(), "hello");
    assert_eq!(second.get("/").text(), "hello");
    let mut third = server.connect();
    assert_eq!(third.response().status, 503);
    third.assert_closed();
    assert_eq!(server.stats().peers_over_limit, 1);
    // Another address of the loopback is another peer.
    let other = SocketAddr::from(([127, 0, 0, 2], 0));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&other.into()).unwrap();
    socket.connect(&server.addr.into()).unwrap();
    let mut other = crate::support::client::Client::over(socket.into());
    assert_eq!(other.get("/").text(), "hello");
    drop(first);
    eventually("a place is free again", || {
        let mut again = server.connect();
        let _ = again.stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        again.response().status == 200
    });
}

fn a_tunnel_counts_as_its_peers(mode: Mode) {
    let config = mode.config().connections_per_peer_max(1);
    let server = mode.serve_with(config, app(SHORT));
    let mut tunnel = server.connect();
    tunnel.send("GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(tunnel.head().status, 101);
    eventually("the tunnel has left its shard", || {
        server.stats().connections_handed_over == 1
    });
    assert_eq!(server.connect().response().status, 503);
}
