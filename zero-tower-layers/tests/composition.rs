//! The layers among others: tower's, tower-http's, axum's; inside and outside a router; and bodies that
//! come in pieces, are cut off, or are not bodies at all.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH,
};
use http::{HeaderName, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt as _, service_fn};
use zero_tower_layers::auth::{ZeroAsyncAuthLayer, ZeroAuthLayer};
use zero_tower_layers::compression::{CompressionBody, ZeroCompressionLayer};
use zero_tower_layers::cors::ZeroCorsLayer;
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{MakeRequestUuid, RequestId, ZeroRequestIdLayer};
use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
use zero_tower_layers::trace::{self, ZeroTraceLayer};

const ID: HeaderName = HeaderName::from_static("x-request-id");

/// All seven, around any service with axum's bodies.
macro_rules! stack {
    () => {
        ServiceBuilder::new()
            .layer(ZeroNormalizePathLayer::trim_trailing_slash())
            .layer(ZeroSensitiveHeadersLayer::new([AUTHORIZATION]))
            .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(ZeroTraceLayer::new_for_http())
            .layer(ZeroCompressionLayer::new())
            .layer(ZeroCorsLayer::permissive())
            .layer(ZeroAuthLayer::bearer("secret"))
    };
}

fn get_request(uri: &str) -> Request<Body> {
    Request::builder()
        .uri(uri)
        .header(AUTHORIZATION, "Bearer secret")
        .header(ACCEPT_ENCODING, "gzip")
        .body(Body::empty())
        .unwrap()
}

fn text() -> String {
    "all the same, all the same; ".repeat(100)
}

fn router() -> Router {
    Router::new().route("/text", get(async || text()))
}

async fn gunzipped<B>(response: Response<B>) -> Vec<u8>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let data = response.into_body().collect().await.unwrap().to_bytes();
    gunzip(&data).expect("a whole stream")
}

fn gunzip(data: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(data)
        .read_to_end(&mut out)
        .ok()?;
    Some(out)
}

/// What all seven do to a response.
async fn assert_stacked<B>(response: Response<B>)
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert_eq!(response.headers()[ID].len(), 36);
    assert!(response.extensions().get::<RequestId>().is_some());
    assert_eq!(gunzipped(response).await, text().into_bytes());
}

#[tokio::test]
async fn inside_and_outside_a_router() {
    assert_stacked(
        router()
            .layer(stack!())
            .oneshot(get_request("/text"))
            .await
            .unwrap(),
    )
    .await;
    let outside = stack!().service(router());
    assert_stacked(
        outside
            .clone()
            .oneshot(get_request("/text/"))
            .await
            .unwrap(),
    )
    .await;

    // Inside, the path is changed too late for the router.
    let inside = router()
        .layer(stack!())
        .oneshot(get_request("/text/"))
        .await
        .unwrap();
    assert_eq!(inside.status(), StatusCode::NOT_FOUND);

    let stranger = Request::builder().uri("/text").body(Body::empty()).unwrap();
    let response = outside.oneshot(stranger).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
}

#[tokio::test]
async fn among_axums_and_tower_https() {
    async fn tag(request: Request<Body>, next: Next) -> axum::response::Response {
        let mut response = next.run(request).await;
        response
            .headers_mut()
            .append("x-tag", "from_fn".parse().unwrap());
        response
    }
    let theirs = || {
        ServiceBuilder::new()
            .layer(tower_http::trace::TraceLayer::new_for_http())
            .layer(tower_http::sensitive_headers::SetSensitiveHeadersLayer::new([AUTHORIZATION]))
            .layer(tower_http::normalize_path::NormalizePathLayer::trim_trailing_slash())
    };
    let app = router()
        .layer(from_fn(tag))
        .layer(theirs())
        .layer(stack!())
        .layer(from_fn(tag));
    let response = app.oneshot(get_request("/text")).await.unwrap();
    assert_eq!(response.headers().get_all("x-tag").iter().count(), 2);
    assert_stacked(response).await;

    // Within CORS and checks, which make answers, bodies must have a default; a traced one has none.
    let outside = theirs()
        .layer(stack!())
        .layer(tower_http::normalize_path::NormalizePathLayer::trim_trailing_slash())
        .service(router());
    assert_stacked(outside.oneshot(get_request("/text/")).await.unwrap()).await;

    // Whichever compresses first, the other leaves it alone.
    for app in [
        router()
            .layer(ZeroCompressionLayer::new())
            .layer(tower_http::compression::CompressionLayer::new()),
        router()
            .layer(tower_http::compression::CompressionLayer::new())
            .layer(ZeroCompressionLayer::new()),
    ] {
        let response = app.oneshot(get_request("/text")).await.unwrap();
        assert_eq!(
            response.headers().get_all(CONTENT_ENCODING).iter().count(),
            1
        );
        assert_eq!(gunzipped(response).await, text().into_bytes());
    }
}

