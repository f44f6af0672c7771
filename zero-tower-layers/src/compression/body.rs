//! The response body: as it came, or encoded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::coder::Coder;
use super::layer::Manner;
use super::policy::Coding;
use crate::BoxError;

pin_project! {
    /// The response body of [`ZeroCompression`](super::ZeroCompression).
    ///
    /// Once dropped, in the middle or at its end, its encoder serves another.
    pub struct CompressionBody<B: Body> {
        #[pin]
        inner: B,
        // `None`: the body goes out as it is.
        coder: Option<Coder<B::Data>>,
    }
}

impl<B: Body> CompressionBody<B> {
    pub(super) fn identity(inner: B) -> Self {
        Self { inner, coder: None }
    }

    pub(super) fn encoded(inner: B, coding: Coding, manner: Manner) -> Self {
        let total_bytes = inner.size_hint().exact();
        Self {
            inner,
            coder: Coder::new(coding, manner, total_bytes),
        }
    }

    /// Whether the body goes out as it is.
    #[cfg(feature = "zero-runtime")]
    pub(super) fn is_identity(&self) -> bool {
        self.coder.is_none()
    }

    /// Borrows the wrapped body.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// Borrows the wrapped body mutably. Reading from it loses data.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Borrows the wrapped body mutably, pinned. Reading from it loses data.
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut B> {
        self.project().inner
    }

    /// Gives the wrapped body back. What has been read of it is lost.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: Body + Default> Default for CompressionBody<B> {
    fn default() -> Self {
        Self::identity(B::default())
    }
}

impl<B> Body for CompressionBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Some(coder) = this.coder {
            return coder.poll_frame(this.inner, cx);
        }
        let frame = ready!(this.inner.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(into_bytes).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.coder {
            None => self.inner.is_end_stream(),
            Some(coder) => coder.is_done(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.coder {
            None => self.inner.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
