//! The adapter between the server's request and the one axum's services take. Knows bodies;
//! knows nothing of connections.

use std::any::TypeId;
use std::future::Future;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{Extensions, Request, Response, request};
use tower_service::Service;
use zero_runtime::service::HttpService;
use zero_runtime::upgrade::OnUpgrade;
use zero_runtime::{BoxError, RequestBody};

use crate::upgrade::hyper_upgrade;

/// The service of one connection: any cloneable `tower::Service<Request<axum::body::Body>>`.
///
/// The response's body may be of any type, so layers outside the `Router` need no boxing.
/// Implemented for every such service; never by hand. `poll_ready` and `call` happen on a clone
/// made for the request; a `Router`, to which that makes no difference, is called itself.
pub trait Application: Clone + Send + 'static {
    /// The response's body.
    type Body: http_body::Body<Data: Buf + Send, Error: Into<BoxError>> + Send + 'static;
    /// Why there is no response; the connection is closed. `Infallible` for axum's own.
    type Error: Into<BoxError>;
    /// Resolves to the response.
    type Future: Future<Output = Result<Response<Self::Body>, Self::Error>> + Send + 'static;

    /// As [`Service::poll_ready`].
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;
    /// As [`Service::call`].
    fn call(&mut self, request: Request<Body>) -> Self::Future;
}

impl<S, B> Application for S
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data: Buf + Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(self, cx)
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Service::call(self, request)
    }
}

/// An [`Application`] as the service of a connection: a shard's, or hyper's with its own body.
///
/// Adds nothing to the request and boxes nothing but a body that is there.
#[derive(Clone, Debug)]
pub struct AppService<A>(A);

impl<A> AppService<A> {
    pub(crate) fn new(app: A) -> Self {
        AppService(app)
    }
}

impl<A, B> Service<Request<B>> for AppService<A>
where
    A: Application,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<A::Body>;
    type Error = A::Error;
    type Future = A::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request.map(axum_body))
    }
}

impl<A: Application> HttpService for AppService<A> {
    type Head = request::Parts;
    type Response = Response<A::Body>;
    type Error = A::Error;
    type Future = A::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn is_stateless() -> bool {
        TypeId::of::<A>() == TypeId::of::<Router>()
    }

    // In two places, one of which is in the way of nearly every request: a head is dear to move.
    #[inline(always)]
    fn call(&mut self, head: request::Parts, body: RequestBody) -> Self::Future {
        let mut request = Request::from_parts(head, axum_body(body));
        if !request.extensions().is_empty() {
            offer_upgrade(request.extensions_mut());
        }
        self.0.call(request)
    }
}

/// A request that may be upgraded says so in hyper's type, which axum and its like look for.
#[cold]
fn offer_upgrade(extensions: &mut Extensions) {
    if let Some(upgrade) = extensions.remove::<OnUpgrade>()
        && let Some(upgrade) = hyper_upgrade(upgrade)
    {
        extensions.insert(upgrade);
    }
}

/// Boxes the body, unless there is none: an empty `Body` costs no allocation.
#[inline]
fn axum_body<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    if body.is_end_stream() {
        Body::empty()
    } else {
        Body::new(body)
    }
}
