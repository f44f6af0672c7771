//! The tower shell: rewrites, then calls. It has no future of its own.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::policy::Ending;

/// The service of [`ZeroNormalizePathLayer`](super::ZeroNormalizePathLayer). See the [module](super).
#[derive(Debug, Copy, Clone)]
pub struct ZeroNormalizePath<S> {
    pub(super) inner: S,
    pub(super) ending: Ending,
}

impl<S> ZeroNormalizePath<S> {
    /// Wraps a service; see
    /// [`ZeroNormalizePathLayer`](super::ZeroNormalizePathLayer::trim_trailing_slash).
    pub fn trim_trailing_slash(inner: S) -> Self {
        Self::with_ending(inner, Ending::Trim)
    }

    /// Wraps a service; see
    /// [`ZeroNormalizePathLayer`](super::ZeroNormalizePathLayer::append_trailing_slash).
    pub fn append_trailing_slash(inner: S) -> Self {
        Self::with_ending(inner, Ending::Append)
    }

    pub(super) fn with_ending(inner: S, ending: Ending) -> Self {
        Self { inner, ending }
    }

    inner_accessors!();
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroNormalizePath<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        self.ending.normalize(request.uri_mut());
        self.inner.call(request)
    }
}
