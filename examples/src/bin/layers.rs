//! All seven native layers on a router: the token's within it, for its routes alone; the others around it, where they
//! cost less, or with `inside` within it, too, where axum's users put them (but for the one that changes paths).
//!
//! Run:  `cargo run -p zero-examples --bin layers [PORT [inside]]`
//! See:  `curl -i -H 'authorization: Bearer secret' -H 'accept-encoding: gzip' -H 'origin: https://example.com'
//!       http://localhost:3000/page/ --output -`
//!       -> 200, although the route is /page; content-encoding: gzip; an x-request-id; any origin is allowed;
//!       the log line has the path, the headers and the status, and no token
//!       `curl -i http://localhost:3000/page`                -> 401 with a challenge
//!       `curl -i -X OPTIONS http://localhost:3000/page`     -> 200: a preflight needs no token
//!       `curl -i http://localhost:3000/health`              -> 200: nor does this route
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::{Router, routing::get};
use tower::{Layer, ServiceBuilder};
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

/// What holds for some routes only belongs here: a token for the page.
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
    let is_inside = std::env::args().nth(2).as_deref() == Some("inside");
    let mut io = Io::new(Config::default())?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;

    let span = DefaultMakeSpan::new()
        .level(Level::INFO)
        .include_headers(true);
    let trace = ZeroTraceLayer::new_for_http()
        .make_span_with(span)
        .on_response(DefaultOnResponse::new().level(Level::INFO));
    let stack = ServiceBuilder::new()
        .layer(ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(trace)
        .layer(ZeroCompressionLayer::new())
        .layer(ZeroCorsLayer::permissive());
    // This one always outside: only there can a path be changed before it is routed.
    let trim = ZeroNormalizePathLayer::trim_trailing_slash();

    let server = if is_inside {
        // Each `Router::layer` boxes the routes once more, for every call: so one builder, not five layers.
        zero_axum::serve(io, trim.layer(app().layer(stack)))?
    } else {
        // Nothing is boxed. `serve` takes any tower service, whatever the type of its responses' bodies.
        let app = ServiceBuilder::new()
            .layer(trim)
            .layer(stack)
            .service(app());
        zero_axum::serve(io, app)?
    };
    server.await?;
    Ok(())
}
