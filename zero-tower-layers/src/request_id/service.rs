//! The tower shells.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::id::MakeRequestId;
use super::layer::{ZeroPropagateRequestIdLayer, ZeroSetRequestIdLayer};
use super::policy::Carrier;

/// The service of [`ZeroRequestIdLayer`](super::ZeroRequestIdLayer).
#[derive(Debug, Clone)]
pub struct ZeroRequestId<S, M> {
    pub(super) inner: S,
    pub(super) carrier: Carrier,
    pub(super) make_request_id: M,
}

impl<S, M> ZeroRequestId<S, M> {
    inner_accessors!();
}

impl<S, M, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroRequestId<S, M>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    M: MakeRequestId,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        ResponseFuture {
            id: self.carrier.set(&mut request, &mut self.make_request_id),
            future: self.inner.call(request),
            carrier: self.carrier.clone(),
        }
    }
}

/// The service of [`ZeroSetRequestIdLayer`].
#[derive(Debug, Clone)]
pub struct ZeroSetRequestId<S, M> {
    pub(super) inner: S,
    pub(super) carrier: Carrier,
    pub(super) make_request_id: M,
}

impl<S, M: MakeRequestId> ZeroSetRequestId<S, M> {
    /// Wraps a service; see [`ZeroSetRequestIdLayer::new`].
    pub const fn new(inner: S, header_name: HeaderName, make_request_id: M) -> Self {
        Self {
            inner,
            carrier: Carrier::new(header_name),
            make_request_id,
        }
    }

    /// Wraps a service; see [`ZeroSetRequestIdLayer::x_request_id`].
    pub const fn x_request_id(inner: S, make_request_id: M) -> Self {
        Self {
            inner,
            carrier: Carrier::X_REQUEST_ID,
            make_request_id,
        }
    }

    /// The same as [`ZeroSetRequestIdLayer::new`].
    pub const fn layer(header_name: HeaderName, make_request_id: M) -> ZeroSetRequestIdLayer<M> {
        ZeroSetRequestIdLayer::new(header_name, make_request_id)
    }
}

impl<S, M> ZeroSetRequestId<S, M> {
    inner_accessors!();
}

impl<S, M, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroSetRequestId<S, M>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    M: MakeRequestId,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        self.carrier.set(&mut request, &mut self.make_request_id);
        self.inner.call(request)
    }
}

/// The service of [`ZeroPropagateRequestIdLayer`].
#[derive(Debug, Clone)]
pub struct ZeroPropagateRequestId<S> {
    pub(super) inner: S,
    pub(super) carrier: Carrier,
}

impl<S> ZeroPropagateRequestId<S> {
    /// Wraps a service; see [`ZeroPropagateRequestIdLayer::new`].
    pub const fn new(inner: S, header_name: HeaderName) -> Self {
        Self {
            inner,
            carrier: Carrier::new(header_name),
        }
    }

    /// Wraps a service; see [`ZeroPropagateRequestIdLayer::x_request_id`].
    pub const fn x_request_id(inner: S) -> Self {
        Self {
            inner,
            carrier: Carrier::X_REQUEST_ID,
        }
    }

    /// The same as [`ZeroPropagateRequestIdLayer::new`].
    pub const fn layer(header_name: HeaderName) -> ZeroPropagateRequestIdLayer {
        ZeroPropagateRequestIdLayer::new(header_name)
    }

    inner_accessors!();
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroPropagateRequestId<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        ResponseFuture {
            id: self.carrier.id_of(&request),
            future: self.inner.call(request),
            carrier: self.carrier.clone(),
        }
    }
}

pin_project! {
    /// The future of [`ZeroRequestId`] and [`ZeroPropagateRequestId`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        carrier: Carrier,
        id: Option<HeaderValue>,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The response is changed where it lies: it is large, and moving it is most of the cost.
        let mut answer = this.future.poll(cx);
        if let Poll::Ready(Ok(response)) = &mut answer {
            this.carrier.propagate(this.id.take(), response);
        }
        answer
    }
}
