//! The span of a request.

use http::Request;
use tracing::{Level, Span};

use super::{MESSAGE_LEVEL, is_level_on};

/// Makes the span of a request; the request is processed within it.
pub trait MakeSpan<B> {
    /// The span of `request`.
    fn make_span(&mut self, request: &Request<B>) -> Span;

    /// Whether a span made now would be any but a disabled one. Default: `true`.
    fn is_enabled(&self) -> bool {
        true
    }
}

impl<B> MakeSpan<B> for Span {
    fn make_span(&mut self, _request: &Request<B>) -> Span {
        self.clone()
    }
}

impl<F, B> MakeSpan<B> for F
where
    F: FnMut(&Request<B>) -> Span,
{
    fn make_span(&mut self, request: &Request<B>) -> Span {
        self(request)
    }
}

/// Makes spans named `request` with the fields `method`, `uri`, `version` and, if wanted, `headers`.
#[derive(Debug, Clone)]
pub struct DefaultMakeSpan {
    level: Level,
    include_headers: bool,
}

impl DefaultMakeSpan {
    /// Level DEBUG, without headers.
    pub fn new() -> Self {
        Self {
            level: MESSAGE_LEVEL,
            include_headers: false,
        }
    }

    /// Sets the spans' level. Default: DEBUG.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Whether the spans carry the request's headers. Default: no. Mark secrets as
    /// [sensitive](https://docs.rs/http/1/http/header/struct.HeaderValue.html#method.set_sensitive)
    /// first.
    pub fn include_headers(mut self, include_headers: bool) -> Self {
        self.include_headers = include_headers;
        self
    }
}

impl Default for DefaultMakeSpan {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> MakeSpan<B> for DefaultMakeSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        // A span's level is part of its callsite, and so a constant.
        macro_rules! span {
            ($level:ident $($headers:tt)*) => {
                tracing::span!(
                    target: "tower_http::trace::make_span",
                    Level::$level,
                    "request",
                    method = %request.method(),
                    uri = %request.uri(),
                    version = ?request.version()
                    $($headers)*
                )
            };
        }
        macro_rules! with_or_without_headers {
            ($level:ident) => {
                if self.include_headers {
                    span!($level, headers = ?request.headers())
                } else {
                    span!($level)
                }
            };
        }
        match self.level {
            Level::ERROR => with_or_without_headers!(ERROR),
            Level::WARN => with_or_without_headers!(WARN),
            Level::INFO => with_or_without_headers!(INFO),
            Level::DEBUG => with_or_without_headers!(DEBUG),
            Level::TRACE => with_or_without_headers!(TRACE),
        }
    }

    fn is_enabled(&self) -> bool {
        is_level_on(self.level)
    }
}
