//! What a server's memory comes to, in a process of its own: little at first, and never more than the
//! sum that is printed at its start.

mod support;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use futures_util::StreamExt;
use zero_axum::{Config, Io};

use support::child::{self, ChildServer, counted};
use support::client::Client;
use support::{Mode, Server, in_every_mode, on_shards};

const MIB: usize = 1 << 20;

in_every_mode![a_server_starts_small,];

on_shards![the_printed_sum_holds, uploads_that_stall_are_within_the_sum,];

fn a_server_starts_small(mode: Mode) {
    let mut server = ChildServer::start("child_as_it_comes", mode, &[]);
    let mut client = Client::connect(server.addr);
    assert_eq!(client.get("/").text(), "hello");
    let resident = server.resident_bytes();
    assert!(resident < 32 * MIB, "{resident} bytes are resident");
    if mode.is_io_uring() {
        assert!(server.count("recv_bytes_on_pages") > 0);
    }
}

#[test]
#[ignore = "a server: run by the test above, in its own process"]
fn child_as_it_comes() {
    child::serve_as_told(|mode| {
        let asked = mode.config();
        let config = Config::default().backend(asked.backend);
        mode.serve_with(config.dispatch(asked.dispatch), app())
    });
}

/// hyper has no such sum.
fn the_printed_sum_holds(mode: Mode) {
    let mut server = ChildServer::start("child_with_few_buffers", mode, &[]);
    let before = server.resident_bytes();
    let sum: usize = server.ask("sum").parse().unwrap();
    // Everything that can be held is: answers nobody reads, bodies no handler reads, half heads.
    let mut clients = Vec::new();
    let mut most = 0;
    for round in 0..CONNECTIONS / 3 {
        let mut reader = Client::connect(server.addr);
        reader.send_get("/endless");
        let mut writer = Client::connect(server.addr);
        writer.send("POST /held HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n");
        writer.send(vec![b'x'; 150_000]);
        let mut slow = Client::connect(server.addr);
        slow.send(format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(60_000)));
        clients.extend([reader, writer, slow]);
        if round % 10 == 0 {
            most = most.max(server.resident_bytes());
        }
    }
    for _ in 0..30 {
        most = most.max(server.resident_bytes());
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = most - before;
    println!("{} KiB were used of {} KiB", used >> 10, sum >> 10);
    assert!(used <= sum, "{used} bytes are resident, the sum is {sum}");
    assert!(server.count("overload_criticals") > 0);
}

/// Handlers that take all there is wait for more: what is held is room for that alone.
fn uploads_that_stall_are_within_the_sum(mode: Mode) {
    let mut server = ChildServer::start("child_with_few_buffers", mode, &[]);
    let before = server.resident_bytes();
    let sum: usize = server.ask("sum").parse().unwrap();
    let mut clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| Client::connect(server.addr))
        .collect();
    for client in &mut clients {
        client.send("POST /taken HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n");
    }
    let mut most = 0;
    let mut held = 0;
    for _ in 0..6 {
        for client in &mut clients {
            client.send(vec![b'x'; 256 * 1024]);
        }
        most = most.max(server.resident_bytes());
        held = held.max(server.count("buffered_bytes"));
    }
    let used = most - before;
    println!("{} KiB were used of {} KiB", used >> 10, sum >> 10);
    assert!(used <= sum, "{used} bytes are resident, the sum is {sum}");
    assert!(held > 0, "room for what is to come counts for nothing");
    // They are all served still.
    let last = clients.last_mut().unwrap();
    last.send(vec![b'x'; 100_000_000 - 6 * 256 * 1024]);
    assert_eq!(last.response().text(), "100000000");
}

const CONNECTIONS: usize = 450;

#[test]
#[ignore = "a server: run by the test above, in its own process"]
fn child_with_few_buffers() {
    let config = |mode: Mode| {
        // More than come: where places run out, who is late with his head is let go.
        let places = CONNECTIONS + CONNECTIONS / 9;
        let config = mode.config().shards(1).connections_max(places);
        config.buffered_bytes_max(8 * MIB).recv_buffers(64)
    };
    let tell = |server: &Server, name: &str| match name {
        "sum" => {
            let io = Io::new(config(Mode::IoUringAdaptive)).unwrap();
            io.limits().memory().total_bytes_max.to_string()
        }
        name => counted(server, name).to_string(),
    };
    child::serve_and_tell(|mode| mode.serve_with(config(mode), app()), tell);
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/endless", get(endless))
        .route("/held", post(held))
        .route("/taken", post(taken))
}

async fn endless() -> Body {
    let pieces = futures_util::stream::repeat_with(|| Bytes::from(vec![b'x'; 16 * 1024]));
    Body::from_stream(pieces.map(Ok::<_, Infallible>))
}

/// Keeps its body unread.
async fn held(body: Body) -> &'static str {
    std::future::pending::<()>().await;
    drop(body);
    "never"
}

/// Drops each piece of its body as it comes.
async fn taken(body: Body) -> String {
    let mut pieces = body.into_data_stream();
    let mut bytes = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        bytes += piece.len();
    }
    bytes.to_string()
}
