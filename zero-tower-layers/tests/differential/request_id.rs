//! Request ids: made, kept, absent; set and sent back by one layer or by two.

use http::{Extensions, HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use tower::ServiceBuilder;
use tower_http::request_id as theirs;
use zero_tower_layers::request_id as ours;

use crate::support::*;

/// Numbers what is called so; `None` for a request that is to have none.
#[derive(Clone)]
struct Make(Option<&'static str>, u32);

impl Make {
    fn next(&mut self) -> Option<HeaderValue> {
        self.1 += 1;
        let text = format!("{} {}", self.0?, self.1);
        Some(text.parse().unwrap())
    }
}

impl theirs::MakeRequestId for Make {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<theirs::RequestId> {
        self.next().map(theirs::RequestId::new)
    }
}

impl ours::MakeRequestId for Make {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<ours::RequestId> {
        self.next().map(ours::RequestId::new)
    }
}

fn their_id(extensions: &Extensions) -> Option<String> {
    let id = extensions.get::<theirs::RequestId>()?;
    Some(id.header_value().to_str().unwrap().into())
}

fn our_id(extensions: &Extensions) -> Option<String> {
    let id = extensions.get::<ours::RequestId>()?;
    Some(id.header_value().to_str().unwrap().into())
}

const FIELDS: &[(&str, &[&str])] = &[
    ("x-request-id", &["1", "2"]),
    ("traceparent", &["3"]),
    ("accept", &["*/*"]),
];

/// The header's name, and layers for it.
macro_rules! layers {
    ($krate:ident::$set:ident, $send:ident, $name:expr, $make:expr) => {
        match $name {
            "x-request-id" => (
                $krate::$set::x_request_id($make),
                $krate::$send::x_request_id(),
            ),
            name => {
                let name = HeaderName::from_static(name);
                (
                    $krate::$set::new(name.clone(), $make),
                    $krate::$send::new(name),
                )
            }
        }
    };
}

#[test]
fn ids_are_set_and_sent_back_alike() {
    let made = prop_oneof![3 => Just(Some("made")), 1 => Just(None)];
    let heads = heads(fields(FIELDS, 3));
    let scripts = scripts(fields(FIELDS, 3), short_steps());
    let sides = (any::<bool>(), any::<bool>());
    let names = proptest::sample::select(vec!["x-request-id", "traceparent"]);
    check(
        1000,
        (made, names, sides, heads, scripts),
        |(made, name, (sets, sends), head, script)| {
            let make = Make(made, 0);
            let (set, send) = layers!(
                theirs::SetRequestIdLayer,
                PropagateRequestIdLayer,
                name,
                make.clone()
            );
            let their_layer = ServiceBuilder::new()
                .option_layer(sets.then_some(set))
                .option_layer(sends.then_some(send));
            let (set, send) = layers!(
                ours::ZeroSetRequestIdLayer,
                ZeroPropagateRequestIdLayer,
                name,
                make.clone()
            );
            let our_layer = ServiceBuilder::new()
                .option_layer(sets.then_some(set))
                .option_layer(sends.then_some(send));
            let expected = observe_with(|s| their_layer.service(s), &script, &head, their_id);
            let actual = observe_with(|s| our_layer.service(s), &script, &head, our_id);
            prop_assert_eq!(&actual, &expected);

            if sets && sends {
                let named = HeaderName::from_static(name);
                let one = match name {
                    "x-request-id" => ours::ZeroRequestIdLayer::x_request_id(make.clone()),
                    _ => ours::ZeroRequestIdLayer::new(named, make.clone()),
                };
                let lean = ServiceBuilder::new().layer(one.clone().extensions(false));
                let one = ServiceBuilder::new().layer(one);
                let actual = observe_with(|s| one.service(s), &script, &head, our_id);
                prop_assert_eq!(&actual, &expected);

                // The option that differs: headers as before, no extensions.
                let mut expected = expected;
                expected.seen.iter_mut().for_each(|seen| seen.id = None);
                expected.observed().for_each(|observed| observed.id = None);
                prop_assert_eq!(
                    observe_with(|s| lean.service(s), &script, &head, our_id),
                    expected
                );
            }
            Ok(())
        },
    );
}

#[test]
fn uuids_are_version_four_and_differ() {
    use ours::MakeRequestId as _;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let id = ours::MakeRequestUuid
            .make_request_id(&Request::new(()))
            .unwrap();
        let text = id.header_value().to_str().unwrap().to_owned();
        let pattern: String = text
            .chars()
            .map(|c| if c == '-' { '-' } else { 'x' })
            .collect();
        assert_eq!(pattern, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
        assert_eq!(&text[14..15], "4", "{text}");
        assert!("89ab".contains(&text[19..20]), "{text}");
        assert_eq!(text, text.to_ascii_lowercase());
        assert!(seen.insert(text), "an id came twice");
    }
}
