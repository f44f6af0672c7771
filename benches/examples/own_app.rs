//! Compares zero with `axum::serve` on an application of your own: copy this, put your router in.
//!
//! Run: `cargo run --release -p zero-bench --example own_app -- --quick`
//!
//! See: a line per run with the time left, then tables, then where `report.html` is.

use std::process::ExitCode;

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use zero_bench::{Plan, Request};

zero_bench::count_allocations!();

fn main() -> ExitCode {
    let plan = Plan::new()
        .request(
            Request::new("GET", "/articles/7")
                .header("Accept", "application/json")
                .weight(4),
        )
        .post(
            "/articles",
            "application/json",
            r#"{"id": 8, "title": "News"}"#,
        );
    zero_bench::compare(plan, router)
}

fn router() -> Router {
    Router::new()
        .route(
            "/articles/{id}",
            get(async |Path(id): Path<u64>| Json(article(id))),
        )
        .route(
            "/articles",
            post(async |Json(article): Json<Article>| Json(article)),
        )
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Article {
    id: u64,
    title: String,
}

fn article(id: u64) -> Article {
    let title = format!("Article {id}");
    Article { id, title }
}
