//! The builders: a list of names, shared by all services made from it.

use std::sync::Arc;

use http::header::HeaderName;
use tower_layer::Layer;

use super::service::{
    ZeroSensitiveHeaders, ZeroSensitiveRequestHeaders, ZeroSensitiveResponseHeaders,
};
use crate::kept::Kept;

/// Declares a layer that is a shared list of header names.
macro_rules! layer {
    ($(#[$doc:meta])* $layer:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $layer {
            headers: Kept<Arc<[HeaderName]>>,
        }

        impl $layer {
            /// Marks the headers named.
            pub fn new<I: IntoIterator<Item = HeaderName>>(headers: I) -> Self {
                Self::from_shared(headers.into_iter().collect())
            }

            /// Marks the headers named in a list that others use too. The first lists of a program are kept
            /// until it ends.
            pub fn from_shared(headers: Arc<[HeaderName]>) -> Self {
                Self {
                    headers: Kept::new(headers),
                }
            }

            /// As [`from_shared`](Self::from_shared), of a list that is freed with the last service that has
            /// it. Counting them costs each request a little.
            pub fn counted(headers: Arc<[HeaderName]>) -> Self {
                Self {
                    headers: Kept::counted(headers),
                }
            }
        }
    };
}

layer! {
    /// Marks headers of requests and responses. See the [module](super).
    ZeroSensitiveHeadersLayer
}

layer! {
    /// Marks headers of requests.
    ZeroSensitiveRequestHeadersLayer
}

layer! {
    /// Marks headers of responses. Errors of the wrapped service pass untouched.
    ZeroSensitiveResponseHeadersLayer
}

impl<S> Layer<S> for ZeroSensitiveHeadersLayer {
    type Service = ZeroSensitiveHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroSensitiveHeaders::with_kept(inner, self.headers.clone())
    }
}

impl<S> Layer<S> for ZeroSensitiveRequestHeadersLayer {
    type Service = ZeroSensitiveRequestHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroSensitiveRequestHeaders::with_kept(inner, self.headers.clone())
    }
}

impl<S> Layer<S> for ZeroSensitiveResponseHeadersLayer {
    type Service = ZeroSensitiveResponseHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroSensitiveResponseHeaders::with_kept(inner, self.headers.clone())
    }
}
