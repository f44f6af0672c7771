//! The future of a traced call: from the request to the head of its response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tracing::Span;

use super::all_hooks::Hooks;
use super::body::ResponseBody;
use super::latency::Start;
use super::{
    DefaultOnBodyChunk, DefaultOnEos, DefaultOnFailure, DefaultOnResponse, OnBodyChunk, OnEos,
    OnFailure, OnResponse,
};
use crate::classify::{ClassifiedResponse, ClassifyResponse};

pin_project! {
    /// The future of [`ZeroTrace`](super::ZeroTrace).
    pub struct ResponseFuture<
        F,
        C,
        OnResponse = DefaultOnResponse,
        OnBodyChunk = DefaultOnBodyChunk,
        OnEos = DefaultOnEos,
        OnFailure = DefaultOnFailure,
    > {
        #[pin]
        inner: F,
        // Taken when the inner future is ready.
        rest: Option<Rest<C, OnResponse, OnBodyChunk, OnEos, OnFailure>>,
        start: Start,
        span: Span,
    }
}

/// What a traced call comes to.
pub(super) type Traced<B, C, Chunk, Eos, Failure, E> =
    Result<Response<ResponseBody<B, <C as ClassifyResponse>::ClassifyEos, Chunk, Eos, Failure>>, E>;

/// What is still to be done once there is a response.
pub(super) struct Rest<C, OnResponse, OnBodyChunk, OnEos, OnFailure> {
    pub(super) classifier: C,
    on_response: OnResponse,
    on_body_chunk: OnBodyChunk,
    on_eos: OnEos,
    pub(super) on_failure: OnFailure,
}

impl<F, C, Head, Chunk, Eos, Failure> ResponseFuture<F, C, Head, Chunk, Eos, Failure>
where
    Head: Clone,
    Chunk: Clone,
    Eos: Clone,
    Failure: Clone,
{
    pub(super) fn new<MakeSpan, Begin>(
        inner: F,
        classifier: C,
        hooks: &Hooks<MakeSpan, Begin, Head, Chunk, Eos, Failure>,
        start: Start,
        span: Span,
    ) -> Self {
        Self {
            inner,
            rest: Some(Rest::new(classifier, hooks)),
            start,
            span,
        }
    }
}

impl<C, Head, Chunk, Eos, Failure> Rest<C, Head, Chunk, Eos, Failure>
where
    Head: Clone,
    Chunk: Clone,
    Eos: Clone,
    Failure: Clone,
{
    pub(super) fn new<MakeSpan, Begin>(
        classifier: C,
        hooks: &Hooks<MakeSpan, Begin, Head, Chunk, Eos, Failure>,
    ) -> Self {
        Rest {
            classifier,
            on_response: hooks.on_response.clone(),
            on_body_chunk: hooks.on_body_chunk.clone(),
            on_eos: hooks.on_eos.clone(),
            on_failure: hooks.on_failure.clone(),
        }
    }
}

impl<F, B, E, C, Head, Chunk, Eos, Failure> Future
    for ResponseFuture<F, C, Head, Chunk, Eos, Failure>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Error: fmt::Display + 'static,
    E: fmt::Display + 'static,
    C: ClassifyResponse,
    Head: OnResponse<B>,
    Chunk: OnBodyChunk<B::Data>,
    Eos: OnEos,
    Failure: OnFailure<C::FailureClass>,
{
    type Output = Traced<B, C, Chunk, Eos, Failure, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let result = ready!(this.inner.poll(cx));
        let rest = this.rest.take().expect("polled after completion");
        Poll::Ready(rest.finish(result, *this.start, this.span))
    }
}

impl<C, Head, Chunk, Eos, Failure> Rest<C, Head, Chunk, Eos, Failure>
where
    C: ClassifyResponse,
    Failure: OnFailure<C::FailureClass>,
{
    pub(super) fn finish<B, E>(
        mut self,
        result: Result<Response<B>, E>,
        start: Start,
        span: &Span,
    ) -> Traced<B, C, Chunk, Eos, Failure, E>
    where
        B: Body,
        E: fmt::Display + 'static,
        Head: OnResponse<B>,
        Chunk: OnBodyChunk<B::Data>,
        Eos: OnEos,
    {
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let latency = start.elapsed();
                let failure = self.classifier.classify_error(&error);
                self.on_failure.on_failure(failure, latency, span);
                return Err(error);
            }
        };
        // Both hooks are told the same latency; it is not taken if neither is called.
        let responds = self.on_response.is_enabled();
        let known = responds.then(|| start.elapsed());

        let classified = self.classifier.classify_response(&response);
        if let Some(latency) = known {
            self.on_response.on_response(&response, latency, span);
        }
        let classify_eos = match classified {
            ClassifiedResponse::Ready(Ok(())) => None,
            ClassifiedResponse::Ready(Err(failure)) => {
                let latency = known.unwrap_or_else(|| start.elapsed());
                self.on_failure.on_failure(failure, latency, span);
                None
            }
            ClassifiedResponse::RequiresEos(classify_eos) => Some(classify_eos),
        };
        let ends = self.on_eos.is_enabled().then_some(self.on_eos);
        let end = ends.map(|on_eos| (on_eos, Start::now_if(true)));
        let failure = classify_eos.map(|classify_eos| (classify_eos, self.on_failure));
        let span = span.clone();
        Ok(response
            .map(|body| ResponseBody::new(body, failure, end, self.on_body_chunk, start, span)))
    }
}
