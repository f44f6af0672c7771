//! HTTP/1.1 by events: a loop of ours that answers at once, later, and from another thread.
//!
//! Run:  `cargo run --release -p zero-examples --bin raw_http [PORT]`
//! See:  curl localhost:3000/           answered where it was received
//!       curl localhost:3000/slow       answered by another thread, after a second
//!       curl -T Cargo.toml localhost:3000/count     a body, counted as it comes

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use zero_runtime::raw::{ConnId, Event};
use zero_runtime::{Config, RawShard, StatusCode, ZeroResponse};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());
    let mut shard = RawShard::new(Config::default())?;
    let endpoint = shard.http_listen(format!("127.0.0.1:{port}").parse()?)?;
    println!("listening on http://{}", shard.local_addr(endpoint)?);
    // Bodies that are still coming, and how much has.
    let mut counts: HashMap<ConnId, usize> = HashMap::new();
    loop {
        shard.poll(None)?;
        while let Some(event) = shard.next_event() {
            let conn = event.conn();
            let response = match event {
                Event::Request {
                    request, is_whole, ..
                } => match (request.method(), request.path()) {
                    ("GET", "/") => Some(ZeroResponse::ok().text("Hello, World!\n")),
                    ("GET", "/slow") => {
                        answer_later(&mut shard, conn);
                        None
                    }
                    ("PUT" | "POST", "/count") => {
                        let count = request.body().len();
                        counts.insert(conn, count);
                        is_whole.then(|| counted(count))
                    }
                    _ => Some(ZeroResponse::not_found()),
                },
                Event::Body { data, .. } => {
                    if let Some(count) = counts.get_mut(&conn) {
                        *count += data.len();
                    }
                    None
                }
                Event::BodyEnd { .. } => counts.remove(&conn).map(counted),
                Event::BodyFailed { .. } => Some(ZeroResponse::status(StatusCode::BAD_REQUEST)),
                Event::Closed { .. } => {
                    counts.remove(&conn);
                    None
                }
                _ => None,
            };
            if let Some(response) = response {
                // Who has gone meanwhile is not answered.
                let _ = shard.http_respond(conn, response);
            }
        }
    }
}

fn counted(bytes: usize) -> ZeroResponse {
    ZeroResponse::ok().text(format!("{bytes} bytes\n"))
}

/// What takes long goes elsewhere, with what it needs of the request, and answers from there.
fn answer_later(shard: &mut RawShard, conn: ConnId) {
    let (request, handle) = (shard.detach_http_request(), shard.handle());
    thread::spawn(move || {
        thread::sleep(Duration::from_secs(1));
        let path = request.as_ref().map_or("", |request| request.path());
        let text = format!("at last: {path}\n");
        let _ = handle.respond(conn, ZeroResponse::ok().text(text));
    });
}
