//! The request body that handlers see: an [`http_body::Body`] of `Bytes`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::bridge::request_body::BodyReceiver;
use crate::error::BodyError;

/// The body of a request.
///
/// A body that had arrived when the handler was called is a single frame; others stream, and the
/// peer is held back while they are not polled (by `Config::request_window_bytes`).
///
/// # Cancel safety
/// Polling is cancel safe: a frame is lost only with the body. Dropping the body tells the shard
/// to skip what still comes.
pub struct RequestBody(Inner);

enum Inner {
    Empty,
    Whole {
        bytes: Bytes,
        /// It came in chunks: its length is not told ahead, as if it were still coming.
        is_chunked: bool,
    },
    Stream {
        receiver: BodyReceiver,
        /// Bytes still to come, when the request declared a length.
        remaining_bytes: Option<u64>,
    },
    /// What was read and put back, and what comes behind it.
    PutBack(Box<(Bytes, RequestBody)>),
    /// hyper's.
    #[cfg(feature = "hyper")]
    Hyper(Box<hyper::body::Incoming>),
}

impl RequestBody {
    /// A body without bytes.
    pub(crate) fn empty() -> Self {
        RequestBody(Inner::Empty)
    }

    /// A body that has arrived.
    pub(crate) fn whole(bytes: Bytes, is_chunked: bool) -> Self {
        RequestBody(Inner::Whole { bytes, is_chunked })
    }

    /// A body that is still coming.
    pub(crate) fn stream(receiver: BodyReceiver, length: Option<u64>) -> Self {
        RequestBody(Inner::Stream {
            receiver,
            remaining_bytes: length,
        })
    }
}

#[cfg(feature = "hyper")]
impl RequestBody {
    /// The body of a request that hyper has read.
    pub(crate) fn from_hyper(body: hyper::body::Incoming) -> Self {
        match body.is_end_stream() {
            true => RequestBody(Inner::Empty),
            false => RequestBody(Inner::Hyper(Box::new(body))),
        }
    }
}

#[cfg(feature = "hyper")]
fn of_hyper(error: hyper::Error) -> BodyError {
    // As a connection that ends within a body, and as one that is cut off here.
    let is_cut = |error: &hyper::Error| error.is_incomplete_message() || error.is_closed();
    let is_io = |error: &hyper::Error| {
        std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
    };
    match is_cut(&error) || is_io(&error) {
        true => BodyError::Incomplete,
        false => BodyError::Invalid,
    }
}

impl RequestBody {
    /// The body's bytes if it had arrived, else the body.
    #[inline]
    pub(crate) fn into_whole(self) -> Result<Bytes, RequestBody> {
        match self.0 {
            Inner::Empty => Ok(Bytes::new()),
            Inner::Whole { bytes, .. } => Ok(bytes),
            stream => Err(RequestBody(stream)),
        }
    }

    /// Puts bytes that were read in front of what is left. No bytes are nothing to put back.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let rest = std::mem::replace(&mut self.0, Inner::Empty);
            self.0 = Inner::PutBack(Box::new((bytes, RequestBody(rest))));
        }
    }

    /// What was put back.
    pub(crate) fn take_put_back(&mut self) -> Bytes {
        match std::mem::replace(&mut self.0, Inner::Empty) {
            Inner::PutBack(parts) => {
                let (bytes, rest) = *parts;
                *self = rest;
                bytes
            }
            other => {
                self.0 = other;
                Bytes::new()
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Whole { bytes, .. } => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                match bytes.is_empty() {
                    true => Poll::Ready(None),
                    false => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                }
            }
            Inner::Stream {
                receiver,
                remaining_bytes,
            } => {
                let polled = receiver.poll_frame(cx);
                if let (Poll::Ready(Some(Ok(frame))), Some(remaining)) = (&polled, remaining_bytes)
                {
                    let taken = frame.data_ref().map_or(0, Bytes::len) as u64;
                    *remaining = remaining.saturating_sub(taken);
                }
                polled
            }
            Inner::PutBack(_) => Poll::Ready(Some(Ok(Frame::data(self.take_put_back())))),
            #[cfg(feature = "hyper")]
            Inner::Hyper(body) => {
                let polled = Pin::new(&mut **body).poll_frame(cx);
                polled.map(|frame| frame.map(|frame| frame.map_err(of_hyper)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.0 {
            Inner::Empty => true,
            Inner::Whole { .. } | Inner::PutBack(_) => false,
            Inner::Stream {
                remaining_bytes, ..
            } => remaining_bytes == Some(0),
            #[cfg(feature = "hyper")]
            Inner::Hyper(ref body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Whole {
                bytes,
                is_chunked: false,
            } => SizeHint::with_exact(bytes.len() as u64),
            Inner::Whole { .. } => SizeHint::default(),
            Inner::Stream {
                remaining_bytes: Some(remaining),
                ..
            } => SizeHint::with_exact(*remaining),
            Inner::Stream { .. } => SizeHint::default(),
            Inner::PutBack(parts) => behind(&parts.0, parts.1.size_hint()),
            #[cfg(feature = "hyper")]
            Inner::Hyper(body) => body.size_hint(),
        }
    }
}

/// The size of `bytes` and of what comes behind them.
fn behind(bytes: &Bytes, rest: SizeHint) -> SizeHint {
    let bytes = bytes.len() as u64;
    let mut hint = SizeHint::new();
    hint.set_lower(rest.lower().saturating_add(bytes));
    if let Some(upper) = rest.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Inner::Empty => "Empty",
            Inner::Whole { .. } => "Whole",
            Inner::Stream { .. } | Inner::PutBack(_) => "Stream",
            #[cfg(feature = "hyper")]
            Inner::Hyper(_) => "Hyper",
        };
        f.debug_tuple("RequestBody").field(&kind).finish()
    }
}

/// Bodies for others' tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::RequestBody;
    pub(crate) use crate::bridge::request_body::BodySender;
    use crate::bridge::request_body::testing::pair;

    /// A body of no declared length, and what sends it.
    pub(crate) fn stream() -> (BodySender, RequestBody) {
        let (sender, receiver) = pair();
        (sender, RequestBody::stream(receiver, None))
    }
}
