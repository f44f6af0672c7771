//! The shell over zero-runtime's own requests.

use std::task::{Context, Poll};

use tower_service::Service;
use zero_runtime::HttpOwnedRequest;

use super::ZeroNormalizePath;

impl<S: Service<HttpOwnedRequest>> Service<HttpOwnedRequest> for ZeroNormalizePath<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: HttpOwnedRequest) -> Self::Future {
        if let Some(path) = self.ending.rewritten(request.path(), request.query()) {
            request.set_path_and_query(&path);
        }
        self.inner.call(request)
    }
}
