//! Checks and predicates of one's own, required values, levels, lists for both ways.
#![allow(clippy::result_large_err)] // A check returns its answer by value, as in tower-http.

use std::convert::Infallible;
use std::future::ready;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderName, HeaderValue};
use http::{Extensions, HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use tower::{Layer, service_fn};
use zero_tower_layers::auth::{ValidateRequest, ZeroAuthLayer};
use zero_tower_layers::compression::predicate::Predicate;
use zero_tower_layers::compression::{CompressionLevel, ZeroCompressionLayer};
use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;

use crate::{ask, hello, request};

const X_CUSTOM: HeaderName = HeaderName::from_static("x-custom-header");

#[test]
fn a_header_must_be_there_and_have_the_value() {
    let required = ZeroAuthLayer::has_header_value("x-custom-header", "random-value-1234567890");
    let layer = required.expect("a header's name");
    let service = || layer.layer(service_fn(hello));
    for (fields, status) in [
        (vec![(X_CUSTOM, "random-value-1234567890")], StatusCode::OK),
        (vec![(X_CUSTOM, "wrong-value")], StatusCode::FORBIDDEN),
        (vec![], StatusCode::FORBIDDEN),
    ] {
        assert_eq!(ask(service(), request(&fields)).status(), status);
    }
}

/// Lets those pass who have a key, and tells the service that they had.
#[derive(Clone, Copy)]
struct Keyed;

#[derive(Clone, Copy, Debug, PartialEq)]
struct HadKey;

impl<B> ValidateRequest<B> for Keyed {
    type ResponseBody = Body;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<Body>> {
        if !request.headers().contains_key("x-key") {
            return Err(Response::new(Body::from("no key")));
        }
        request.extensions_mut().insert(HadKey);
        Ok(())
    }
}

#[test]
fn a_validator_of_ones_own_is_a_type_or_a_closure() {
    let key = HeaderName::from_static("x-key");
    let service = || {
        ZeroAuthLayer::custom(Keyed).layer(service_fn(async |request: Request<Body>| {
            assert_eq!(request.extensions().get(), Some(&HadKey));
            hello(request).await
        }))
    };
    let text = |answer: Response<Body>| {
        let body = answer.into_body().collect().now_or_never();
        body.expect("at once").expect("whole").to_bytes()
    };
    assert_eq!(
        text(ask(service(), request(&[(key, "1")]))),
        "Hello, World!"
    );
    assert_eq!(text(ask(service(), request(&[]))), "no key");

    let closure = |request: &mut Request<Body>| match request.uri().path() {
        "/" => Ok(()),
        _ => {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::IM_A_TEAPOT;
            Err(refusal)
        }
    };
    let service = || ZeroAuthLayer::custom(closure).layer(service_fn(hello));
    assert_eq!(ask(service(), request(&[])).status(), StatusCode::OK);
    let mut elsewhere = request(&[]);
    *elsewhere.uri_mut() = "/elsewhere".parse().unwrap();
    assert_eq!(ask(service(), elsewhere).status(), StatusCode::IM_A_TEAPOT);
}

/// The coding of an answer of five thousand bytes, and how long it became.
fn compressed(layer: ZeroCompressionLayer<impl Predicate>, status: StatusCode) -> (bool, usize) {
    let service = layer.layer(service_fn(move |_: Request<Body>| {
        let words = (0..1000_u32).map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761) >> 18));
        let mut response = Response::new(Body::from(words.collect::<String>()));
        *response.status_mut() = status;
        ready(Ok::<_, Infallible>(response))
    }));
    let response = ask(service, request(&[(ACCEPT_ENCODING, "gzip")]));
    let is_compressed = response.headers().contains_key(CONTENT_ENCODING);
    let body = response.into_body().collect().now_or_never().unwrap();
    let bytes = body.unwrap_or_else(|_| panic!("a whole body")).to_bytes();
    (is_compressed, bytes.len())
}

#[test]
fn a_predicate_of_ones_own_sees_the_whole_head() {
    let only_successes =
        |status: StatusCode, _: Version, _: &HeaderMap, _: &Extensions| status.is_success();
    let layer = || ZeroCompressionLayer::new().compress_when(only_successes);
    assert!(compressed(layer(), StatusCode::OK).0);
    assert!(!compressed(layer(), StatusCode::BAD_GATEWAY).0);
}

#[test]
fn better_quality_makes_shorter_bodies() {
    let at = |level| {
        let layer = ZeroCompressionLayer::new().quality(level);
        let (is_compressed, bytes) = compressed(layer, StatusCode::OK);
        assert!(is_compressed);
        bytes
    };
    let fastest = at(CompressionLevel::Fastest);
    assert!(at(CompressionLevel::Best) < fastest);
    assert_eq!(at(CompressionLevel::Precise(1)), fastest);
}

#[test]
fn one_list_marks_what_comes_and_what_goes() {
    let service = ZeroSensitiveHeadersLayer::new([AUTHORIZATION, X_CUSTOM]).layer(service_fn(
        async |request: Request<Body>| {
            assert!(request.headers()[AUTHORIZATION].is_sensitive());
            let mut response = hello(request).await?;
            let value = HeaderValue::from_static("secret");
            response.headers_mut().insert(X_CUSTOM, value);
            response
                .headers_mut()
                .insert("x-other", HeaderValue::from_static("known"));
            Ok::<_, Infallible>(response)
        },
    ));
    let answer = ask(service, request(&[(AUTHORIZATION, "Bearer secret")]));
    assert!(answer.headers()[X_CUSTOM].is_sensitive());
    assert!(!answer.headers()["x-other"].is_sensitive());
}
