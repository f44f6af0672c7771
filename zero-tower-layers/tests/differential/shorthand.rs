//! Layers by the methods of builders and services: each does what tower-http's of that name does.

use http::header::{COOKIE, SET_COOKIE};
use http::{Extensions, HeaderName};
use proptest::prelude::*;
use tower::ServiceBuilder;

use crate::support::*;

/// Makes the same id each time.
#[derive(Clone, Copy)]
struct Same;

impl tower_http::request_id::MakeRequestId for Same {
    fn make_request_id<B>(
        &mut self,
        _: &http::Request<B>,
    ) -> Option<tower_http::request_id::RequestId> {
        Some(http::HeaderValue::from_static("made").into())
    }
}

impl zero_tower_layers::request_id::MakeRequestId for Same {
    fn make_request_id<B>(
        &mut self,
        _: &http::Request<B>,
    ) -> Option<zero_tower_layers::request_id::RequestId> {
        Some(http::HeaderValue::from_static("made").into())
    }
}

fn their_id(extensions: &Extensions) -> Option<String> {
    let id = extensions.get::<tower_http::request_id::RequestId>()?;
    Some(id.header_value().to_str().ok()?.to_owned())
}

fn our_id(extensions: &Extensions) -> Option<String> {
    let id = extensions.get::<zero_tower_layers::request_id::RequestId>()?;
    Some(id.header_value().to_str().ok()?.to_owned())
}

const OWN: HeaderName = HeaderName::from_static("x-own");

/// What is observed through each method of builders, and of services, of one crate. Not both traits in one scope:
/// a builder has the methods of services, too.
macro_rules! observed {
    ($krate:ident, $read_id:ident, $script:expr, $head:expr) => {{
        let (script, head) = ($script, $head);
        macro_rules! by {
            ($wrap:expr) => {
                observe_with($wrap, script, head, $read_id)
            };
        }
        let by_builders = {
            use $krate::ServiceBuilderExt as _;
            let built = ServiceBuilder::new;
            vec![
                by!(|s| built()
                    .set_x_request_id(Same)
                    .propagate_x_request_id()
                    .service(s)),
                by!(|s| built()
                    .set_request_id(OWN, Same)
                    .propagate_request_id(OWN)
                    .service(s)),
                by!(|s| built().sensitive_headers([COOKIE, SET_COOKIE]).service(s)),
                by!(|s| built()
                    .sensitive_request_headers([COOKIE].into())
                    .service(s)),
                by!(|s| built()
                    .sensitive_response_headers([SET_COOKIE].into())
                    .service(s)),
                by!(|s| built().trim_trailing_slash().service(s)),
                by!(|s| built().append_trailing_slash().service(s)),
                by!(|s| built().trace_for_http().service(s)),
                by!(|s| built().trace_for_grpc().service(s)),
                without_data(by!(|s| built().compression().service(s))),
            ]
        };
        let by_services = {
            use $krate::ServiceExt as _;
            vec![
                by!(|s: Scripted| s.propagate_x_request_id().set_x_request_id(Same)),
                by!(|s: Scripted| s.propagate_request_id(OWN).set_request_id(OWN, Same)),
                by!(|s: Scripted| s.sensitive_headers([COOKIE, SET_COOKIE])),
                by!(|s: Scripted| s.sensitive_request_headers([COOKIE])),
                by!(|s: Scripted| s.sensitive_response_headers([SET_COOKIE])),
                by!(|s: Scripted| s.trim_trailing_slash()),
                by!(|s: Scripted| s.append_trailing_slash()),
                by!(|s: Scripted| s.trace_for_http()),
                by!(|s: Scripted| s.trace_for_grpc()),
                without_data(by!(|s: Scripted| s.compression())),
            ]
        };
        [by_builders, by_services]
    }};
}

/// Compressed bytes differ; under which heads they are sent does not.
fn without_data(mut outcome: Outcome) -> Outcome {
    outcome.observed().for_each(|observed| {
        observed.data.clear();
        // How many frames there are is the encoder's business, and so who is dropped in the middle.
        observed.error = None;
        observed.trailers.clear();
    });
    outcome
}

const REQUEST: &[(&str, &[&str])] = &[
    ("cookie", &["a=b"]),
    ("authorization", &["Bearer secret"]),
    ("x-request-id", &["came"]),
    ("x-own", &["came"]),
    ("accept-encoding", &["gzip", "br"]),
];

const RESPONSE: &[(&str, &[&str])] = &[
    ("set-cookie", &["c=d"]),
    ("x-request-id", &["theirs"]),
    ("content-type", &["text/plain", "application/grpc"]),
];

#[test]
fn methods_add_what_they_are_named_for() {
    let text = proptest::collection::vec(Just(b'a'), 30..60).boxed();
    let scripts = scripts(fields(RESPONSE, 3), steps(text));
    let uris = proptest::sample::select(vec!["/a", "/a/", "//a//?b", "/"]);
    check(
        500,
        (uris, heads(fields(REQUEST, 4)), scripts),
        |(uri, mut head, script)| {
            head.uri = uri.parse().unwrap();
            prop_assert_eq!(
                observed!(zero_tower_layers, our_id, &script, &head),
                observed!(tower_http, their_id, &script, &head)
            );
            Ok(())
        },
    );
}
