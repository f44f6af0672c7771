//! The same stack of middleware twice: tower-http's layers, and zero-tower-layers'.

use axum::Router;
use tower_http as theirs;
use zero_tower_layers as ours;

/// Wraps `router` in tower-http's layers: sensitive headers, trace, compression, CORS.
pub fn theirs(router: Router) -> Router {
    use http::header::{AUTHORIZATION, COOKIE};
    router
        .layer(theirs::cors::CorsLayer::permissive())
        .layer(theirs::compression::CompressionLayer::new())
        .layer(theirs::trace::TraceLayer::new_for_http())
        .layer(theirs::sensitive_headers::SetSensitiveHeadersLayer::new([
            AUTHORIZATION,
            COOKIE,
        ]))
}

/// Wraps `router` in the same layers of zero-tower-layers.
pub fn ours(router: Router) -> Router {
    use http::header::{AUTHORIZATION, COOKIE};
    router
        .layer(ours::cors::ZeroCorsLayer::permissive())
        .layer(ours::compression::ZeroCompressionLayer::new())
        .layer(ours::trace::ZeroTraceLayer::new_for_http())
        .layer(ours::sensitive_headers::ZeroSensitiveHeadersLayer::new([
            AUTHORIZATION,
            COOKIE,
        ]))
}
