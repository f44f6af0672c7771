//! CORS: every rule with every other, on the layer and on the service.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::*;

mod theirs {
    pub use tower_http::cors::{
        AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, AllowPrivateNetwork, Any,
        Cors as Service, CorsLayer as Layer, ExposeHeaders, MaxAge, Vary,
    };
}

mod ours {
    pub use zero_tower_layers::cors::{
        AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, AllowPrivateNetwork, Any,
        ExposeHeaders, MaxAge, Vary, ZeroCors as Service, ZeroCorsLayer as Layer,
    };
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    Unsaid,
    Any,
    Exact,
    List,
    Predicate,
    AsyncPredicate,
    Mirror,
}

#[derive(Clone, Copy, Debug)]
enum List {
    Unsaid,
    Any,
    None,
    One,
    Three,
    Mirror,
}

#[derive(Clone, Copy, Debug)]
enum Switch {
    Unsaid,
    No,
    Yes,
    Predicate,
}

#[derive(Clone, Copy, Debug)]
enum Age {
    Unsaid,
    Exact,
    Dynamic,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    New,
    Permissive,
    VeryPermissive,
}

#[derive(Clone, Debug)]
struct Rules {
    base: Base,
    on_service: bool,
    origin: Origin,
    methods: List,
    headers: List,
    expose: List,
    credentials: Switch,
    private_network: Switch,
    max_age: Age,
    vary: List,
}

fn rules() -> impl Strategy<Value = Rules> {
    let list = || {
        select(&[
            List::Unsaid,
            List::Any,
            List::None,
            List::One,
            List::Three,
            List::Mirror,
        ])
    };
    let switch = || select(&[Switch::Unsaid, Switch::No, Switch::Yes, Switch::Predicate]);
    let origin = select(&[
        Origin::Unsaid,
        Origin::Any,
        Origin::Exact,
        Origin::List,
        Origin::Predicate,
        Origin::AsyncPredicate,
        Origin::Mirror,
    ]);
    let base = prop_oneof![
        6 => Just(Base::New),
        1 => Just(Base::Permissive),
        1 => Just(Base::VeryPermissive),
    ];
    let lists = (list(), list(), list(), list());
    let max_age = select(&[Age::Unsaid, Age::Exact, Age::Dynamic]);
    (
        base,
        any::<bool>(),
        origin,
        lists,
        switch(),
        switch(),
        max_age,
    )
        .prop_map(
            |(base, on_service, origin, lists, credentials, private_network, max_age)| Rules {
                base,
                on_service,
                origin,
                methods: lists.0,
                headers: lists.1,
                expose: lists.2,
                vary: lists.3,
                credentials,
                private_network,
                max_age,
            },
        )
}

const ORIGINS: &[&str] = &[
    "https://a.example",
    "https://b.example",
    "null",
    "*",
    "b\u{e9}",
];

fn origin(index: usize) -> HeaderValue {
    HeaderValue::from_static(ORIGINS[index])
}

fn names() -> [HeaderName; 3] {
    ["x-one", "content-type", "x-two"].map(HeaderName::from_static)
}

