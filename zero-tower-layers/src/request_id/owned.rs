//! The shells over zero-runtime's own requests, which have no extensions: ids are in the header alone.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::HeaderValue;
use pin_project_lite::pin_project;
use tower_service::Service;
use zero_runtime::{HttpOwnedRequest, ZeroResponse};

use super::id::MakeRequestId;
use super::policy::Carrier;
use super::{ZeroPropagateRequestId, ZeroRequestId, ZeroSetRequestId};

impl Carrier {
    /// As [`set`](Self::set).
    fn set_owned(
        &self,
        request: &mut HttpOwnedRequest,
        make: &mut impl MakeRequestId,
    ) -> Option<HeaderValue> {
        if let Some(id) = request.header_value(self.header()) {
            return Some(id);
        }
        let id = make.make_owned_request_id(request)?.into_header_value();
        request.append_header(self.header(), &id);
        Some(id)
    }

    /// As [`propagate`](Self::propagate).
    fn propagate_owned(&self, id: Option<HeaderValue>, response: &mut ZeroResponse) {
        if let Some(id) = id
            && !response.has_header(self.header())
        {
            response.append_header(self.header(), &id);
        }
    }
}

impl<S, M> Service<HttpOwnedRequest> for ZeroRequestId<S, M>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
    M: MakeRequestId,
{
    type Response = ZeroResponse;
    type Error = S::Error;
    type Future = OwnedResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: HttpOwnedRequest) -> Self::Future {
        OwnedResponseFuture {
            id: self
                .carrier
                .set_owned(&mut request, &mut self.make_request_id),
            future: self.inner.call(request),
            carrier: self.carrier.clone(),
        }
    }
}

impl<S, M> Service<HttpOwnedRequest> for ZeroSetRequestId<S, M>
where
    S: Service<HttpOwnedRequest>,
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
    fn call(&mut self, mut request: HttpOwnedRequest) -> Self::Future {
        self.carrier
            .set_owned(&mut request, &mut self.make_request_id);
        self.inner.call(request)
    }
}

impl<S> Service<HttpOwnedRequest> for ZeroPropagateRequestId<S>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
{
    type Response = ZeroResponse;
    type Error = S::Error;
    type Future = OwnedResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: HttpOwnedRequest) -> Self::Future {
        OwnedResponseFuture {
            id: request.header_value(self.carrier.header()),
            future: self.inner.call(request),
            carrier: self.carrier.clone(),
        }
    }
}

pin_project! {
    /// The future of [`ZeroRequestId`] and [`ZeroPropagateRequestId`] over requests of the server's own kind.
    #[derive(Debug)]
    pub struct OwnedResponseFuture<F> {
        #[pin]
        future: F,
        carrier: Carrier,
        id: Option<HeaderValue>,
    }
}

impl<F, E> Future for OwnedResponseFuture<F>
where
    F: Future<Output = Result<ZeroResponse, E>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.future.poll(cx))?;
        this.carrier.propagate_owned(this.id.take(), &mut response);
        Poll::Ready(Ok(response))
    }
}
