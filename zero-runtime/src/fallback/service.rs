//! A connection's service as hyper calls it. Knows requests and responses; knows no connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::RequestBody;
use crate::error::BoxError;
use crate::service::sealed::{Apart, Fill};
use crate::service::{HttpService, Reply};

/// The service of one connection.
pub(super) struct HyperService<S>(pub(super) S);

/// What is called stays with one request, as on a shard.
type Called<S> =
    Pin<Box<dyn Future<Output = Result<Response<BodyOf<S>>, BoxError>> + Send + 'static>>;

/// The body of a service's responses.
pub(super) type BodyOf<S> = <<S as HttpService>::Response as Reply>::Body;

impl<S: HttpService> hyper::service::Service<Request<Incoming>> for HyperService<S> {
    type Response = Response<BodyOf<S>>;
    type Error = BoxError;
    type Future = Called<S>;

    fn call(&self, request: Request<Incoming>) -> Called<S> {
        let mut service = self.0.clone();
        let (parts, body) = request.into_parts();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx))
                .await
                .map_err(Into::into)?;
            let head = S::Head::from_http(parts)?;
            let called = service.call(head, RequestBody::from_hyper(body));
            let response = called.await.map_err(Into::into)?;
            Ok(response.into_http())
        })
    }
}
