//! What else rules may say, and what is seen of it.

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS as CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS as ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS as ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN as ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS as EXPOSE, ACCESS_CONTROL_MAX_AGE as MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_ENCODING,
    CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, Method};
use tower::{Layer, service_fn};
use zero_tower_layers::cors::{
    AllowHeaders, AllowMethods, AllowOrigin, AllowPrivateNetwork, Any, MaxAge, ZeroCorsLayer,
};

use crate::{ask, hello, request};

const HERE: &str = "https://example.com";
const PRIVATE: &str = "access-control-allow-private-network";

/// The head of the answer to a request from [`HERE`].
fn answered(layer: &ZeroCorsLayer) -> HeaderMap {
    let answer = ask(layer.layer(service_fn(hello)), request(&[(ORIGIN, HERE)]));
    answer.headers().clone()
}

/// The head of the answer to a preflight from `origin` for a PUT with a header of its own.
fn preflown(layer: &ZeroCorsLayer, origin: &'static str) -> HeaderMap {
    let mut preflight = request(&[
        (ORIGIN, origin),
        (ACCESS_CONTROL_REQUEST_METHOD, "PUT"),
        (ACCESS_CONTROL_REQUEST_HEADERS, "x-own"),
        (
            HeaderName::from_static("access-control-request-private-network"),
            "true",
        ),
    ]);
    *preflight.method_mut() = Method::OPTIONS;
    let answer = ask(layer.layer(service_fn(hello)), preflight);
    answer.headers().clone()
}

#[test]
fn credentials_go_with_origins_that_are_named() {
    let here: HeaderValue = HERE.parse().unwrap();
    let layer = ZeroCorsLayer::new()
        .allow_origin(here)
        .allow_credentials(true);
    let headers = answered(&layer);
    assert_eq!(headers[CREDENTIALS], "true");
    assert_eq!(headers[ALLOW_ORIGIN], HERE);
    assert!(!answered(&ZeroCorsLayer::permissive()).contains_key(CREDENTIALS));
}

#[test]
fn scripts_read_what_is_exposed_to_them() {
    let layer = ZeroCorsLayer::new().expose_headers([CONTENT_ENCODING, AUTHORIZATION]);
    assert_eq!(answered(&layer)[EXPOSE], "content-encoding,authorization");
    assert_eq!(answered(&layer.expose_headers(Any))[EXPOSE], "*");
}

#[test]
fn a_preflight_is_remembered_for_as_long_as_it_says() {
    let layer = ZeroCorsLayer::new().max_age(Duration::from_secs(60) * 10);
    assert_eq!(preflown(&layer, HERE)[MAX_AGE], "600");
    let by_origin = |origin: &HeaderValue, _: &Parts| match origin == HERE {
        true => Duration::from_secs(7),
        false => Duration::ZERO,
    };
    let layer = ZeroCorsLayer::new().max_age(MaxAge::dynamic(by_origin));
    assert_eq!(preflown(&layer, HERE)[MAX_AGE], "7");
    assert_eq!(preflown(&layer, "https://other.example")[MAX_AGE], "0");
}

#[test]
fn private_networks_are_open_to_those_who_may() {
    let layer = ZeroCorsLayer::new().allow_private_network(true);
    assert_eq!(preflown(&layer, HERE)[PRIVATE], "true");
    let by_origin = AllowPrivateNetwork::predicate(|origin, _| origin == HERE);
    let layer = ZeroCorsLayer::new().allow_private_network(by_origin);
    assert_eq!(preflown(&layer, HERE)[PRIVATE], "true");
    assert!(!preflown(&layer, "https://other.example").contains_key(PRIVATE));
}

#[test]
fn what_is_asked_for_is_mirrored() {
    let layer = ZeroCorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request());
    let headers = preflown(&layer, HERE);
    assert_eq!(headers[ALLOW_ORIGIN], HERE);
    assert_eq!(headers[ALLOW_METHODS], "PUT");
    assert_eq!(headers[ALLOW_HEADERS], "x-own");
    // As everything may be asked with credentials.
    let headers = preflown(&ZeroCorsLayer::very_permissive(), HERE);
    assert_eq!(headers[ALLOW_HEADERS], "x-own");
    assert_eq!(headers[CREDENTIALS], "true");
}

#[test]
fn who_may_is_asked_of_a_predicate_now_or_later() {
    let at_once = AllowOrigin::predicate(|origin, _| origin.as_bytes().ends_with(b".example.com"));
    let later = AllowOrigin::async_predicate(|origin, parts| {
        let is_known = parts.uri.path() == "/";
        async move { is_known && origin.as_bytes().ends_with(b".example.com") }
    });
    for allow in [at_once, later] {
        let layer = ZeroCorsLayer::new().allow_origin(allow);
        let sub = preflown(&layer, "https://sub.example.com");
        assert_eq!(sub[ALLOW_ORIGIN], "https://sub.example.com");
        assert!(!preflown(&layer, HERE).contains_key(ALLOW_ORIGIN));
    }
}

#[test]
fn methods_headers_and_vary_are_lists() {
    let layer = ZeroCorsLayer::new()
        .allow_methods(vec![Method::GET, Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        .vary([ORIGIN, CONTENT_TYPE]);
    let headers = preflown(&layer, HERE);
    assert_eq!(headers[ALLOW_METHODS], "GET,POST");
    assert_eq!(headers[ALLOW_HEADERS], "authorization,content-type");
    assert_eq!(headers[VARY], "origin, content-type");
    let any = ZeroCorsLayer::new().allow_methods(Any).allow_headers(Any);
    let headers = preflown(&any, HERE);
    assert_eq!(headers[ALLOW_METHODS], "*");
    assert_eq!(headers[ALLOW_HEADERS], "*");
    assert!(!answered(&ZeroCorsLayer::new()).contains_key(ALLOW_ORIGIN));
}