/// Sets the rules that a layer and a service have alike.
macro_rules! set_rules {
    ($krate:ident, $target:expr, $rules:expr) => {{
        use $krate::*;
        let (mut target, rules) = ($target, $rules);
        match rules.origin {
            Origin::Unsaid => {}
            Origin::Any => target = target.allow_origin(Any),
            Origin::Exact => target = target.allow_origin(origin(0)),
            Origin::List => target = target.allow_origin([origin(0), origin(1)]),
            Origin::Predicate => {
                target = target.allow_origin(AllowOrigin::predicate(|origin, parts| {
                    origin.as_bytes().starts_with(b"https") && parts.method != Method::POST
                }))
            }
            Origin::AsyncPredicate => {
                target = target.allow_origin(AllowOrigin::async_predicate(|origin, _| async move {
                    tokio::task::yield_now().await;
                    origin.as_bytes().ends_with(b"a.example")
                }))
            }
            Origin::Mirror => target = target.allow_origin(AllowOrigin::mirror_request()),
        }
        match rules.methods {
            List::Unsaid => {}
            List::Any => target = target.allow_methods(Any),
            List::None => target = target.allow_methods([]),
            List::One => target = target.allow_methods(Method::PUT),
            List::Three => {
                target = target.allow_methods(vec![Method::GET, Method::POST, Method::PUT])
            }
            List::Mirror => target = target.allow_methods(AllowMethods::mirror_request()),
        }
        match rules.headers {
            List::Unsaid => {}
            List::Any => target = target.allow_headers(Any),
            List::None => target = target.allow_headers([]),
            List::One => target = target.allow_headers(names()[..1].to_vec()),
            List::Three => target = target.allow_headers(names()),
            List::Mirror => target = target.allow_headers(AllowHeaders::mirror_request()),
        }
        match rules.expose {
            List::Unsaid | List::Mirror => {}
            List::Any => target = target.expose_headers(ExposeHeaders::any()),
            List::None => target = target.expose_headers([]),
            List::One => target = target.expose_headers(names()[..1].to_vec()),
            List::Three => target = target.expose_headers(names()),
        }
        match rules.credentials {
            Switch::Unsaid => {}
            Switch::No => target = target.allow_credentials(false),
            Switch::Yes => target = target.allow_credentials(AllowCredentials::yes()),
            Switch::Predicate => {
                target = target.allow_credentials(AllowCredentials::predicate(|_, parts| {
                    parts.method != Method::HEAD
                }))
            }
        }
        match rules.private_network {
            Switch::Unsaid => {}
            Switch::No => target = target.allow_private_network(false),
            Switch::Yes => target = target.allow_private_network(true),
            Switch::Predicate => {
                target =
                    target.allow_private_network(AllowPrivateNetwork::predicate(|origin, _| {
                        origin != "null"
                    }))
            }
        }
        match rules.max_age {
            Age::Unsaid => target,
            Age::Exact => target.max_age(Duration::from_millis(61_900)),
            Age::Dynamic => target.max_age(MaxAge::dynamic(|origin, _| {
                Duration::from_secs(origin.len() as u64)
            })),
        }
    }};
}

macro_rules! run {
    ($krate:ident, $rules:expr, $script:expr, $head:expr) => {{
        let rules = $rules;
        observe_with(
            |inner| {
                if rules.on_service {
                    let service = match rules.base {
                        Base::New => $krate::Service::new(inner),
                        Base::Permissive => $krate::Service::permissive(inner),
                        Base::VeryPermissive => $krate::Service::very_permissive(inner),
                    };
                    set_rules!($krate, service, rules)
                } else {
                    let layer = match rules.base {
                        Base::New => $krate::Layer::new(),
                        Base::Permissive => $krate::Layer::permissive(),
                        Base::VeryPermissive => $krate::Layer::very_permissive(),
                    };
                    let layer = set_rules!($krate, layer, rules);
                    let layer = match rules.vary {
                        List::Unsaid | List::Any => layer,
                        List::None => layer.vary([]),
                        List::One => layer.vary(names()[..1].to_vec()),
                        List::Three => layer.vary($krate::Vary::list(names())),
                        List::Mirror => layer.vary($krate::Vary::default()),
                    };
                    tower::Layer::layer(&layer, inner)
                }
            },
            $script,
            $head,
            no_id,
        )
    }};
}

#[test]
fn whatever_the_rules_the_answers_are_the_same() {
    let request = fields(
        &[
            ("origin", ORIGINS),
            (
                "access-control-request-method",
                &["PUT", "DELETE", "nonsense"],
            ),
            (
                "access-control-request-headers",
                &["x-one", "x-one, x-two", ""],
            ),
            ("access-control-request-private-network", &["true", "false"]),
            ("accept", &["*/*"]),
        ],
        6,
    );
    let response = fields(
        &[
            ("vary", &["accept-encoding", "origin"]),
            ("access-control-allow-origin", &["https://inner.example"]),
            ("access-control-expose-headers", &["x-inner"]),
            ("access-control-allow-credentials", &["false"]),
            ("x-one", &["1", "2"]),
        ],
        6,
    );
    check(
        2000,
        (rules(), heads(request), scripts(response, short_steps())),
        |(rules, head, script)| {
            both(
                || run!(theirs, &rules, &script, &head),
                || run!(ours, &rules, &script, &head),
            )
        },
    );
}

#[test]
#[should_panic(expected = "AllowOrigin::any()")]
fn a_star_in_a_list_of_origins_is_refused() {
    let _ = ours::AllowOrigin::list([origin(0), HeaderValue::from_static("*")]);
}

#[test]
#[should_panic(expected = "Invalid CORS configuration: Cannot combine")]
fn a_star_with_credentials_is_refused_when_the_layer_is_applied() {
    let layer = ours::Layer::permissive().allow_credentials(true);
    let _ = tower::Layer::layer(&layer, ());
}
