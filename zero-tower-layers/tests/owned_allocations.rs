//! What each layer over zero-runtime's own requests takes from the heap for a request: nothing, but for what
//! is said here.
//!
//! Counted by thread, so the tests may run side by side.
#![allow(clippy::result_large_err)] // A check returns its answer by value.

use std::convert::Infallible;
use std::future::{Future as _, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::{HeaderName, HeaderValue, Method, Response};
use http_body::Body as _;
use tower::layer::util::Identity;
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use zero_runtime::instrument::Reader;
use zero_runtime::{HttpOwnedRequest, ResponseBody, ZeroResponse};
use zero_tower_layers::auth::{ZeroAsyncAuthLayer, ZeroAuthLayer};
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::cors::{AllowOrigin, ZeroCorsLayer};
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{MakeRequestUuid, ZeroRequestIdLayer};
use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
use zero_tower_layers::trace::ZeroTraceLayer;

/// Requests before counting: pools and blocks come to be.
const WARM_UP: usize = 300;
const COUNTED: usize = 500;

/// A hundred thousand bytes of one letter.
const TEXT: &str = match str::from_utf8(&[b'a'; 100_000]) {
    Ok(text) => text,
    Err(_) => "",
};

/// One request, and the answer to it.
#[derive(Clone)]
struct Exchange {
    line: &'static str,
    fields: Vec<&'static str>,
    answer: fn() -> ZeroResponse,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            line: "GET /some/path?a=b",
            fields: vec![
                "Host: example.com",
                "Accept: text/html, application/json;q=0.9, */*;q=0.8",
                "Authorization: Bearer secret",
                "Origin: https://a.example",
                "Cookie: a=b",
            ],
            answer: || ZeroResponse::ok().text("hello").header("x-one", "1"),
        }
    }
}

impl Exchange {
    fn with(mut self, field: &'static str) -> Self {
        self.fields.push(field);
        self
    }

    fn head(&self) -> String {
        let fields: String = self.fields.iter().map(|f| format!("{f}\r\n")).collect();
        format!("{} HTTP/1.1\r\n{fields}\r\n", self.line)
    }
}

/// Allocations for one exchange through a layer; the service's own are in it, and are none.
fn allocations<L, S>(layer: L, exchange: &Exchange) -> f64
where
    L: Layer<Answering, Service = S>,
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
{
    let mut service = layer.layer(Answering(exchange.answer));
    let (mut reader, head) = (Reader::new(), exchange.head());
    let total = WARM_UP + COUNTED;
    let mut requests: Vec<_> = (0..total)
        .map(|_| reader.read_owned(head.as_bytes()))
        .collect();
    let mut run = |times| {
        for request in requests.drain(..times) {
            call(&mut service, request);
        }
    };
    run(WARM_UP);
    let counted = allocation_counter::measure(|| run(COUNTED));
    counted.count_total as f64 / COUNTED as f64
}

/// Answers at once.
#[derive(Clone)]
struct Answering(fn() -> ZeroResponse);

impl Service<HttpOwnedRequest> for Answering {
    type Response = ZeroResponse;
    type Error = Infallible;
    type Future = std::future::Ready<Result<ZeroResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpOwnedRequest) -> Self::Future {
        ready(Ok((self.0)()))
    }
}

fn call<S>(service: &mut S, request: HttpOwnedRequest)
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else {
        panic!("nothing here waits or fails");
    };
    // A response that is no stream is encoded as it is; one that is has its head in `http`'s types already.
    if response.body_bytes().is_none() {
        let mut body = pin!(Response::<ResponseBody>::from(response).into_body());
        while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
            drop(frame);
        }
    }
}

#[track_caller]
fn assert_none<L, S>(what: &str, layer: L, exchange: &Exchange)
where
    L: Layer<Answering, Service = S>,
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
{
    let each = allocations(layer, exchange);
    assert_eq!(each, 0.0, "{what}: {each} allocations a request");
}

#[test]
fn the_counter_counts() {
    assert_none("no layer", Identity::new(), &Exchange::default());
    let boxing = tower::layer::layer_fn(|_: Answering| {
        service_fn(|_: HttpOwnedRequest| {
            drop(std::hint::black_box(Box::new(7_u64)));
            ready(Ok::<_, Infallible>(ZeroResponse::ok()))
        })
    });
    assert_eq!(allocations(boxing, &Exchange::default()), 1.0);
}