#[tokio::test]
async fn around_and_within_towers_own() {
    let around = ServiceBuilder::new()
        .timeout(Duration::from_secs(5))
        .buffer(8)
        .concurrency_limit(2)
        .layer(stack!())
        .service(router());
    let within = stack!()
        .timeout(Duration::from_secs(5))
        .buffer(8)
        .concurrency_limit(2)
        .service(router());
    for _ in 0..5 {
        assert_stacked(around.clone().oneshot(get_request("/text")).await.unwrap()).await;
        assert_stacked(within.clone().oneshot(get_request("/text")).await.unwrap()).await;
    }
}

/// A permit that `poll_ready` got is used by the call, and given back when its future is dropped.
#[tokio::test]
async fn readiness_is_passed_through() {
    let stuck =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());
    let mut service = stack!().concurrency_limit(1).service(stuck);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut call = Box::pin(service.call(get_request("/")));
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert!(service.poll_ready(&mut cx).is_pending());
        drop(call);
    }
    // A check that is waited for keeps the service that was ready, and leaves a clone.
    let check = |request| async move { Ok::<_, Response<Body>>(request) };
    let inner = ServiceBuilder::new().concurrency_limit(1).service(stuck);
    let mut service = ZeroAsyncAuthLayer::new(check).layer(inner);
    assert!(service.poll_ready(&mut cx).is_ready());
    let mut call = Box::pin(service.call(get_request("/")));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert!(service.poll_ready(&mut cx).is_pending());
    drop(call);
    assert!(service.poll_ready(&mut cx).is_ready());
}

/// A server may wait at its end for the last of something that a predicate holds.
#[test]
fn what_a_predicate_holds_is_dropped_with_the_layer() {
    use zero_tower_layers::cors::{AllowCredentials, AllowOrigin, AllowPrivateNetwork, MaxAge};

    let held = Arc::new(());
    let origin = held.clone();
    let credentials = held.clone();
    let network = held.clone();
    let age = held.clone();
    let layers = [
        ZeroCorsLayer::new().allow_origin(AllowOrigin::predicate(move |_, _| {
            Arc::strong_count(&origin) > 0
        })),
        ZeroCorsLayer::new().allow_credentials(AllowCredentials::predicate(move |_, _| {
            Arc::strong_count(&credentials) > 0
        })),
        ZeroCorsLayer::new().allow_private_network(AllowPrivateNetwork::predicate(move |_, _| {
            Arc::strong_count(&network) > 0
        })),
        ZeroCorsLayer::new().max_age(MaxAge::dynamic(move |_, _| {
            Duration::from_secs(Arc::strong_count(&age) as u64)
        })),
    ];
    let services = layers.each_ref().map(|layer| layer.layer(()));
    assert_eq!(Arc::strong_count(&held), 5);
    drop((layers, services));
    assert_eq!(Arc::strong_count(&held), 1);
}

/// So is a list that a layer only counts; by default the program keeps it.
#[test]
fn what_is_counted_is_freed_with_the_layer() {
    let list: Arc<[HeaderName]> = Arc::new([AUTHORIZATION]);
    let layer = ZeroSensitiveHeadersLayer::counted(list.clone());
    let services = [layer.layer(()), layer.clone().layer(())];
    assert_eq!(Arc::strong_count(&list), 2);
    drop((layer, services));
    assert_eq!(Arc::strong_count(&list), 1);
}

#[tokio::test]
async fn errors_of_the_service_pass_untouched() {
    let broken =
        service_fn(|_: Request<Body>| async { Err::<Response<Body>, BoxError>("broken".into()) });
    let error = stack!()
        .service(broken)
        .oneshot(get_request("/"))
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "broken");

    let slow =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>());
    let service = stack!().timeout(Duration::from_millis(5)).service(slow);
    let error = service.oneshot(get_request("/")).await.err().unwrap();
    assert!(error.is::<tower::timeout::error::Elapsed>());
}

