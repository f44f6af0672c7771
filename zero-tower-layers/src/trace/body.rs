//! The body of a traced response: from its first frame to its end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tracing::Span;

use super::latency::Start;
use super::{DefaultOnBodyChunk, DefaultOnEos, DefaultOnFailure, OnBodyChunk, OnEos, OnFailure};
use crate::classify::ClassifyEos;

pin_project! {
    /// The response body of [`ZeroTrace`](super::ZeroTrace).
    pub struct ResponseBody<
        B,
        C,
        OnBodyChunk = DefaultOnBodyChunk,
        OnEos = DefaultOnEos,
        OnFailure = DefaultOnFailure,
    > {
        #[pin]
        inner: B,
        on_body_chunk: OnBodyChunk,
        // The moment of the frame before.
        last: Start,
        ending: Ending<C, OnEos, OnFailure>,
        span: Span,
    }
}

/// What is to be done at the end; each is done once, if at all.
struct Ending<C, OnEos, OnFailure> {
    /// There if the head left it open whether the response is a failure.
    failure: Option<(C, OnFailure)>,
    /// There if the hook has an effect; with the moment of the head.
    end: Option<(OnEos, Start)>,
}

impl<B, C, Chunk, Eos, Failure> ResponseBody<B, C, Chunk, Eos, Failure> {
    pub(super) fn new(
        inner: B,
        failure: Option<(C, Failure)>,
        end: Option<(Eos, Start)>,
        on_body_chunk: Chunk,
        start: Start,
        span: Span,
    ) -> Self {
        Self {
            inner,
            on_body_chunk,
            last: start,
            ending: Ending { failure, end },
            span,
        }
    }
}

impl<C, Eos, Failure> Ending<C, Eos, Failure>
where
    C: ClassifyEos,
    Eos: OnEos,
    Failure: OnFailure<C::FailureClass>,
{
    /// Whether there is anything to be done at the end.
    fn is_awaited(&self) -> bool {
        self.failure.is_some() || self.end.is_some()
    }

    /// Whether a failure at the end would be told to somebody.
    fn tells_failures(&self) -> bool {
        let failure = self.failure.as_ref();
        failure.is_some_and(|(_, on_failure)| on_failure.is_enabled())
    }

    fn handle_end(&mut self, trailers: Option<&HeaderMap>, latency: Duration, span: &Span) {
        if let Some((classify_eos, mut on_failure)) = self.failure.take()
            && let Err(failure) = classify_eos.classify_eos(trailers)
        {
            on_failure.on_failure(failure, latency, span);
        }
        if let Some((on_eos, start)) = self.end.take() {
            on_eos.on_eos(trailers, start.elapsed(), span);
        }
    }

    fn handle_error<E>(&mut self, error: &E, latency: Duration, span: &Span)
    where
        E: fmt::Display + 'static,
    {
        if let Some((classify_eos, mut on_failure)) = self.failure.take() {
            on_failure.on_failure(classify_eos.classify_error(error), latency, span);
        }
    }
}

impl<B, C, Chunk, Eos, Failure> Body for ResponseBody<B, C, Chunk, Eos, Failure>
where
    B: Body,
    B::Error: fmt::Display + 'static,
    C: ClassifyEos,
    Chunk: OnBodyChunk<B::Data>,
    Eos: OnEos,
    Failure: OnFailure<C::FailureClass>,
{
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let _entered = this.span.enter();
        let result = ready!(this.inner.as_mut().poll_frame(cx));

        // Nobody is told how long a frame took unless these are to be called.
        let is_timed = this.on_body_chunk.is_enabled() || this.ending.tells_failures();
        let latency = if is_timed {
            this.last.lap()
        } else {
            Duration::ZERO
        };
        match &result {
            Some(Ok(frame)) => {
                if let Some(chunk) = frame.data_ref()
                    && this.on_body_chunk.is_enabled()
                {
                    this.on_body_chunk.on_body_chunk(chunk, latency, this.span);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    this.ending.handle_end(Some(trailers), latency, this.span);
                }
                // The reader may know by its length that this was all, and not ask again.
                if this.ending.is_awaited() && this.inner.is_end_stream() {
                    this.ending.handle_end(None, latency, this.span);
                }
            }
            Some(Err(error)) => this.ending.handle_error(error, latency, this.span),
            None => this.ending.handle_end(None, latency, this.span),
        }
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
