//! Every builder of tower-http's layers, written once and compiled against both crates: the same names, taking
//! the same. What is not here is in DIFFERENCES.md.
#![allow(clippy::result_large_err)] // A check returns its answer by value, as in tower-http.

/// Writes the body of each function below into two modules: one in which the names are tower-http's, and one
/// in which they are ours.
macro_rules! in_both {
    ($($function:item)*) => {
        #[allow(deprecated)]
        mod theirs {
            use tower_http::CompressionLevel;
            use tower_http::LatencyUnit;
            use tower_http::auth::{
                AsyncRequireAuthorization as AsyncAuth, AsyncRequireAuthorizationLayer as AsyncAuthLayer,
            };
            use tower_http::classify;
            use tower_http::compression::{self, Compression, CompressionLayer};
            use tower_http::cors::{self, Cors, CorsLayer};
            use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
            use tower_http::request_id::{
                MakeRequestUuid, PropagateRequestId, PropagateRequestIdLayer, RequestId,
                SetRequestId, SetRequestIdLayer,
            };
            use tower_http::sensitive_headers::{
                SetSensitiveHeadersLayer, SetSensitiveRequestHeaders,
                SetSensitiveRequestHeadersLayer, SetSensitiveResponseHeaders,
                SetSensitiveResponseHeadersLayer,
            };
            use tower_http::trace::{self, Trace, TraceLayer};
            use tower_http::auth::require_authorization::{Basic, Bearer};
            use tower_http::validate_request::{
                AcceptHeader, RequiredHeaderValue, ValidateRequestHeader as Auth,
                ValidateRequestHeaderLayer as AuthLayer,
            };

            $($function)*
        }

        #[allow(deprecated)]
        mod ours {
            use zero_tower_layers::auth::{
                AcceptHeader, Basic, Bearer, RequiredHeaderValue, ZeroAsyncAuth as AsyncAuth, ZeroAsyncAuthLayer as AsyncAuthLayer, ZeroAuth as Auth,
                ZeroAuthLayer as AuthLayer,
            };
            use zero_tower_layers::classify;
            use zero_tower_layers::compression::{
                self, CompressionLevel, ZeroCompression as Compression,
                ZeroCompressionLayer as CompressionLayer,
            };
            use zero_tower_layers::cors::{self, ZeroCors as Cors, ZeroCorsLayer as CorsLayer};
            use zero_tower_layers::normalize_path::{
                ZeroNormalizePath as NormalizePath, ZeroNormalizePathLayer as NormalizePathLayer,
            };
            use zero_tower_layers::request_id::{
                MakeRequestUuid, RequestId, ZeroPropagateRequestId as PropagateRequestId,
                ZeroPropagateRequestIdLayer as PropagateRequestIdLayer,
                ZeroSetRequestId as SetRequestId, ZeroSetRequestIdLayer as SetRequestIdLayer,
            };
            use zero_tower_layers::sensitive_headers::{
                ZeroSensitiveHeadersLayer as SetSensitiveHeadersLayer,
                ZeroSensitiveRequestHeaders as SetSensitiveRequestHeaders,
                ZeroSensitiveRequestHeadersLayer as SetSensitiveRequestHeadersLayer,
                ZeroSensitiveResponseHeaders as SetSensitiveResponseHeaders,
                ZeroSensitiveResponseHeadersLayer as SetSensitiveResponseHeadersLayer,
            };
            use zero_tower_layers::trace::{
                self, LatencyUnit, ZeroTrace as Trace, ZeroTraceLayer as TraceLayer,
            };

            $($function)*
        }

        #[test]
        fn they_can_all_be_called() {
            theirs::all();
            ours::all();
        }
    };
}

