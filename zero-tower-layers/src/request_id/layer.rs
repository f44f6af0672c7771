//! The builders: a header's name, and a maker of ids.

use http::header::HeaderName;
use tower_layer::Layer;

use super::id::MakeRequestId;
use super::policy::Carrier;
use super::service::{ZeroPropagateRequestId, ZeroRequestId, ZeroSetRequestId};

/// Declares the switch that all three layers have.
macro_rules! extensions {
    () => {
        /// Whether the id goes into extensions as [`RequestId`](super::RequestId) too, besides the header.
        /// Default: `true`, as tower-http does. `false` saves the allocations of doing so.
        pub fn extensions(mut self, enable: bool) -> Self {
            self.carrier.in_extensions = enable;
            self
        }
    };
}

/// Sets an id on requests without one, and sends every request's id back with its response.
///
/// The same as [`ZeroSetRequestIdLayer`] around [`ZeroPropagateRequestIdLayer`]. See the
/// [module](super).
#[derive(Debug, Clone)]
pub struct ZeroRequestIdLayer<M> {
    carrier: Carrier,
    make_request_id: M,
}

impl<M: MakeRequestId> ZeroRequestIdLayer<M> {
    /// Carries ids in the header named.
    pub const fn new(header_name: HeaderName, make_request_id: M) -> Self {
        Self {
            carrier: Carrier::new(header_name),
            make_request_id,
        }
    }

    /// Carries ids in `x-request-id`.
    pub const fn x_request_id(make_request_id: M) -> Self {
        Self {
            carrier: Carrier::X_REQUEST_ID,
            make_request_id,
        }
    }

    extensions!();
}

impl<S, M: MakeRequestId + Clone> Layer<S> for ZeroRequestIdLayer<M> {
    type Service = ZeroRequestId<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroRequestId {
            inner,
            carrier: self.carrier.clone(),
            make_request_id: self.make_request_id.clone(),
        }
    }
}

/// Sets an id on requests without one. See the [module](super).
#[derive(Debug, Clone)]
pub struct ZeroSetRequestIdLayer<M> {
    carrier: Carrier,
    make_request_id: M,
}

impl<M: MakeRequestId> ZeroSetRequestIdLayer<M> {
    /// Sets ids in the header named.
    pub const fn new(header_name: HeaderName, make_request_id: M) -> Self {
        Self {
            carrier: Carrier::new(header_name),
            make_request_id,
        }
    }

    /// Sets ids in `x-request-id`.
    pub const fn x_request_id(make_request_id: M) -> Self {
        Self {
            carrier: Carrier::X_REQUEST_ID,
            make_request_id,
        }
    }

    extensions!();
}

impl<S, M: MakeRequestId + Clone> Layer<S> for ZeroSetRequestIdLayer<M> {
    type Service = ZeroSetRequestId<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroSetRequestId {
            inner,
            carrier: self.carrier.clone(),
            make_request_id: self.make_request_id.clone(),
        }
    }
}

/// Sends a request's id back with its response. See the [module](super).
#[derive(Debug, Clone)]
pub struct ZeroPropagateRequestIdLayer {
    carrier: Carrier,
}

impl ZeroPropagateRequestIdLayer {
    /// Reads and writes ids in the header named.
    pub const fn new(header_name: HeaderName) -> Self {
        Self {
            carrier: Carrier::new(header_name),
        }
    }

    /// Reads and writes ids in `x-request-id`.
    pub const fn x_request_id() -> Self {
        Self {
            carrier: Carrier::X_REQUEST_ID,
        }
    }

    extensions!();
}

impl<S> Layer<S> for ZeroPropagateRequestIdLayer {
    type Service = ZeroPropagateRequestId<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroPropagateRequestId {
            inner,
            carrier: self.carrier.clone(),
        }
    }
}
