//! The response's body has ended.

use std::time::Duration;

use http::HeaderMap;
use tracing::{Level, Span};

use super::{HookLevel, MESSAGE_LEVEL};
use crate::classify::grpc_status_of;
use crate::trace::latency::{Latency, LatencyUnit};

/// Called once, within the request's span, when the response's body ends without an error. A body that
/// nobody reads, as that of a HEAD request, does not end.
pub trait OnEos {
    /// Does what is to be done. `stream_duration` is the time since the response's head.
    fn on_eos(self, trailers: Option<&HeaderMap>, stream_duration: Duration, span: &Span);

    /// Whether a call would have any effect; if not, there is none. Default: `true`.
    fn is_enabled(&self) -> bool {
        true
    }
}

impl OnEos for () {
    fn on_eos(self, _: Option<&HeaderMap>, _: Duration, _: &Span) {}

    fn is_enabled(&self) -> bool {
        false
    }
}

impl<F> OnEos for F
where
    F: FnOnce(Option<&HeaderMap>, Duration, &Span),
{
    fn on_eos(self, trailers: Option<&HeaderMap>, stream_duration: Duration, span: &Span) {
        self(trailers, stream_duration, span);
    }
}

/// Emits "end of stream" with the fields `stream_duration` and, for trailers with a gRPC status,
/// `status`.
#[derive(Clone, Debug)]
pub struct DefaultOnEos {
    level: HookLevel,
    latency_unit: LatencyUnit,
}

impl Default for DefaultOnEos {
    fn default() -> Self {
        Self {
            level: MESSAGE_LEVEL,
            latency_unit: LatencyUnit::Millis,
        }
    }
}

impl DefaultOnEos {
    /// Level DEBUG, in milliseconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the event's level. Default: DEBUG.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level.into();
        self
    }

    /// Sets the unit of `stream_duration`. Default: milliseconds.
    pub fn latency_unit(mut self, latency_unit: LatencyUnit) -> Self {
        self.latency_unit = latency_unit;
        self
    }
}

impl DefaultOnEos {
    #[inline(never)]
    fn emit(&self, trailers: Option<&HeaderMap>, stream_duration: Duration, span: &Span) {
        let stream_duration = Latency {
            unit: self.latency_unit,
            duration: stream_duration,
        };
        event_at!(
            self.level,
            "tower_http::trace::on_eos",
            span,
            %stream_duration,
            status = trailers.and_then(grpc_status_of),
            "end of stream"
        );
    }
}

impl OnEos for DefaultOnEos {
    fn on_eos(self, trailers: Option<&HeaderMap>, stream_duration: Duration, span: &Span) {
        self.emit(trailers, stream_duration, span);
    }

    fn is_enabled(&self) -> bool {
        self.level.is_on()
    }
}
