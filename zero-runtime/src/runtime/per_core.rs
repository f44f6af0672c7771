//! `run_per_core`: handlers that never leave their shard's thread.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use send_wrapper::SendWrapper;

use crate::body::RequestBody;
use crate::message::{HttpOwnedRequest, OwnedHead, ZeroResponse};
use crate::service::{ConnInfo, HttpService, Made, MakeHttpService};

/// Makes one handler for each shard.
pub(super) struct Make<F, H, R> {
    factory: Arc<F>,
    /// Made on the shard's thread, with its first connection. It is never elsewhere: a clone has none.
    handler: Option<SendWrapper<Rc<H>>>,
    future: PhantomData<fn() -> R>,
}

impl<F, H, R> Make<F, H, R> {
    pub(super) fn new(factory: F) -> Self {
        Make {
            factory: Arc::new(factory),
            handler: None,
            future: PhantomData,
        }
    }
}

impl<F, H, R> Clone for Make<F, H, R> {
    fn clone(&self) -> Self {
        Make {
            factory: self.factory.clone(),
            handler: None,
            future: PhantomData,
        }
    }
}

impl<F, H, R> MakeHttpService for Make<F, H, R>
where
    F: Fn() -> H + Send + Sync + 'static,
    H: Fn(HttpOwnedRequest) -> R + 'static,
    R: Future<Output = ZeroResponse> + 'static,
{
    type Service = Local<H, R>;
    const WANTS_PEER_ADDR: bool = true;

    fn make(&mut self, conn: ConnInfo) -> Made<Local<H, R>> {
        let factory = &self.factory;
        let handler = self
            .handler
            .get_or_insert_with(|| SendWrapper::new(Rc::new(factory())));
        Made::Ready(Local {
            handler: handler.clone(),
            peer_addr: conn.peer_addr,
            future: PhantomData,
        })
    }
}

/// The shard's handler, for one connection.
///
/// A shard's services and futures are made, polled and dropped on its thread, because they `STAY`; the
/// wrapper panics if they ever were not.
pub(super) struct Local<H, R> {
    handler: SendWrapper<Rc<H>>,
    peer_addr: SocketAddr,
    future: PhantomData<fn() -> R>,
}

impl<H, R> Clone for Local<H, R> {
    fn clone(&self) -> Self {
        Local {
            handler: self.handler.clone(),
            ..*self
        }
    }
}

impl<H, R> HttpService for Local<H, R>
where
    H: Fn(HttpOwnedRequest) -> R + 'static,
    R: Future<Output = ZeroResponse> + 'static,
{
    type Head = OwnedHead;
    type Response = ZeroResponse;
    type Error = Infallible;
    type Future = SendWrapper<Infallibly<R>>;

    const STAYS: bool = true;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, head: OwnedHead, body: RequestBody) -> Self::Future {
        let request = HttpOwnedRequest::new(head, body, self.peer_addr);
        SendWrapper::new(Infallibly::new((self.handler)(request)))
    }
}

pin_project! {
    /// A future that cannot fail, as one that could.
    pub(super) struct Infallibly<R> {
        #[pin]
        future: R,
    }
}

impl<R> Infallibly<R> {
    pub(super) fn new(future: R) -> Self {
        Infallibly { future }
    }
}

impl<R: Future> Future for Infallibly<R> {
    type Output = Result<R::Output, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(Ok)
    }
}
