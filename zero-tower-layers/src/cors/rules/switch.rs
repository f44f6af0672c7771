//! Rules that say `true` or nothing.

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::{Ask, Head};

/// The header by which a request asks to enter a private network.
pub(in crate::cors) const PRIVATE_NETWORK_ASKED: HeaderName =
    HeaderName::from_static("access-control-request-private-network");

#[derive(Clone, Default)]
enum Switch {
    Yes,
    #[default]
    No,
    Predicate(Arc<Ask<bool>>),
}

impl Switch {
    /// A predicate needs an origin to be asked.
    fn answer(&self, head: Head<'_>) -> bool {
        match self {
            Switch::Yes => true,
            Switch::No => false,
            Switch::Predicate(ask) => head
                .origin()
                .is_some_and(|origin| ask(origin, head.parts())),
        }
    }

    fn is_predicate(&self) -> bool {
        matches!(self, Switch::Predicate(_))
    }

    fn is_same(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Switch::Yes, Switch::Yes) | (Switch::No, Switch::No)
        )
    }
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Switch::Yes } else { Switch::No }
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Switch::Yes => "Yes",
            Switch::No => "No",
            Switch::Predicate(_) => "Predicate",
        })
    }
}

/// Whether scripts may send credentials: `access-control-allow-credentials: true`.
///
/// The default sends no such header.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct AllowCredentials(Switch);

impl AllowCredentials {
    /// Allows credentials for all requests.
    pub fn yes() -> Self {
        Self(Switch::Yes)
    }

    /// Allows credentials where `f` is true. Requests without an origin are not asked about.
    pub fn predicate<F>(f: F) -> Self
    where
        F: Fn(&HeaderValue, &Parts) -> bool + Send + Sync + 'static,
    {
        Self(Switch::Predicate(Arc::new(f)))
    }

    pub(in crate::cors) fn is_always(&self) -> bool {
        matches!(self.0, Switch::Yes)
    }

    pub(in crate::cors) fn is_predicate(&self) -> bool {
        self.0.is_predicate()
    }

    pub(in crate::cors) fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }

    pub(in crate::cors) fn answer(&self, head: Head<'_>) -> bool {
        self.0.answer(head)
    }
}

impl From<bool> for AllowCredentials {
    fn from(on: bool) -> Self {
        Self(on.into())
    }
}

/// Whether public pages may reach this server in a private network:
/// `access-control-allow-private-network: true`, only for requests that ask by
/// `access-control-request-private-network: true`.
///
/// The default sends no such header.
///
/// # Standards
/// [Private Network Access](https://wicg.github.io/private-network-access/).
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct AllowPrivateNetwork(Switch);

impl AllowPrivateNetwork {
    /// Allows it for all requests that ask.
    pub fn yes() -> Self {
        Self(Switch::Yes)
    }

    /// Allows it where `f` is true. Requests that do not ask, or have no origin, are not asked about.
    pub fn predicate<F>(f: F) -> Self
    where
        F: Fn(&HeaderValue, &Parts) -> bool + Send + Sync + 'static,
    {
        Self(Switch::Predicate(Arc::new(f)))
    }

    pub(in crate::cors) fn is_predicate(&self) -> bool {
        self.0.is_predicate()
    }

    pub(in crate::cors) fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }

    pub(in crate::cors) fn answer(&self, head: Head<'_>) -> bool {
        !matches!(self.0, Switch::No) && is_asked(head.headers) && self.0.answer(head)
    }
}

fn is_asked(request: &HeaderMap) -> bool {
    let asked = request.get(PRIVATE_NETWORK_ASKED);
    asked.is_some_and(|value| value == "true")
}

impl From<bool> for AllowPrivateNetwork {
    fn from(on: bool) -> Self {
        Self(on.into())
    }
}