in_both! {
    pub(super) fn all() {
        cors();
        auth();
        traces();
        compression();
        ids();
        paths_and_secrets();
        classes();
    }

    fn cors() {
        use cors::{
            AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, AllowPrivateNetwork, Any,
            ExposeHeaders, MaxAge, Vary, any, preflight_request_headers,
        };
        use http::{HeaderName, HeaderValue, Method, header};

        let origin = || HeaderValue::from_static("https://a");
        let names = || [header::ACCEPT, HeaderName::from_static("x-a")];
        let _ = CorsLayer::new()
            .allow_credentials(true)
            .allow_credentials(AllowCredentials::yes())
            .allow_credentials(AllowCredentials::predicate(|_, _| true))
            .allow_headers(Any)
            .allow_headers(any())
            .allow_headers(names())
            .allow_headers(names().to_vec())
            .allow_headers(AllowHeaders::any())
            .allow_headers(AllowHeaders::list(names()))
            .allow_headers(AllowHeaders::mirror_request())
            .max_age(std::time::Duration::from_secs(1))
            .max_age(MaxAge::exact(std::time::Duration::from_secs(1)))
            .max_age(MaxAge::dynamic(|_, _| std::time::Duration::from_secs(1)))
            .allow_methods(Any)
            .allow_methods(Method::GET)
            .allow_methods([Method::GET, Method::PUT])
            .allow_methods(vec![Method::GET])
            .allow_methods(AllowMethods::any())
            .allow_methods(AllowMethods::exact(Method::GET))
            .allow_methods(AllowMethods::list([Method::GET]))
            .allow_methods(AllowMethods::mirror_request())
            .allow_origin(Any)
            .allow_origin(origin())
            .allow_origin([origin()])
            .allow_origin(vec![origin()])
            .allow_origin(AllowOrigin::any())
            .allow_origin(AllowOrigin::exact(origin()))
            .allow_origin(AllowOrigin::list([origin()]))
            .allow_origin(AllowOrigin::predicate(|_, _| true))
            .allow_origin(AllowOrigin::async_predicate(|_, _| async { true }))
            .allow_origin(AllowOrigin::mirror_request())
            .expose_headers(Any)
            .expose_headers(names())
            .expose_headers(names().to_vec())
            .expose_headers(ExposeHeaders::any())
            .expose_headers(ExposeHeaders::list(names()))
            .allow_private_network(true)
            .allow_private_network(AllowPrivateNetwork::yes())
            .allow_private_network(AllowPrivateNetwork::predicate(|_, _| true))
            .vary(names())
            .vary(names().to_vec())
            .vary(Vary::list(preflight_request_headers()))
            .vary(Vary::default());
        let _ = (CorsLayer::permissive(), CorsLayer::very_permissive(), Cors::<()>::layer());
        let _ = (Cors::permissive(()), Cors::very_permissive(()));
        let mut service = Cors::new(())
            .allow_credentials(true)
            .allow_headers(names())
            .max_age(std::time::Duration::from_secs(1))
            .allow_methods([Method::GET])
            .allow_origin(origin())
            .expose_headers(names())
            .allow_private_network(true);
        let ((), ()) = (*service.get_ref(), *service.get_mut());
        service.into_inner();
    }

    fn auth() {
        use http::{Request, Response};

        let pass = |_: &mut Request<()>| Ok::<_, Response<String>>(());
        let _ = (AuthLayer::custom(pass), Auth::custom((), pass));
        let _ = AuthLayer::<Bearer<String>>::bearer("a");
        let _ = AuthLayer::<Basic<String>>::basic("a", "b");
        let _ = AuthLayer::<AcceptHeader<String>>::accept("text/plain");
        let _ = AuthLayer::<RequiredHeaderValue<String>>::has_header_value("x-a", "b").unwrap();
        let _ = Auth::<(), Bearer<String>>::bearer((), "a");
        let _ = Auth::<(), Basic<String>>::basic((), "a", "b");
        let mut service = Auth::<(), AcceptHeader<String>>::accept((), "text/plain");
        let ((), ()) = (*service.get_ref(), *service.get_mut());
        service.into_inner();

        let later = |request: Request<()>| async { Ok::<_, Response<String>>(request) };
        let _ = (AsyncAuthLayer::new(later), AsyncAuth::<(), _>::layer(later));
        AsyncAuth::new((), later).into_inner();
    }

    fn traces() {
        use http::{HeaderMap, Request, Response};
        use std::time::Duration;
        use trace::{
            DefaultMakeSpan, DefaultOnBodyChunk, DefaultOnEos, DefaultOnFailure, DefaultOnRequest,
            DefaultOnResponse,
        };
        use tracing::{Level, Span};

        let _ = TraceLayer::new_for_grpc()
            .make_span_with(DefaultMakeSpan::new().level(Level::INFO).include_headers(true))
            .on_request(DefaultOnRequest::new().level(Level::INFO))
            .on_response(
                DefaultOnResponse::new()
                    .level(Level::INFO)
                    .latency_unit(LatencyUnit::Seconds)
                    .include_headers(true),
            )
            .on_body_chunk(DefaultOnBodyChunk::new())
            .on_eos(DefaultOnEos::new().level(Level::INFO).latency_unit(LatencyUnit::Millis))
            .on_failure(
                DefaultOnFailure::new()
                    .level(Level::INFO)
                    .latency_unit(LatencyUnit::Micros)
                    .latency_unit(LatencyUnit::Nanos),
            );
        let _ = TraceLayer::new_for_http()
            .make_span_with(|_: &Request<()>| Span::none())
            .make_span_with(Span::none())
            .on_request(())
            .on_request(|_: &Request<()>, _: &Span| ())
            .on_response(())
            .on_response(|_: &Response<()>, _: Duration, _: &Span| ())
            .on_body_chunk(())
            .on_body_chunk(|_: &bytes::Bytes, _: Duration, _: &Span| ())
            .on_eos(())
            .on_eos(|_: Option<&HeaderMap>, _: Duration, _: &Span| ())
            .on_failure(())
            .on_failure(|_: classify::ServerErrorsFailureClass, _: Duration, _: &Span| ());
        let make = classify::ServerErrorsAsFailures::make_classifier;
        let _ = (TraceLayer::new(make()), Trace::<(), _>::layer(make()), Trace::new((), make()));
        let _ = Trace::new_for_grpc(())
            .make_span_with(())
            .on_request(())
            .on_response(())
            .on_body_chunk(())
            .on_eos(())
            .on_failure(());
        let mut service = Trace::new_for_http(());
        let ((), ()) = (*service.get_ref(), *service.get_mut());
        service.into_inner();
    }

    fn compression() {
        use compression::predicate::{And, NotForContentType, Predicate, SizeAbove};
        use compression::{CompressionBody, DefaultPredicate};
        use http::{Extensions, HeaderMap, StatusCode, Version};

        let chosen = |_: StatusCode, _: Version, _: &HeaderMap, _: &Extensions| true;
        let and: And<SizeAbove, NotForContentType> =
            SizeAbove::new(1).and(NotForContentType::new("text/plain"));
        let _ = CompressionLayer::new()
            .gzip(true)
            .deflate(true)
            .br(true)
            .zstd(true)
            .no_gzip()
            .no_deflate()
            .no_br()
            .no_zstd()
            .quality(CompressionLevel::Fastest)
            .quality(CompressionLevel::Best)
            .quality(CompressionLevel::Default)
            .quality(CompressionLevel::Precise(3))
            .compress_when(DefaultPredicate::new());
        let layer = CompressionLayer::new;
        let _ = layer().compress_when(Some(NotForContentType::const_new("text/plain")));
        let _ = layer().compress_when(NotForContentType::GRPC.and(NotForContentType::IMAGES));
        let _ = layer().compress_when(NotForContentType::SSE);
        let _ = (layer().compress_when(and), layer().compress_when(chosen));
        let _ = Compression::<(), DefaultPredicate>::layer();
        let mut service = Compression::new(())
            .gzip(true)
            .deflate(true)
            .br(true)
            .zstd(true)
            .no_gzip()
            .no_deflate()
            .no_br()
            .no_zstd()
            .quality(CompressionLevel::Best)
            .compress_when(SizeAbove::default());
        let ((), ()) = (*service.get_ref(), *service.get_mut());
        service.into_inner();

        type Body = http_body_util::Full<bytes::Bytes>;
        let mut body = CompressionBody::<Body>::default();
        let _ = (body.get_ref().clone(), body.get_mut().clone());
        let _ = std::pin::pin!(CompressionBody::<Body>::default()).get_pin_mut();
        body.into_inner();
    }

    fn ids() {
        use http::{HeaderName, HeaderValue};

        const NAME: HeaderName = HeaderName::from_static("x-id");
        let _ = SetRequestIdLayer::new(NAME, MakeRequestUuid);
        let _ = SetRequestIdLayer::x_request_id(MakeRequestUuid);
        let _ = SetRequestId::new((), NAME, MakeRequestUuid);
        let _ = SetRequestId::<(), MakeRequestUuid>::layer(NAME, MakeRequestUuid);
        SetRequestId::x_request_id((), MakeRequestUuid).into_inner();
        let _ = (PropagateRequestIdLayer::new(NAME), PropagateRequestIdLayer::x_request_id());
        let _ = (PropagateRequestId::new((), NAME), PropagateRequestId::<()>::layer(NAME));
        let mut service = PropagateRequestId::x_request_id(());
        let ((), ()) = (*service.get_ref(), *service.get_mut());
        service.into_inner();
        let id = RequestId::from(RequestId::new(HeaderValue::from_static("1")).into_header_value());
        assert_eq!(id.header_value(), "1");
    }

    fn paths_and_secrets() {
        use http::HeaderName;
        use http::header::COOKIE;

        let _ = NormalizePathLayer::trim_trailing_slash();
        let _ = NormalizePathLayer::append_trailing_slash();
        let _ = NormalizePath::append_trailing_slash(());
        NormalizePath::trim_trailing_slash(()).into_inner();

        let shared = || std::sync::Arc::<[HeaderName]>::from([COOKIE]);
        let _ = SetSensitiveHeadersLayer::new([COOKIE]);
        let _ = SetSensitiveHeadersLayer::from_shared(shared());
        let _ = SetSensitiveRequestHeadersLayer::new(vec![COOKIE]);
        let _ = SetSensitiveRequestHeadersLayer::from_shared(shared());
        let _ = SetSensitiveRequestHeaders::new((), [COOKIE]);
        let _ = SetSensitiveRequestHeaders::<()>::layer([COOKIE]);
        SetSensitiveRequestHeaders::from_shared((), shared()).into_inner();
        let _ = SetSensitiveResponseHeadersLayer::new([COOKIE]);
        let _ = SetSensitiveResponseHeadersLayer::from_shared(shared());
        let _ = SetSensitiveResponseHeaders::new((), [COOKIE]);
        let _ = SetSensitiveResponseHeaders::<()>::layer([COOKIE]);
        SetSensitiveResponseHeaders::from_shared((), shared()).into_inner();
    }

    fn classes() {
        use classify::*;

        let _ = GrpcErrorsAsFailures::new().with_success(GrpcCode::NotFound);
        let _ = GrpcErrorsAsFailures::make_classifier();
        let _ = ServerErrorsAsFailures::new();
        let _ = StatusInRangeAsFailures::new(400..=499);
        let range = StatusInRangeAsFailures::new_for_client_and_server_errors();
        let _ = range.into_make_classifier();
        let _ = SharedClassifier::new(ServerErrorsAsFailures::default().map_failure_class(|_| 1));
    }
}
