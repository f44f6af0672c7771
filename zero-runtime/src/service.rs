//! What a shard asks of an application: a service for each connection, called once a request.
//!
//! Knows http's types and tower's trait; nothing of axum.

mod head;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{Extensions, Request, Response, request};

use crate::addr::{PeerCred, UNSPECIFIED};
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::lifecycle::Lifecycle;
use crate::proto::h1::RequestLine;
use crate::upgrade::Upgraded;

pub use head::{Head, Reply};
pub(crate) use head::{Source, sealed};

/// What an application may know of a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnInfo {
    /// The address of the listener it came through. Unspecified (`0.0.0.0:0`) for a Unix socket.
    pub local_addr: SocketAddr,
    /// The other end. Unspecified (`0.0.0.0:0`) for a Unix socket, when the application does not
    /// ask for it, or when the peer was gone before it could be asked.
    pub peer_addr: SocketAddr,
    /// Who is at the other end of a Unix socket. `None` for TCP, and when the application does not
    /// ask for it.
    pub peer_cred: Option<PeerCred>,
}

/// A connection nothing is known of.
impl Default for ConnInfo {
    fn default() -> Self {
        ConnInfo {
            local_addr: UNSPECIFIED,
            peer_addr: UNSPECIFIED,
            peer_cred: None,
        }
    }
}

/// The service of one connection. [`Tower`] makes one of any cloneable tower service.
///
/// `poll_ready` and `call` happen on a clone made for the request, unless it [is
/// stateless](Self::is_stateless).
pub trait HttpService: Clone + Send + 'static {
    /// What the head of a request becomes: [`request::Parts`], or the server's own kind.
    type Head: Head;
    /// The response: [`http::Response`], or the server's own kind.
    type Response: Reply;
    /// Why there is no response; the connection is closed.
    type Error: Into<BoxError>;
    /// Resolves to the response.
    type Future: Future<Output = Result<Self::Response, Self::Error>> + Send + 'static;

    /// As [`tower_service::Service::poll_ready`].
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;
    /// As [`tower_service::Service::call`]. Head and body come apart, so that an implementor can
    /// join the head with a body of its own kind without moving it twice.
    fn call(&mut self, head: Self::Head, body: RequestBody) -> Self::Future;

    /// Whether it is always ready, and calls leave nothing behind in it: then it may be called itself instead
    /// of a clone, which shares what other cores share, and costs them all a turn with its count.
    fn is_stateless() -> bool {
        false
    }

    /// Whether calls are polled on their connection's shard only, from first to last, as the futures
    /// of [`ZeroRuntime::run_per_core`](crate::ZeroRuntime::run_per_core) want it.
    const STAYS: bool = false;

    /// Whether a request that is whole is answered by [`answer`](Self::answer), where it lies.
    const ANSWERS: bool = false;

    /// Whether what arrives goes to whoever owns the shard's loop, instead of being read as HTTP/1.1 here.
    #[doc(hidden)]
    const IS_RAW: bool = false;

    /// Answers a request whose head, all of it, is `head`.
    #[doc(hidden)]
    fn answer(&mut self, head: &[u8], line: RequestLine, body: &[u8]) -> Self::Response {
        let _ = (head, line, body);
        unreachable!("asked only of services that answer")
    }
}

/// Any `tower::Service<Request<RequestBody>, Response = Response<B>>` as a connection's service.
#[derive(Clone, Debug)]
pub struct Tower<S>(pub S);

impl<S, B> HttpService for Tower<S>
where
    S: tower_service::Service<Request<RequestBody>, Response = Response<B>>
        + Clone
        + Send
        + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data: Buf + Send, Error: Into<BoxError>> + Send + 'static,
{
    type Head = request::Parts;
    type Response = Response<B>;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, head: request::Parts, body: RequestBody) -> Self::Future {
        self.0.call(Request::from_parts(head, body))
    }
}

/// A future of a connection's service, for makers that have to wait.
pub type MakeFuture<S> = Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>;

/// What [`MakeHttpService::make`] answers.
pub enum Made<S> {
    /// The connection's service.
    Ready(S),
    /// The service comes later; the connection is not read until then. The future is polled on
    /// the server's runtime.
    Later(MakeFuture<S>),
}

/// Makes the service of each connection. Every shard has its own clone.
pub trait MakeHttpService: Clone + Send + 'static {
    /// What it makes. Kept until the connection closes.
    type Service: HttpService;
    /// Whether `ConnInfo::peer_addr` and `peer_cred` are looked at: asking the kernel costs a system call a connection.
    const WANTS_PEER_ADDR: bool;

    /// Makes the service of the connection that `conn` describes. Called inside the server's
    /// tokio runtime.
    fn make(&mut self, conn: ConnInfo) -> Made<Self::Service>;

    /// Whether [`serve_http2`](Self::serve_http2) does. Without it, HTTP/2's preface is answered as
    /// the malformed request line that it is to HTTP/1.1.
    const SPEAKS_HTTP2: bool = false;

    /// Serves a connection whose peer speaks HTTP/2 from its first byte ([RFC 9113 §3.3]); the
    /// preface is in `conn.read_ahead`. Called inside the server's tokio runtime, where the future
    /// is then run. It is to hold a [`Part`](Lifecycle::part) of the server and follow its phase.
    ///
    /// [RFC 9113 §3.3]: https://www.rfc-editor.org/rfc/rfc9113#section-3.3
    fn serve_http2(
        &mut self,
        _service: Self::Service,
        _conn: Upgraded,
        _lifecycle: Arc<Lifecycle>,
    ) -> impl Future<Output = ()> + Send + 'static {
        std::future::ready(())
    }

    /// Finds the reason phrase that a response's extensions ask for, if any. Asked only of
    /// responses that have extensions.
    fn reason_phrase(_extensions: &Extensions) -> Option<&[u8]> {
        None
    }
}

/// The same tower service, cloned, for every connection.
#[derive(Clone, Debug)]
pub struct Shared<S>(pub S);

impl<S: Clone + Send + 'static> MakeHttpService for Shared<S>
where
    Tower<S>: HttpService,
{
    type Service = Tower<S>;
    const WANTS_PEER_ADDR: bool = false;

    fn make(&mut self, _conn: ConnInfo) -> Made<Tower<S>> {
        Made::Ready(Tower(self.0.clone()))
    }
}
