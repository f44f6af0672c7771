//! Request ids: made, kept, absent; set and sent back by one layer or by two.

use http::{Extensions, HeaderValue, Request};
use proptest::prelude::*;
use tower::ServiceBuilder;
use tower_http::request_id as theirs;
use zero_tower_layers::request_id as ours;

use crate::support::*;

/// Makes ids from a list; `None` where it has none.
#[derive(Clone)]
struct Make(Option<&'static str>);

impl theirs::MakeRequestId for Make {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<theirs::RequestId> {
        self.0
            .map(|id| theirs::RequestId::new(HeaderValue::from_static(id)))
    }
}

impl ours::MakeRequestId for Make {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<ours::RequestId> {
        self.0.map(|id| HeaderValue::from_static(id).into())
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

const FIELDS: &[(&str, &[&str])] = &[("x-request-id", &["1", "2"]), ("accept", &["*/*"])];

#[test]
fn ids_are_set_and_sent_back_alike() {
    let made = prop_oneof![3 => Just(Some("made")), 1 => Just(None)];
    let heads = heads(fields(FIELDS, 3));
    let scripts = scripts(fields(FIELDS, 3), short_steps());
    let sides = (any::<bool>(), any::<bool>());
    check(
        1000,
        (made, sides, heads, scripts),
        |(made, (sets, sends), head, script)| {
            let make = Make(made);
            let their_layer = ServiceBuilder::new()
                .option_layer(sets.then(|| theirs::SetRequestIdLayer::x_request_id(make.clone())))
                .option_layer(sends.then(theirs::PropagateRequestIdLayer::x_request_id));
            let our_layer = ServiceBuilder::new()
                .option_layer(sets.then(|| ours::ZeroSetRequestIdLayer::x_request_id(make.clone())))
                .option_layer(sends.then(ours::ZeroPropagateRequestIdLayer::x_request_id));
            let expected = observe_with(|s| their_layer.service(s), &script, &head, their_id);
            let actual = observe_with(|s| our_layer.service(s), &script, &head, our_id);
            prop_assert_eq!(&actual, &expected);

            if sets && sends {
                let one = ServiceBuilder::new()
                    .layer(ours::ZeroRequestIdLayer::x_request_id(make.clone()));
                let actual = observe_with(|s| one.service(s), &script, &head, our_id);
                prop_assert_eq!(&actual, &expected);

                // The option that differs: headers as before, no extensions.
                let lean = ours::ZeroRequestIdLayer::x_request_id(make).extensions(false);
                let lean = ServiceBuilder::new().layer(lean);
                let mut expected = expected;
                expected.seen.iter_mut().for_each(|seen| seen.id = None);
                if let Some(observed) = expected.observed() {
                    observed.id = None;
                }
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
