//! A tower stack over the server's own requests, a limit that sheds and a timeout around a router: `run_tower`.
//!
//! Run:  `cargo run --release -p zero-examples --bin tower_perf [PORT]`
//! See:  curl -i localhost:3000/users/7   -> seven, an id, and a header from an http-typed layer
//!       curl -i localhost:3000/slow      -> 503 after a second, at once while a hundred others wait
//!       wrk -c64 -t1 http://localhost:3000/users/7
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tower::ServiceBuilder;
use tower::load_shed::error::Overloaded;
use tower_http::set_header::SetResponseHeaderLayer;
use zero_runtime::router::Router;
use zero_runtime::tower_http_compat::HttpLayer;
use zero_runtime::{Config, Io, StatusCode, ZeroResponse, ZeroRuntime};
use zero_tower_layers::request_id::{MakeRequestUuid, ZeroRequestIdLayer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());
    let mut io = Io::new(Config::default())?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;

    let router = Router::new()
        // Answers at once: no allocation, no future.
        .get("/users/{id}", |_, params| {
            ZeroResponse::ok().text(params.get("id").unwrap_or_default())
        })
        .route_async("GET", "/slow", async |_, _| {
            tokio::time::sleep(Duration::from_secs(5)).await;
            ZeroResponse::ok().text("late")
        });
    // A layer of http's types costs what the header maps cost; the others see our own types.
    let (name, value) = ("x-served-by", HeaderValue::from_static("zero"));
    let header = SetResponseHeaderLayer::overriding(HeaderName::from_static(name), value);
    let service = ServiceBuilder::new()
        .then(async |answered: Result<ZeroResponse, tower::BoxError>| {
            Ok::<_, tower::BoxError>(answered.unwrap_or_else(unavailable))
        })
        .load_shed()
        .concurrency_limit(100)
        .timeout(Duration::from_secs(1))
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(HttpLayer::new(header))
        .service(router);
    ZeroRuntime::new(io).run_tower(service)?.wait()?;
    Ok(())
}

/// What a client is told in place of a layer's error.
fn unavailable(error: tower::BoxError) -> ZeroResponse {
    let why = match error.is::<Overloaded>() {
        true => "too many at once\n",
        false => "too late\n",
    };
    ZeroResponse::status(StatusCode::SERVICE_UNAVAILABLE).text(why)
}
