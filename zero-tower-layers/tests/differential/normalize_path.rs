//! Paths: of all forms a URI has, with slashes anywhere.

use http::Uri;
use proptest::prelude::*;
use proptest::sample::select;
use tower_http::normalize_path::NormalizePathLayer;
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;

use crate::support::*;

fn uris() -> impl Strategy<Value = Uri> {
    let pieces = [
        "/", "//", "a", "b%2F", "...", ";p=/", "?", "q=/", "*", "\u{e9}", "#f",
    ];
    let path = proptest::collection::vec(select(pieces.to_vec()), 0..8).prop_map(|p| p.concat());
    let origin = prop_oneof![
        6 => Just("/"),
        2 => Just("http://host:80/"),
        1 => Just("other+scheme://user@host/"),
        1 => Just(""),
    ];
    let odd = select(vec!["*", "host:443", "http://host", "https://host?q", "/"]);
    prop_oneof![
        9 => (origin, path).prop_map(|(origin, path)| format!("{origin}{path}")),
        1 => odd.prop_map(String::from),
    ]
    .prop_filter_map("not a URI", |text| text.parse().ok())
}

#[test]
fn paths_are_normalized_alike() {
    let scripts = scripts(Just(Vec::new()), Just(Vec::new()));
    check(
        3000,
        (uris(), heads(Just(Vec::new())), scripts),
        |(uri, mut head, script)| {
            head.uri = uri;
            both(
                || observe(NormalizePathLayer::trim_trailing_slash(), &script, &head),
                || {
                    observe(
                        ZeroNormalizePathLayer::trim_trailing_slash(),
                        &script,
                        &head,
                    )
                },
            )?;
            both(
                || observe(NormalizePathLayer::append_trailing_slash(), &script, &head),
                || {
                    observe(
                        ZeroNormalizePathLayer::append_trailing_slash(),
                        &script,
                        &head,
                    )
                },
            )
        },
    );
}
