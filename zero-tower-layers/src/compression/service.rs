//! The tower shell: chooses a coding, calls, and leaves the rest to the future.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::CompressionBody;
use super::future::ResponseFuture;
use super::layer::{Choice, ZeroCompressionLayer, choice_builders};
use super::level::CompressionLevel;
use super::policy::Coding;
use super::predicate::{DefaultPredicate, Predicate};

/// The service of [`ZeroCompressionLayer`]. See the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct ZeroCompression<S, P = DefaultPredicate> {
    pub(super) inner: S,
    pub(super) choice: Choice,
    pub(super) predicate: P,
}

impl<S> ZeroCompression<S> {
    /// Wraps a service; see [`ZeroCompressionLayer::new`].
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            choice: Choice::default(),
            predicate: DefaultPredicate::new(),
        }
    }
}

impl<S, P> ZeroCompression<S, P> {
    /// The same as [`ZeroCompressionLayer::new`].
    pub fn layer() -> ZeroCompressionLayer {
        ZeroCompressionLayer::new()
    }

    /// Compresses the responses that `predicate` takes. Default: [`DefaultPredicate`].
    pub fn compress_when<C: Predicate>(self, predicate: C) -> ZeroCompression<S, C> {
        ZeroCompression {
            inner: self.inner,
            choice: self.choice,
            predicate,
        }
    }

    choice_builders!();
    inner_accessors!();
}

impl<S, P, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroCompression<S, P>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
    P: Predicate,
{
    type Response = Response<CompressionBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        ResponseFuture {
            coding: self.choice.offer.choose(request.headers()),
            inner: self.inner.call(request),
            predicate: self.predicate.clone(),
            manner: self.choice.manner,
        }
    }
}
