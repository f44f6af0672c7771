//! The smallest server.
//!
//! Run:  `cargo run -p zero-examples --bin hello [PORT]`
//! See:  curl -i http://localhost:3000/          -> hello, io_uring  (or hyper, if the kernel says no)
//!       the first log line says which backend serves, and why, if it is the fallback
use axum::{Router, routing::get};
use zero_axum::{Config, Io};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());

    let mut io = Io::new(Config::default())?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;
    let greeting = format!("hello, {}\n", io.backend());
    let app = Router::new().route("/", get(|| async move { greeting }));

    zero_axum::serve(io, app)?.await?;
    Ok(())
}
