//! [`HttpOwnedRequest`]: a request that owns its bytes and may go anywhere.

mod edit;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Request, Uri, Version, request};

use super::{BodyStream, BodyTooLarge, CollectError, Headers, HttpRequest};
use crate::body::RequestBody;
use crate::pool::copies::{self, Copied};
use crate::proto::h1::RequestLine;

/// The bytes of a head, shared, and where its request line lies in them.
pub struct OwnedHead {
    pub(crate) bytes: Bytes,
    pub(crate) line: RequestLine,
}

/// A request of its own: `Send`, `Sync`, and small enough to be moved.
///
/// Its head is a slice of memory that the server shares among requests; keep it for as long as the
/// request takes, and copy what is to live longer.
pub struct HttpOwnedRequest {
    head: Bytes,
    line: RequestLine,
    body: OwnedBody,
    peer_addr: SocketAddr,
    /// Headers whose values are secret, said by a layer.
    sensitive: Option<Arc<[HeaderName]>>,
}

enum OwnedBody {
    Whole(Bytes),
    Stream(Box<BodyStream>),
}

impl HttpOwnedRequest {
    #[inline]
    pub(crate) fn new(head: OwnedHead, body: RequestBody, peer_addr: SocketAddr) -> Self {
        let body = match body.into_whole() {
            Ok(bytes) => OwnedBody::Whole(bytes),
            Err(body) => OwnedBody::Stream(Box::new(BodyStream::new(body))),
        };
        HttpOwnedRequest {
            head: head.bytes,
            line: head.line,
            body,
            peer_addr,
            sensitive: None,
        }
    }

    pub(super) fn whole(
        head: Bytes,
        line: RequestLine,
        body: Bytes,
        peer_addr: SocketAddr,
    ) -> Self {
        HttpOwnedRequest {
            head,
            line,
            body: OwnedBody::Whole(body),
            peer_addr,
            sensitive: None,
        }
    }

    /// The request as one that borrows from this one.
    #[inline]
    pub fn as_request(&self) -> HttpRequest<'_> {
        HttpRequest::new(&self.head, self.line, self.body(), self.peer_addr)
    }

    /// As [`HttpRequest::method`].
    #[inline]
    pub fn method(&self) -> &str {
        self.line.method(&self.head)
    }

    /// As [`HttpRequest::path`].
    #[inline]
    pub fn path(&self) -> &str {
        self.line.path(&self.head)
    }

    /// As [`HttpRequest::query`].
    #[inline]
    pub fn query(&self) -> Option<&str> {
        self.line.query(&self.head)
    }

    /// As [`HttpRequest::version`].
    #[inline]
    pub fn version(&self) -> Version {
        self.line.version()
    }

    /// As [`HttpRequest::header`].
    #[inline]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.as_request().header(name)
    }

    /// As [`HttpRequest::header_bytes`].
    #[inline]
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.as_request().header_bytes(name)
    }

    /// As [`HttpRequest::headers`].
    #[inline]
    pub fn headers(&self) -> Headers<'_> {
        self.as_request().headers()
    }

    /// As [`HttpRequest::peer_addr`].
    #[inline]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// The body, if all of it had arrived when the handler was called, as a small one nearly always
    /// has; nothing of one that streams. [`collect_body`](Self::collect_body) reads either.
    #[inline]
    pub fn body(&self) -> &[u8] {
        match &self.body {
            OwnedBody::Whole(bytes) => bytes,
            OwnedBody::Stream(_) => &[],
        }
    }

    /// The body if it had not arrived when the handler was called, once.
    pub fn body_stream(&mut self) -> Option<BodyStream> {
        match std::mem::replace(&mut self.body, OwnedBody::Whole(Bytes::new())) {
            OwnedBody::Stream(stream) => Some(*stream),
            whole => {
                self.body = whole;
                None
            }
        }
    }

    /// All of the body, of which there may be `bytes_max`, and leaves none.
    ///
    /// Allocates for a body that streams: as much as its declared length, else as it grows.
    ///
    /// # Errors
    /// There is more of it, and the request still has it; or it cannot be read to its end, and none is left.
    ///
    /// # Cancel safety
    /// Cancel safe: a future that is dropped leaves what it has read with the request, in front of what is still to
    /// come, for whoever reads the body next. Trailers are not kept.
    pub async fn collect_body(&mut self, bytes_max: usize) -> Result<Bytes, CollectError> {
        let collected = match &mut self.body {
            OwnedBody::Stream(stream) => stream.gather(bytes_max).await,
            OwnedBody::Whole(bytes) if bytes.len() <= bytes_max => Ok(std::mem::take(bytes)),
            OwnedBody::Whole(_) => Err(CollectError::TooLarge(BodyTooLarge { bytes_max })),
        };
        if !matches!(collected, Err(CollectError::TooLarge(_))) {
            self.body = OwnedBody::Whole(Bytes::new());
        }
        collected
    }

    /// A second request like this one, to try again with; `None` if its body streams.
    pub fn try_clone(&self) -> Option<HttpOwnedRequest> {
        let OwnedBody::Whole(body) = &self.body else {
            return None;
        };
        let head = self.head.clone();
        let again = HttpOwnedRequest::whole(head, self.line, body.clone(), self.peer_addr);
        Some(HttpOwnedRequest {
            sensitive: self.sensitive.clone(),
            ..again
        })
    }

    /// The request in `http`'s types, sharing its bytes; the address is an extension of type
    /// `SocketAddr`.
    ///
    /// # What allocates
    /// The map of headers, names in it that are not `http`'s own, and the extensions. Values, target and body are
    /// slices of what the request has.
    ///
    /// # Errors
    /// What `http` cannot express: more than 32,768 headers, or a name of over 65,535 bytes.
    pub fn into_http(self) -> Result<Request<RequestBody>, http::Error> {
        let request = self.http_head()?;
        let body = match self.body {
            OwnedBody::Whole(bytes) => RequestBody::whole(bytes, false),
            OwnedBody::Stream(stream) => stream.into_inner(),
        };
        Ok(request.map(|()| body))
    }

    /// A request in `http`'s types as one of ours; the address is the extension of type `SocketAddr`,
    /// if there is one. What else is in the extensions is lost.
    ///
    /// # Errors
    /// What HTTP/1.1 cannot express: a target of more than 65,534 bytes.
    pub fn from_http(request: Request<RequestBody>) -> Result<HttpOwnedRequest, http::Error> {
        let (parts, body) = request.into_parts();
        let head = OwnedHead::from_http(&parts)?;
        let peer_addr = parts.extensions.get::<SocketAddr>().copied();
        let peer_addr = peer_addr.unwrap_or(crate::addr::UNSPECIFIED);
        Ok(HttpOwnedRequest::new(head, body, peer_addr))
    }
}

