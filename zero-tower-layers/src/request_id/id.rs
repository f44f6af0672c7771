//! What an id is, and where it comes from.

use http::Request;
use http::header::HeaderValue;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::scratch;

/// A request's id. The layers put it into the extensions of request and response.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// An id with this text.
    pub const fn new(header_value: HeaderValue) -> Self {
        Self(header_value)
    }

    /// The id's text.
    pub const fn header_value(&self) -> &HeaderValue {
        &self.0
    }

    /// The id's text, by value.
    pub fn into_header_value(self) -> HeaderValue {
        self.0
    }
}

impl From<HeaderValue> for RequestId {
    fn from(value: HeaderValue) -> Self {
        Self::new(value)
    }
}

/// Makes ids for requests that come without one.
pub trait MakeRequestId {
    /// An id for this request; `None` leaves it without.
    fn make_request_id<B>(&mut self, request: &Request<B>) -> Option<RequestId>;

    /// An id for a request of the server's own kind. Default: that of its head in `http`'s types, which
    /// makers that do not look at requests need not have made.
    #[cfg(feature = "zero-runtime")]
    fn make_owned_request_id(
        &mut self,
        request: &zero_runtime::HttpOwnedRequest,
    ) -> Option<RequestId> {
        self.make_request_id(&request.http_head().ok()?)
    }
}

/// Makes random UUIDs: version 4, lower case, with hyphens.
///
/// A held id keeps the 4 KiB alive that it shares with its neighbours; copy its text to keep it long.
#[derive(Debug, Clone, Copy, Default)]
pub struct MakeRequestUuid;

impl MakeRequestId for MakeRequestUuid {
    fn make_request_id<B>(&mut self, _request: &Request<B>) -> Option<RequestId> {
        random()
    }

    #[cfg(feature = "zero-runtime")]
    fn make_owned_request_id(
        &mut self,
        _request: &zero_runtime::HttpOwnedRequest,
    ) -> Option<RequestId> {
        random()
    }
}

fn random() -> Option<RequestId> {
    let mut text = [0; Hyphenated::LENGTH];
    Uuid::new_v4().hyphenated().encode_lower(&mut text);
    HeaderValue::from_maybe_shared(scratch::join(&[&text]))
        .ok()
        .map(RequestId::new)
}
