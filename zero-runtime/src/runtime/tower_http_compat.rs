//! Services and layers of `http`'s types, tower-http's for instance, over the server's own requests.
//!
//! A request is turned into `http`'s types and back on the way, which costs what the header maps cost:
//! put such layers around what needs them, not around everything.
//!
//! ```
//! use std::convert::Infallible;
//! use tower::{Layer, service_fn};
//! use zero_runtime::{HttpOwnedRequest, ZeroResponse};
//! use zero_runtime::tower_http_compat::HttpLayer;
//!
//! let hello = service_fn(async |_: HttpOwnedRequest| Ok::<_, Infallible>(ZeroResponse::ok()));
//! // Any layer of http-typed services: `tower_http::cors::CorsLayer::permissive()`, say.
//! let layer = HttpLayer::new(tower::layer::util::Identity::new());
//! let service = layer.layer(hello);
//! # drop(service);
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::RequestBody;
use crate::error::BoxError;
use crate::message::{HttpOwnedRequest, ResponseBody, ZeroResponse};

/// An http-typed service as one of the server's own requests.
#[derive(Debug, Clone)]
pub struct FromHttp<S>(pub S);

impl<S, B> Service<HttpOwnedRequest> for FromHttp<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = ZeroResponse;
    type Error = BoxError;
    type Future = Converted<S::Future, ZeroResponse>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    /// A request that `http` cannot express fails; see [`HttpOwnedRequest::into_http`].
    fn call(&mut self, request: HttpOwnedRequest) -> Self::Future {
        let request = request.into_http();
        Converted::new(request.map(|request| self.0.call(request)))
    }
}

/// A service of the server's own requests as an http-typed one.
#[derive(Debug, Clone)]
pub struct IntoHttp<S>(pub S);

impl<S> Service<Request<RequestBody>> for IntoHttp<S>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
    S::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = Converted<S::Future, Response<ResponseBody>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    /// A request that HTTP/1.1 cannot express fails; see [`HttpOwnedRequest::from_http`].
    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let request = HttpOwnedRequest::from_http(request);
        Converted::new(request.map(|request| self.0.call(request)))
    }
}

/// A layer of http-typed services, around services of the server's own requests.
///
/// # What allocates
/// For each request a `HeaderMap` with what its names and values take (values share the head's bytes), and for the
/// inner service a head that is written anew; on the way back a `HeaderMap` of the response's lines, if the layer's
/// service did not make one. Nothing is boxed.
///
/// # Errors
/// Requests that one side cannot express fail the call, which is answered with 500: see
/// [`HttpOwnedRequest::into_http`] and [`HttpOwnedRequest::from_http`].
///
/// # Cancel safety
/// That of the layer and its service.
#[derive(Debug, Clone)]
pub struct HttpLayer<L>(L);

impl<L> HttpLayer<L> {
    /// Wraps `layer`.
    pub fn new(layer: L) -> Self {
        HttpLayer(layer)
    }
}

impl<S, L: Layer<IntoHttp<S>>> Layer<S> for HttpLayer<L> {
    type Service = FromHttp<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        FromHttp(self.0.layer(IntoHttp(inner)))
    }
}

pin_project! {
    /// The future of [`FromHttp`] and [`IntoHttp`]: resolves to a `B`.
    pub struct Converted<F, B> {
        #[pin]
        stage: Stage<F>,
        converted: PhantomData<fn() -> B>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F> {
        Calling { #[pin] future: F },
        Failed { error: Option<http::Error> },
    }
}

impl<F, B> Converted<F, B> {
    fn new(called: Result<F, http::Error>) -> Self {
        Converted {
            stage: match called {
                Ok(future) => Stage::Calling { future },
                Err(error) => Stage::Failed { error: Some(error) },
            },
            converted: PhantomData,
        }
    }
}

impl<F, A, B, E> Future for Converted<F, B>
where
    F: Future<Output = Result<A, E>>,
    A: Into<B>,
    E: Into<BoxError>,
{
    type Output = Result<B, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().stage.project() {
            StageProjection::Calling { future } => match ready!(future.poll(cx)) {
                Ok(response) => Ok(response.into()),
                Err(error) => Err(error.into()),
            },
            StageProjection::Failed { error } => {
                Err(error.take().expect("polled until it is ready").into())
            }
        })
    }
}

impl<F, B> fmt::Debug for Converted<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converted").finish_non_exhaustive()
    }
}
