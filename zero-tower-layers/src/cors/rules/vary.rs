//! The request headers a response depends on.

use http::header::{HeaderName, HeaderValue};

use super::{joined, preflight_request_headers};

/// What goes into `vary`: the request headers that a cached response must match.
///
/// The default names `origin`, `access-control-request-method` and
/// `access-control-request-headers`.
#[derive(Clone, Debug)]
pub struct Vary(Vec<HeaderName>);

impl Vary {
    /// Names these headers. An empty list sends no header.
    pub fn list<I: IntoIterator<Item = HeaderName>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }

    pub(in crate::cors) fn value(&self) -> Option<HeaderValue> {
        joined(&self.0, ", ")
    }
}

impl Default for Vary {
    fn default() -> Self {
        Self::list(preflight_request_headers())
    }
}

impl<const N: usize> From<[HeaderName; N]> for Vary {
    fn from(headers: [HeaderName; N]) -> Self {
        Self::list(headers)
    }
}

impl From<Vec<HeaderName>> for Vary {
    fn from(headers: Vec<HeaderName>) -> Self {
        Self::list(headers)
    }
}
