//! The application under measure: one router, the same on every backend.

use std::time::Duration;

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

/// Size of what `/big` answers, in bytes.
pub const BIG_BYTES: usize = 1 << 20;

static BIG: [u8; BIG_BYTES] = [b'x'; BIG_BYTES];

/// Builds the application.
///
/// No layer raises the limit on request bodies: axum's 2 MB hold every scenario, and a layer would add
/// three allocations to each request.
pub fn router() -> Router {
    Router::new()
        .route("/plaintext", get(async || "Hello, World!"))
        .route("/json", get(json))
        .route("/users/{id}", get(user))
        .route("/echo", post(echo))
        .route("/sleep/{ms}", get(sleep))
        .route("/db", get(db))
        .route("/big", get(async || Bytes::from_static(&BIG)))
}

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

async fn json() -> Json<Message> {
    Json(Message {
        message: "Hello, World!",
    })
}

async fn user(Path(id): Path<String>) -> String {
    id
}

async fn sleep(Path(ms): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slept"
}

async fn db() -> Result<Vec<u8>, StatusCode> {
    let row = crate::db::ask().await;
    row.map(Vec::from)
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn echo(body: Bytes) -> Bytes {
    body
}
