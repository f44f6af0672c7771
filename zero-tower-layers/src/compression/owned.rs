//! The shell over zero-runtime's own requests: a response that may be worth compressing is turned into
//! `http`'s types, and treated as any other.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http::header::ACCEPT_ENCODING;
use pin_project_lite::pin_project;
use tower_service::Service;
use zero_runtime::{HttpOwnedRequest, ResponseBody, ZeroResponse};

use super::ZeroCompression;
use super::future::{compress, refuse};
use super::layer::Manner;
use super::policy::Coding;
use super::predicate::Predicate;

impl<S, P> Service<HttpOwnedRequest> for ZeroCompression<S, P>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
    P: Predicate,
{
    type Response = ZeroResponse;
    type Error = S::Error;
    type Future = OwnedResponseFuture<S::Future, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: HttpOwnedRequest) -> Self::Future {
        let wishes = request.header_values(&ACCEPT_ENCODING);
        OwnedResponseFuture {
            coding: self.choice.offer.choose_for(wishes),
            inner: self.inner.call(request),
            predicate: self.predicate.clone(),
            manner: self.choice.manner,
        }
    }
}

pin_project! {
    /// The future of [`ZeroCompression`] over requests of the server's own kind.
    #[derive(Debug)]
    pub struct OwnedResponseFuture<F, P> {
        #[pin]
        inner: F,
        // `None`: the client refuses every coding there is.
        coding: Option<Coding>,
        predicate: P,
        manner: Manner,
    }
}

impl<F, E, P> Future for OwnedResponseFuture<F, P>
where
    F: Future<Output = Result<ZeroResponse, E>>,
    P: Predicate,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let is_refused = |bytes| this.predicate.refuses_size(bytes);
        if this.coding.is_some() && response.body_bytes().is_some_and(is_refused) {
            return Poll::Ready(Ok(response));
        }
        let response: Response<ResponseBody> = response.into();
        let answer = match *this.coding {
            None => refuse(response),
            Some(coding) => compress(response, coding, this.predicate, *this.manner),
        };
        Poll::Ready(Ok(match answer.body().is_identity() {
            true => ZeroResponse::from_http(answer.map(|body| body.into_inner())),
            false => answer.into(),
        }))
    }
}
