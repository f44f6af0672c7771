//! A request has come.

use http::Request;
use tracing::{Level, Span};

use super::{HookLevel, MESSAGE_LEVEL};

/// Called within the request's span, before the wrapped service is.
pub trait OnRequest<B> {
    /// Does what is to be done.
    fn on_request(&mut self, request: &Request<B>, span: &Span);

    /// Whether a call would have any effect; if not, there is none. Default: `true`.
    fn is_enabled(&self) -> bool {
        true
    }
}

impl<B> OnRequest<B> for () {
    fn on_request(&mut self, _: &Request<B>, _: &Span) {}

    fn is_enabled(&self) -> bool {
        false
    }
}

impl<B, F> OnRequest<B> for F
where
    F: FnMut(&Request<B>, &Span),
{
    fn on_request(&mut self, request: &Request<B>, span: &Span) {
        self(request, span);
    }
}

/// Emits "started processing request".
#[derive(Clone, Debug)]
pub struct DefaultOnRequest {
    level: HookLevel,
}

impl Default for DefaultOnRequest {
    fn default() -> Self {
        Self {
            level: MESSAGE_LEVEL,
        }
    }
}

impl DefaultOnRequest {
    /// Level DEBUG.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the event's level. Default: DEBUG.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level.into();
        self
    }
}

impl DefaultOnRequest {
    #[inline(never)]
    fn emit(&self, span: &Span) {
        event_at!(
            self.level,
            "tower_http::trace::on_request",
            span,
            "started processing request"
        );
    }
}

impl<B> OnRequest<B> for DefaultOnRequest {
    fn on_request(&mut self, _: &Request<B>, span: &Span) {
        if self.level.is_on() {
            self.emit(span);
        }
    }

    fn is_enabled(&self) -> bool {
        self.level.is_on()
    }
}
