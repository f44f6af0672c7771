//! The span of a request.

use http::Request;
use tracing::{Level, Span};

use super::{HookLevel, MESSAGE_LEVEL};

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
    level: HookLevel,
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
        self.level = level.into();
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

impl DefaultMakeSpan {
    // Ten callsites, of which one is used.
    #[inline(never)]
    fn span_of<B>(&self, request: &Request<B>) -> Span {
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
            HookLevel::Error => with_or_without_headers!(ERROR),
            HookLevel::Warn => with_or_without_headers!(WARN),
            HookLevel::Info => with_or_without_headers!(INFO),
            HookLevel::Debug => with_or_without_headers!(DEBUG),
            HookLevel::Trace => with_or_without_headers!(TRACE),
        }
    }
}

impl<B> MakeSpan<B> for DefaultMakeSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        self.span_of(request)
    }

    fn is_enabled(&self) -> bool {
        self.level.is_on()
    }
}
