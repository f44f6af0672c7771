//! What tower-http's documentation shows of each layer, said again in our words and with our layers: the names
//! are exchanged, and nothing else is.

mod checks;
mod cors;
mod trace;

use std::convert::Infallible;
use std::future::ready;
use std::iter::once;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue, ORIGIN,
    SET_COOKIE, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, service_fn};
use tracing::Span;
use zero_tower_layers::auth::{ZeroAsyncAuthLayer, ZeroAuthLayer};
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use zero_tower_layers::cors::{Any, ZeroCorsLayer};
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{
    MakeRequestId, RequestId, ZeroPropagateRequestIdLayer, ZeroSetRequestIdLayer,
};
use zero_tower_layers::sensitive_headers::{
    ZeroSensitiveRequestHeadersLayer, ZeroSensitiveResponseHeadersLayer,
};
use zero_tower_layers::trace::ZeroTraceLayer;

type Answer = Result<Response<Body>, Infallible>;

/// Sends one request through a service.
fn ask<S, B>(service: S, request: Request<Body>) -> Response<B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
{
    let answer = service.oneshot(request).now_or_never();
    answer.expect("nothing here waits").expect("nor fails")
}

fn request(fields: &[(HeaderName, &'static str)]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        request.headers_mut().append(name, value);
    }
    request
}

async fn hello(_: Request<Body>) -> Answer {
    Ok(Response::new(Body::from("Hello, World!")))
}

// --- auth ---

#[test]
fn a_bearer_token_opens_and_any_other_does_not() {
    let service = || ZeroAuthLayer::bearer("passwordlol").layer(service_fn(hello));
    let right = ask(service(), request(&[(AUTHORIZATION, "Bearer passwordlol")]));
    assert_eq!(right.status(), StatusCode::OK);
    for wrong in ["Bearer notright", "bearer passwordlol", "Basic passwordlol"] {
        let refused = ask(service(), request(&[(AUTHORIZATION, wrong)]));
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
}

#[test]
fn a_name_and_password_open_and_strangers_are_told_how_to_ask() {
    let service = || ZeroAuthLayer::basic("username", "password").layer(service_fn(hello));
    let right = [(AUTHORIZATION, "Basic dXNlcm5hbWU6cGFzc3dvcmQ=")];
    assert_eq!(ask(service(), request(&right)).status(), StatusCode::OK);
    let refused = ask(service(), request(&[]));
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Basic");
}

#[test]
fn clients_that_do_not_accept_json_are_turned_away() {
    let service = || ZeroAuthLayer::accept("application/json").layer(service_fn(hello));
    for (accept, status) in [
        ("application/json", StatusCode::OK),
        ("*/*", StatusCode::OK),
        ("text/strings", StatusCode::NOT_ACCEPTABLE),
    ] {
        assert_eq!(
            ask(service(), request(&[(ACCEPT, accept)])).status(),
            status
        );
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct UserId(u64);

#[test]
fn an_authorizer_puts_the_user_where_the_handler_finds_it() {
    let authorize = async |mut request: Request<Body>| match request.headers().get(AUTHORIZATION) {
        Some(token) if token == "Bearer of 7" => {
            request.extensions_mut().insert(UserId(7));
            Ok(request)
        }
        _ => {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            Err(refusal)
        }
    };
    let service = || {
        ZeroAsyncAuthLayer::new(authorize).layer(service_fn(async |request: Request<Body>| {
            assert_eq!(request.extensions().get(), Some(&UserId(7)));
            hello(request).await
        }))
    };
    let known = ask(service(), request(&[(AUTHORIZATION, "Bearer of 7")]));
    assert_eq!(known.status(), StatusCode::OK);
    let unknown = ask(service(), request(&[]));
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
}

// --- compression ---

fn compressed(layer: ZeroCompressionLayer<impl Predicate>, content_type: &'static str) -> bool {
    let service = layer.layer(service_fn(move |_: Request<Body>| {
        let mut response = Response::new(Body::from("a".repeat(300)));
        let value = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, value);
        ready(Ok::<_, Infallible>(response))
    }));
    let response = ask(service, request(&[(ACCEPT_ENCODING, "gzip")]));
    let is_compressed = response.headers().contains_key(CONTENT_ENCODING);
    let body = response.into_body().collect().now_or_never().unwrap();
    let bytes = body.unwrap_or_else(|_| panic!("a whole body")).to_bytes();
    assert_eq!(bytes.len() < 300, is_compressed);
    is_compressed
}

#[test]
fn what_is_compressed_can_be_chosen_by_size_and_kind() {
    assert!(compressed(ZeroCompressionLayer::new(), "text/plain"));
    assert!(!compressed(ZeroCompressionLayer::new(), "image/png"));
    assert!(!compressed(
        ZeroCompressionLayer::new().no_gzip(),
        "text/plain"
    ));
    let large_and_no_javascript =
        SizeAbove::new(256).and(NotForContentType::new("application/javascript"));
    let layer = || ZeroCompressionLayer::new().compress_when(large_and_no_javascript.clone());
    assert!(compressed(layer(), "text/plain"));
    assert!(!compressed(layer(), "application/javascript"));
    let larger = ZeroCompressionLayer::new().compress_when(SizeAbove::new(301));
    assert!(!compressed(larger, "text/plain"));
}

// --- cors ---

#[test]
fn any_origin_may_get_and_post() {
    let layer = ZeroCorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_origin(Any);
    let service = || layer.layer(service_fn(hello));
    let answer = ask(service(), request(&[(ORIGIN, "https://example.com")]));
    assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");

    let mut preflight = request(&[(ORIGIN, "https://example.com")]);
    *preflight.method_mut() = Method::OPTIONS;
    let answer = ask(service(), preflight);
    assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET,POST");
    assert!(
        answer
            .into_body()
            .collect()
            .now_or_never()
            .unwrap()
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[test]
fn of_several_origins_the_one_that_asks_is_named() {
    let origins = ["https://example.com", "https://api.example.com"].map(HeaderValue::from_static);
    let layer = ZeroCorsLayer::new().allow_origin(origins);
    let service = || layer.layer(service_fn(hello));
    let answer = ask(service(), request(&[(ORIGIN, "https://api.example.com")]));
    assert_eq!(
        answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://api.example.com"
    );
    assert_eq!(answer.headers()[VARY], "origin");
    let other = ask(service(), request(&[(ORIGIN, "https://rust-lang.org")]));
    assert!(!other.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}

// --- normalize path ---

#[test]
fn a_slash_at_the_end_changes_no_route() {
    for (layer, sent, seen) in [
        (
            ZeroNormalizePathLayer::trim_trailing_slash(),
            "/foo/",
            "/foo",
        ),
        (
            ZeroNormalizePathLayer::trim_trailing_slash(),
            "/foo",
            "/foo",
        ),
        (
            ZeroNormalizePathLayer::trim_trailing_slash(),
            "//foo//?a=b",
            "/foo?a=b",
        ),
        (
            ZeroNormalizePathLayer::append_trailing_slash(),
            "/foo",
            "/foo/",
        ),
        (
            ZeroNormalizePathLayer::append_trailing_slash(),
            "/foo?a=b",
            "/foo/?a=b",
        ),
    ] {
        let service = layer.layer(service_fn(move |request: Request<Body>| {
            assert_eq!(request.uri(), seen);
            hello(request)
        }));
        let mut request = request(&[]);
        *request.uri_mut() = sent.parse().unwrap();
        ask(service, request);
    }
}

// --- request ids ---

/// Numbers requests.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl MakeRequestId for Counter {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let number = self.0.fetch_add(1, Ordering::SeqCst).to_string();
        Some(RequestId::new(number.parse().unwrap()))
    }
}

#[test]
fn ids_are_counted_up_and_sent_back_unless_the_client_has_one() {
    let id = HeaderName::from_static("x-request-id");
    let service = ServiceBuilder::new()
        .layer(ZeroSetRequestIdLayer::new(id.clone(), Counter::default()))
        .layer(ZeroPropagateRequestIdLayer::new(id.clone()))
        .service(service_fn(hello));
    for expected in ["0", "1"] {
        let answer = ask(service.clone(), request(&[]));
        assert_eq!(answer.headers()[&id], expected);
    }
    let answer = ask(service, request(&[(id.clone(), "theirs")]));
    assert_eq!(answer.headers()[&id], "theirs");
}

// --- sensitive headers ---

#[test]
fn secrets_do_not_show_in_what_is_logged_further_in() {
    let service = ServiceBuilder::new()
        .layer(ZeroSensitiveRequestHeadersLayer::new(once(AUTHORIZATION)))
        .layer(ZeroSensitiveResponseHeadersLayer::from_shared(Arc::new([
            SET_COOKIE,
        ])))
        .service(service_fn(async |request: Request<Body>| {
            let shown = format!("{:?}", request.headers());
            assert!(
                !shown.contains("secret") && shown.contains("a=b"),
                "{shown}"
            );
            let mut response = hello(request).await?;
            let cookie = HeaderValue::from_static("c=d");
            response.headers_mut().insert(SET_COOKIE, cookie);
            Ok::<_, Infallible>(response)
        }));
    let sent = [(AUTHORIZATION, "Bearer secret"), (COOKIE, "a=b")];
    let answer = ask(service, request(&sent));
    assert!(answer.headers()[SET_COOKIE].is_sensitive());
}

// --- traces ---

#[test]
fn every_step_of_a_request_can_be_watched() {
    let steps = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = |step: &'static str| {
        let steps = steps.clone();
        move || steps.lock().unwrap().push(step)
    };
    let (span, begun, answered) = (note("span"), note("request"), note("response"));
    let (chunk, ended, failed) = (note("chunk"), note("end"), note("failure"));
    let service = ZeroTraceLayer::new_for_http()
        .make_span_with(move |_: &Request<Body>| {
            span();
            tracing::debug_span!("http-request")
        })
        .on_request(move |_: &Request<Body>, _: &Span| begun())
        .on_response(move |_: &Response<Body>, _: Duration, _: &Span| answered())
        .on_body_chunk(move |_: &bytes::Bytes, _: Duration, _: &Span| chunk())
        .on_eos(move |_: Option<&HeaderMap>, _: Duration, _: &Span| ended())
        .on_failure(move |_, _: Duration, _: &Span| failed())
        .layer(service_fn(async |request: Request<Body>| {
            let mut response = hello(request).await?;
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok::<_, Infallible>(response)
        }));
    let answer = ask(service, request(&[]));
    answer
        .into_body()
        .collect()
        .now_or_never()
        .unwrap()
        .unwrap();
    let steps = steps.lock().unwrap().clone();
    assert_eq!(
        steps,
        ["span", "request", "response", "failure", "chunk", "end"]
    );
}
