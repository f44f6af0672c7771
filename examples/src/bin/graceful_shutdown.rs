//! Stops on ctrl-c or SIGTERM, and lets requests in flight finish, for ten seconds at most.
//!
//! Run:  `cargo run -p zero-examples --bin graceful_shutdown [PORT]`
//! See:  curl -i http://localhost:3000/slow, and ctrl-c the server within its five seconds:
//!       new connections are refused, the slow answer still comes (with `connection: close`), and
//!       the server ends. `/stuck` shows the ten seconds.
use std::time::Duration;

use axum::{Router, routing::get};
use tokio::signal::unix::{SignalKind, signal};
use zero_axum::{Config, Io};

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(5)).await;
    "done\n"
}

async fn stuck() {
    std::future::pending().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());

    let app = Router::new()
        .route("/slow", get(slow))
        .route("/stuck", get(stuck));

    let mut io = Io::new(Config::default().shutdown_timeout(Duration::from_secs(10)))?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;

    // Registered before serving, so that no signal is missed.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let asked_to_stop = async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("ctrl-c: shutting down"),
            _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
        }
    };

    zero_axum::serve(io, app)?
        .with_graceful_shutdown(asked_to_stop)
        .await?;
    tracing::info!("all requests are finished");
    Ok(())
}
