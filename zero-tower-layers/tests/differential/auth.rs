//! Checks: what passes, what is answered, and with what.
#![allow(clippy::result_large_err)] // A check returns its answer by value, as in tower-http.

use std::future::{Ready, ready};

use http::{HeaderValue, Request, Response, StatusCode};
use proptest::prelude::*;
use proptest::sample::select;
use tower_http::auth::AsyncRequireAuthorizationLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;
use zero_tower_layers::auth::{ZeroAsyncAuthLayer, ZeroAuth, ZeroAuthLayer};

use crate::support::*;

const CREDENTIALS: &[(&str, &[&str])] = &[
    (
        "authorization",
        &[
            "Bearer secret",
            "bearer secret",
            "Bearer secret ",
            "Bearer secre",
            "Basic bmFtZTpwYXNz",
            "Basic bmFtZTpwYXNzIQ==",
            "s\u{e9}cret",
            "",
        ],
    ),
    ("x-key", &["key", "KEY", "k\u{e9}y", ""]),
    ("cookie", &["a=b"]),
];

fn cases() -> impl Strategy<Value = (Head, Script)> {
    let heads = heads(fields(CREDENTIALS, 4));
    (heads, scripts(fields(&[("x-a", &["1"])], 2), short_steps()))
}

/// Takes the challenges away from answers, and says what they were.
fn take_challenges(outcome: &mut Outcome) -> Vec<Option<String>> {
    let take = |observed: &mut Observed| {
        let mut lines = observed.headers.iter();
        let at = lines.position(|(name, ..)| name == "www-authenticate")?;
        Some(observed.headers.remove(at).1)
    };
    outcome.observed().map(take).collect()
}

#[test]
#[expect(deprecated, reason = "tower-http has no others")]
fn tokens_and_passwords_are_checked_alike() {
    let tokens = select(vec!["secret", "secre", "", "of two words"]);
    let names = select(vec![
        ("name", "pass"),
        ("name", "pass!"),
        ("", ""),
        ("n:a", "m"),
    ]);
    check(
        1000,
        (tokens, names, cases()),
        |(token, (name, password), (head, script))| {
            let mut theirs = observe(ValidateRequestHeaderLayer::bearer(token), &script, &head);
            let ours = ZeroAuthLayer::bearer(token);
            prop_assert_eq!(
                &observe(ours.clone().without_challenge(), &script, &head),
                &theirs
            );
            // The one difference: RFC 9110 §11.6.1 wants a challenge.
            let mut with_challenge = observe(ours, &script, &head);
            let refused = theirs
                .observed()
                .map(|r| r.status == StatusCode::UNAUTHORIZED);
            let wanted: Vec<_> = refused.map(|r| r.then(|| String::from("Bearer"))).collect();
            prop_assert_eq!(take_challenges(&mut with_challenge), wanted);
            prop_assert_eq!(with_challenge, theirs);

            let layer = ValidateRequestHeaderLayer::basic(name, password);
            let theirs = observe(layer, &script, &head);
            let layer = ZeroAuthLayer::basic(name, password);
            prop_assert_eq!(&observe(layer, &script, &head), &theirs);
            let service = |inner| ZeroAuth::basic(inner, name, password);
            prop_assert_eq!(&observe_with(service, &script, &head, no_id), &theirs);
            Ok(())
        },
    );
}

#[test]
fn a_challenge_can_be_chosen() {
    let head = Head {
        method: http::Method::GET,
        uri: "/".parse().unwrap(),
        headers: Vec::new(),
    };
    let script = Script {
        unready: 0,
        ready: Ok(()),
        waits: 0,
        answer: Err("not called"),
        polls_max: usize::MAX,
    };
    let realm = HeaderValue::from_static("Basic realm=\"here\"");
    let layer = ZeroAuthLayer::basic("name", "pass").challenge(realm);
    let mut outcome = observe(layer, &script, &head);
    for challenge in take_challenges(&mut outcome) {
        assert_eq!(challenge.as_deref(), Some("Basic realm=\\\"here\\\""));
    }
    assert!(outcome.seen.is_empty());
}

#[test]
fn required_values_are_checked_alike() {
    let values = proptest::sample::select(vec!["key", "", "k\u{e9}y"]);
    check(500, (values, cases()), |(value, (head, script))| {
        let theirs = ValidateRequestHeaderLayer::has_header_value("X-Key", value).unwrap();
        let ours = ZeroAuthLayer::has_header_value("X-Key", value).unwrap();
        prop_assert_eq!(
            observe(ours, &script, &head),
            observe(theirs, &script, &head)
        );
        Ok(())
    });
    assert!(
        ZeroAuthLayer::<zero_tower_layers::auth::RequiredHeaderValue<()>>::has_header_value(
            "a b", ""
        )
        .is_err()
    );
}

