//! zero without axum: the modes of `ZeroRuntime`, which answer a few of the application's paths as the
//! application does.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use serde::Serialize;
use zero_runtime::raw::Event;
use zero_runtime::router::{Params, Router};
use zero_runtime::{
    BackendChoice, Config, Dispatch, HttpOwnedRequest, HttpRequest, Io, RawShard, Wakeup,
    ZeroResponse, ZeroRuntime,
};

use super::{Backend, Running};
use crate::icount::{MARK_PATH, mark};

/// Serves from `shards` shards, with as many workers for handlers that leave them.
pub(super) fn start(backend: Backend, shards: usize, addr: SocketAddr) -> io::Result<Running> {
    let config = Config::default()
        .shards(shards)
        .workers(shards)
        .backend(BackendChoice::IoUring);
    let config = match backend {
        Backend::ZeroSyncSleep | Backend::ZeroPerCoreSleep | Backend::ZeroTowerSleep => {
            config.dispatch(Dispatch::Inline).wakeup(Wakeup::Sleep)
        }
        _ => config,
    };
    let mut io = Io::new(config)?;
    io.http_listen(addr)?;
    let runtime = ZeroRuntime::new(io);
    let handle = match backend {
        Backend::ZeroPerCore | Backend::ZeroPerCoreSleep => runtime.run_per_core(|| answer_later),
        Backend::ZeroAsync => runtime.run_async(answer_later),
        Backend::ZeroTower | Backend::ZeroTowerSleep => runtime.run_tower(router()),
        _ => runtime.run_sync(answer),
    }?;
    Ok(Running {
        addr: handle.local_addr()?,
        stats: Some(Box::new(move || format!("{:?}", handle.stats()))),
    })
}

/// Serves from one raw shard, in a thread whose loop asks it for events.
pub(super) fn start_raw(addr: SocketAddr) -> io::Result<Running> {
    let (report, reports) = mpsc::channel();
    let builder = thread::Builder::new().name("zero-raw".into());
    builder.spawn(move || {
        let started = RawShard::new(Config::default()).and_then(|mut shard| {
            let endpoint = shard.http_listen(addr)?;
            let addr = shard.local_addr(endpoint)?;
            Ok((shard, addr))
        });
        let (shard, started) = match started {
            Ok((shard, addr)) => (Some(shard), Ok(addr)),
            Err(error) => (None, Err(error)),
        };
        let _ = report.send(started);
        if let Some(Err(error)) = shard.map(answer_events) {
            eprintln!("zero-raw ended: {error}");
        }
    })?;
    let addr = reports.recv().map_err(io::Error::other)??;
    Ok(Running { addr, stats: None })
}

fn answer_events(mut shard: RawShard) -> io::Result<()> {
    loop {
        shard.poll(None)?;
        while let Some(event) = shard.next_event() {
            if let Event::Request { conn, request, .. } = event {
                let response = answer(request);
                // It may have ended meanwhile.
                let _ = shard.http_respond(conn, response);
            }
        }
    }
}

#[derive(Serialize)]
struct Greeting {
    message: &'static str,
}

fn plaintext() -> ZeroResponse {
    ZeroResponse::ok().text("Hello, World!")
}

fn json() -> ZeroResponse {
    let message = "Hello, World!";
    ZeroResponse::ok().json(&Greeting { message })
}

fn echo(body: &[u8]) -> ZeroResponse {
    let mut echo = zero_runtime::SendBuffer::with_capacity(body.len());
    echo.put_slice(body);
    ZeroResponse::ok().buffer(echo)
}

fn answer(request: HttpRequest<'_>) -> ZeroResponse {
    match request.path() {
        "/plaintext" => plaintext(),
        "/json" => json(),
        "/echo" => echo(request.body()),
        path => match path.strip_prefix("/users/") {
            Some(id) => ZeroResponse::ok().text(id),
            None => answer_mark(path),
        },
    }
}

/// What is asked for least, so that nothing else pays for it.
#[cold]
fn answer_mark(path: &str) -> ZeroResponse {
    if path != MARK_PATH {
        return ZeroResponse::not_found();
    }
    mark();
    ZeroResponse::ok()
}

/// Larger bodies than the scenarios send are refused by an empty answer, which the check would see.
async fn answer_later(mut request: HttpOwnedRequest) -> ZeroResponse {
    match request.body_stream() {
        None => answer(request.as_request()),
        Some(stream) => match stream.collect(2 * 1024 * 1024).await {
            Ok(body) => answer(request.as_request().with(&body)),
            Err(_) => ZeroResponse::not_found(),
        },
    }
}

fn router() -> Router {
    let user = |_: HttpRequest<'_>, params: &Params<'_, '_>| {
        ZeroResponse::ok().text(params.get("id").unwrap_or_default())
    };
    Router::new()
        .get("/plaintext", |_, _| plaintext())
        .get("/json", |_, _| json())
        .get(MARK_PATH, |_, _| answer_mark(MARK_PATH))
        .get("/users/{id}", user)
        .route_async("POST", "/echo", async |request, _| {
            answer_later(request).await
        })
}
