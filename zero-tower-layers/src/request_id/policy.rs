//! Which id a request has, and what of it a message still lacks.
//!
//! Knows heads; knows no service and no future.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};

use super::id::{MakeRequestId, RequestId};

/// The header that carries ids, and whether extensions carry them too.
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    pub(super) header: HeaderName,
    pub(super) in_extensions: bool,
}

impl Carrier {
    pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

    pub(super) const fn new(header: HeaderName) -> Self {
        Self {
            header,
            in_extensions: true,
        }
    }

    /// Gives the request an id if it has none, and says which it goes on with. An id that came is kept.
    pub(super) fn set<B>(
        &self,
        request: &mut Request<B>,
        make: &mut impl MakeRequestId,
    ) -> Option<HeaderValue> {
        if let Some(id) = self.id_of(request) {
            if self.in_extensions && request.extensions().get::<RequestId>().is_none() {
                request.extensions_mut().insert(RequestId::new(id.clone()));
            }
            return Some(id);
        }
        let id = make.make_request_id(request)?.into_header_value();
        if self.in_extensions {
            request.extensions_mut().insert(RequestId::new(id.clone()));
        }
        request.headers_mut().insert(&self.header, id.clone());
        Some(id)
    }

    /// The id a request goes on with.
    pub(super) fn id_of<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        request.headers().get(&self.header).cloned()
    }

    /// Gives the response its request's id if it has none. An id the service gave it is kept.
    pub(super) fn propagate<B>(&self, id: Option<HeaderValue>, response: &mut Response<B>) {
        if !self.in_extensions {
            if let Some(id) = id {
                insert_if_absent(response.headers_mut(), &self.header, id);
            }
            return;
        }
        if let Some(id) = response.headers().get(&self.header) {
            if response.extensions().get::<RequestId>().is_none() {
                let id = RequestId::new(id.clone());
                response.extensions_mut().insert(id);
            }
        } else if let Some(id) = id {
            response.extensions_mut().insert(RequestId::new(id.clone()));
            response.headers_mut().insert(&self.header, id);
        }
    }
}

/// Looks once where there is room; the entry makes room before it looks, so that elsewhere it would be made
/// in vain.
fn insert_if_absent(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if headers.keys_len() < headers.capacity() {
        headers.entry(name).or_insert(value);
    } else if !headers.contains_key(name) {
        headers.insert(name, value);
    }
}
