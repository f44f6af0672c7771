//! The answers a CORS layer can be told to give, one type a header.
//!
//! A rule is either settled when the layer is built or asks the request's head. None of them knows
//! the layer or the response.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

mod listed;
mod max_age;
mod origin;
mod questions;
mod switch;
mod vary;

pub use self::listed::{AllowHeaders, AllowMethods, ExposeHeaders};
pub use self::max_age::MaxAge;
pub use self::origin::AllowOrigin;
pub(super) use self::origin::Origin;
#[cfg(feature = "zero-runtime")]
pub(super) use self::switch::PRIVATE_NETWORK_ASKED;
pub use self::switch::{AllowCredentials, AllowPrivateNetwork};
pub use self::vary::Vary;

/// Stands for the wildcard `*` wherever a rule takes a list.
///
/// Not to be combined with credentials: the layer panics when it is applied.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Any;

/// [`Any`], as it was once written.
#[deprecated = "write `Any`"]
pub fn any() -> Any {
    Any
}

/// The request headers a preflight answer may depend on: `origin`,
/// `access-control-request-method` and `access-control-request-headers`.
pub fn preflight_request_headers() -> impl Iterator<Item = HeaderName> {
    [
        header::ORIGIN,
        header::ACCESS_CONTROL_REQUEST_METHOD,
        header::ACCESS_CONTROL_REQUEST_HEADERS,
    ]
    .into_iter()
}

/// What a rule may look at.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) headers: &'a HeaderMap,
    parts: Option<&'a Parts>,
}

impl<'a> Head<'a> {
    /// A head that any rule may look at.
    pub(super) fn whole(parts: &'a Parts) -> Self {
        Head {
            parts: Some(parts),
            ..Head::without_parts(&parts.headers)
        }
    }

    /// A head for rules among which is no predicate; a request need not be taken apart for it.
    pub(super) fn without_parts(headers: &'a HeaderMap) -> Self {
        Head {
            headers,
            parts: None,
        }
    }

    /// Looked up when a rule asks: rules that are settled do not.
    fn origin(self) -> Option<&'a HeaderValue> {
        self.headers.get(header::ORIGIN)
    }

    /// What predicates are given.
    fn parts(self) -> &'a Parts {
        self.parts.expect("a predicate is given the whole head")
    }
}

/// What a predicate is given: the request's origin and its head.
type Ask<T> = dyn Fn(&HeaderValue, &Parts) -> T + Send + Sync;

/// `*`, without taking memory.
fn wildcard() -> HeaderValue {
    HeaderValue::from_static("*")
}

/// The items with `separator` between them; nothing for no items.
fn joined<T: AsRef<[u8]>>(
    items: impl IntoIterator<Item = T>,
    separator: &str,
) -> Option<HeaderValue> {
    let mut text = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(separator.as_bytes());
        }
        text.extend_from_slice(item.as_ref());
    }
    // Names and methods are tokens: their list is a valid value.
    (!text.is_empty()).then(|| HeaderValue::from_bytes(&text).expect("a list of tokens"))
}
