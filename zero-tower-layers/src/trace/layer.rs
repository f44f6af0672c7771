//! The builder: a classifier and six hooks.

use tower_layer::Layer;

use super::all_hooks::{Hooks, hook_builders};
use super::service::ZeroTrace;
use super::{
    DefaultMakeSpan, DefaultOnBodyChunk, DefaultOnEos, DefaultOnFailure, DefaultOnRequest,
    DefaultOnResponse, GrpcMakeClassifier, HttpMakeClassifier,
};
use crate::classify::{
    GrpcErrorsAsFailures, MakeClassifier, ServerErrorsAsFailures, SharedClassifier,
};

/// Traces requests and their responses. See the [module](super).
#[derive(Debug, Copy, Clone)]
pub struct ZeroTraceLayer<
    M,
    MakeSpan = DefaultMakeSpan,
    OnRequest = DefaultOnRequest,
    OnResponse = DefaultOnResponse,
    OnBodyChunk = DefaultOnBodyChunk,
    OnEos = DefaultOnEos,
    OnFailure = DefaultOnFailure,
> {
    pub(super) make_classifier: M,
    pub(super) hooks: Hooks<MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>,
}

impl<M: MakeClassifier> ZeroTraceLayer<M> {
    /// Traces with the default hooks, and takes for failures what the classifiers say.
    pub fn new(make_classifier: M) -> Self {
        Self {
            make_classifier,
            hooks: Hooks::default(),
        }
    }
}

impl ZeroTraceLayer<HttpMakeClassifier> {
    /// Takes statuses 5xx and errors for failures.
    pub fn new_for_http() -> Self {
        Self::new(SharedClassifier::new(ServerErrorsAsFailures::default()))
    }
}

impl ZeroTraceLayer<GrpcMakeClassifier> {
    /// Takes gRPC statuses other than OK and errors for failures.
    pub fn new_for_grpc() -> Self {
        Self::new(SharedClassifier::new(GrpcErrorsAsFailures::default()))
    }
}

hook_builders!(ZeroTraceLayer [M] {make_classifier});

impl<S, M, MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure> Layer<S>
    for ZeroTraceLayer<M, MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>
where
    M: Clone,
    MakeSpan: Clone,
    OnRequest: Clone,
    OnResponse: Clone,
    OnBodyChunk: Clone,
    OnEos: Clone,
    OnFailure: Clone,
{
    type Service = ZeroTrace<S, M, MakeSpan, OnRequest, OnResponse, OnBodyChunk, OnEos, OnFailure>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroTrace {
            inner,
            make_classifier: self.make_classifier.clone(),
            hooks: self.hooks.clone(),
        }
    }
}
