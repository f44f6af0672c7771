//! All seven native layers around a router: inside it, where axum's users put them, and outside it,
//! where they cost less.
//!
//! Run:  `cargo run -p zero-examples --bin layers [PORT]`
//! See:  curl -i -H 'authorization: Bearer secret' -H 'accept-encoding: gzip' http://localhost:3000/page/
//!       -> 200, although the route is /page; content-encoding: gzip; an x-request-id; allowed origins;
//!       the log line has the path and the status, and no token
//!       curl -i http://localhost:3000/page                -> 401 with a challenge
//!       curl -i -X OPTIONS http://localhost:3000/page     -> 200: a preflight needs no token
//!       curl -i http://localhost:3000/health              -> 200: layers inside the router
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::{Router, routing::get};
use tower::ServiceBuilder;
use tracing::Level;
use zero_axum::{Config, Io};
use zero_tower_layers::auth::ZeroAuthLayer;
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::cors::ZeroCorsLayer;
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{MakeRequestUuid, ZeroRequestIdLayer};
use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
use zero_tower_layers::trace::{DefaultMakeSpan, DefaultOnResponse, ZeroTraceLayer};

async fn page() -> String {
    "the same words again, the same words again\n".repeat(100)
}

/// Each `Router::layer` boxes the routes once more, for every call; so one builder is better than
/// several. What holds for some routes only belongs here.
fn app() -> Router {
    let checked = Router::new()
        .route("/page", get(page))
        .route_layer(ZeroAuthLayer::bearer("secret"));
    let open = Router::new().route("/health", get(async || "fine\n"));
    checked.merge(open)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());

    // Outside the router nothing is boxed; and only outside it can a path be changed before it is
    // routed. `serve` takes any tower service, whatever the type of its responses' bodies.
    let trace = ZeroTraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO));
    let app = ServiceBuilder::new()
        .layer(ZeroNormalizePathLayer::trim_trailing_slash())
        .layer(ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(trace)
        .layer(ZeroCompressionLayer::new())
        .layer(ZeroCorsLayer::permissive())
        .service(app());

    let mut io = Io::new(Config::default())?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;
    zero_axum::serve(io, app)?.await?;
    Ok(())
}
