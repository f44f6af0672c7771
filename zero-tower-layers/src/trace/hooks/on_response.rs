//! The head of the response is there.

use std::time::Duration;

use http::{Response, header};
use tracing::{Level, Span};

use super::{HookLevel, MESSAGE_LEVEL};
use crate::classify::grpc_status_of;
use crate::trace::latency::{Latency, LatencyUnit};

/// Called within the request's span when the wrapped service has answered, before the body is read.
pub trait OnResponse<B> {
    /// Does what is to be done. `latency` is the time since the request came.
    fn on_response(self, response: &Response<B>, latency: Duration, span: &Span);

    /// Whether a call would have any effect; if not, there is none. Default: `true`.
    fn is_enabled(&self) -> bool {
        true
    }
}

impl<B> OnResponse<B> for () {
    fn on_response(self, _: &Response<B>, _: Duration, _: &Span) {}

    fn is_enabled(&self) -> bool {
        false
    }
}

impl<B, F> OnResponse<B> for F
where
    F: FnOnce(&Response<B>, Duration, &Span),
{
    fn on_response(self, response: &Response<B>, latency: Duration, span: &Span) {
        self(response, latency, span);
    }
}

/// Emits "finished processing request" with the fields `latency`, `status` and, if wanted,
/// `response_headers`. The status of a gRPC response is its gRPC status, if it is there yet.
#[derive(Clone, Debug)]
pub struct DefaultOnResponse {
    level: HookLevel,
    latency_unit: LatencyUnit,
    include_headers: bool,
}

impl Default for DefaultOnResponse {
    fn default() -> Self {
        Self {
            level: MESSAGE_LEVEL,
            latency_unit: LatencyUnit::Millis,
            include_headers: false,
        }
    }
}

impl DefaultOnResponse {
    /// Level DEBUG, in milliseconds, without headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the event's level. Default: DEBUG.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level.into();
        self
    }

    /// Sets the unit of `latency`. Default: milliseconds.
    pub fn latency_unit(mut self, latency_unit: LatencyUnit) -> Self {
        self.latency_unit = latency_unit;
        self
    }

    /// Whether the event carries the response's headers. Default: no.
    pub fn include_headers(mut self, include_headers: bool) -> Self {
        self.include_headers = include_headers;
        self
    }
}

impl DefaultOnResponse {
    #[inline(never)]
    fn emit<B>(&self, response: &Response<B>, latency: Duration, span: &Span) {
        let latency = Latency {
            unit: self.latency_unit,
            duration: latency,
        };
        let headers = self.include_headers.then(|| response.headers());
        event_at!(
            self.level,
            "tower_http::trace::on_response",
            span,
            %latency,
            status = status_of(response),
            response_headers = headers.map(tracing::field::debug),
            "finished processing request"
        );
    }
}

impl<B> OnResponse<B> for DefaultOnResponse {
    fn on_response(self, response: &Response<B>, latency: Duration, span: &Span) {
        self.emit(response, latency, span);
    }

    fn is_enabled(&self) -> bool {
        self.level.is_on()
    }
}

fn status_of<B>(response: &Response<B>) -> Option<i32> {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    // gRPC and gRPC-Web, whatever their message format.
    let is_grpc = content_type.is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        grpc_status_of(response.headers())
    } else {
        Some(response.status().as_u16().into())
    }
}