impl OwnedHead {
    /// A head in `http`'s types, written out.
    ///
    /// # Errors
    /// What HTTP/1.1 cannot express: a target of more than 65,534 bytes.
    pub(crate) fn from_http(parts: &request::Parts) -> Result<OwnedHead, http::Error> {
        let target = match parts.uri.path_and_query() {
            Some(target) => Cow::Borrowed(target.as_str()),
            None => Cow::Owned(parts.uri.to_string()),
        };
        let Ok(target_bytes) = u16::try_from(target.len()) else {
            // As `http` itself refuses one, with its own error.
            return Err(Uri::try_from(&*target).map(drop).unwrap_err().into());
        };
        let mut head = BytesMut::with_capacity(64 + target.len() + parts.headers.len() * 48);
        let line = RequestLine::of(parts.method.as_str().len(), target_bytes, parts.version);
        let method = parts.method.as_str().as_bytes();
        let start: [&[u8]; 4] = [method, b" ", target.as_bytes(), b" HTTP/1.1\r\n"];
        let fields = parts.headers.iter();
        let fields = fields.flat_map(|(name, value)| -> [&[u8]; 4] {
            [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]
        });
        let all = start.into_iter().chain(fields).chain([&b"\r\n"[..]]);
        copies::append_all(Copied::HeadRewritten, all, &mut head);
        Ok(OwnedHead {
            bytes: head.freeze(),
            line,
        })
    }
}

