//! The same stacks of middleware twice: tower-http's layers, and zero-tower-layers'.
//!
//! [`theirs()`] and [`ours()`] are four layers on a router, as most programs have them. The macros are the full
//! stack as one layer: macros, because the type of such a stack fills a page.

use std::fmt;
use std::io;
use std::str::FromStr;

use axum::Router;

use tower_http as theirs;
use zero_tower_layers as ours;

use crate::serve::Options;
use crate::server::{self, Running};
use crate::{native_request_id, native_stack, tower_http_request_id, tower_http_stack};

/// Layers around the application, as the command line names them: `tower-http` or `native` for the full stack
/// outside the router, with a colon and a name for one layer within it, where most programs have theirs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stack {
    from: From,
    layer: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    TowerHttp,
    Native,
}

/// The layers that can be had alone.
pub const LAYERS: [&str; 7] = [
    "auth",
    "compression",
    "cors",
    "normalize-path",
    "request-id",
    "sensitive-headers",
    "trace",
];

impl FromStr for Stack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, layer) = match text.split_once(':') {
            None => (text, None),
            Some((from, layer)) => (from, Some(layer)),
        };
        let from = match from {
            "tower-http" => From::TowerHttp,
            "native" => From::Native,
            other => return Err(format!("layers are tower-http or native, not {other:?}")),
        };
        let layer = match layer {
            None => None,
            Some(name) => {
                let known = LAYERS.into_iter().find(|layer| *layer == name);
                let names = LAYERS.join(", ");
                Some(known.ok_or_else(|| format!("no layer {name:?}; there are {names}"))?)
            }
        };
        Ok(Stack { from, layer })
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.from {
            From::TowerHttp => "tower-http",
            From::Native => "native",
        })?;
        match self.layer {
            Some(layer) => write!(f, ":{layer}"),
            None => Ok(()),
        }
    }
}

impl Stack {
    /// Serves `app` with these layers, as [`server::start`] serves it without.
    ///
    /// # Errors
    /// As `server::start`.
    pub fn start(self, options: Options, app: Router) -> io::Result<Running> {
        let Options {
            backend,
            threads,
            port,
            ..
        } = options;
        match (self.from, self.layer) {
            (_, Some(layer)) => server::start(backend, self.around(layer, app), threads, port),
            (From::TowerHttp, None) => {
                let app = tower_http_stack!().service(app.with_state::<()>(()));
                server::start_wrapped(backend, app, threads, port)
            }
            (From::Native, None) => {
                let app = native_stack!(extensions: true).service(app.with_state::<()>(()));
                server::start_wrapped(backend, app, threads, port)
            }
        }
    }

    fn around(self, layer: &str, app: Router) -> Router {
        use http::header::{AUTHORIZATION, COOKIE};

        macro_rules! layer {
            ($theirs:expr, $ours:expr) => {
                match self.from {
                    From::TowerHttp => app.layer($theirs),
                    From::Native => app.layer($ours),
                }
            };
        }
        match layer {
            "auth" => layer!(their_bearer(), ours::auth::ZeroAuthLayer::bearer(TOKEN)),
            "compression" => layer!(
                theirs::compression::CompressionLayer::new(),
                ours::compression::ZeroCompressionLayer::new()
            ),
            "cors" => layer!(
                theirs::cors::CorsLayer::permissive(),
                ours::cors::ZeroCorsLayer::permissive()
            ),
            "normalize-path" => layer!(
                theirs::normalize_path::NormalizePathLayer::trim_trailing_slash(),
                ours::normalize_path::ZeroNormalizePathLayer::trim_trailing_slash()
            ),
            "request-id" => layer!(
                tower_http_request_id!(),
                native_request_id!(extensions: true)
            ),
            "sensitive-headers" => layer!(
                theirs::sensitive_headers::SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]),
                ours::sensitive_headers::ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE])
            ),
            _ => layer!(
                theirs::trace::TraceLayer::new_for_http(),
                ours::trace::ZeroTraceLayer::new_for_http()
            ),
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_read_as_it_is_written() {
        for name in ["tower-http", "native", "native:cors", "tower-http:trace"] {
            assert_eq!(name.parse::<Stack>().unwrap().to_string(), name);
        }
        assert!("native:cars".parse::<Stack>().is_err());
        assert!("cors".parse::<Stack>().is_err());
    }
}
