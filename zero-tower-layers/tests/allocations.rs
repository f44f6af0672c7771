//! What each layer takes from the heap for a request: nothing, when the maps have room, but for what is
//! said here.
//!
//! Counted by thread, so the tests may run side by side.
#![allow(clippy::result_large_err)] // A check returns its answer by value, as in tower-http.

use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder};
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use zero_tower_layers::auth::{ZeroAsyncAuthLayer, ZeroAuthLayer};
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::cors::{AllowOrigin, ZeroCorsLayer};
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{MakeRequestUuid, ZeroRequestIdLayer};
use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
use zero_tower_layers::trace::ZeroTraceLayer;

type TestBody = Full<Bytes>;

/// Requests before counting: pools and blocks come to be.
const WARM_UP: usize = 300;
const COUNTED: usize = 500;

/// Answers with what it was given beforehand, and takes nothing from the heap.
struct Prepared(Vec<Response<TestBody>>);

impl Service<Request<TestBody>> for Prepared {
    type Response = Response<TestBody>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<TestBody>) -> Self::Future {
        ready(Ok(self.0.pop().expect("enough responses")))
    }
}

// What `AsyncAuth` wants; nothing is cloned but emptiness.
impl Clone for Prepared {
    fn clone(&self) -> Self {
        Prepared(Vec::new())
    }
}

/// One request, and the response to it.
struct Exchange {
    method: &'static str,
    uri: &'static str,
    request: Vec<(&'static str, &'static str)>,
    response: Vec<(&'static str, &'static str)>,
    body: Bytes,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            method: "GET",
            uri: "/some/path?a=b",
            request: vec![
                ("host", "example.com"),
                ("accept", "text/html, application/json;q=0.9, */*;q=0.8"),
                ("authorization", "Bearer secret"),
                ("origin", "https://a.example"),
                ("cookie", "a=b"),
            ],
            response: vec![
                ("content-type", "text/plain"),
                ("set-cookie", "a=b"),
                ("set-cookie", "c=d"),
            ],
            body: Bytes::from_static(b"hello"),
        }
    }
}

impl Exchange {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.request.push((name, value));
        self
    }

    fn request(&self) -> Request<TestBody> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = self.method.parse().unwrap();
        *request.uri_mut() = self.uri.parse().unwrap();
        *request.headers_mut() = map(&self.request);
        request
    }

    fn response(&self) -> Response<TestBody> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = map(&self.response);
        response
    }
}

/// A map with room.
fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(24);
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

/// Allocations for one exchange through a layer.
fn allocations<L, B>(layer: L, exchange: &Exchange) -> f64
where
    L: Layer<Prepared>,
    L::Service: Service<Request<TestBody>, Response = Response<B>>,
    B: Body,
{
    let total = WARM_UP + COUNTED;
    let responses = (0..total).map(|_| exchange.response()).collect();
    let mut service = layer.layer(Prepared(responses));
    let mut requests: Vec<_> = (0..total).map(|_| exchange.request()).collect();
    let mut run = |times| {
        for request in requests.drain(..times) {
            call(&mut service, request);
        }
    };
    run(WARM_UP);
    let counted = allocation_counter::measure(|| run(COUNTED));
    counted.count_total as f64 / COUNTED as f64
}

fn call<S, B>(service: &mut S, request: Request<TestBody>)
where
    S: Service<Request<TestBody>, Response = Response<B>>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut future = pin!(service.call(request));
    let Poll::Ready(result) = future.as_mut().poll(&mut cx) else {
        panic!("nothing here waits");
    };
    let Ok(response) = result else {
        panic!("nothing here fails");
    };
    let mut body = pin!(response.into_body());
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        drop(frame);
    }
}

#[track_caller]
fn assert_none<L, B>(what: &str, layer: L, exchange: &Exchange)
where
    L: Layer<Prepared>,
    L::Service: Service<Request<TestBody>, Response = Response<B>>,
    B: Body,
{
    let each = allocations(layer, exchange);
    assert_eq!(each, 0.0, "{what}: {each} allocations a request");
}

