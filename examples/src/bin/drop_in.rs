//! Before and after: one application, served by axum or by zero.
//!
//! Run:  cargo run -p zero-examples --bin drop_in -- --hyper     (axum::serve)
//!       cargo run -p zero-examples --bin drop_in                (zero)
//! See:  http://localhost:3000 in a browser; curl -i http://localhost:3000/users/7 and curl -i -d '{"name":"ann"}' -H 'content-type:
//!       application/json' http://localhost:3000/users: the same bytes from both, but for the date.
//!       PORT=3001 in the environment serves on another port, so that both can run at once.
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use zero_axum::{Config, Io};

/// The application; it does not know who serves it.
fn app() -> Router {
    Router::new()
        .route("/", get(page))
        .route("/users/{id}", get(user))
        .route("/users", post(create_user))
}

async fn page() -> Html<&'static str> {
    Html("<h1>It works</h1><p>Try <a href=/users/7>/users/7</a>.</p>")
}

async fn user(Path(id): Path<u64>) -> String {
    format!("user {id}\n")
}

type User = std::collections::BTreeMap<String, String>;

async fn create_user(Json(user): Json<User>) -> (StatusCode, Json<User>) {
    (StatusCode::CREATED, Json(user))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let addr = format!("0.0.0.0:{port}");

    if std::env::args().any(|arg| arg == "--hyper") {
        // Before:
        let listener = tokio::net::TcpListener::bind(addr).await?;
        axum::serve(listener, app()).await?;
    } else {
        // After:
        let mut io = Io::new(Config::default())?;
        io.http_listen(addr.parse()?)?;
        zero_axum::serve(io, app())?.await?;
    }
    Ok(())
}
