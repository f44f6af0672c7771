//! [`HttpRequest`]: a request that borrows the bytes it came in.

use std::fmt;
use std::net::SocketAddr;

use http::Version;

use super::HttpOwnedRequest;
use crate::pool::copies::{self, Copied};
use crate::proto::h1::{Fields, RequestLine};

/// A request whose head and body lie where they were received.
///
/// Nothing is copied or parsed twice for it: a header is looked up in the head's own bytes when it is
/// asked for, which for the first few is cheaper than a map of all of them.
#[derive(Clone, Copy)]
pub struct HttpRequest<'a> {
    head: &'a [u8],
    line: RequestLine,
    body: &'a [u8],
    peer_addr: SocketAddr,
}

impl<'a> HttpRequest<'a> {
    #[inline]
    pub(crate) fn new(
        head: &'a [u8],
        line: RequestLine,
        body: &'a [u8],
        peer_addr: SocketAddr,
    ) -> Self {
        HttpRequest {
            head,
            line,
            body,
            peer_addr,
        }
    }

    /// The method, as it was sent: methods are case-sensitive ([RFC 9110 §9.1]).
    ///
    /// [RFC 9110 §9.1]: https://www.rfc-editor.org/rfc/rfc9110#section-9.1
    #[inline]
    pub fn method(&self) -> &'a str {
        self.line.method(self.head)
    }

    /// The path, without decoding: `/a%20b` stays so. `*` and the empty path of CONNECT are possible.
    #[inline]
    pub fn path(&self) -> &'a str {
        self.line.path(self.head)
    }

    /// What follows the path's question mark, without decoding.
    #[inline]
    pub fn query(&self) -> Option<&'a str> {
        self.line.query(self.head)
    }

    /// HTTP/1.0 or HTTP/1.1.
    #[inline]
    pub fn version(&self) -> Version {
        self.line.version()
    }

    /// The first value of a header whose name is `name` in any case, if it is text.
    ///
    /// Reads the head from its start: keep what is needed more than once.
    #[inline]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.header_bytes(name)?).ok()
    }

    /// As [`header`](Self::header), whatever the bytes of the value are.
    #[inline]
    pub fn header_bytes(&self, name: &str) -> Option<&'a [u8]> {
        Fields::of(self.head).get(name)
    }

    /// All headers in the order they were sent, names as they were spelt.
    #[inline]
    pub fn headers(&self) -> Headers<'a> {
        Headers(Fields::of(self.head))
    }

    /// The body's bytes, without its chunked coding.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The request with another body: one that was collected from its stream.
    #[inline]
    pub fn with<'b>(&self, body: &'b [u8]) -> HttpRequest<'b>
    where
        'a: 'b,
    {
        HttpRequest { body, ..*self }
    }

    /// The other end of the connection; unspecified (`0.0.0.0:0`) for a Unix socket.
    #[inline]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// Copies the request, to keep it or to send it elsewhere.
    ///
    /// # What allocates
    /// Memory for its head, and for its body if it has one: of their own, not of a pool.
    pub fn to_owned_request(&self) -> HttpOwnedRequest {
        HttpOwnedRequest::whole(
            copies::shared(Copied::Detached, self.head),
            self.line,
            copies::shared(Copied::Detached, self.body),
            self.peer_addr,
        )
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("query", &self.query())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The headers of a request: names as they were spelt, and values.
#[derive(Debug, Clone)]
pub struct Headers<'a>(Fields<'a>);

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}
