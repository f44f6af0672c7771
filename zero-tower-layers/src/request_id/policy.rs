//! Which id a request has, and what of it a message still lacks.
//!
//! Knows heads; knows no service and no future.

use http::header::{HeaderName, HeaderValue};
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

    /// Gives the request an id if it has none. An id that came is kept.
    pub(super) fn set<B>(&self, request: &mut Request<B>, make: &mut impl MakeRequestId) {
        if let Some(id) = request.headers().get(&self.header) {
            if self.in_extensions && request.extensions().get::<RequestId>().is_none() {
                let id = RequestId::new(id.clone());
                request.extensions_mut().insert(id);
            }
        } else if let Some(id) = make.make_request_id(request) {
            if self.in_extensions {
                request.extensions_mut().insert(id.clone());
            }
            let headers = request.headers_mut();
            headers.insert(self.header.clone(), id.into_header_value());
        }
    }

    /// The id a request goes on with.
    pub(super) fn id_of<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        request.headers().get(&self.header).cloned()
    }

    /// Gives the response its request's id if it has none. An id the service gave it is kept.
    pub(super) fn propagate<B>(&self, id: Option<HeaderValue>, response: &mut Response<B>) {
        if let Some(id) = response.headers().get(&self.header) {
            if self.in_extensions && response.extensions().get::<RequestId>().is_none() {
                let id = RequestId::new(id.clone());
                response.extensions_mut().insert(id);
            }
        } else if let Some(id) = id {
            if self.in_extensions {
                response.extensions_mut().insert(RequestId::new(id.clone()));
            }
            response.headers_mut().insert(self.header.clone(), id);
        }
    }
}
