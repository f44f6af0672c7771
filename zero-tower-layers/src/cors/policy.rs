//! What a request's head means for its response: head in, decision out.
//!
//! Knows the rules and header maps; knows no service, no future and no body.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::rules::{Head, Origin};
use super::{Vary, ZeroCorsLayer};
use crate::kept::Same;

const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The rules, with everything encoded that no request can change.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    rules: ZeroCorsLayer,
    vary: Option<HeaderValue>,
    /// The header whose `*` does not go with credentials.
    conflict: Option<&'static str>,
    /// Whether a rule for requests that are not preflights is a predicate.
    has_predicates: bool,
}

impl Same for Policy {
    fn is_same(&self, other: &Self) -> bool {
        // A service's builders begin with the rules: what they say of `vary` must be the same, too.
        let said = |rules: &ZeroCorsLayer| rules.vary.as_ref().map(Vary::value);
        self.vary == other.vary
            && said(&self.rules) == said(&other.rules)
            && self.rules.is_same(&other.rules)
    }
}

/// What has been decided when a request arrives; the origin may still be asked about.
pub(super) struct Decision {
    pub(super) origin: Origin,
    credentials: bool,
    private_network: bool,
}

impl Policy {
    pub(super) fn new(rules: ZeroCorsLayer) -> Self {
        let vary = match &rules.vary {
            Some(vary) => vary.value(),
            None => Vary::list(asked_headers(&rules)).value(),
        };
        Self::with_vary(rules, vary)
    }

    /// As `new`, but with the three names of `Vary`'s default, whatever the rules are. tower-http
    /// does so for services that are made without a layer and never configured.
    pub(super) fn untouched(rules: ZeroCorsLayer) -> Self {
        let vary = rules.vary.clone().unwrap_or_default().value();
        Self::with_vary(rules, vary)
    }

    fn with_vary(rules: ZeroCorsLayer, vary: Option<HeaderValue>) -> Self {
        Self {
            conflict: conflict(&rules),
            has_predicates: rules.allow_credentials.is_predicate()
                || rules.allow_private_network.is_predicate()
                || rules.allow_origin.is_predicate(),
            rules,
            vary,
        }
    }

    pub(super) fn rules(&self) -> &ZeroCorsLayer {
        &self.rules
    }

    /// # Panics
    /// If the rules cannot work together.
    pub(super) fn assert_usable(&self) {
        if let Some(header) = self.conflict {
            refuse(header);
        }
    }

    /// Whether a request must be taken apart to be decided on: a predicate wants to see its parts.
    pub(super) fn has_predicates(&self) -> bool {
        self.has_predicates
    }

    /// The same of a preflight, which more rules are asked about.
    pub(super) fn has_predicates_for_preflights(&self) -> bool {
        self.has_predicates || self.rules.max_age.is_predicate()
    }

    /// Decides on a request that is not a preflight.
    pub(super) fn decide(&self, head: Head<'_>) -> Decision {
        Decision {
            credentials: self.rules.allow_credentials.answer(head),
            private_network: self.rules.allow_private_network.answer(head),
            origin: self.rules.allow_origin.ask(head),
        }
    }

    /// Answers a preflight: the headers, but for the origin, which comes last. They are written into the
    /// map the request came with: it has room, and nobody needs it any more.
    pub(super) fn preflight(&self, parts: Parts) -> (Decision, HeaderMap) {
        let head = Head::whole(&parts);
        let decision = self.decide(head);
        let methods = self.rules.allow_methods.0.value(&parts.headers);
        let allowed = self.rules.allow_headers.0.value(&parts.headers);
        let max_age = self.rules.max_age.value(head);

        let mut headers = parts.headers;
        headers.clear();
        decision.write_switches(&mut headers);
        put(&mut headers, header::VARY, self.vary.clone());
        put(&mut headers, header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        put(&mut headers, header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        put(&mut headers, header::ACCESS_CONTROL_MAX_AGE, max_age);
        (decision, headers)
    }

    /// Writes the headers of an answer that the wrapped service made. `vary` joins what is there, the
    /// others replace it. The order is tower-http's, which removes `vary` from a map of all of them
    /// and so moves the last into its place.
    pub(super) fn answer(
        &self,
        decision: &Decision,
        origin: Option<HeaderValue>,
        headers: &mut HeaderMap,
    ) {
        let exposed = self.rules.expose_headers.0.value(headers);
        if let Some(vary) = &self.vary {
            headers.append(header::VARY, vary.clone());
            decision.write_switches(headers);
            put_origin(headers, origin);
            put(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        } else {
            decision.write_switches(headers);
            put(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            put_origin(headers, origin);
        }
    }
}

impl Decision {
    fn write_switches(&self, headers: &mut HeaderMap) {
        let credentials = self.credentials.then_some(TRUE);
        put(
            headers,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            credentials,
        );
        put(
            headers,
            ALLOW_PRIVATE_NETWORK,
            self.private_network.then_some(TRUE),
        );
    }
}

pub(super) fn put_origin(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    put(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// The request headers that some rule asks.
fn asked_headers(rules: &ZeroCorsLayer) -> impl Iterator<Item = HeaderName> {
    let asked = [
        (rules.allow_origin.depends_on_request(), header::ORIGIN),
        (
            rules.allow_methods.0.is_mirror(),
            header::ACCESS_CONTROL_REQUEST_METHOD,
        ),
        (
            rules.allow_headers.0.is_mirror(),
            header::ACCESS_CONTROL_REQUEST_HEADERS,
        ),
    ];
    asked
        .into_iter()
        .filter_map(|(asks, name)| asks.then_some(name))
}

fn conflict(rules: &ZeroCorsLayer) -> Option<&'static str> {
    if !rules.allow_credentials.is_always() {
        return None;
    }
    let wildcards = [
        (
            rules.allow_headers.0.is_wildcard(),
            "Access-Control-Allow-Headers",
        ),
        (
            rules.allow_methods.0.is_wildcard(),
            "Access-Control-Allow-Methods",
        ),
        (
            rules.allow_origin.is_wildcard(),
            "Access-Control-Allow-Origin",
        ),
        (
            rules.expose_headers.0.is_wildcard(),
            "Access-Control-Expose-Headers",
        ),
    ];
    wildcards
        .into_iter()
        .find_map(|(is_wildcard, header)| is_wildcard.then_some(header))
}

#[cold]
fn refuse(header: &str) -> ! {
    panic!(
        "Invalid CORS configuration: Cannot combine `Access-Control-Allow-Credentials: true` with \
         `{header}: *`: browsers take `*` literally for requests with credentials. List what is \
         allowed, or use `mirror_request()`, or allow no credentials"
    )
}
