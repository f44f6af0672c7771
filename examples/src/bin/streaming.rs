//! Bodies that flow: server-sent events, a long download, an upload counted while it arrives.
//!
//! Run:  `cargo run -p zero-examples --bin streaming [PORT]`
//! See:  curl -N http://localhost:3000/events                       -> one event a second
//!       curl -s http://localhost:3000/download/1000 | wc -c        -> 65536000 (1000 chunks of 64 KiB);
//!         add --limit-rate 1M: chunks are made only as fast as they are taken
//!       head -c 1G /dev/zero | curl -T - http://localhost:3000/upload   -> 1073741824 bytes;
//!         the server's memory stays flat
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, put};
use futures_util::{Stream, StreamExt, stream};

async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = stream::unfold(0u64, |tick| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok(Event::default().data(format!("tick {tick}"))), tick + 1))
    });
    Sse::new(ticks).keep_alive(KeepAlive::default())
}

async fn download(Path(chunks): Path<u64>) -> Body {
    const CHUNK: &[u8] = &[b'z'; 64 * 1024];
    let chunks = stream::iter(0..chunks).map(|n| {
        tracing::debug!(n, "a chunk is made");
        Ok::<_, Infallible>(Bytes::from_static(CHUNK))
    });
    Body::from_stream(chunks)
}

async fn upload(body: Body) -> impl IntoResponse {
    let mut data = body.into_data_stream();
    let mut bytes = 0;
    while let Some(chunk) = data.next().await {
        match chunk {
            Ok(chunk) => bytes += chunk.len(),
            Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
    (StatusCode::OK, format!("{bytes} bytes\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());

    let app = Router::new()
        .route("/events", get(events))
        .route("/download/{chunks}", get(download))
        .route("/upload", put(upload));

    let addr: std::net::SocketAddr = format!("0.0.0.0:{port}").parse()?;
    zero_axum::serve(addr, app)?.await?;
    Ok(())
}
