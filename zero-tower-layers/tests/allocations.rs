//! What each layer takes from the heap for a request: nothing, when the maps have room, but for what is
//! said here.
//!
//! Counted by thread, so the tests may run side by side.
#![allow(clippy::result_large_err)] // A check returns its answer by value, as in tower-http.

use std::cell::RefCell;
use std::future::{Ready, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder};
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use zero_tower_layers::auth::{Bearer, ZeroAsyncAuthLayer, ZeroAuthLayer};
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::cors::{
    AllowCredentials, AllowOrigin, AllowPrivateNetwork, MaxAge, ZeroCorsLayer,
};
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{
    MakeRequestUuid, RequestId, ZeroPropagateRequestIdLayer, ZeroRequestIdLayer,
    ZeroSetRequestIdLayer,
};
use zero_tower_layers::sensitive_headers::{
    ZeroSensitiveHeadersLayer, ZeroSensitiveRequestHeadersLayer, ZeroSensitiveResponseHeadersLayer,
};
use zero_tower_layers::trace::ZeroTraceLayer;

type TestBody = Full<Bytes>;

/// Requests before counting: pools and blocks come to be.
const WARM_UP: usize = 300;
const COUNTED: usize = 500;

/// Answers with what it was given beforehand, and takes nothing from the heap. Clones share it, for some layers
/// call a clone.
#[derive(Clone)]
struct Prepared(Rc<RefCell<Vec<Response<TestBody>>>>);

impl Service<Request<TestBody>> for Prepared {
    type Response = Response<TestBody>;
    type Error = std::convert::Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<TestBody>) -> Self::Future {
        ready(Ok(self.0.borrow_mut().pop().expect("enough responses")))
    }
}

/// One request, and the response to it.
struct Exchange {
    method: &'static str,
    uri: &'static str,
    request: Vec<(&'static str, &'static str)>,
    response: Vec<(&'static str, &'static str)>,
    body: Bytes,
    /// Whether both have some already.
    has_extensions: bool,
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
            has_extensions: false,
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
        *request.extensions_mut() = self.extensions();
        request
    }

    fn response(&self) -> Response<TestBody> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = map(&self.response);
        *response.extensions_mut() = self.extensions();
        response
    }

    fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::new();
        if self.has_extensions {
            extensions.insert("some other value");
        }
        extensions
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
    allocations_of(layer, exchange, WARM_UP, COUNTED)
}

/// The same, after so many exchanges and over so many.
fn allocations_of<L, B>(layer: L, exchange: &Exchange, warm_up: usize, counted: usize) -> f64
where
    L: Layer<Prepared>,
    L::Service: Service<Request<TestBody>, Response = Response<B>>,
    B: Body,
{
    let total = warm_up + counted;
    let responses = (0..total).map(|_| exchange.response()).collect();
    let mut service = layer.layer(Prepared(Rc::new(RefCell::new(responses))));
    let mut requests: Vec<_> = (0..total).map(|_| exchange.request()).collect();
    let mut run = |times| {
        for request in requests.drain(..times) {
            call(&mut service, request);
        }
    };
    run(warm_up);
    let count = allocation_counter::measure(|| run(counted));
    count.count_total as f64 / counted as f64
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
            .max_age(Duration::from_secs(600))
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
    let predicates = ZeroCorsLayer::new()
        .allow_origin(AllowOrigin::predicate(|_, _| true))
        .allow_credentials(AllowCredentials::predicate(|_, _| true))
        .allow_private_network(AllowPrivateNetwork::predicate(|_, _| true))
        .max_age(MaxAge::dynamic(|_, _| Duration::from_secs(600)));
    assert_none("predicates", predicates.clone(), &plain);
    assert_none("preflight, predicates", predicates, &preflight());
    assert_none("counted", ZeroCorsLayer::permissive().counted(), &plain);
    let later = AllowOrigin::async_predicate(|_, parts| ready(parts.headers.len() > 1));
    let later = ZeroCorsLayer::new().allow_origin(later);
    assert_none("async predicate", later.clone(), &plain);
    assert_none("preflight, async predicate", later, &preflight());
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
    // A list in a spelling that nobody uses is left to `mime`: a copy of each item, and of what it is made of.
    let odd = Exchange {
        request: vec![("accept", "text/html; q=\"1\", application/json")],
        ..Exchange::default()
    };
    let each = allocations(ZeroAuthLayer::accept("application/json"), &odd);
    assert!((1.0..=8.0).contains(&each), "{each}");
    let refuse =
        |_: Request<TestBody>| ready(Err::<Request<TestBody>, _>(Response::new(Full::default())));
    assert_none("async", ZeroAsyncAuthLayer::new(refuse), &right);
    let pass = |request: Request<TestBody>| ready(Ok::<_, Response<TestBody>>(request));
    assert_none("async, passed", ZeroAsyncAuthLayer::new(pass), &right);
    assert_none(
        "counted",
        ZeroAuthLayer::custom(Bearer::counted("secret")),
        &right,
    );
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

    let listed = || [AUTHORIZATION, COOKIE, SET_COOKIE, WARNING];
    let plain = Exchange::default();
    assert_none(
        "request",
        ZeroSensitiveRequestHeadersLayer::new(listed()),
        &plain,
    );
    assert_none(
        "response",
        ZeroSensitiveResponseHeadersLayer::new(listed()),
        &plain,
    );
    assert_none(
        "counted",
        ZeroSensitiveHeadersLayer::counted(listed().into()),
        &plain,
    );
}

