//! Layers as methods of `tower::ServiceBuilder`.

// These two go unused where no layer is asked for that takes them.
#[allow(unused_imports)]
use http::header::HeaderName;
use tower::ServiceBuilder;
#[allow(unused_imports)]
use tower_layer::Stack;

/// Methods of [`tower::ServiceBuilder`], each of which adds a layer of this crate.
///
/// It takes the place of `tower_http::ServiceBuilderExt`: the same names for the layers that are here, with the same
/// defaults. With tower-http's trait in scope, too, or with [`ServiceExt`](crate::ServiceExt), which every type
/// has, names that both have are ambiguous; then add the layer by [`layer`](ServiceBuilder::layer). CORS and auth have no method
/// there and none here.
///
/// # Examples
/// ```
/// use http::{Request, Response};
/// use tower::ServiceBuilder;
/// use zero_tower_layers::ServiceBuilderExt as _;
/// use zero_tower_layers::request_id::MakeRequestUuid;
///
/// let service = ServiceBuilder::new()
///     .trim_trailing_slash()
///     .set_x_request_id(MakeRequestUuid)
///     .trace_for_http()
///     .propagate_x_request_id()
///     .service_fn(async |_: Request<String>| {
///         Ok::<_, std::convert::Infallible>(Response::new(String::from("hello")))
///     });
/// # let _ = service;
/// ```
pub trait ServiceBuilderExt<L>: sealed::Builder<L> {
    /// Compresses responses; see
    /// [`ZeroCompressionLayer::new`](crate::compression::ZeroCompressionLayer::new).
    #[cfg(any(
        feature = "compression-br",
        feature = "compression-deflate",
        feature = "compression-gzip",
        feature = "compression-zstd"
    ))]
    fn compression(self) -> ServiceBuilder<Stack<crate::compression::ZeroCompressionLayer, L>> {
        self.add(crate::compression::ZeroCompressionLayer::new())
    }

    /// Traces requests over HTTP; see
    /// [`ZeroTraceLayer::new_for_http`](crate::trace::ZeroTraceLayer::new_for_http).
    #[cfg(feature = "trace")]
    fn trace_for_http(
        self,
    ) -> ServiceBuilder<Stack<crate::trace::ZeroTraceLayer<crate::trace::HttpMakeClassifier>, L>>
    {
        self.add(crate::trace::ZeroTraceLayer::new_for_http())
    }

    /// Traces requests of gRPC; see
    /// [`ZeroTraceLayer::new_for_grpc`](crate::trace::ZeroTraceLayer::new_for_grpc).
    #[cfg(feature = "trace")]
    fn trace_for_grpc(
        self,
    ) -> ServiceBuilder<Stack<crate::trace::ZeroTraceLayer<crate::trace::GrpcMakeClassifier>, L>>
    {
        self.add(crate::trace::ZeroTraceLayer::new_for_grpc())
    }

    /// Marks headers of requests and responses as sensitive; see
    /// [`ZeroSensitiveHeadersLayer::new`](crate::sensitive_headers::ZeroSensitiveHeadersLayer::new).
    #[cfg(feature = "sensitive-headers")]
    fn sensitive_headers<I>(
        self,
        headers: I,
    ) -> ServiceBuilder<Stack<crate::sensitive_headers::ZeroSensitiveHeadersLayer, L>>
    where
        I: IntoIterator<Item = HeaderName>,
    {
        self.add(crate::sensitive_headers::ZeroSensitiveHeadersLayer::new(
            headers,
        ))
    }

    /// Marks headers of requests as sensitive; see
    /// [`ZeroSensitiveRequestHeadersLayer::from_shared`](crate::sensitive_headers::ZeroSensitiveRequestHeadersLayer::from_shared).
    #[cfg(feature = "sensitive-headers")]
    fn sensitive_request_headers(
        self,
        headers: std::sync::Arc<[HeaderName]>,
    ) -> ServiceBuilder<Stack<crate::sensitive_headers::ZeroSensitiveRequestHeadersLayer, L>> {
        self.add(crate::sensitive_headers::ZeroSensitiveRequestHeadersLayer::from_shared(headers))
    }

    /// Marks headers of responses as sensitive; see
    /// [`ZeroSensitiveResponseHeadersLayer::from_shared`](crate::sensitive_headers::ZeroSensitiveResponseHeadersLayer::from_shared).
    #[cfg(feature = "sensitive-headers")]
    fn sensitive_response_headers(
        self,
        headers: std::sync::Arc<[HeaderName]>,
    ) -> ServiceBuilder<Stack<crate::sensitive_headers::ZeroSensitiveResponseHeadersLayer, L>> {
        self.add(crate::sensitive_headers::ZeroSensitiveResponseHeadersLayer::from_shared(headers))
    }

    /// Gives requests an id in the header named; see
    /// [`ZeroSetRequestIdLayer::new`](crate::request_id::ZeroSetRequestIdLayer::new).
    #[cfg(feature = "request-id")]
    fn set_request_id<M: crate::request_id::MakeRequestId>(
        self,
        header_name: HeaderName,
        make_request_id: M,
    ) -> ServiceBuilder<Stack<crate::request_id::ZeroSetRequestIdLayer<M>, L>> {
        self.add(crate::request_id::ZeroSetRequestIdLayer::new(
            header_name,
            make_request_id,
        ))
    }

    /// Gives requests an id in `x-request-id`.
    #[cfg(feature = "request-id")]
    fn set_x_request_id<M: crate::request_id::MakeRequestId>(
        self,
        make_request_id: M,
    ) -> ServiceBuilder<Stack<crate::request_id::ZeroSetRequestIdLayer<M>, L>> {
        self.add(crate::request_id::ZeroSetRequestIdLayer::x_request_id(
            make_request_id,
        ))
    }

    /// Sends ids back in the header named; see
    /// [`ZeroPropagateRequestIdLayer::new`](crate::request_id::ZeroPropagateRequestIdLayer::new).
    #[cfg(feature = "request-id")]
    fn propagate_request_id(
        self,
        header_name: HeaderName,
    ) -> ServiceBuilder<Stack<crate::request_id::ZeroPropagateRequestIdLayer, L>> {
        self.add(crate::request_id::ZeroPropagateRequestIdLayer::new(
            header_name,
        ))
    }

    /// Sends ids back in `x-request-id`.
    #[cfg(feature = "request-id")]
    fn propagate_x_request_id(
        self,
    ) -> ServiceBuilder<Stack<crate::request_id::ZeroPropagateRequestIdLayer, L>> {
        self.add(crate::request_id::ZeroPropagateRequestIdLayer::x_request_id())
    }

    /// Takes slashes from the end of paths; see
    /// [`ZeroNormalizePathLayer::trim_trailing_slash`](crate::normalize_path::ZeroNormalizePathLayer::trim_trailing_slash).
    #[cfg(feature = "normalize-path")]
    fn trim_trailing_slash(
        self,
    ) -> ServiceBuilder<Stack<crate::normalize_path::ZeroNormalizePathLayer, L>> {
        self.add(crate::normalize_path::ZeroNormalizePathLayer::trim_trailing_slash())
    }

    /// Gives paths a slash at the end; see
    /// [`ZeroNormalizePathLayer::append_trailing_slash`](crate::normalize_path::ZeroNormalizePathLayer::append_trailing_slash).
    #[cfg(feature = "normalize-path")]
    fn append_trailing_slash(
        self,
    ) -> ServiceBuilder<Stack<crate::normalize_path::ZeroNormalizePathLayer, L>> {
        self.add(crate::normalize_path::ZeroNormalizePathLayer::append_trailing_slash())
    }
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {}

mod sealed {
    use tower::ServiceBuilder;
    use tower_layer::Stack;

    /// `ServiceBuilder`, and nothing else.
    pub trait Builder<L>: Sized {
        /// As `ServiceBuilder::layer`, by a name that it has not.
        #[doc(hidden)]
        fn add<T>(self, layer: T) -> ServiceBuilder<Stack<T, L>>;
    }

    impl<L> Builder<L> for ServiceBuilder<L> {
        fn add<T>(self, layer: T) -> ServiceBuilder<Stack<T, L>> {
            self.layer(layer)
        }
    }
}
