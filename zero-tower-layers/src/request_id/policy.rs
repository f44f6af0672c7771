//! Which id a request has, and what of it a message still lacks.
//!
//! Knows heads; knows no service and no future.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};

use super::id::{MakeRequestId, RequestId};

/// The header that carries ids, and whether extensions carry them too.
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    header: Name,
    pub(super) in_extensions: bool,
}

/// Header maps of so many names are read through, larger ones looked up in.
const SCANNED_MAX: usize = 16;

/// A header's name. The usual one is not cloned for each request.
#[derive(Debug, Clone)]
enum Name {
    XRequestId,
    Other(HeaderName),
}

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Carrier {
    pub(super) const X_REQUEST_ID: Self = Self {
        header: Name::XRequestId,
        in_extensions: true,
    };

    pub(super) const fn new(header: HeaderName) -> Self {
        Self {
            header: Name::Other(header),
            in_extensions: true,
        }
    }

    pub(super) fn header(&self) -> &HeaderName {
        match &self.header {
            Name::XRequestId => &X_REQUEST_ID,
            Name::Other(name) => name,
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
        request.headers_mut().insert(self.header(), id.clone());
        Some(id)
    }

    /// The id a request goes on with.
    pub(super) fn id_of<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        find(request.headers(), self.header()).cloned()
    }

    /// Gives the response its request's id if it has none. An id the service gave it is kept.
    pub(super) fn propagate<B>(&self, id: Option<HeaderValue>, response: &mut Response<B>) {
        if !self.in_extensions {
            if let Some(id) = id {
                insert_if_absent(response.headers_mut(), self.header(), id);
            }
            return;
        }
        if let Some(id) = find(response.headers(), self.header()) {
            if response.extensions().get::<RequestId>().is_none() {
                let id = RequestId::new(id.clone());
                response.extensions_mut().insert(id);
            }
        } else if let Some(id) = id {
            response.extensions_mut().insert(RequestId::new(id.clone()));
            response.headers_mut().insert(self.header(), id);
        }
    }
}

fn insert_if_absent(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if find(headers, name).is_none() {
        headers.insert(name, value);
    }
}

/// As `HeaderMap::get`. Most messages have no id yet, and to see that takes less than a hash where names are few.
fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let is_short = headers.keys_len() <= SCANNED_MAX;
    if is_short && !headers.keys().any(|other| other == name) {
        return None;
    }
    headers.get(name)
}
