//! The shells over zero-runtime's own requests.
//!
//! Such requests and responses show no headers. Marks matter where they are turned into `http`'s types: for
//! a trace, for a layer of tower-http's further in.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use http::header::HeaderName;
use pin_project_lite::pin_project;
use tower_service::Service;
use zero_runtime::{HttpOwnedRequest, ResponseBody, ZeroResponse};

use super::policy::mark;
use super::{ZeroSensitiveHeaders, ZeroSensitiveRequestHeaders, ZeroSensitiveResponseHeaders};
use crate::kept::Kept;

impl<S> Service<HttpOwnedRequest> for ZeroSensitiveHeaders<S>
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
    fn call(&mut self, mut request: HttpOwnedRequest) -> Self::Future {
        request.mark_sensitive(&self.headers);
        OwnedResponseFuture {
            future: self.inner.call(request),
            headers: self.headers.clone(),
        }
    }
}

impl<S: Service<HttpOwnedRequest>> Service<HttpOwnedRequest> for ZeroSensitiveRequestHeaders<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: HttpOwnedRequest) -> Self::Future {
        request.mark_sensitive(&self.headers);
        self.inner.call(request)
    }
}

impl<S> Service<HttpOwnedRequest> for ZeroSensitiveResponseHeaders<S>
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
            future: self.inner.call(request),
            headers: self.headers.clone(),
        }
    }
}

pin_project! {
    /// The future of [`ZeroSensitiveHeaders`] and [`ZeroSensitiveResponseHeaders`] over requests of the
    /// server's own kind.
    #[derive(Debug)]
    pub struct OwnedResponseFuture<F> {
        #[pin]
        future: F,
        headers: Kept<Arc<[HeaderName]>>,
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
        let response = ready!(this.future.poll(cx))?;
        Poll::Ready(Ok(marked(response, this.headers)))
    }
}

/// A response that has one of the headers is one of `http`'s types from here on: lines carry no marks.
fn marked(response: ZeroResponse, names: &[HeaderName]) -> ZeroResponse {
    if !names.iter().any(|name| response.has_header(name)) {
        return response;
    }
    let mut response: Response<ResponseBody> = response.into();
    mark(names, response.headers_mut());
    ZeroResponse::from_http(response)
}
