//! The tower shell: makes the span, calls within it, hands the hooks to the future.

use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::all_hooks::{Hooks, hook_builders};
use super::body::ResponseBody;
use super::future::ResponseFuture;
use super::latency::Start;
use super::layer::ZeroTraceLayer;
use super::{
    DefaultMakeSpan, DefaultOnBodyChunk, DefaultOnEos, DefaultOnFailure, DefaultOnRequest,
    DefaultOnResponse, GrpcMakeClassifier, HttpMakeClassifier, MakeSpan, OnBodyChunk, OnEos,
    OnFailure, OnRequest, OnResponse,
};
use crate::classify::MakeClassifier;

/// The service of [`ZeroTraceLayer`]. See the [module](super).
#[derive(Debug, Clone, Copy)]
pub struct ZeroTrace<
    S,
    M,
    MakeSpan = DefaultMakeSpan,
    OnRequest = DefaultOnRequest,
    OnResponse = DefaultOnResponse,
    OnBodyChunk = DefaultOnBodyChunk,
    OnEos = DefaultOnEos,
    OnFailure = DefaultOnFailure,
> {
    pub(super) inner: S,
    pub(super) make_classifier: M,
    pub(super) hooks: Hooks<MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>,
}

impl<S, M: MakeClassifier> ZeroTrace<S, M> {
    /// Wraps a service; see [`ZeroTraceLayer::new`].
    pub fn new(inner: S, make_classifier: M) -> Self {
        Self {
            inner,
            make_classifier,
            hooks: Hooks::default(),
        }
    }

    /// The same as [`ZeroTraceLayer::new`].
    pub fn layer(make_classifier: M) -> ZeroTraceLayer<M> {
        ZeroTraceLayer::new(make_classifier)
    }
}

impl<S> ZeroTrace<S, HttpMakeClassifier> {
    /// Wraps a service; see [`ZeroTraceLayer::new_for_http`].
    pub fn new_for_http(inner: S) -> Self {
        Self::new(inner, ZeroTraceLayer::new_for_http().make_classifier)
    }
}

impl<S> ZeroTrace<S, GrpcMakeClassifier> {
    /// Wraps a service; see [`ZeroTraceLayer::new_for_grpc`].
    pub fn new_for_grpc(inner: S) -> Self {
        Self::new(inner, ZeroTraceLayer::new_for_grpc().make_classifier)
    }
}

impl<S, M, MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>
    ZeroTrace<S, M, MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>
{
    inner_accessors!();
}

hook_builders!(ZeroTrace [S, M] {inner, make_classifier});

impl<S, ReqBody, ResBody, M, Span, Begin, Head, Chunk, Eos, Failure> Service<Request<ReqBody>>
    for ZeroTrace<S, M, Span, Begin, Head, Chunk, Eos, Failure>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: fmt::Display + 'static,
    ReqBody: Body,
    ResBody: Body,
    ResBody::Error: fmt::Display + 'static,
    M: MakeClassifier,
    M::Classifier: Clone,
    Span: MakeSpan<ReqBody>,
    Begin: OnRequest<ReqBody>,
    Head: OnResponse<ResBody> + Clone,
    Chunk: OnBodyChunk<ResBody::Data> + Clone,
    Eos: OnEos + Clone,
    Failure: OnFailure<M::FailureClass> + Clone,
{
    type Response = Response<ResponseBody<ResBody, M::ClassifyEos, Chunk, Eos, Failure>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, M::Classifier, Head, Chunk, Eos, Failure>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let hooks = &mut self.hooks;
        let start = Start::now_if(
            hooks.on_response.is_enabled()
                || hooks.on_failure.is_enabled()
                || hooks.on_body_chunk.is_enabled(),
        );
        let span = hooks.make_span.make_span(&request);
        let classifier = self.make_classifier.make_classifier(&request);
        let future = {
            let _entered = span.enter();
            hooks.on_request.on_request(&request, &span);
            self.inner.call(request)
        };
        ResponseFuture::new(future, classifier, hooks, start, span)
    }
}