#[test]
fn cors_takes_nothing() {
    let plain = Exchange::default();
    let preflight = Exchange {
        line: "OPTIONS /some/path",
        ..Exchange::default()
            .with("Access-Control-Request-Method: PUT")
            .with("Access-Control-Request-Headers: x-one, x-two")
    };
    let list = ZeroCorsLayer::new()
        .allow_origin(["https://a.example", "https://b.example"].map(HeaderValue::from_static))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::PUT])
        .expose_headers([HeaderName::from_static("x-two")]);
    assert_none("new", ZeroCorsLayer::new(), &plain);
    assert_none("permissive", ZeroCorsLayer::permissive(), &plain);
    assert_none("very permissive", ZeroCorsLayer::very_permissive(), &plain);
    assert_none("list", list.clone(), &plain);

    let mirror = ZeroCorsLayer::very_permissive();
    for layer in [ZeroCorsLayer::permissive(), mirror, list] {
        assert_none("preflight", layer, &preflight);
    }

    // Predicates are shown the whole head in `http`'s types: two for its map, and three for the address among
    // its extensions.
    let predicate = ZeroCorsLayer::new().allow_origin(AllowOrigin::predicate(|_, _| true));
    assert_eq!(allocations(predicate, &plain), 5.0);
}

#[test]
fn checks_take_nothing() {
    let right = Exchange::default();
    let wrong = Exchange {
        fields: vec!["Host: h", "X-Key: no", "Accept: image/png"],
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
        let custom = |request: &mut HttpOwnedRequest| match request.header("x-key") {
            Some(_) => Err(ZeroResponse::not_found()),
            None => Ok(()),
        };
        assert_none("custom", ZeroAuthLayer::custom(custom), exchange);
        let later = |request: HttpOwnedRequest| {
            ready(match request.header("x-key") {
                Some(_) => Err(ZeroResponse::not_found()),
                None => Ok(request),
            })
        };
        assert_none("async", ZeroAsyncAuthLayer::new(later), exchange);
    }
}

#[test]
fn paths_take_nothing() {
    for line in ["GET /", "GET /a", "GET /a/", "GET //a//?b=c"] {
        let exchange = Exchange {
            line,
            ..Exchange::default()
        };
        assert_none(
            line,
            ZeroNormalizePathLayer::trim_trailing_slash(),
            &exchange,
        );
        assert_none(
            line,
            ZeroNormalizePathLayer::append_trailing_slash(),
            &exchange,
        );
    }
}

#[test]
fn sensitive_headers_take_nothing_but_for_responses_that_have_them() {
    use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
    let layer = ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE, SET_COOKIE]);
    assert_none("sensitive", layer.clone(), &Exchange::default());
    // Lines carry no marks: such a response goes on in `http`'s types, with a map and values of its own.
    let marked = Exchange {
        answer: || ZeroResponse::ok().header("set-cookie", "a=b"),
        ..Exchange::default()
    };
    assert_eq!(allocations(layer, &marked), 3.0);
}

#[test]
fn ids_take_nothing() {
    let layer = ZeroRequestIdLayer::x_request_id(MakeRequestUuid);
    assert_none("made", layer.clone(), &Exchange::default());
    let with_id = Exchange::default().with("X-Request-Id: 1");
    assert_none("kept", layer, &with_id);
}

#[test]
fn traces_that_nobody_wants_take_nothing() {
    let subscriber = tracing_subscriber::registry().with(
        tracing_subscriber::filter::LevelFilter::from_level(Level::INFO),
    );
    tracing::subscriber::with_default(subscriber, || {
        assert_none(
            "filtered out",
            ZeroTraceLayer::new_for_http(),
            &Exchange::default(),
        );
    });
}

#[test]
fn compression_takes_nothing_where_it_does_nothing() {
    let layer = ZeroCompressionLayer::new();
    let asked = Exchange::default().with("Accept-Encoding: gzip, deflate, br, zstd");
    assert_none("not asked for", layer.clone(), &Exchange::default());
    assert_none("too small", layer, &asked);
}

#[test]
fn compressing_takes_five_however_long_a_body_is() {
    let short = || ZeroResponse::ok().text(&TEXT[..1000]);
    let long = || ZeroResponse::ok().text(TEXT);
    for field in [
        "Accept-Encoding: gzip",
        "Accept-Encoding: deflate",
        "Accept-Encoding: br",
        "Accept-Encoding: zstd",
    ] {
        for answer in [short, long] {
            let exchange = Exchange {
                answer,
                ..Exchange::default().with(field)
            };
            // The body becomes a stream and its head `http`'s: a box, a map, and values of their own.
            let each = allocations(ZeroCompressionLayer::new(), &exchange);
            assert_eq!(each, 5.0, "{field}");
        }
    }
}

#[test]
fn the_stack_takes_nothing() {
    use http::header::{AUTHORIZATION, COOKIE};
    let subscriber = tracing_subscriber::registry().with(
        tracing_subscriber::filter::LevelFilter::from_level(Level::INFO),
    );
    let layer = ServiceBuilder::new()
        .layer(ZeroNormalizePathLayer::trim_trailing_slash())
        .layer(ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(ZeroTraceLayer::new_for_http())
        .layer(ZeroCompressionLayer::new())
        .layer(ZeroCorsLayer::permissive())
        .layer(ZeroAuthLayer::bearer("secret"));
    let exchange = Exchange::default().with("Accept-Encoding: gzip, br");
    tracing::subscriber::with_default(subscriber, || {
        assert_none("the stack", layer, &exchange);
    });
}
