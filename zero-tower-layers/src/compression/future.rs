//! The future of a call: turns the response into the one the client gets.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::CompressionBody;
use super::layer::Manner;
use super::policy::{Coding, encode_head, is_compressible, vary_by_encoding};
use super::predicate::Predicate;

pin_project! {
    /// The future of [`ZeroCompression`](super::ZeroCompression).
    #[derive(Debug)]
    pub struct ResponseFuture<F, P> {
        #[pin]
        pub(super) inner: F,
        // `None`: the client refuses every coding there is.
        pub(super) coding: Option<Coding>,
        pub(super) predicate: P,
        pub(super) manner: Manner,
    }
}

impl<F, B, E, P> Future for ResponseFuture<F, P>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    P: Predicate,
{
    type Output = Result<Response<CompressionBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(match *this.coding {
            None => refuse(response),
            Some(coding) => compress(response, coding, this.predicate, *this.manner),
        }))
    }
}

/// RFC 9110 §12.5.3 lets a server answer so. The service has run by then; its body goes out as it is.
pub(super) fn refuse<B: Body>(mut response: Response<B>) -> Response<CompressionBody<B>> {
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    vary_by_encoding(response.headers_mut());
    response.map(CompressionBody::identity)
}

pub(super) fn compress<B: Body>(
    mut response: Response<B>,
    coding: Coding,
    predicate: &impl Predicate,
    manner: Manner,
) -> Response<CompressionBody<B>> {
    let size = response.body().size_hint().exact();
    if size.is_some_and(|bytes| predicate.refuses_size(bytes))
        || !is_compressible(response.headers())
        || !predicate.should_compress(&response)
    {
        return response.map(CompressionBody::identity);
    }
    vary_by_encoding(response.headers_mut());
    if coding == Coding::Identity {
        return response.map(CompressionBody::identity);
    }
    encode_head(response.headers_mut(), coding);
    response.map(|body| CompressionBody::encoded(body, coding, manner))
}
