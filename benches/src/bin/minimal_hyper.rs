//! One route on `axum::serve` and nothing else: `compare` tells how large it is.
//!
//! Run: `cargo run --release -p zero-bench --bin minimal-hyper`, then `curl http://127.0.0.1:3000/`.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:3000").await?;
        let app = Router::new().route("/", get(async || "Hello, World!"));
        axum::serve(listener, app).await?;
        Ok(())
    })
}
