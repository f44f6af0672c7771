//! Bodies: what a request still streams, and what a response may send.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sync_wrapper::SyncWrapper;

use crate::body::RequestBody;
use crate::error::{BodyError, BoxError};
use crate::pool::copies::{self, Copied};

/// The body of a request that had not arrived when its handler was called.
///
/// The peer is held back while it is not read, by `Config::request_window_bytes`.
///
/// # Cancel safety
/// [`next`](Self::next) is cancel safe; [`collect`](Self::collect) takes the stream, and dropping it drops that.
/// Dropping the stream tells the shard to skip what still comes.
pub struct BodyStream(SyncWrapper<RequestBody>);

impl BodyStream {
    pub(crate) fn new(body: RequestBody) -> Self {
        BodyStream(SyncWrapper::new(body))
    }

    /// The next bytes, never none; `None` at the end. Trailers are skipped: read them through
    /// [`http_body::Body`].
    ///
    /// # What allocates
    /// Nothing here. The shard copies each piece out of its receive buffer, into blocks that are used again, pieces of
    /// more than 4 KiB into memory of their own; a body that is long by its length it receives where it will lie.
    ///
    /// # Errors
    /// The peer ended its side or broke the chunked coding within the body; nothing follows.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Some(Ok(data)),
                    _ => {}
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// All that is left of the body, of which there may be `bytes_max`.
    ///
    /// # Errors
    /// There is more of it, or it cannot be read to its end.
    ///
    /// # Cancel safety
    /// The future has the stream: dropping it drops what was read and what is left. Where that is to be kept, use
    /// [`HttpOwnedRequest::collect_body`](super::HttpOwnedRequest::collect_body).
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, CollectError> {
        self.gather(bytes_max).await
    }

    /// As [`collect`](Self::collect), and leaves the stream as it was if the future is dropped, or there is too
    /// much.
    pub(super) async fn gather(&mut self, bytes_max: usize) -> Result<Bytes, CollectError> {
        let too_large = CollectError::TooLarge(BodyTooLarge { bytes_max });
        let hint = self.0.get_mut().size_hint();
        let expected = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
        if expected > bytes_max {
            return Err(too_large);
        }
        let mut gathering = Gathering::of(self, expected);
        loop {
            match gathering.stream.next().await {
                None => return Ok(gathering.take()),
                Some(Ok(data)) => {
                    let is_too_large = data.len() > bytes_max - gathering.bytes.len();
                    copies::append(Copied::BodyGathered, &data, &mut gathering.bytes);
                    if is_too_large {
                        return Err(too_large);
                    }
                }
                Some(Err(error)) => {
                    // What is left is no body: to collect again is not to find the beginning of one.
                    drop(gathering.take());
                    return Err(CollectError::Body(error));
                }
            }
        }
    }

    pub(crate) fn into_inner(self) -> RequestBody {
        self.0.into_inner()
    }
}

/// What was gathered of a stream: put back in front of it unless it is taken.
struct Gathering<'a> {
    stream: &'a mut BodyStream,
    bytes: BytesMut,
}

impl<'a> Gathering<'a> {
    /// Goes on with what was put back before.
    fn of(stream: &'a mut BodyStream, expected_bytes: usize) -> Self {
        let before = stream.0.get_mut().take_put_back();
        let mut bytes = match before.is_empty() {
            true => BytesMut::new(),
            false => copies::appendable(Copied::BodyGathered, before),
        };
        bytes.reserve(expected_bytes - bytes.len());
        Gathering { stream, bytes }
    }

    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).freeze()
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        let bytes = self.take();
        self.stream.0.get_mut().put_back(bytes);
    }
}

impl Body for BodyStream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(self.0.get_mut()).poll_frame(cx)
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream").finish_non_exhaustive()
    }
}

/// A body has more bytes than were allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyTooLarge {
    /// What was allowed.
    pub bytes_max: usize,
}

impl fmt::Display for BodyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body has more than {} bytes", self.bytes_max)
    }
}

impl std::error::Error for BodyTooLarge {}

/// Why a body could not be collected.
#[derive(Debug)]
pub enum CollectError {
    /// It is longer than was allowed: to be answered with 413.
    TooLarge(BodyTooLarge),
    /// It could not be read to its end.
    Body(BodyError),
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CollectError::TooLarge(error) => error.fmt(f),
            CollectError::Body(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CollectError {}

/// The body of a [`ZeroResponse`](super::ZeroResponse), beyond what goes out behind its head at once.
pub struct ResponseBody(Inner);

enum Inner {
    Empty,
    Bytes(Bytes),
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>),
}

impl ResponseBody {
    pub(super) const EMPTY: ResponseBody = ResponseBody(Inner::Empty);

    /// Whether it is [`EMPTY`](Self::EMPTY).
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.0, Inner::Empty)
    }

    pub(super) fn bytes(bytes: Bytes) -> Self {
        match bytes.is_empty() {
            true => ResponseBody(Inner::Empty),
            false => ResponseBody(Inner::Bytes(bytes)),
        }
    }

    pub(super) fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        ResponseBody(Inner::Stream(Box::pin(MapErr { body })))
    }
}

/// No bytes.
impl Default for ResponseBody {
    fn default() -> Self {
        ResponseBody::EMPTY
    }
}

pin_project! {
    /// `body` with a boxed error.
    struct MapErr<B> {
        #[pin]
        body: B,
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>>> Body for MapErr<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.project().body.poll_frame(cx);
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Bytes(_) => false,
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Empty => f.write_str("Empty"),
            Inner::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Inner::Stream(_) => f.write_str("Stream"),
        }
    }
}
