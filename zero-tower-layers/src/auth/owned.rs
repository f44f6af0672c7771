//! The shell over zero-runtime's own requests.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use pin_project_lite::pin_project;
use tower_service::Service;
use zero_runtime::{HttpOwnedRequest, ZeroResponse};

use super::credentials::Credentials;
use super::{
    AcceptHeader, AsyncResponseFuture, Basic, Bearer, RequiredHeaderValue, ZeroAsyncAuth, ZeroAuth,
};

/// Lets a request of the server's own kind pass, or answers it; [`ValidateRequest`](super::ValidateRequest)
/// for such requests.
///
/// Closures of `&mut HttpOwnedRequest` that return such a result are checks.
pub trait ValidateOwnedRequest {
    /// Checks a request, and may change it.
    ///
    /// # Errors
    /// The answer, if the request may not pass.
    fn validate_owned(&mut self, request: &mut HttpOwnedRequest) -> Result<(), ZeroResponse>;
}

impl<F> ValidateOwnedRequest for F
where
    F: FnMut(&mut HttpOwnedRequest) -> Result<(), ZeroResponse>,
{
    fn validate_owned(&mut self, request: &mut HttpOwnedRequest) -> Result<(), ZeroResponse> {
        self(request)
    }
}

/// Lets a request of the server's own kind pass, or answers it, after some waiting;
/// [`AsyncAuthorizeRequest`](super::AsyncAuthorizeRequest) for such requests.
///
/// Closures of `HttpOwnedRequest` that return such a future are authorizers.
pub trait AsyncAuthorizeOwnedRequest {
    /// Becomes the request to pass on, or the answer to it.
    type Future: Future<Output = Result<HttpOwnedRequest, ZeroResponse>>;

    /// Begins to check a request.
    fn authorize_owned(&mut self, request: HttpOwnedRequest) -> Self::Future;
}

impl<F, Fut> AsyncAuthorizeOwnedRequest for F
where
    F: FnMut(HttpOwnedRequest) -> Fut,
    Fut: Future<Output = Result<HttpOwnedRequest, ZeroResponse>>,
{
    type Future = Fut;

    fn authorize_owned(&mut self, request: HttpOwnedRequest) -> Fut {
        self(request)
    }
}

impl Credentials {
    fn validate(&self, request: &HttpOwnedRequest) -> Result<(), ZeroResponse> {
        if self.are(request.header_bytes(AUTHORIZATION.as_str())) {
            return Ok(());
        }
        let mut refusal = ZeroResponse::status(StatusCode::UNAUTHORIZED);
        if let Some(challenge) = self.challenge() {
            refusal.append_header(&WWW_AUTHENTICATE, challenge);
        }
        Err(refusal)
    }
}

impl ValidateOwnedRequest for Bearer<()> {
    fn validate_owned(&mut self, request: &mut HttpOwnedRequest) -> Result<(), ZeroResponse> {
        self.credentials.validate(request)
    }
}

impl ValidateOwnedRequest for Basic<()> {
    fn validate_owned(&mut self, request: &mut HttpOwnedRequest) -> Result<(), ZeroResponse> {
        self.credentials.validate(request)
    }
}

impl ValidateOwnedRequest for AcceptHeader<()> {
    fn validate_owned(&mut self, request: &mut HttpOwnedRequest) -> Result<(), ZeroResponse> {
        match self.is_accepted(request.header_values(&ACCEPT)) {
            true => Ok(()),
            false => Err(ZeroResponse::status(StatusCode::NOT_ACCEPTABLE)),
        }
    }
}

impl ValidateOwnedRequest for RequiredHeaderValue<()> {
    fn validate_owned(&mut self, request: &mut HttpOwnedRequest) -> Result<(), ZeroResponse> {
        match self.is(request.header_bytes(self.name().as_str())) {
            true => Ok(()),
            false => Err(ZeroResponse::status(StatusCode::FORBIDDEN)),
        }
    }
}

impl<S, V> Service<HttpOwnedRequest> for ZeroAuth<S, V>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
    V: ValidateOwnedRequest,
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
        match self.validate.validate_owned(&mut request) {
            Ok(()) => OwnedResponseFuture::Passed {
                future: self.inner.call(request),
            },
            Err(response) => OwnedResponseFuture::Refused {
                response: Some(response),
            },
        }
    }
}

impl<S, T> Service<HttpOwnedRequest> for ZeroAsyncAuth<S, T>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse> + Clone,
    T: AsyncAuthorizeOwnedRequest,
{
    type Response = ZeroResponse;
    type Error = S::Error;
    type Future = AsyncResponseFuture<T::Future, S, S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: HttpOwnedRequest) -> Self::Future {
        let authorize = self.auth.authorize_owned(request);
        self.pass_if(authorize)
    }
}

pin_project! {
    /// The future of [`ZeroAuth`] over requests of the server's own kind.
    #[project = FutureProj]
    #[allow(missing_docs, reason = "made and polled here alone")]
    pub enum OwnedResponseFuture<F> {
        #[doc(hidden)]
        Passed {
            #[pin]
            future: F,
        },
        #[doc(hidden)]
        Refused {
            response: Option<ZeroResponse>,
        },
    }
}

impl<F, E> Future for OwnedResponseFuture<F>
where
    F: Future<Output = Result<ZeroResponse, E>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FutureProj::Passed { future } => future.poll(cx),
            FutureProj::Refused { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
        }
    }
}