#[test]
fn accept_is_understood_alike() {
    let offers = proptest::sample::select(vec![
        "application/json",
        "text/html; charset=utf-8",
        "Application/Vnd.Api+JSON",
        "image/svg+xml",
        "*/*",
        "text/*",
    ]);
    let piece = proptest::sample::select(vec![
        "application",
        "/",
        "json",
        "text",
        "html",
        "*",
        "+xml",
        "+json",
        "vnd.api",
        "image",
        "svg",
        ",",
        ", ",
        " ,",
        ";",
        "; ",
        "q=0.5",
        "charset=utf-8",
        "a=\"b, c\"",
        "=",
        " ",
        "\t",
        "%",
        "\"",
        "application/json",
        "text/html",
        "*/*",
        "text/*",
        "application/vnd.api+json;v=1",
        "Text/HTML",
        "+",
        "/+",
        "++",
    ]);
    let line = proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat());
    let lines = proptest::collection::vec(line, 0..3);
    let scripts = scripts(Just(Vec::new()), Just(Vec::new()));
    check(
        5000,
        (offers, lines, heads(Just(Vec::new())), scripts),
        |(offer, lines, mut head, script)| {
            let name = http::header::ACCEPT;
            head.headers = lines
                .iter()
                .map(|line| {
                    (
                        name.clone(),
                        HeaderValue::from_bytes(line.as_bytes()).unwrap(),
                    )
                })
                .collect();
            let theirs = observe(ValidateRequestHeaderLayer::accept(offer), &script, &head);
            let ours = observe(ZeroAuthLayer::accept(offer), &script, &head);
            prop_assert_eq!(&ours, &theirs);
            let service = |inner| ZeroAuth::accept(inner, offer);
            prop_assert_eq!(&observe_with(service, &script, &head, no_id), &theirs);
            Ok(())
        },
    );
}

#[test]
#[should_panic(expected = "`json` is not a media type")]
fn what_is_accepted_is_a_media_type() {
    ZeroAuthLayer::<zero_tower_layers::auth::AcceptHeader<()>>::accept("json");
}

#[test]
#[should_panic(expected = "the bearer token")]
fn a_token_is_to_be_had_in_a_header() {
    ZeroAuthLayer::<zero_tower_layers::auth::Bearer<()>>::bearer("new\nline");
}

fn judge(request: &mut Request<ScriptBody>) -> Result<(), Response<ScriptBody>> {
    match request.headers_mut().remove("x-key") {
        Some(key) if key == "key" => Ok(()),
        other => {
            let mut response = Response::new(ScriptBody::default());
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            if let Some(key) = other {
                response.headers_mut().insert("x-not", key);
            }
            Err(response)
        }
    }
}

async fn judge_later(
    mut request: Request<ScriptBody>,
) -> Result<Request<ScriptBody>, Response<ScriptBody>> {
    tokio::task::yield_now().await;
    judge(&mut request).map(|()| request)
}

fn judge_at_once(
    mut request: Request<ScriptBody>,
) -> Ready<Result<Request<ScriptBody>, Response<ScriptBody>>> {
    ready(judge(&mut request).map(|()| request))
}

#[test]
fn checks_of_ones_own_are_called_alike() {
    check(500, cases(), |(head, script)| {
        let theirs = observe(ValidateRequestHeaderLayer::custom(judge), &script, &head);
        prop_assert_eq!(
            &observe(ZeroAuthLayer::custom(judge), &script, &head),
            &theirs
        );
        let service = |inner| ZeroAuth::custom(inner, judge);
        prop_assert_eq!(&observe_with(service, &script, &head, no_id), &theirs);
        let theirs = observe(
            AsyncRequireAuthorizationLayer::new(judge_later),
            &script,
            &head,
        );
        prop_assert_eq!(
            &observe(ZeroAsyncAuthLayer::new(judge_later), &script, &head),
            &theirs
        );
        let theirs = AsyncRequireAuthorizationLayer::new(judge_at_once);
        prop_assert_eq!(
            observe(ZeroAsyncAuthLayer::new(judge_at_once), &script, &head),
            observe(theirs, &script, &head)
        );
        Ok(())
    });
}