/// What has been written so far can be read so far, whatever the coding.
#[tokio::test]
async fn streams_arrive_as_they_are_made() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let (pieces, body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(4);
        let (mut pieces, body) = (pieces, std::sync::Mutex::new(Some(body)));
        let service = service_fn(move |_: Request<()>| {
            let body = body.lock().unwrap().take().unwrap();
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let request = Request::builder()
            .header(ACCEPT_ENCODING, coding)
            .body(())
            .unwrap();
        let service = ZeroCompressionLayer::new().layer(service);
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.headers()[CONTENT_ENCODING], coding);

        let mut body: std::pin::Pin<&mut CompressionBody<_>> = pin!(response.into_body());
        let mut cx = Context::from_waker(Waker::noop());
        let mut received = Vec::new();
        for n in 0..5 {
            let piece = format!("piece {n} of the stream; ");
            pieces.send_data(piece.clone().into()).await.unwrap();
            while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
                received.extend_from_slice(&frame.into_data().unwrap());
            }
            let decoded = decode_so_far(coding, &received);
            assert!(decoded.ends_with(piece.as_bytes()), "{coding}: {piece}");
        }
        assert!(!body.is_end_stream());
        drop(pieces);
        while let Some(frame) = body.frame().await {
            received.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert!(body.is_end_stream());
        assert_eq!(
            decode_so_far(coding, &received).len(),
            5 * "piece 0 of the stream; ".len()
        );
    }
}

/// Reads until the decoder wants more than there is.
fn decode_so_far(coding: &str, data: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut decoder: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(data)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(data)),
        "br" => Box::new(brotli::Decompressor::new(data, 64)),
        _ => Box::new(zstd::stream::read::Decoder::new(data).unwrap()),
    };
    let mut out = Vec::new();
    let mut byte = [0];
    while let Ok(1) = decoder.read(&mut byte) {
        out.push(byte[0]);
    }
    out
}

#[tokio::test]
async fn server_sent_events_are_left_alone() {
    let events = async || {
        let events =
            stream::iter(0..3).map(|n| Ok::<_, Infallible>(Event::default().data(n.to_string())));
        Sse::new(events.chain(stream::pending()))
    };
    let app = stack!().service(Router::new().route("/", get(events)));
    let response = app.oneshot(get_request("/")).await.unwrap();
    assert!(!response.headers().contains_key(CONTENT_ENCODING));
    let mut body = response.into_body();
    for n in 0..3 {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {n}\n\n"));
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let head = |app: Router| async move {
        let mut request = get_request("/text");
        *request.method_mut() = Method::HEAD;
        let response = app.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
        parts.headers
    };
    let ours = head(router().layer(ZeroCompressionLayer::new())).await;
    let theirs = head(router().layer(tower_http::compression::CompressionLayer::new())).await;
    assert_eq!(ours, theirs);
    assert!(!ours.contains_key(CONTENT_LENGTH));
}

/// A connection that changes its protocol, through the whole stack on a real server.
#[tokio::test]
async fn upgrades_pass_through() {
    async fn upgrade(request: Request<Body>) -> Response<Body> {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            let mut io = hyper_util::rt::TokioIo::new(upgraded);
            let mut bytes = [0; 5];
            io.read_exact(&mut bytes).await.unwrap();
            bytes.reverse();
            io.write_all(&bytes).await.unwrap();
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .version(Version::HTTP_11)
            .header("connection", "upgrade")
            .header("upgrade", "backwards")
            .body(Body::empty())
            .unwrap()
    }
    let app = Router::new().route("/", any(upgrade)).layer(stack!());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: backwards\r\n\
                   authorization: Bearer secret\r\naccept-encoding: gzip\r\n\r\nhello";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(!answer.contains("content-encoding"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nolleh"), "{answer}");
    server.abort();
}

/// A body dropped in the middle drops the body within, at once.
#[tokio::test]
async fn cancellation_reaches_the_body() {
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let app = {
        let dropped = Arc::clone(&dropped);
        Router::new().route(
            "/",
            get(async move || {
                let guard = Guard(Arc::clone(&dropped));
                let endless = stream::repeat_with(move || {
                    let _held = &guard;
                    Ok::<_, Infallible>(Bytes::from(text()))
                });
                Body::from_stream(endless)
            }),
        )
    };
    let app = stack!().service(app);
    for n in 1..4 {
        let mut response = app.clone().oneshot(get_request("/")).await.unwrap();
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), n - 1);
        drop(response);
        assert_eq!(dropped.load(Ordering::Relaxed), n);
    }
}

/// What people write in signatures: the layers' types can go to other threads and be shared.
#[test]
fn types_are_send_and_sync() {
    fn assert<T: Send + Sync>() {}
    type Inner = http_body_util::Full<Bytes>;
    assert::<CompressionBody<Inner>>();
    assert::<trace::ResponseBody<Inner, zero_tower_layers::classify::GrpcEosErrorsAsFailures>>();
    assert::<ZeroCorsLayer>();
    assert::<zero_tower_layers::cors::ZeroCors<Router>>();
    assert::<ZeroTraceLayer<trace::HttpMakeClassifier>>();
    assert::<ZeroCompressionLayer>();
    assert::<ZeroRequestIdLayer<MakeRequestUuid>>();
}
