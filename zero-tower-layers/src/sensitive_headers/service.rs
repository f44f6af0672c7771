//! The tower shells: one marks on the way in, the other on the way out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HeaderName;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::policy::mark;
use super::{
    ZeroSensitiveHeadersLayer, ZeroSensitiveRequestHeadersLayer, ZeroSensitiveResponseHeadersLayer,
};
use crate::kept::Kept;

/// Declares a service with a shared list of header names.
macro_rules! service {
    ($(#[$doc:meta])* $service:ident, $layer:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $service<S> {
            pub(super) inner: S,
            pub(super) headers: Kept<Arc<[HeaderName]>>,
        }

        impl<S> $service<S> {
            /// Wraps a service and marks the headers named.
            pub fn new<I: IntoIterator<Item = HeaderName>>(inner: S, headers: I) -> Self {
                Self::from_shared(inner, headers.into_iter().collect())
            }

            /// Wraps a service and marks the headers named in a list that others use too.
            pub fn from_shared(inner: S, headers: Arc<[HeaderName]>) -> Self {
                Self::with_kept(inner, Kept::counted(headers))
            }

            pub(super) fn with_kept(inner: S, headers: Kept<Arc<[HeaderName]>>) -> Self {
                Self { inner, headers }
            }

            /// The layer that makes such services.
            pub fn layer<I: IntoIterator<Item = HeaderName>>(headers: I) -> $layer {
                $layer::new(headers)
            }

            inner_accessors!();
        }
    };
}

service! {
    /// Marks headers of requests and responses. See the [module](super).
    ZeroSensitiveHeaders, ZeroSensitiveHeadersLayer
}

service! {
    /// Marks headers of requests. See the [module](super).
    ZeroSensitiveRequestHeaders, ZeroSensitiveRequestHeadersLayer
}

service! {
    /// Marks headers of responses. See the [module](super).
    ZeroSensitiveResponseHeaders, ZeroSensitiveResponseHeadersLayer
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroSensitiveHeaders<S>
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
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        mark(&self.headers, request.headers_mut());
        ResponseFuture {
            future: self.inner.call(request),
            headers: self.headers.clone(),
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroSensitiveRequestHeaders<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
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
        mark(&self.headers, request.headers_mut());
        self.inner.call(request)
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroSensitiveResponseHeaders<S>
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
            future: self.inner.call(request),
            headers: self.headers.clone(),
        }
    }
}

pin_project! {
    /// The future of [`ZeroSensitiveHeaders`] and [`ZeroSensitiveResponseHeaders`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        headers: Kept<Arc<[HeaderName]>>,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The response is changed where it lies: it is large, and moving it is most of the cost.
        let mut answer = this.future.poll(cx);
        if let Poll::Ready(Ok(response)) = &mut answer {
            mark(this.headers, response.headers_mut());
        }
        answer
    }
}
