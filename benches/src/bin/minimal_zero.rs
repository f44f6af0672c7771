//! One route on `zero_axum::serve` and nothing else: `compare` tells how large it is.
//!
//! Run: `cargo run --release -p zero-bench --bin minimal-zero`, then `curl http://127.0.0.1:3000/`.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use zero_axum::{Config, Io};

fn main() -> Result<(), Box<dyn Error>> {
    let mut io = Io::new(Config::default())?;
    io.http_listen("127.0.0.1:3000".parse()?)?;
    let app = Router::new().route("/", get(async || "Hello, World!"));
    zero_axum::serve(io, app)?.wait()?;
    Ok(())
}