#[test]
fn the_counter_counts() {
    // tower-http's CORS layer makes a map for each request.
    let each = allocations(
        tower_http::cors::CorsLayer::permissive(),
        &Exchange::default(),
    );
    assert!(each >= 2.0, "{each}");
    assert_none(
        "no layer",
        tower::layer::util::Identity::new(),
        &Exchange::default(),
    );
}

#[test]
fn cors_takes_nothing() {
    let plain = Exchange::default();
    let preflight = || Exchange {
        method: "OPTIONS",
        ..Exchange::default()
            .with("access-control-request-method", "PUT")
            .with("access-control-request-headers", "x-one, x-two")
            .with("access-control-request-private-network", "true")
    };
    let list = || {
        ZeroCorsLayer::new()
            .allow_origin(["https://a.example", "https://b.example"].map(HeaderValue::from_static))
            .allow_credentials(true)
            .allow_private_network(true)
            .allow_methods([http::Method::GET, http::Method::PUT])
            .allow_headers([HeaderName::from_static("x-one")])
            .expose_headers([
                HeaderName::from_static("x-two"),
                HeaderName::from_static("x-one"),
            ])
            .max_age(std::time::Duration::from_secs(600))
    };
    assert_none("new", ZeroCorsLayer::new(), &plain);
    assert_none("permissive", ZeroCorsLayer::permissive(), &plain);
    assert_none("very permissive", ZeroCorsLayer::very_permissive(), &plain);
    assert_none("list", list(), &plain);
    assert_none(
        "preflight, permissive",
        ZeroCorsLayer::permissive(),
        &preflight(),
    );
    assert_none(
        "preflight, mirror",
        ZeroCorsLayer::very_permissive(),
        &preflight(),
    );
    assert_none("preflight, list", list(), &preflight());
    let predicate = ZeroCorsLayer::new().allow_origin(AllowOrigin::predicate(|_, _| true));
    assert_none("predicate", predicate, &plain);

    // The predicate's future is boxed, for its type is not the layer's.
    let later = AllowOrigin::async_predicate(|_, parts| ready(parts.headers.len() > 1));
    assert_eq!(
        allocations(ZeroCorsLayer::new().allow_origin(later), &plain),
        1.0
    );
}

#[test]
fn checks_take_nothing() {
    let right = Exchange::default();
    let wrong = Exchange {
        request: vec![("x-key", "no"), ("accept", "image/png")],
        ..Exchange::default()
    };
    for exchange in [&right, &wrong] {
        assert_none("bearer", ZeroAuthLayer::bearer("secret"), exchange);
        assert_none("basic", ZeroAuthLayer::basic("name", "pass"), exchange);
        assert_none(
            "accept",
            ZeroAuthLayer::accept("application/json"),
            exchange,
        );
        let required = ZeroAuthLayer::has_header_value("x-key", "key").unwrap();
        assert_none("required", required, exchange);
        let custom = |request: &mut Request<TestBody>| match request.headers().contains_key("x-key")
        {
            true => Err(Response::new(Full::default())),
            false => Ok(()),
        };
        assert_none("custom", ZeroAuthLayer::custom(custom), exchange);
    }
    let refuse =
        |_: Request<TestBody>| ready(Err::<Request<TestBody>, _>(Response::new(Full::default())));
    assert_none("async", ZeroAsyncAuthLayer::new(refuse), &right);
}

#[test]
fn paths_take_nothing() {
    for uri in ["/", "/a", "/a/", "//a//?b=c", "http://host/a/"] {
        let exchange = Exchange {
            uri,
            ..Exchange::default()
        };
        assert_none(
            uri,
            ZeroNormalizePathLayer::trim_trailing_slash(),
            &exchange,
        );
        assert_none(
            uri,
            ZeroNormalizePathLayer::append_trailing_slash(),
            &exchange,
        );
    }
}

