//! The same stacks of middleware twice: tower-http's layers, and zero-tower-layers'.
//!
//! [`theirs`] and [`ours`] are four layers on a router, as most programs have them. The macros are the full
//! stack as one layer: macros, because the type of such a stack fills a page.

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

/// The token that the stacks' bearer layers ask for.
pub const TOKEN: &str = "secret";

/// tower-http's check of [`TOKEN`].
#[allow(deprecated)] // tower-http has no other.
pub fn their_bearer<B: Default>() -> theirs::validate_request::ValidateRequestHeaderLayer<
    theirs::auth::require_authorization::Bearer<B>,
> {
    theirs::validate_request::ValidateRequestHeaderLayer::bearer(TOKEN)
}

/// Six layers of tower-http: sensitive headers, request ids, trace, compression, CORS, a bearer token.
#[macro_export]
macro_rules! tower_http_stack {
    () => {
        ::tower::ServiceBuilder::new()
            .layer(
                ::tower_http::sensitive_headers::SetSensitiveHeadersLayer::new([
                    ::http::header::AUTHORIZATION,
                    ::http::header::COOKIE,
                ]),
            )
            .layer($crate::tower_http_request_id!())
            .layer(::tower_http::trace::TraceLayer::new_for_http())
            .layer(::tower_http::compression::CompressionLayer::new())
            .layer(::tower_http::cors::CorsLayer::permissive())
            .layer($crate::stacks::their_bearer())
    };
}

/// tower-http's two layers of request ids, as one.
#[macro_export]
macro_rules! tower_http_request_id {
    () => {
        ::tower::ServiceBuilder::new()
            .layer(::tower_http::request_id::SetRequestIdLayer::x_request_id(
                ::tower_http::request_id::MakeRequestUuid,
            ))
            .layer(::tower_http::request_id::PropagateRequestIdLayer::x_request_id())
    };
}

/// The same six of zero-tower-layers; ids are in extensions too, as tower-http has them, if `$extensions`.
#[macro_export]
macro_rules! native_stack {
    (extensions: $extensions:expr) => {
        ::tower::ServiceBuilder::new()
            .layer(
                ::zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer::new([
                    ::http::header::AUTHORIZATION,
                    ::http::header::COOKIE,
                ]),
            )
            .layer($crate::native_request_id!(extensions: $extensions))
            .layer(::zero_tower_layers::trace::ZeroTraceLayer::new_for_http())
            .layer(::zero_tower_layers::compression::ZeroCompressionLayer::new())
            .layer(::zero_tower_layers::cors::ZeroCorsLayer::permissive())
            .layer(::zero_tower_layers::auth::ZeroAuthLayer::bearer(
                $crate::stacks::TOKEN,
            ))
    };
}

/// The layer of request ids of zero-tower-layers.
#[macro_export]
macro_rules! native_request_id {
    (extensions: $extensions:expr) => {
        ::zero_tower_layers::request_id::ZeroRequestIdLayer::x_request_id(
            ::zero_tower_layers::request_id::MakeRequestUuid,
        )
        .extensions($extensions)
    };
}
