//! The two kinds of request heads and responses that a shard deals in: `http`'s and the server's own.

use bytes::Buf;
#[cfg(feature = "hyper")]
use http::StatusCode;
use http::{HeaderMap, Method, Response, request};

use crate::error::BoxError;
use crate::message::{OwnedHead, Pooled, ResponseBody, ResponseHead, ZeroResponse};
use crate::pool::arena::Arena;
use crate::pool::copies::Copied;
use crate::proto::h1::{self, HeadMemory, HeadTable, ParseError};
use crate::upgrade::OnUpgrade;

/// What a request's head is made of. Everything in it is the shard's.
pub struct Source<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) table: &'a HeadTable,
    pub(crate) arena: &'a mut Arena,
    pub(crate) memory: &'a mut HeadMemory,
    pub(crate) maps: &'a mut Vec<HeaderMap>,
}

/// A request's head as a service takes it: [`request::Parts`] or that of an [`HttpOwnedRequest`](crate::HttpOwnedRequest).
///
/// Implemented for these two; never by hand.
pub trait Head: sealed::Fill + Send + 'static {}

impl<T: sealed::Fill + Send + 'static> Head for T {}

/// A response as a service gives it: [`http::Response`] or a [`ZeroResponse`].
///
/// Implemented for these two; never by hand.
pub trait Reply: sealed::Apart<Body = <Self as Reply>::Body> {
    /// The response's body.
    type Body: http_body::Body<Data: Buf + Send, Error: Into<BoxError>> + Send + 'static;
}

pub(crate) mod sealed {
    use super::{OnUpgrade, ParseError, Pooled, ResponseHead, Source};

    pub trait Fill: Sized {
        /// Makes the head in `place`, because a head is large and moving it is dear.
        fn fill(place: &mut Option<Self>, source: Source<'_>) -> Result<(), ParseError>;
        /// Whether the method is HEAD.
        fn is_head(&self) -> bool;
        /// What tells the request's class: its method and its path.
        fn class(&self) -> (&str, &str);
        /// Lets the application upgrade the connection, if it can.
        fn offer(&mut self, upgrade: OnUpgrade);
        /// The head of a request that somebody else has read. An error if it cannot be expressed.
        #[cfg(feature = "hyper")]
        fn from_http(parts: http::request::Parts) -> Result<Self, http::Error>;
    }

    pub trait Apart: Sized {
        type Body;
        /// The response as lines with all of its small body beside them, if that is what it is.
        fn into_whole(self) -> Result<Pooled, Self>;
        fn into_parts(self) -> (ResponseHead, Self::Body);
        /// The response in `http`'s types, for somebody else to send.
        #[cfg(feature = "hyper")]
        fn into_http(self) -> http::Response<Self::Body>;
    }
}

impl sealed::Fill for request::Parts {
    #[inline]
    fn fill(place: &mut Option<Self>, source: Source<'_>) -> Result<(), ParseError> {
        let parts = place.insert(h1::blank_head());
        if let Some(map) = source.maps.pop() {
            h1::lend_map(parts, map);
        }
        let shared = source.arena.copy(Copied::HeadKept, source.bytes);
        h1::fill_head(shared, source.table, source.memory, parts)
    }

    #[inline]
    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    #[inline]
    fn class(&self) -> (&str, &str) {
        (self.method.as_str(), self.uri.path())
    }

    fn offer(&mut self, upgrade: OnUpgrade) {
        self.extensions.insert(upgrade);
    }

    #[cfg(feature = "hyper")]
    fn from_http(parts: request::Parts) -> Result<Self, http::Error> {
        Ok(parts)
    }
}

impl sealed::Fill for OwnedHead {
    #[inline]
    fn fill(place: &mut Option<Self>, source: Source<'_>) -> Result<(), ParseError> {
        let line = source.table.line();
        // An authority has been checked to the standard's grammar, or is `into_http`'s to refuse.
        if !line.has_valid_target(source.bytes) {
            return Err(ParseError::Target);
        }
        *place = Some(OwnedHead {
            bytes: source.arena.copy(Copied::HeadKept, source.bytes),
            line,
        });
        Ok(())
    }

    #[inline]
    fn is_head(&self) -> bool {
        self.line.is_head(&self.bytes)
    }

    #[inline]
    fn class(&self) -> (&str, &str) {
        (self.line.method(&self.bytes), self.line.path(&self.bytes))
    }

    /// Nothing of the server's own kind takes a connection over: the sender sees that nobody waits.
    fn offer(&mut self, _upgrade: OnUpgrade) {}

    #[cfg(feature = "hyper")]
    fn from_http(parts: request::Parts) -> Result<Self, http::Error> {
        OwnedHead::from_http(&parts)
    }
}

impl<B> sealed::Apart for Response<B> {
    type Body = B;

    #[inline(always)]
    fn into_whole(self) -> Result<Pooled, Self> {
        Err(self)
    }

    #[inline]
    fn into_parts(self) -> (ResponseHead, B) {
        let (parts, body) = self.into_parts();
        (ResponseHead::Http(parts), body)
    }

    #[cfg(feature = "hyper")]
    fn into_http(self) -> Response<B> {
        self
    }
}

impl<B> Reply for Response<B>
where
    B: http_body::Body<Data: Buf + Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

impl sealed::Apart for ZeroResponse {
    type Body = ResponseBody;

    #[inline]
    fn into_whole(self) -> Result<Pooled, Self> {
        ZeroResponse::into_whole(self)
    }

    #[inline]
    fn into_parts(self) -> (ResponseHead, ResponseBody) {
        ZeroResponse::into_parts(self)
    }

    #[cfg(feature = "hyper")]
    fn into_http(self) -> Response<ResponseBody> {
        // As on a shard: nobody would take the connection over.
        match self.status_code() == StatusCode::SWITCHING_PROTOCOLS {
            true => ZeroResponse::status(StatusCode::INTERNAL_SERVER_ERROR).close(),
            false => self,
        }
        .into()
    }
}

impl Reply for ZeroResponse {
    type Body = ResponseBody;
}