impl fmt::Debug for HttpOwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_request().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use http_body::Body;

    use super::*;
    use crate::body::testing::{BodySender, stream};
    use crate::proto::h1::{Conn, Event, H1Limits, HeadTable};
    use crate::proto::step;

    pub(super) fn request(head: &str, body: &'static [u8]) -> HttpOwnedRequest {
        let mut table = HeadTable::new(100);
        let step = Conn::new().handle_input(&H1Limits::default(), head.as_bytes(), &mut table);
        assert!(
            matches!(step.next, step::Next::Event(Event::Head(_))),
            "{step:?}"
        );
        let bytes = Bytes::copy_from_slice(head.as_bytes());
        let head = OwnedHead {
            bytes,
            line: table.line(),
        };
        let body = RequestBody::whole(Bytes::from_static(body), false);
        HttpOwnedRequest::new(head, body, ([127, 0, 0, 1], 9).into())
    }

    const HEAD: &str =
        "POST /a?b=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\ncontent-length: 2\r\nx-a: 2\r\n\r\n";

    #[test]
    fn it_is_small_and_goes_anywhere() {
        fn anywhere<T: Send + Sync + 'static>() {}
        anywhere::<HttpOwnedRequest>();
        assert!(size_of::<HttpOwnedRequest>() <= 128);
    }

    #[test]
    fn it_goes_to_http_and_back() {
        let request = request(HEAD, b"hi").into_http().unwrap();
        assert_eq!(request.uri(), "/a?b=1");
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(
            request.extensions().get(),
            Some(&SocketAddr::from(([127, 0, 0, 1], 9)))
        );
        let back = HttpOwnedRequest::from_http(request).unwrap();
        assert_eq!(
            (back.method(), back.path(), back.query()),
            ("POST", "/a", Some("b=1"))
        );
        assert_eq!(back.header("X-a"), Some("1"));
        assert_eq!(back.headers().count(), 4);
        assert_eq!(back.body(), b"hi");
        assert_eq!(back.peer_addr().port(), 9);
    }

    #[test]
    fn a_whole_body_is_no_stream_and_can_be_tried_again() {
        let mut request = request(HEAD, b"hi");
        assert!(request.body_stream().is_none());
        let again = request.try_clone().unwrap();
        assert_eq!(again.body(), b"hi");
        assert_eq!(request.as_request().to_owned_request().body(), b"hi");
    }

    #[tokio::test]
    async fn a_body_is_collected_up_to_a_limit() {
        assert_eq!(request(HEAD, b"hi").collect_body(2).await.unwrap(), "hi");
        let error = request(HEAD, b"hi").collect_body(1).await.unwrap_err();
        assert_eq!(error.to_string(), "the body has more than 1 bytes");
    }

    /// A request whose body streams, and what sends it.
    fn streaming() -> (HttpOwnedRequest, BodySender) {
        let (sender, body) = stream();
        let mut request = request(HEAD, b"");
        request.body = OwnedBody::Stream(Box::new(BodyStream::new(body)));
        (request, sender)
    }

    /// Polls a future once, and drops it.
    fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_collection_that_is_dropped_or_refused_loses_nothing() {
        type Read = fn(HttpOwnedRequest) -> Vec<Bytes>;
        let ways: [Read; 4] = [
            |mut request| match poll_once(request.collect_body(100)) {
                Poll::Ready(Ok(all)) => vec![all],
                other => panic!("{other:?}"),
            },
            |mut request| match poll_once(request.body_stream().unwrap().collect(100)) {
                Poll::Ready(Ok(all)) => vec![all],
                other => panic!("{other:?}"),
            },
            |mut request| {
                let mut stream = request.body_stream().unwrap();
                let next = || match poll_once(stream.next()) {
                    Poll::Ready(data) => data.map(Result::unwrap),
                    Poll::Pending => panic!("all of it is there"),
                };
                std::iter::from_fn(next).collect()
            },
            |request| {
                let mut body = request.into_http().unwrap().into_body();
                assert_eq!(body.size_hint().lower(), 8);
                assert!(!body.is_end_stream());
                let mut cx = Context::from_waker(Waker::noop());
                let next = || match Pin::new(&mut body).poll_frame(&mut cx) {
                    Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
                    Poll::Pending => panic!("all of it is there"),
                };
                std::iter::from_fn(next).collect()
            },
        ];
        for read in ways {
            let (mut request, mut sender) = streaming();
            sender.data(Bytes::from_static(b"on"));
            assert!(poll_once(request.collect_body(100)).is_pending());
            sender.data(Bytes::from_static(b"e, "));
            assert!(poll_once(request.collect_body(100)).is_pending());
            // Known to be too much before anything is read, and when it is read.
            let too_large = |polled: Poll<Result<Bytes, CollectError>>| {
                matches!(polled, Poll::Ready(Err(CollectError::TooLarge(_))))
            };
            assert!(too_large(poll_once(request.collect_body(4))));
            sender.data(Bytes::from_static(b"two"));
            assert!(too_large(poll_once(request.collect_body(7))));
            sender.end(None);
            assert_eq!(read(request).concat(), b"one, two");
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_never_collected() {
        let (mut request, mut sender) = streaming();
        sender.data(Bytes::from_static(b"half"));
        assert!(poll_once(request.collect_body(100)).is_pending());
        drop(sender);
        let broken = poll_once(request.collect_body(100));
        assert!(
            matches!(broken, Poll::Ready(Err(CollectError::Body(_)))),
            "{broken:?}"
        );
        let again = poll_once(request.collect_body(100));
        assert!(
            matches!(&again, Poll::Ready(Ok(none)) if none.is_empty()),
            "{again:?}"
        );
    }

    #[tokio::test]
    async fn a_whole_body_that_is_too_long_stays() {
        let mut request = request(HEAD, b"hi");
        assert!(request.collect_body(1).await.is_err());
        assert_eq!(request.body(), b"hi");
        assert_eq!(request.collect_body(2).await.unwrap(), "hi");
        assert_eq!(request.body(), b"");
    }
}
