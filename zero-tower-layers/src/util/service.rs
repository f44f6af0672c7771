//! Layers as methods of services.

#[allow(unused_imports)] // Unused where no layer is asked for that takes one.
use http::header::HeaderName;

/// Methods of every service, each of which wraps it in a layer of this crate.
///
/// It takes the place of `tower_http::ServiceExt`: the same names for the layers that are here, with the same
/// defaults. With both of them in scope a name that both have is ambiguous; then apply the layer by
/// [`Layer::layer`](tower_layer::Layer::layer). CORS and auth have no method there and none here.
///
/// # Examples
/// ```
/// use http::{Request, Response};
/// use zero_tower_layers::ServiceExt as _;
///
/// let service = tower::service_fn(async |_: Request<String>| {
///     Ok::<_, std::convert::Infallible>(Response::new(String::from("hello")))
/// });
/// let service = service.compression().trim_trailing_slash();
/// # let _ = service;
/// ```
pub trait ServiceExt: Sized {
    /// Compresses responses; see
    /// [`ZeroCompressionLayer::new`](crate::compression::ZeroCompressionLayer::new).
    #[cfg(any(
        feature = "compression-br",
        feature = "compression-deflate",
        feature = "compression-gzip",
        feature = "compression-zstd"
    ))]
    fn compression(self) -> crate::compression::ZeroCompression<Self> {
        crate::compression::ZeroCompression::new(self)
    }

    /// Traces requests over HTTP; see
    /// [`ZeroTraceLayer::new_for_http`](crate::trace::ZeroTraceLayer::new_for_http).
    #[cfg(feature = "trace")]
    fn trace_for_http(self) -> crate::trace::ZeroTrace<Self, crate::trace::HttpMakeClassifier> {
        crate::trace::ZeroTrace::new_for_http(self)
    }

    /// Traces requests of gRPC; see
    /// [`ZeroTraceLayer::new_for_grpc`](crate::trace::ZeroTraceLayer::new_for_grpc).
    #[cfg(feature = "trace")]
    fn trace_for_grpc(self) -> crate::trace::ZeroTrace<Self, crate::trace::GrpcMakeClassifier> {
        crate::trace::ZeroTrace::new_for_grpc(self)
    }

    /// Marks headers of requests and responses as sensitive; see
    /// [`ZeroSensitiveHeadersLayer::new`](crate::sensitive_headers::ZeroSensitiveHeadersLayer::new).
    #[cfg(feature = "sensitive-headers")]
    fn sensitive_headers(
        self,
        headers: impl IntoIterator<Item = HeaderName>,
    ) -> crate::sensitive_headers::ZeroSensitiveHeaders<Self> {
        let layer = crate::sensitive_headers::ZeroSensitiveHeadersLayer::new(headers);
        tower_layer::Layer::layer(&layer, self)
    }

    /// Marks headers of requests as sensitive; see
    /// [`ZeroSensitiveRequestHeaders::new`](crate::sensitive_headers::ZeroSensitiveRequestHeaders::new).
    #[cfg(feature = "sensitive-headers")]
    fn sensitive_request_headers(
        self,
        headers: impl IntoIterator<Item = HeaderName>,
    ) -> crate::sensitive_headers::ZeroSensitiveRequestHeaders<Self> {
        crate::sensitive_headers::ZeroSensitiveRequestHeaders::new(self, headers)
    }

    /// Marks headers of responses as sensitive; see
    /// [`ZeroSensitiveResponseHeaders::new`](crate::sensitive_headers::ZeroSensitiveResponseHeaders::new).
    #[cfg(feature = "sensitive-headers")]
    fn sensitive_response_headers(
        self,
        headers: impl IntoIterator<Item = HeaderName>,
    ) -> crate::sensitive_headers::ZeroSensitiveResponseHeaders<Self> {
        crate::sensitive_headers::ZeroSensitiveResponseHeaders::new(self, headers)
    }

    /// Gives requests an id in the header named; see
    /// [`ZeroSetRequestId::new`](crate::request_id::ZeroSetRequestId::new).
    #[cfg(feature = "request-id")]
    fn set_request_id<M: crate::request_id::MakeRequestId>(
        self,
        header_name: HeaderName,
        make_request_id: M,
    ) -> crate::request_id::ZeroSetRequestId<Self, M> {
        crate::request_id::ZeroSetRequestId::new(self, header_name, make_request_id)
    }

    /// Gives requests an id in `x-request-id`.
    #[cfg(feature = "request-id")]
    fn set_x_request_id<M: crate::request_id::MakeRequestId>(
        self,
        make_request_id: M,
    ) -> crate::request_id::ZeroSetRequestId<Self, M> {
        crate::request_id::ZeroSetRequestId::x_request_id(self, make_request_id)
    }

    /// Sends ids back in the header named; see
    /// [`ZeroPropagateRequestId::new`](crate::request_id::ZeroPropagateRequestId::new).
    #[cfg(feature = "request-id")]
    fn propagate_request_id(
        self,
        header_name: HeaderName,
    ) -> crate::request_id::ZeroPropagateRequestId<Self> {
        crate::request_id::ZeroPropagateRequestId::new(self, header_name)
    }

    /// Sends ids back in `x-request-id`.
    #[cfg(feature = "request-id")]
    fn propagate_x_request_id(self) -> crate::request_id::ZeroPropagateRequestId<Self> {
        crate::request_id::ZeroPropagateRequestId::x_request_id(self)
    }

    /// Takes slashes from the end of paths; see
    /// [`ZeroNormalizePath::trim_trailing_slash`](crate::normalize_path::ZeroNormalizePath::trim_trailing_slash).
    #[cfg(feature = "normalize-path")]
    fn trim_trailing_slash(self) -> crate::normalize_path::ZeroNormalizePath<Self> {
        crate::normalize_path::ZeroNormalizePath::trim_trailing_slash(self)
    }

    /// Gives paths a slash at the end; see
    /// [`ZeroNormalizePath::append_trailing_slash`](crate::normalize_path::ZeroNormalizePath::append_trailing_slash).
    #[cfg(feature = "normalize-path")]
    fn append_trailing_slash(self) -> crate::normalize_path::ZeroNormalizePath<Self> {
        crate::normalize_path::ZeroNormalizePath::append_trailing_slash(self)
    }
}

impl<S> ServiceExt for S {}
