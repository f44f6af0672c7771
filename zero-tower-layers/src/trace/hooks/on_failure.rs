//! Something failed: a response, a stream, or the service.

use std::fmt;
use std::time::Duration;

use tracing::{Level, Span};

use super::{FAILURE_LEVEL, HookLevel};
use crate::trace::latency::{Latency, LatencyUnit};

/// Called within the request's span for what the classifier calls a failure.
pub trait OnFailure<FailureClass> {
    /// Does what is to be done. `latency` is the time since the request came or, for a failure of the
    /// body, since the frame before.
    fn on_failure(&mut self, failure_classification: FailureClass, latency: Duration, span: &Span);

    /// Whether a call would have any effect; if not, there is none. Default: `true`.
    fn is_enabled(&self) -> bool {
        true
    }
}

impl<FailureClass> OnFailure<FailureClass> for () {
    fn on_failure(&mut self, _: FailureClass, _: Duration, _: &Span) {}

    fn is_enabled(&self) -> bool {
        false
    }
}

impl<F, FailureClass> OnFailure<FailureClass> for F
where
    F: FnMut(FailureClass, Duration, &Span),
{
    fn on_failure(&mut self, failure_classification: FailureClass, latency: Duration, span: &Span) {
        self(failure_classification, latency, span);
    }
}

/// Emits "response failed" with the fields `classification` and `latency`.
#[derive(Clone, Debug)]
pub struct DefaultOnFailure {
    level: HookLevel,
    latency_unit: LatencyUnit,
}

impl Default for DefaultOnFailure {
    fn default() -> Self {
        Self {
            level: FAILURE_LEVEL,
            latency_unit: LatencyUnit::Millis,
        }
    }
}

impl DefaultOnFailure {
    /// Level ERROR, in milliseconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the event's level. Default: ERROR.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level.into();
        self
    }

    /// Sets the unit of `latency`. Default: milliseconds.
    pub fn latency_unit(mut self, latency_unit: LatencyUnit) -> Self {
        self.latency_unit = latency_unit;
        self
    }
}

impl DefaultOnFailure {
    #[inline(never)]
    fn emit(&self, failure_classification: &dyn fmt::Display, latency: Duration, span: &Span) {
        let latency = Latency {
            unit: self.latency_unit,
            duration: latency,
        };
        event_at!(
            self.level,
            "tower_http::trace::on_failure",
            span,
            classification = %failure_classification,
            %latency,
            "response failed"
        );
    }
}

impl<FailureClass: fmt::Display> OnFailure<FailureClass> for DefaultOnFailure {
    fn on_failure(&mut self, failure_classification: FailureClass, latency: Duration, span: &Span) {
        self.emit(&failure_classification, latency, span);
    }

    fn is_enabled(&self) -> bool {
        self.level.is_on()
    }
}