/// Ids themselves take nothing. `RequestId`s in extensions take what `http::Extensions` takes for a value, and not
/// a block more: its box, and for the first value of a message the map and its table. Neither can be had for
/// less, or again: the map is the type's own, `insert` boxes what it is given, and both are dropped by
/// whoever gets the message. It would take values kept in the map itself.
#[test]
fn ids_take_nothing_but_their_extensions() {
    const VALUE: f64 = 1.0;
    const MAP: f64 = 2.0;

    let layer = ZeroRequestIdLayer::x_request_id(MakeRequestUuid);
    let set = ZeroSetRequestIdLayer::x_request_id(MakeRequestUuid);
    let propagate = ZeroPropagateRequestIdLayer::x_request_id();
    let plain = Exchange::default();
    let with_id = Exchange::default().with("x-request-id", "1");
    for exchange in [&plain, &with_id] {
        assert_none("both", layer.clone().extensions(false), exchange);
        assert_none("set", set.clone().extensions(false), exchange);
        assert_none("propagate", propagate.clone().extensions(false), exchange);
    }

    // On either side of the service, and on one.
    assert_eq!(allocations(layer.clone(), &plain), 2.0 * (MAP + VALUE));
    assert_eq!(allocations(layer.clone(), &with_id), 2.0 * (MAP + VALUE));
    assert_eq!(allocations(set, &plain), MAP + VALUE);
    assert_eq!(allocations(propagate.clone(), &plain), 0.0);
    assert_eq!(allocations(propagate, &with_id), MAP + VALUE);
    // Where something else has made the maps: the peer's address, a route's path.
    let extended = Exchange {
        has_extensions: true,
        ..Exchange::default()
    };
    assert_eq!(allocations(layer, &extended), 2.0 * VALUE);

    // The type's own price, without any layer.
    let counted = allocation_counter::measure(|| {
        let mut extensions = Extensions::new();
        extensions.insert(RequestId::new(HeaderValue::from_static("1")));
    });
    assert_eq!(counted.count_total as f64, MAP + VALUE);
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
        for (bytes, warm_up, counted) in [
            (1 << 10, WARM_UP, COUNTED),
            (1 << 14, WARM_UP, COUNTED),
            (1 << 20, 3, 5),
        ] {
            let text: String = (0..)
                .map(|n| format!("{{\"n\":{n}}},"))
                .take(bytes / 8)
                .collect();
            let exchange = Exchange {
                body: text.into(),
                ..Exchange::default().with("accept-encoding", coding)
            };
            let each = allocations_of(ZeroCompressionLayer::new(), &exchange, warm_up, counted);
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
