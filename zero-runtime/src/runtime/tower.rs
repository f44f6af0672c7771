//! `run_tower` and `run_async`: services and handlers of owned requests.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::per_core::Infallibly;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::message::{HttpOwnedRequest, OwnedHead, ZeroResponse};
use crate::service::{ConnInfo, HttpService, Made, MakeHttpService};

/// Gives every connection a clone of one service.
#[derive(Clone)]
pub(super) struct Make<S>(S);

impl<S> Make<S> {
    pub(super) fn new(service: S) -> Self {
        Make(service)
    }
}

impl<S> MakeHttpService for Make<S>
where
    Owned<S>: HttpService,
    S: Clone + Send + 'static,
{
    type Service = Owned<S>;
    const WANTS_PEER_ADDR: bool = true;

    fn make(&mut self, conn: ConnInfo) -> Made<Owned<S>> {
        Made::Ready(Owned {
            service: self.0.clone(),
            failed: false,
            peer_addr: conn.peer_addr,
        })
    }
}

/// A service, for one connection, then for one request.
#[derive(Clone)]
pub(super) struct Owned<S> {
    service: S,
    /// It said so when it was asked whether it is ready.
    failed: bool,
    peer_addr: SocketAddr,
}

impl<S> HttpService for Owned<S>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Head = OwnedHead;
    type Response = ZeroResponse;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Err(error) = ready!(self.service.poll_ready(cx)) {
            trace(error.into());
            self.failed = true;
        }
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, head: OwnedHead, body: RequestBody) -> Self::Future {
        if self.failed {
            return Answering::Failed;
        }
        let request = HttpOwnedRequest::new(head, body, self.peer_addr);
        Answering::Calling {
            future: self.service.call(request),
        }
    }
}

#[cold]
fn trace(error: BoxError) {
    tracing::error!(%error, "the service failed; answering with 500");
}

pin_project! {
    #[project = AnsweringProjection]
    /// A call whose failure is a response, too.
    pub(super) enum Answering<F> {
        Calling { #[pin] future: F },
        Failed,
    }
}

impl<F, E> Future for Answering<F>
where
    F: Future<Output = Result<ZeroResponse, E>>,
    E: Into<BoxError>,
{
    type Output = Result<ZeroResponse, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let failed = || ZeroResponse::status(StatusCode::INTERNAL_SERVER_ERROR);
        Poll::Ready(Ok(match self.project() {
            AnsweringProjection::Failed => failed(),
            AnsweringProjection::Calling { future } => {
                ready!(future.poll(cx)).unwrap_or_else(|error| {
                    trace(error.into());
                    failed()
                })
            }
        }))
    }
}

/// A function of requests as a service.
pub(super) struct Handler<H>(Arc<H>);

impl<H> Handler<H> {
    pub(super) fn new(handler: H) -> Self {
        Handler(Arc::new(handler))
    }
}

impl<H> Clone for Handler<H> {
    fn clone(&self) -> Self {
        Handler(self.0.clone())
    }
}

impl<H, R> Service<HttpOwnedRequest> for Handler<H>
where
    H: Fn(HttpOwnedRequest) -> R,
    R: Future<Output = ZeroResponse>,
{
    type Response = ZeroResponse;
    type Error = Infallible;
    type Future = Infallibly<R>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpOwnedRequest) -> Infallibly<R> {
        Infallibly::new((self.0)(request))
    }
}
