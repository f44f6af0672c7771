//! The shell over zero-runtime's own requests.
//!
//! Hooks and classifiers look at `http`'s types. So where one of them looks, request and response are turned
//! into these, and traced as any other; where none does, only failures are looked for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;
use tracing::Span;
use zero_runtime::{HttpOwnedRequest, ResponseBody, ZeroResponse};

use super::future::Rest;
use super::latency::Start;
use super::{MakeSpan, OnBodyChunk, OnEos, OnFailure, OnRequest, OnResponse, ZeroTrace};
use crate::classify::{ClassifiedResponse, ClassifyEos, ClassifyResponse, MakeClassifier};

impl<S, M, Spans, Begin, Head, Chunk, Eos, Failure> Service<HttpOwnedRequest>
    for ZeroTrace<S, M, Spans, Begin, Head, Chunk, Eos, Failure>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
    S::Error: fmt::Display + 'static,
    M: MakeClassifier,
    M::Classifier: Clone,
    M::ClassifyEos: Send + 'static,
    Spans: MakeSpan<()>,
    Begin: OnRequest<()>,
    Head: OnResponse<ResponseBody> + Clone,
    Chunk: OnBodyChunk<Bytes> + Clone + Send + 'static,
    Eos: OnEos + Clone + Send + 'static,
    Failure: OnFailure<M::FailureClass> + Clone + Send + 'static,
{
    type Response = ZeroResponse;
    type Error = S::Error;
    type Future = OwnedResponseFuture<S::Future, M::Classifier, Head, Chunk, Eos, Failure>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    /// Hooks are given the request's head without its body. One that `http` cannot express (see
    /// [`HttpOwnedRequest::into_http`]) is shown as a GET of `/`.
    #[inline]
    fn call(&mut self, request: HttpOwnedRequest) -> Self::Future {
        let hooks = &mut self.hooks;
        let is_looked_at = !M::BY_STATUS
            || hooks.make_span.is_enabled()
            || hooks.on_request.is_enabled()
            || hooks.on_response.is_enabled()
            || hooks.on_body_chunk.is_enabled()
            || hooks.on_eos.is_enabled();
        if !is_looked_at {
            let classifier = self.make_classifier.make_classifier(&Request::new(()));
            let start = Start::now_if(hooks.on_failure.is_enabled());
            let rest = Some(Rest::new(classifier, hooks));
            return OwnedResponseFuture {
                inner: self.inner.call(request),
                rest,
                is_looked_at,
                start,
                span: Span::none(),
            };
        }
        let start = Start::now_if(true);
        let head = request.http_head().unwrap_or_else(|_| Request::new(()));
        let span = hooks.make_span.make_span(&head);
        let classifier = self.make_classifier.make_classifier(&head);
        let inner = {
            let _entered = span.enter();
            hooks.on_request.on_request(&head, &span);
            self.inner.call(request)
        };
        OwnedResponseFuture {
            inner,
            rest: Some(Rest::new(classifier, hooks)),
            is_looked_at,
            start,
            span,
        }
    }
}

pin_project! {
    /// The future of [`ZeroTrace`] over requests of the server's own kind.
    pub struct OwnedResponseFuture<F, C, OnResponse, OnBodyChunk, OnEos, OnFailure> {
        #[pin]
        inner: F,
        // Taken when the inner future is ready.
        rest: Option<Rest<C, OnResponse, OnBodyChunk, OnEos, OnFailure>>,
        // By a hook or a classifier, at more than the status.
        is_looked_at: bool,
        start: Start,
        span: Span,
    }
}

impl<F, E, C, Head, Chunk, Eos, Failure> Future
    for OwnedResponseFuture<F, C, Head, Chunk, Eos, Failure>
where
    F: Future<Output = Result<ZeroResponse, E>>,
    E: fmt::Display + 'static,
    C: ClassifyResponse,
    C::ClassifyEos: ClassifyEos<FailureClass = C::FailureClass> + Send + 'static,
    Head: OnResponse<ResponseBody>,
    Chunk: OnBodyChunk<Bytes> + Send + 'static,
    Eos: OnEos + Send + 'static,
    Failure: OnFailure<C::FailureClass> + Send + 'static,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        let result = ready!(this.inner.poll(cx));
        let rest = this.rest.take().expect("polled after completion");
        if *this.is_looked_at {
            let result = result.map(Response::<ResponseBody>::from);
            let traced = rest.finish(result, *this.start, this.span);
            return Poll::Ready(traced.map(ZeroResponse::from));
        }
        rest.look_for_failure(&result, *this.start);
        Poll::Ready(result)
    }
}

impl<C, Head, Chunk, Eos, Failure> Rest<C, Head, Chunk, Eos, Failure>
where
    C: ClassifyResponse,
    Failure: OnFailure<C::FailureClass>,
{
    /// For a classifier that goes by the status.
    fn look_for_failure<E>(mut self, result: &Result<ZeroResponse, E>, start: Start)
    where
        E: fmt::Display + 'static,
    {
        let failure = match result {
            Err(error) => self.classifier.classify_error(error),
            Ok(response) => {
                let mut head = Response::new(());
                *head.status_mut() = response.status_code();
                match self.classifier.classify_response(&head) {
                    ClassifiedResponse::Ready(Err(failure)) => failure,
                    _ => return,
                }
            }
        };
        self.on_failure
            .on_failure(failure, start.elapsed(), &Span::none());
    }
}
