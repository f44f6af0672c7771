//! A piece of the response's body has come.

use std::time::Duration;

use tracing::Span;

/// Called within the request's span for each piece of data of the response's body.
pub trait OnBodyChunk<B> {
    /// Does what is to be done. `latency` is the time since the frame before, or since the request came.
    fn on_body_chunk(&mut self, chunk: &B, latency: Duration, span: &Span);

    /// Whether a call would have any effect; if not, there is none. Default: `true`.
    fn is_enabled(&self) -> bool {
        true
    }
}

impl<B> OnBodyChunk<B> for () {
    fn on_body_chunk(&mut self, _: &B, _: Duration, _: &Span) {}

    fn is_enabled(&self) -> bool {
        false
    }
}

impl<B, F> OnBodyChunk<B> for F
where
    F: FnMut(&B, Duration, &Span),
{
    fn on_body_chunk(&mut self, chunk: &B, latency: Duration, span: &Span) {
        self(chunk, latency, span);
    }
}

/// Does nothing.
#[derive(Debug, Default, Clone)]
pub struct DefaultOnBodyChunk {
    _private: (),
}

impl DefaultOnBodyChunk {
    /// Does nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<B> OnBodyChunk<B> for DefaultOnBodyChunk {
    fn on_body_chunk(&mut self, _: &B, _: Duration, _: &Span) {}

    fn is_enabled(&self) -> bool {
        false
    }
}
