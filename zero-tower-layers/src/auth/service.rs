//! The tower shell: checks, then calls or answers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::policy::ValidateRequest;
use super::{AcceptHeader, Basic, Bearer};

/// The service of [`ZeroAuthLayer`](super::ZeroAuthLayer). See the [module](super).
#[derive(Debug, Clone)]
pub struct ZeroAuth<S, T> {
    pub(super) inner: S,
    pub(super) validate: T,
}

impl<S, T> ZeroAuth<S, T> {
    /// Wraps a service; see [`ZeroAuthLayer::custom`](super::ZeroAuthLayer::custom).
    pub fn custom(inner: S, validate: T) -> Self {
        Self { inner, validate }
    }

    inner_accessors!();
}

impl<S, ResBody: Default> ZeroAuth<S, Bearer<ResBody>> {
    /// Wraps a service; see [`ZeroAuthLayer::bearer`](super::ZeroAuthLayer::bearer).
    ///
    /// # Panics
    /// If the token has bytes that no header value may have.
    pub fn bearer(inner: S, token: &str) -> Self {
        Self::custom(inner, Bearer::new(token))
    }
}

impl<S, ResBody: Default> ZeroAuth<S, Basic<ResBody>> {
    /// Wraps a service; see [`ZeroAuthLayer::basic`](super::ZeroAuthLayer::basic).
    pub fn basic(inner: S, username: &str, password: &str) -> Self {
        Self::custom(inner, Basic::new(username, password))
    }
}

impl<S, ResBody: Default> ZeroAuth<S, AcceptHeader<ResBody>> {
    /// Wraps a service; see [`ZeroAuthLayer::accept`](super::ZeroAuthLayer::accept).
    ///
    /// # Panics
    /// If it is not a media type.
    pub fn accept(inner: S, value: &str) -> Self {
        Self::custom(inner, AcceptHeader::new(value))
    }
}

impl<S, V, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroAuth<S, V>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    V: ValidateRequest<ReqBody, ResponseBody = ResBody>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.validate.validate_last(&mut request) {
            Ok(()) => ResponseFuture {
                kind: Kind::Passed {
                    future: self.inner.call(request),
                },
            },
            Err(response) => ResponseFuture {
                kind: Kind::Refused {
                    response: Some(response),
                },
            },
        }
    }
}

pin_project! {
    /// The future of [`ZeroAuth`].
    pub struct ResponseFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F, B> {
        Passed {
            #[pin]
            future: F,
        },
        Refused {
            response: Option<Response<B>>,
        },
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Passed { future } => future.poll(cx),
            KindProj::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
        }
    }
}
