//! The native layers, each around a service that answers at once, with a request of a browser that has a
//! token; and tower-http's, for `micro`.

use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderValue};
use http::{Request, Response, response};
use http_body::Body;
use http_body_util::{Empty, Full};
use tower::{Layer, Service};

use super::{Op, Run};
use crate::stacks::their_bearer;
use crate::{native_request_id, native_stack, scenario, tower_http_request_id, tower_http_stack};

/// A request without a body.
pub type Asked = Request<Empty<Bytes>>;

/// Each of ours alone, and all of them.
pub fn layers() -> Vec<Op> {
    use zero_tower_layers::auth::ZeroAuthLayer;
    use zero_tower_layers::compression::ZeroCompressionLayer;
    use zero_tower_layers::cors::ZeroCorsLayer;
    use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
    use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
    use zero_tower_layers::trace::ZeroTraceLayer;

    vec![
        op("layer/none", Hello),
        op("layer/auth", ZeroAuthLayer::bearer("secret").layer(Hello)),
        op(
            "layer/compression",
            ZeroCompressionLayer::new().layer(Hello),
        ),
        op("layer/cors", ZeroCorsLayer::permissive().layer(Hello)),
        op(
            "layer/normalize-path",
            ZeroNormalizePathLayer::trim_trailing_slash().layer(Hello),
        ),
        op(
            "layer/request-id",
            native_request_id!(extensions: false).layer(Hello),
        ),
        op(
            "layer/sensitive-headers",
            ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]).layer(Hello),
        ),
        op("layer/trace", ZeroTraceLayer::new_for_http().layer(Hello)),
        op(
            "layer/stack",
            native_stack!(extensions: false).service(Hello),
        ),
    ]
}

/// tower-http's, under the same names.
pub fn rivals() -> Vec<Op> {
    use tower_http::compression::CompressionLayer;
    use tower_http::cors::CorsLayer;
    use tower_http::normalize_path::NormalizePathLayer;
    use tower_http::sensitive_headers::SetSensitiveHeadersLayer;
    use tower_http::trace::TraceLayer;

    vec![
        op("layer/none", Hello),
        op("layer/auth", their_bearer().layer(Hello)),
        op("layer/compression", CompressionLayer::new().layer(Hello)),
        op("layer/cors", CorsLayer::permissive().layer(Hello)),
        op(
            "layer/normalize-path",
            NormalizePathLayer::trim_trailing_slash().layer(Hello),
        ),
        op("layer/request-id", tower_http_request_id!().service(Hello)),
        op(
            "layer/sensitive-headers",
            SetSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]).layer(Hello),
        ),
        op("layer/trace", TraceLayer::new_for_http().layer(Hello)),
        op("layer/stack", tower_http_stack!().service(Hello)),
    ]
}

fn op<S, B>(name: &'static str, service: S) -> Op
where
    S: Service<Asked, Response = Response<B>> + Clone + 'static,
    B: Body,
{
    Op::new(name, move |times| -> Run {
        let service = service.clone();
        let requests: Vec<_> = (0..times).map(|_| request()).collect();
        Box::new(move || {
            for request in requests {
                call(service.clone(), request);
            }
        })
    })
}

/// Calls a service and reads the response to its end.
fn call<S, B>(mut service: S, request: Asked)
where
    S: Service<Asked, Response = Response<B>>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut future = pin!(service.call(black_box(request)));
    let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
        unreachable!("the service answers at once");
    };
    let mut body = pin!(black_box(response).into_body());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        let _ = black_box(frame.is_ok());
    }
}

fn request() -> Asked {
    let browser = scenario::find("hdr64").expect("in the list");
    let mut request = browser.http_request().expect("it can be expressed");
    let token = HeaderValue::from_static("Bearer secret");
    request.headers_mut().insert(AUTHORIZATION, token);
    request.map(|_| Empty::new())
}

/// Answers with a short text.
#[derive(Clone, Copy, Debug)]
pub struct Hello;

impl Service<Asked> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Asked) -> Self::Future {
        let body = Full::new(Bytes::from_static(b"Hello, World!"));
        ready(Ok(Response::from_parts(response_head(), body)))
    }
}

/// The head of a small response, as axum makes it.
pub fn response_head() -> response::Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    head.headers.insert(CONTENT_TYPE, text);
    head.headers
        .insert(CONTENT_LENGTH, HeaderValue::from_static("13"));
    head
}
