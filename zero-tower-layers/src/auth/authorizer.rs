//! Checks that are waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

/// Lets a request pass, or answers it, after some waiting.
///
/// Closures of `Request<B>` that return such a future are authorizers.
pub trait AsyncAuthorizeRequest<B> {
    /// The body of the request that is passed on.
    type RequestBody;

    /// The body of the answer to a request that may not pass.
    type ResponseBody;

    /// Becomes the request to pass on, or the answer to it.
    type Future: Future<Output = Result<Request<Self::RequestBody>, Response<Self::ResponseBody>>>;

    /// Begins to check a request.
    fn authorize(&mut self, request: Request<B>) -> Self::Future;
}

impl<B, F, Fut, ReqBody, ResBody> AsyncAuthorizeRequest<B> for F
where
    F: FnMut(Request<B>) -> Fut,
    Fut: Future<Output = Result<Request<ReqBody>, Response<ResBody>>>,
{
    type RequestBody = ReqBody;
    type ResponseBody = ResBody;
    type Future = Fut;

    fn authorize(&mut self, request: Request<B>) -> Fut {
        self(request)
    }
}

/// Lets requests pass that an [`AsyncAuthorizeRequest`] lets pass. See the [module](super).
#[derive(Debug, Clone)]
pub struct ZeroAsyncAuthLayer<T> {
    auth: T,
}

impl<T> ZeroAsyncAuthLayer<T> {
    /// Checks by `auth`.
    pub fn new(auth: T) -> Self {
        Self { auth }
    }
}

impl<S, T: Clone> Layer<S> for ZeroAsyncAuthLayer<T> {
    type Service = ZeroAsyncAuth<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroAsyncAuth::new(inner, self.auth.clone())
    }
}

/// The service of [`ZeroAsyncAuthLayer`].
///
/// It clones the wrapped service for each request: the one that was ready waits for the check, the
/// clone stays.
#[derive(Debug, Clone)]
pub struct ZeroAsyncAuth<S, T> {
    pub(super) inner: S,
    pub(super) auth: T,
}

impl<S, T> ZeroAsyncAuth<S, T> {
    /// Wraps a service; see [`ZeroAsyncAuthLayer::new`].
    pub fn new(inner: S, auth: T) -> Self {
        Self { inner, auth }
    }

    /// The same as [`ZeroAsyncAuthLayer::new`].
    pub fn layer(auth: T) -> ZeroAsyncAuthLayer<T> {
        ZeroAsyncAuthLayer::new(auth)
    }

    inner_accessors!();
}

impl<S, T, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroAsyncAuth<S, T>
where
    T: AsyncAuthorizeRequest<ReqBody, ResponseBody = ResBody>,
    S: Service<Request<T::RequestBody>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = AsyncResponseFuture<T::Future, S, S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let authorize = self.auth.authorize(request);
        self.pass_if(authorize)
    }
}

impl<S: Clone, T> ZeroAsyncAuth<S, T> {
    /// Lets the service that is ready wait for the check; its clone takes its place.
    #[inline]
    pub(super) fn pass_if<A, F>(&mut self, authorize: A) -> AsyncResponseFuture<A, S, F> {
        let clone = self.inner.clone();
        AsyncResponseFuture {
            state: State::Checking { authorize },
            service: std::mem::replace(&mut self.inner, clone),
        }
    }
}

pin_project! {
    /// The future of [`ZeroAsyncAuth`].
    pub struct AsyncResponseFuture<A, S, F> {
        #[pin]
        state: State<A, F>,
        service: S,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<A, F> {
        Checking {
            #[pin]
            authorize: A,
        },
        Passed {
            #[pin]
            future: F,
        },
    }
}

/// Of requests and responses of either kind.
impl<A, S, Req, Res> Future for AsyncResponseFuture<A, S, S::Future>
where
    A: Future<Output = Result<Req, Res>>,
    S: Service<Req, Response = Res>,
{
    type Output = Result<Res, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Checking { authorize } => match ready!(authorize.poll(cx)) {
                    Ok(request) => {
                        let future = this.service.call(request);
                        this.state.set(State::Passed { future });
                    }
                    Err(response) => return Poll::Ready(Ok(response)),
                },
                StateProj::Passed { future } => return future.poll(cx),
            }
        }
    }
}
