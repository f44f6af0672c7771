//! [`Router`]: a table of handlers.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use tower_service::Service;

use super::table::{Found, Missed, OwnedParams, Params, RouteError, Table};
use crate::message::{HttpOwnedRequest, HttpRequest, ZeroResponse};

type Now = dyn Fn(HttpRequest<'_>, &Params<'_, '_>) -> ZeroResponse + Send + Sync;
type Later = dyn Fn(HttpOwnedRequest, OwnedParams) -> BoxFuture + Send + Sync;
type BoxFuture = Pin<Box<dyn Future<Output = ZeroResponse> + Send>>;

#[derive(Clone)]
enum Handler {
    Now(Arc<Now>),
    Later(Arc<Later>),
}

/// Handlers by method and path; answers 404 and 405 itself.
///
/// A handler that answers at once borrows the request and costs no allocation; one that awaits owns it
/// and has its future boxed. As the handler of
/// [`run_sync`](crate::ZeroRuntime::run_sync), `move |request| router.answer(request)`; as a tower
/// service, a clone of it: clones share the routes.
///
/// # What allocates
/// Adding routes. To find one takes nothing, nor do up to three parameters of a handler that answers at once; one
/// that awaits gets a box for its future, and owned parameters.
///
/// # Cancel safety
/// A call's future owns its handler's: dropping it drops that, as the mode says it does.
#[derive(Clone, Default)]
pub struct Router {
    routes: Arc<Table<Handler>>,
}

impl Router {
    /// Makes a router without routes.
    pub fn new() -> Self {
        Router::default()
    }

    /// Adds a handler that answers at once.
    ///
    /// # Panics
    /// As [`try_route`](Self::try_route) fails.
    #[must_use]
    #[track_caller]
    pub fn route<H>(self, method: &str, path: &str, handler: H) -> Self
    where
        H: Fn(HttpRequest<'_>, &Params<'_, '_>) -> ZeroResponse + Send + Sync + 'static,
    {
        self.added(method, path, Handler::Now(Arc::new(handler)))
    }

    /// Adds a handler of GET, and so of HEAD, that answers at once.
    ///
    /// # Panics
    /// As [`try_route`](Self::try_route) fails.
    #[must_use]
    #[track_caller]
    pub fn get<H>(self, path: &str, handler: H) -> Self
    where
        H: Fn(HttpRequest<'_>, &Params<'_, '_>) -> ZeroResponse + Send + Sync + 'static,
    {
        self.route("GET", path, handler)
    }

    /// Adds a handler of POST that answers at once.
    ///
    /// # Panics
    /// As [`try_route`](Self::try_route) fails.
    #[must_use]
    #[track_caller]
    pub fn post<H>(self, path: &str, handler: H) -> Self
    where
        H: Fn(HttpRequest<'_>, &Params<'_, '_>) -> ZeroResponse + Send + Sync + 'static,
    {
        self.route("POST", path, handler)
    }

    /// Adds a handler that awaits. Not found by [`answer`](Self::answer).
    ///
    /// # Panics
    /// As [`try_route`](Self::try_route) fails.
    #[must_use]
    #[track_caller]
    pub fn route_async<H, R>(self, method: &str, path: &str, handler: H) -> Self
    where
        H: Fn(HttpOwnedRequest, OwnedParams) -> R + Send + Sync + 'static,
        R: Future<Output = ZeroResponse> + Send + 'static,
    {
        let boxed = move |request, params| -> BoxFuture { Box::pin(handler(request, params)) };
        self.added(method, path, Handler::Later(Arc::new(boxed)))
    }

    #[track_caller]
    fn added(mut self, method: &str, path: &str, handler: Handler) -> Self {
        let routes = Arc::make_mut(&mut self.routes);
        if let Err(error) = routes.insert(method, path, handler) {
            panic!("route {method} {path}: {error}");
        }
        self
    }

    /// Adds a handler that answers at once, at a path the program does not know beforehand.
    ///
    /// # Errors
    /// The path is not one, or something stands there already.
    pub fn try_route<H>(&mut self, method: &str, path: &str, handler: H) -> Result<(), RouteError>
    where
        H: Fn(HttpRequest<'_>, &Params<'_, '_>) -> ZeroResponse + Send + Sync + 'static,
    {
        let handler = Handler::Now(Arc::new(handler));
        Arc::make_mut(&mut self.routes).insert(method, path, handler)
    }

    /// Answers at once. A route whose handler awaits is answered with 500: serve it with
    /// [`run_tower`](crate::ZeroRuntime::run_tower).
    #[inline]
    pub fn answer(&self, request: HttpRequest<'_>) -> ZeroResponse {
        match self.routes.find(request.method(), request.path()) {
            Ok(Found { value, params }) => match value {
                Handler::Now(handler) => handler(request, &params),
                Handler::Later(_) => misplaced(request.path()),
            },
            Err(missed) => miss(missed),
        }
    }
}

#[cold]
fn misplaced(path: &str) -> ZeroResponse {
    tracing::error!(path, "a handler that awaits cannot answer at once");
    ZeroResponse::status(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cold]
fn miss(missed: Missed<'_>) -> ZeroResponse {
    match missed {
        Missed::Path => ZeroResponse::not_found(),
        Missed::Method { allow } => {
            ZeroResponse::status(StatusCode::METHOD_NOT_ALLOWED).header("allow", allow)
        }
    }
}

impl Service<HttpOwnedRequest> for Router {
    type Response = ZeroResponse;
    type Error = Infallible;
    type Future = RouteFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: HttpOwnedRequest) -> RouteFuture {
        RouteFuture(match self.routes.find(request.method(), request.path()) {
            Ok(Found { value, params }) => match value {
                Handler::Now(handler) => Called::Now(Some(handler(request.as_request(), &params))),
                Handler::Later(handler) => {
                    let params = params.to_owned_params();
                    Called::Later(handler(request, params))
                }
            },
            Err(missed) => Called::Now(Some(miss(missed))),
        })
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.routes.fmt(f)
    }
}

/// The future of [`Router`].
pub struct RouteFuture(Called);

enum Called {
    Now(Option<ZeroResponse>),
    Later(BoxFuture),
}

impl Future for RouteFuture {
    type Output = Result<ZeroResponse, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Called::Now(response) => {
                Poll::Ready(Ok(response.take().expect("polled until it is ready")))
            }
            Called::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

impl fmt::Debug for RouteFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::addr::UNSPECIFIED;
    use crate::message::OwnedHead;
    use crate::proto::h1::RequestLine;

    fn router() -> Router {
        Router::new()
            .get("/", |_, _| ZeroResponse::ok())
            .get("/users/{id}", |_, params| {
                assert_eq!(params.get("id"), Some("7"));
                ZeroResponse::status(StatusCode::ACCEPTED)
            })
            .route_async("POST", "/later/{id}", async |_, params: OwnedParams| {
                assert_eq!(params.get("id"), Some("8"));
                ZeroResponse::status(StatusCode::CREATED)
            })
    }

    fn request(method: &str, path: &str) -> HttpOwnedRequest {
        let line = RequestLine::of(method.len(), path.len() as u16, http::Version::HTTP_11);
        let bytes = Bytes::from(format!("{method} {path} HTTP/1.1\r\n\r\n"));
        let head = OwnedHead { bytes, line };
        HttpOwnedRequest::new(head, crate::RequestBody::empty(), UNSPECIFIED)
    }

    #[test]
    fn it_answers_at_once() {
        let router = router();
        let answer = |method, path| {
            router
                .answer(request(method, path).as_request())
                .status_code()
        };
        assert_eq!(answer("GET", "/"), 200);
        assert_eq!(answer("HEAD", "/"), 200);
        assert_eq!(answer("GET", "/users/7"), 202);
        assert_eq!(answer("GET", "/none"), 404);
        assert_eq!(answer("PUT", "/"), 405);
        assert_eq!(answer("POST", "/later/8"), 500);
    }

    #[tokio::test]
    async fn as_a_service_it_awaits_too() {
        let mut router = router();
        let mut call = async |method, path| {
            let response = router.call(request(method, path)).await.unwrap();
            response.status_code()
        };
        assert_eq!(call("GET", "/users/7").await, 202);
        assert_eq!(call("POST", "/later/8").await, 201);
        assert_eq!(call("GET", "/later/8").await, 405);
    }

    #[test]
    #[should_panic(expected = "route GET /: the method has a route at this path already")]
    fn a_route_is_added_once() {
        let _ = router().get("/", |_, _| ZeroResponse::ok());
    }
}
