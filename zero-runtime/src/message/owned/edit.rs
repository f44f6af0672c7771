//! What layers do to a request: read its head in `http`'s types, and change it.
//!
//! A change writes the head anew into memory that the thread keeps for such purposes: it allocates nothing
//! after warm-up, and costs a copy of the head.

use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

use super::HttpOwnedRequest;
use crate::message::SendBuffer;
use crate::pool::copies::{self, Copied};
use crate::proto::h1::{Fields, RequestLine};

impl HttpOwnedRequest {
    /// The first value of a header as `http` has it, sharing the head's memory.
    pub fn header_value(&self, name: &HeaderName) -> Option<HeaderValue> {
        let value = self.header_bytes(name.as_str())?;
        let mut value = HeaderValue::from_maybe_shared(self.head.slice_ref(value)).ok()?;
        value.set_sensitive(self.is_sensitive(name));
        Some(value)
    }

    /// All values of a header, in their order.
    pub fn header_values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.headers()
            .filter(|(of, _)| of.eq_ignore_ascii_case(name.as_str()))
            .map(|(_, value)| value)
    }

    /// The request's head in `http`'s types, sharing its bytes; the address is an extension of type
    /// `SocketAddr`.
    ///
    /// # Errors
    /// As [`into_http`](Self::into_http).
    pub fn http_head(&self) -> Result<Request<()>, http::Error> {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(self.method().as_bytes())?;
        *request.version_mut() = self.version();
        for (name, value) in self.headers() {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            let mut value = HeaderValue::from_maybe_shared(self.head.slice_ref(value))?;
            value.set_sensitive(self.is_sensitive(&name));
            request.headers_mut().try_append(name, value)?;
        }
        let target = self.head.slice_ref(self.line.target(&self.head));
        *request.uri_mut() = Uri::from_maybe_shared(target)?;
        request.extensions_mut().insert(self.peer_addr);
        Ok(request)
    }

    /// Adds a header behind the others.
    pub fn append_header(&mut self, name: &HeaderName, value: &HeaderValue) {
        let end = empty_line_start(&self.head);
        let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
        let [name, colon, value, end_of_line] = line;
        let head = &self.head[..end];
        self.head = joined(&[head, name, colon, value, end_of_line, b"\r\n"]);
    }

    /// Puts another path and query into the target; scheme and authority stay. Nothing is changed, and
    /// `false` returned, if there is no path (of CONNECT) or the target would be longer than 65,534 bytes.
    pub fn set_path_and_query(&mut self, path_and_query: &PathAndQuery) -> bool {
        let target = self.line.target(&self.head);
        let Some(origin) = origin_bytes(target).filter(|_| !self.path().is_empty()) else {
            return false;
        };
        let origin = &target[..origin];
        let path = path_and_query.as_str().as_bytes();
        let Some(target_bytes) = u16::try_from(origin.len() + path.len())
            .ok()
            .filter(|&bytes| bytes < u16::MAX)
        else {
            return false;
        };
        let method = self.method();
        let line = RequestLine::of(method.len(), target_bytes, self.version());
        let version: &[u8] = match self.version() {
            http::Version::HTTP_10 => b" HTTP/1.0\r\n",
            _ => b" HTTP/1.1\r\n",
        };
        let lines = memchr::memchr(b'\n', &self.head).map_or(&[][..], |at| &self.head[at + 1..]);
        self.head = joined(&[method.as_bytes(), b" ", origin, path, version, lines]);
        self.line = line;
        true
    }

    /// Marks every value of these headers as sensitive wherever the request is seen in `http`'s types.
    pub fn mark_sensitive(&mut self, names: &Arc<[HeaderName]>) {
        self.sensitive = Some(match self.sensitive.take() {
            None => names.clone(),
            Some(others) => others.iter().chain(names.iter()).cloned().collect(),
        });
    }

    fn is_sensitive(&self, name: &HeaderName) -> bool {
        let names = self.sensitive.as_deref();
        names.is_some_and(|names| names.contains(name))
    }
}

/// How many bytes of a target are scheme and authority; `None` for one that is neither a path nor a URI.
fn origin_bytes(target: &[u8]) -> Option<usize> {
    if target.first() == Some(&b'/') || target == b"*" {
        return Some(0);
    }
    let authority = memchr::memmem::find(target, b"://")? + 3;
    let path = memchr::memchr2(b'/', b'?', &target[authority..]);
    Some(path.map_or(target.len(), |at| authority + at))
}

/// Where the empty line begins that ends a head.
fn empty_line_start(head: &[u8]) -> usize {
    debug_assert!(Fields::of(head).count() < head.len());
    let end = head.strip_suffix(b"\n").unwrap_or(head);
    end.strip_suffix(b"\r").unwrap_or(end).len()
}

fn joined(parts: &[&[u8]]) -> Bytes {
    let mut all = SendBuffer::with_capacity(parts.iter().map(|part| part.len()).sum());
    copies::append_all(Copied::HeadRewritten, parts.iter().copied(), &mut all);
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;

    const HEAD: &str = "GET /a/?b HTTP/1.1\r\nHost: h\r\nCookie: 1\r\n\r\n";

    fn name(name: &'static str) -> HeaderName {
        HeaderName::from_static(name)
    }

    #[test]
    fn a_header_is_added_behind_the_others() {
        let mut request = request(HEAD, b"");
        let id = name("x-id");
        request.append_header(&id, &HeaderValue::from_static("7"));
        request.append_header(&id, &HeaderValue::from_static("8"));
        let all: Vec<_> = request.headers().map(|(name, _)| name).collect();
        assert_eq!(all, ["Host", "Cookie", "x-id", "x-id"]);
        let ids: Vec<_> = request.header_values(&id).collect();
        assert_eq!(ids, [b"7", b"8"]);
        assert_eq!((request.path(), request.query()), ("/a/", Some("b")));
    }

    #[test]
    fn a_path_is_put_in_place_of_another_and_the_rest_stays() {
        let path = |text: &'static str| PathAndQuery::from_static(text);
        let mut plain = request(HEAD, b"");
        assert!(plain.set_path_and_query(&path("/longer/than?before")));
        assert_eq!(
            (plain.path(), plain.query()),
            ("/longer/than", Some("before"))
        );
        assert_eq!((plain.method(), plain.header("cookie")), ("GET", Some("1")));

        let mut absolute = request("GET http://h/a/ HTTP/1.1\r\nHost: h\r\n\r\n", b"");
        assert!(absolute.set_path_and_query(&path("/a")));
        assert_eq!(absolute.into_http().unwrap().uri(), "http://h/a");

        let mut tunnel = request("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", b"");
        assert!(!tunnel.set_path_and_query(&path("/a")));
    }

    #[test]
    fn marks_are_seen_in_https_types_and_add_up() {
        let mut request = request(HEAD, b"");
        request.mark_sensitive(&Arc::from([name("cookie")]));
        request.mark_sensitive(&Arc::from([name("x-a")]));
        let head = request.http_head().unwrap();
        assert!(head.headers()["cookie"].is_sensitive());
        assert!(!head.headers()["host"].is_sensitive());
        assert!(
            request
                .header_value(&name("cookie"))
                .unwrap()
                .is_sensitive()
        );
        assert!(
            request.try_clone().unwrap().into_http().unwrap().headers()["cookie"].is_sensitive()
        );
    }
}
