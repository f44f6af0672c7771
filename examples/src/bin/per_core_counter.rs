//! State that belongs to a core: no lock, no atomic, and futures that are not `Send`: `run_per_core`.
//!
//! Run:  `cargo run --release -p zero-examples --bin per_core_counter [PORT]`
//! See:  curl localhost:3000/       -> what this core has counted
//!       curl localhost:3000/slow   -> the same after a second of tokio's time, on the same core
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use zero_runtime::{Config, HttpOwnedRequest, Io, ZeroResponse, ZeroRuntime};

/// One for each shard: `Rc` and `Cell` would not compile in `run_async`.
#[derive(Clone, Default)]
struct Counter(Rc<Cell<u64>>);

impl Counter {
    async fn handle(self, request: HttpOwnedRequest) -> ZeroResponse {
        if request.path() == "/slow" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let count = self.0.get() + 1;
        self.0.set(count);
        let thread = std::thread::current();
        let core = thread.name().unwrap_or("a shard");
        ZeroResponse::ok().text(format!("{core} has answered {count} requests\n"))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());
    let mut io = Io::new(Config::default())?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;

    // Called once on each shard.
    let factory = || {
        let counter = Counter::default();
        move |request| counter.clone().handle(request)
    };
    ZeroRuntime::new(io).run_per_core(factory)?.wait()?;
    Ok(())
}