#[test]
fn sensitive_headers_take_nothing() {
    use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE, WARNING};
    let layer = ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE, SET_COOKIE, WARNING]);
    assert_none("sensitive", layer.clone(), &Exchange::default());
    // An empty map stays empty.
    let empty = Exchange {
        request: Vec::new(),
        response: Vec::new(),
        ..Exchange::default()
    };
    assert_none("sensitive, nothing there", layer, &empty);
}

#[test]
fn ids_take_nothing_but_their_extensions() {
    let layer = ZeroRequestIdLayer::x_request_id(MakeRequestUuid);
    let lean = layer.clone().extensions(false);
    assert_none("made", lean.clone(), &Exchange::default());
    let with_id = Exchange::default().with("x-request-id", "1");
    assert_none("kept", lean, &with_id);
    // `http::Extensions`, first entry: the map, its table and the entry's box; on either side.
    assert_eq!(allocations(layer, &Exchange::default()), 6.0);
}

#[test]
fn traces_that_nobody_wants_take_nothing() {
    let exchange = Exchange::default();
    assert_none("no subscriber", ZeroTraceLayer::new_for_http(), &exchange);
    let subscriber = tracing_subscriber::registry().with(
        tracing_subscriber::filter::LevelFilter::from_level(Level::INFO),
    );
    tracing::subscriber::with_default(subscriber, || {
        assert_none("filtered out", ZeroTraceLayer::new_for_http(), &exchange);
        assert_none(
            "filtered out, gRPC",
            ZeroTraceLayer::new_for_grpc(),
            &exchange,
        );
    });
    // The layer takes nothing either for spans that are kept; the registry adds to its pool now and then.
    let subscriber = tracing_subscriber::registry();
    tracing::subscriber::with_default(subscriber, || {
        let each = allocations(ZeroTraceLayer::new_for_http(), &exchange);
        assert!(each < 0.02, "kept: {each} allocations a request");
    });
}

#[test]
fn compression_takes_nothing_where_it_does_nothing() {
    let layer = ZeroCompressionLayer::new();
    let large = || Bytes::from(vec![b'a'; 1024]);
    assert_none(
        "not asked for",
        layer.clone(),
        &Exchange {
            body: large(),
            ..Exchange::default()
        },
    );
    let asked = || Exchange::default().with("accept-encoding", "gzip, deflate, br, zstd");
    assert_none("too small", layer.clone(), &asked());
    let image = Exchange {
        response: vec![("content-type", "image/png")],
        body: large(),
        ..asked()
    };
    assert_none("an image", layer.clone(), &image);
    let refused = Exchange::default().with("accept-encoding", "*;q=0");
    assert_none("refused", layer, &refused);
}

#[test]
fn compression_takes_at_most_one() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for bytes in [1 << 10, 1 << 14] {
            let text: String = (0..)
                .map(|n| format!("{{\"n\":{n}}},"))
                .take(bytes / 8)
                .collect();
            let exchange = Exchange {
                body: text.into(),
                ..Exchange::default().with("accept-encoding", coding)
            };
            let each = allocations(ZeroCompressionLayer::new(), &exchange);
            assert!(
                each <= 1.0,
                "{coding}, {bytes} bytes: {each} allocations a request"
            );
            eprintln!("{coding}, {bytes} bytes: {each}");
        }
    }
}

#[test]
fn the_stack_takes_nothing() {
    use http::header::{AUTHORIZATION, COOKIE};
    let layer = ServiceBuilder::new()
        .layer(ZeroNormalizePathLayer::trim_trailing_slash())
        .layer(ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid).extensions(false))
        .layer(ZeroTraceLayer::new_for_http())
        .layer(ZeroCompressionLayer::new())
        .layer(ZeroCorsLayer::permissive())
        .layer(ZeroAuthLayer::bearer("secret"));
    let exchange = Exchange::default().with("accept-encoding", "gzip, br");
    assert_none("the stack", layer, &exchange);
}
