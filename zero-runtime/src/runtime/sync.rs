//! `run_sync`: requests answered where they lie.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;

use crate::body::RequestBody;
use crate::message::{CollectError, HttpOwnedRequest, HttpRequest, OwnedHead, ZeroResponse};
use crate::proto::h1::RequestLine;
use crate::service::{ConnInfo, HttpService, Made, MakeHttpService};

/// Gives every connection the same handler.
pub(super) struct Make<H> {
    handler: Arc<H>,
    body_bytes_max: usize,
}

impl<H> Make<H> {
    pub(super) fn new(handler: H, body_bytes_max: usize) -> Self {
        Make {
            handler: Arc::new(handler),
            body_bytes_max,
        }
    }
}

impl<H> Clone for Make<H> {
    fn clone(&self) -> Self {
        Make {
            handler: self.handler.clone(),
            body_bytes_max: self.body_bytes_max,
        }
    }
}

impl<H> MakeHttpService for Make<H>
where
    H: Fn(HttpRequest<'_>) -> ZeroResponse + Send + Sync + 'static,
{
    type Service = Answerer<H>;
    const WANTS_PEER_ADDR: bool = true;

    fn make(&mut self, conn: ConnInfo) -> Made<Answerer<H>> {
        Made::Ready(Answerer {
            handler: self.handler.clone(),
            body_bytes_max: self.body_bytes_max,
            peer_addr: conn.peer_addr,
        })
    }
}

/// The handler, for one connection.
pub(super) struct Answerer<H> {
    handler: Arc<H>,
    body_bytes_max: usize,
    peer_addr: SocketAddr,
}

impl<H> Clone for Answerer<H> {
    fn clone(&self) -> Self {
        Answerer {
            handler: self.handler.clone(),
            ..*self
        }
    }
}

impl<H> Answerer<H>
where
    H: Fn(HttpRequest<'_>) -> ZeroResponse,
{
    #[inline]
    fn handle(&self, request: HttpRequest<'_>) -> ZeroResponse {
        match request.body().len() > self.body_bytes_max {
            true => too_large(),
            false => (self.handler)(request),
        }
    }
}

/// The rest of such a body is not waited for.
#[cold]
fn too_large() -> ZeroResponse {
    ZeroResponse::status(StatusCode::PAYLOAD_TOO_LARGE).close()
}

impl<H> HttpService for Answerer<H>
where
    H: Fn(HttpRequest<'_>) -> ZeroResponse + Send + Sync + 'static,
{
    type Head = OwnedHead;
    type Response = ZeroResponse;
    type Error = Infallible;
    type Future = Answering;

    const STAYS: bool = true;
    const ANSWERS: bool = true;

    #[inline]
    fn answer(&mut self, head: &[u8], line: RequestLine, body: &[u8]) -> ZeroResponse {
        self.handle(HttpRequest::new(head, line, body, self.peer_addr))
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// For requests that did not come in one piece.
    fn call(&mut self, head: OwnedHead, body: RequestBody) -> Answering {
        let mut request = HttpOwnedRequest::new(head, body, self.peer_addr);
        let Some(stream) = request.body_stream() else {
            return Answering::Done(Some(self.handle(request.as_request())));
        };
        let this = self.clone();
        Answering::Collecting(Box::pin(async move {
            match stream.collect(this.body_bytes_max).await {
                Ok(body) => this.handle(request.as_request().with(&body)),
                Err(CollectError::TooLarge(_)) => too_large(),
                // The peer broke its own request.
                Err(CollectError::Body(_)) => ZeroResponse::status(StatusCode::BAD_REQUEST).close(),
            }
        }))
    }
}

/// An answer that is there, or waits for the rest of a body.
pub(super) enum Answering {
    Done(Option<ZeroResponse>),
    Collecting(Pin<Box<dyn Future<Output = ZeroResponse> + Send>>),
}

impl Future for Answering {
    type Output = Result<ZeroResponse, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answering::Done(response) => {
                Poll::Ready(Ok(response.take().expect("polled until it is ready")))
            }
            Answering::Collecting(answer) => answer.as_mut().poll(cx).map(Ok),
        }
    }
}
