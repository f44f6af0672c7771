//! Sensitive headers: lists with and without what is there.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use proptest::prelude::*;
use proptest::sample::subsequence;
use tower::ServiceBuilder;
use tower_http::sensitive_headers as theirs;
use zero_tower_layers::sensitive_headers as ours;

use crate::support::*;

const FIELDS: &[(&str, &[&str])] = &[
    ("authorization", &["a"]),
    ("cookie", &["b", "c"]),
    ("set-cookie", &["d=1", "e=2"]),
    ("x-secret", &["f", "g"]),
    ("accept", &["h"]),
];

#[test]
fn the_same_values_are_marked() {
    let names = vec![
        AUTHORIZATION,
        COOKIE,
        SET_COOKIE,
        HeaderName::from_static("x-secret"),
    ];
    let lists = (
        subsequence(names.clone(), 0..=4),
        subsequence(names.clone(), 0..=4),
        subsequence(names, 0..=4),
    );
    let heads = heads(fields(FIELDS, 8));
    let scripts = scripts(fields(FIELDS, 8), short_steps());
    check(
        500,
        (lists, heads, scripts),
        |((both_ways, there, back), head, script)| {
            let layer = ServiceBuilder::new()
                .layer(theirs::SetSensitiveHeadersLayer::new(both_ways.clone()))
                .layer(theirs::SetSensitiveRequestHeadersLayer::new(there.clone()))
                .layer(theirs::SetSensitiveResponseHeadersLayer::from_shared(
                    back.clone().into(),
                ));
            let expected = observe(layer, &script, &head);
            let layer = ServiceBuilder::new()
                .layer(ours::ZeroSensitiveHeadersLayer::new(both_ways))
                .layer(ours::ZeroSensitiveRequestHeadersLayer::new(there))
                .layer(ours::ZeroSensitiveResponseHeadersLayer::from_shared(
                    back.into(),
                ));
            prop_assert_eq!(observe(layer, &script, &head), expected);
            Ok(())
        },
    );
}
