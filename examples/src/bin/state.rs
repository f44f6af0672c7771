//! Shared state, extractors and middleware: a counter of words, kept in memory.
//!
//! Run:  `cargo run -p zero-examples --bin state [PORT]`
//! See:  curl -X POST http://localhost:3000/words/rust   -> 1, then 2, ...
//!       curl 'http://localhost:3000/words?at_least=2'   -> {"rust":2}
//!       each request is logged by the middleware
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};

type Words = BTreeMap<String, u64>;

#[derive(Clone, Default)]
struct AppState {
    words: Arc<Mutex<Words>>,
}

async fn count(State(state): State<AppState>, Path(word): Path<String>) -> String {
    let mut words = state.words.lock().expect("no handler panics here");
    let count = words.entry(word).or_default();
    *count += 1;
    format!("{count}\n")
}

async fn list(State(state): State<AppState>, Query(query): Query<Words>) -> Json<Words> {
    let at_least = query.get("at_least").copied().unwrap_or(0);
    let mut words = state.words.lock().expect("no handler panics here").clone();
    words.retain(|_, count| *count >= at_least);
    Json(words)
}

async fn log(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    tracing::info!(%method, %uri, status = %response.status(), took = ?started.elapsed());
    response
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());

    let app = Router::new()
        .route("/words/{word}", post(count))
        .route("/words", get(list))
        .layer(from_fn(log))
        .with_state(AppState::default());

    let addr: std::net::SocketAddr = format!("0.0.0.0:{port}").parse()?;
    zero_axum::serve(addr, app)?.await?;
    Ok(())
}
