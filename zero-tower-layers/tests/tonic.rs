//! The layers around a tonic service, called by tonic's client: messages, streams, statuses in trailers and
//! in heads; and what traces make of them, beside tower-http's. No protocol compiler: messages are text.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use tower::{Layer, ServiceBuilder, service_fn};
use tracing::Span;
use zero_tower_layers::auth::ZeroAuthLayer;
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::compression::predicate::SizeAbove;
use zero_tower_layers::cors::ZeroCorsLayer;
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{MakeRequestUuid, ZeroRequestIdLayer};
use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
use zero_tower_layers::trace::ZeroTraceLayer;

// --- messages that are text ---

#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Text;
    type Decoder = Text;

    fn encoder(&mut self) -> Text {
        Text
    }

    fn decoder(&mut self) -> Text {
        Text
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let message = from.copy_to_bytes(from.remaining());
        let text = String::from_utf8(message.into());
        text.map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

// --- the service ---

/// `/words/upper` answers with one message, `/words/split` with one for each word. The word "fail" fails.
async fn words(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut server = tonic::server::Grpc::new(Text);
    Ok(match request.uri().path() {
        "/words/upper" => server.unary(service_fn(upper), request).await,
        "/words/split" => server.server_streaming(service_fn(split), request).await,
        _ => Status::unimplemented("no such method").into_http(),
    })
}

async fn upper(text: tonic::Request<String>) -> Result<tonic::Response<String>, Status> {
    word(text.get_ref()).map(tonic::Response::new)
}

type Words = BoxStream<'static, Result<String, Status>>;

async fn split(text: tonic::Request<String>) -> Result<tonic::Response<Words>, Status> {
    let words: Vec<_> = text.get_ref().split(' ').map(word).collect();
    Ok(tonic::Response::new(stream::iter(words).boxed()))
}

fn word(text: &str) -> Result<String, Status> {
    match text {
        "fail" => Err(Status::invalid_argument("told to")),
        word => Ok(word.to_uppercase()),
    }
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(method)
}

/// What a client gets: messages, then its status.
async fn call<S>(service: S, method: &'static str, text: &str) -> (Vec<String>, Code)
where
    S: GrpcService<Body>,
    S::ResponseBody: Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
    S::Error: Debug,
{
    let mut client = tonic::client::Grpc::new(service);
    client.ready().await.unwrap();
    let request = tonic::Request::new(text.to_owned());
    let mut messages = Vec::new();
    let mut stream = match client.server_streaming(request, path(method), Text).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (messages, status.code()),
    };
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Code::Ok),
            Err(status) => return (messages, status.code()),
        }
    }
}

#[tokio::test]
async fn all_seven_around_a_tonic_service() {
    let service = ServiceBuilder::new()
        .layer(ZeroNormalizePathLayer::trim_trailing_slash())
        .layer(ZeroSensitiveHeadersLayer::new([AUTHORIZATION, COOKIE]))
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(ZeroTraceLayer::new_for_grpc())
        .layer(ZeroCompressionLayer::new())
        .layer(ZeroCorsLayer::permissive())
        .layer(ZeroAuthLayer::bearer("secret"))
        .service_fn(words);

    let mut client = tonic::client::Grpc::new(service.clone());
    client.ready().await.unwrap();
    let long = "many words ".repeat(200);
    let mut request = tonic::Request::new(long.clone());
    let metadata = request.metadata_mut();
    metadata.insert("authorization", "Bearer secret".parse().unwrap());
    metadata.insert("accept-encoding", "gzip".parse().unwrap());
    // The slash at the end is not the service's.
    let response = client.unary(request, path("/words/upper/"), Text).await;
    let response = response.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap().len(), 36);
    assert_eq!(
        response
            .metadata()
            .get("access-control-allow-origin")
            .unwrap(),
        "*"
    );
    // gRPC compresses by itself, message by message.
    assert!(response.metadata().get("content-encoding").is_none());
    assert_eq!(*response.get_ref(), long.to_uppercase());

    let (messages, code) = call(service, "/words/upper", "no token").await;
    assert_eq!((messages, code), (Vec::new(), Code::Unauthenticated));
}

#[tokio::test]
async fn streams_and_their_statuses_pass() {
    let service = ServiceBuilder::new()
        .layer(ZeroTraceLayer::new_for_grpc())
        .layer(ZeroCompressionLayer::new())
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
        .service_fn(words);
    let split = call(service.clone(), "/words/split", "a b c").await;
    assert_eq!(
        split,
        (["A", "B", "C"].map(String::from).to_vec(), Code::Ok)
    );
    let failed = call(service.clone(), "/words/split", "a fail c").await;
    assert_eq!(failed, (vec![String::from("A")], Code::InvalidArgument));
    let refused = call(service.clone(), "/words/upper", "fail").await;
    assert_eq!(refused, (Vec::new(), Code::InvalidArgument));
    let unknown = call(service, "/words/none", "a").await;
    assert_eq!(unknown, (Vec::new(), Code::Unimplemented));
}

/// Compressed as a whole, which nobody does to gRPC but may: the trailers come behind the last of it.
#[tokio::test]
async fn trailers_come_behind_a_compressed_body() {
    let layer = ZeroCompressionLayer::new().compress_when(SizeAbove::new(0));
    let service = layer.layer(service_fn(words));
    let mut message = vec![0, 0, 0, 0, 5];
    message.extend(b"a b c");
    let request = Request::builder()
        .uri("/words/split")
        .header(CONTENT_TYPE, "application/grpc")
        .header("accept-encoding", "zstd")
        .body(Body::new(http_body_util::Full::from(message)));
    let response = tower::ServiceExt::oneshot(service, request.unwrap()).await;
    let response = response.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    let decoded = zstd::decode_all(&body.to_bytes()[..]).unwrap();
    assert_eq!(decoded, b"\0\0\0\0\x01A\0\0\0\0\x01B\0\0\0\0\x01C");
}

// --- traces ---

type Log = Arc<Mutex<Vec<String>>>;

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// A layer for gRPC that writes down what its hooks are told. The two crates' hooks take the same arguments.
macro_rules! traced {
    ($layer:ty, $log:expr) => {{
        let log: &Log = $log;
        let write = || {
            let log = Arc::clone(log);
            move |line: String| log.lock().unwrap().push(line)
        };
        let (response, chunk, eos, failure) = (write(), write(), write(), write());
        <$layer>::new_for_grpc()
            .on_response(move |answer: &Response<Body>, _: Duration, _: &Span| {
                response(format!(
                    "head, grpc-status {:?}",
                    answer.headers().get("grpc-status")
                ));
            })
            .on_body_chunk(move |data: &bytes::Bytes, _: Duration, _: &Span| {
                chunk(format!("{} bytes", data.len()));
            })
            .on_eos(move |trailers: Option<&HeaderMap>, _: Duration, _: &Span| {
                let status = trailers.and_then(|trailers| trailers.get("grpc-status"));
                eos(format!("end, grpc-status {status:?}"));
            })
            .on_failure(move |class, _: Duration, _: &Span| failure(format!("failed: {class}")))
    }};
}

#[tokio::test]
async fn traces_learn_a_calls_end_from_its_head_or_trailers() {
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            "/words/upper",
            "a",
            &[
                "head, grpc-status None",
                "6 bytes",
                "end, grpc-status Some(\"0\")",
            ],
        ),
        (
            "/words/split",
            "a b",
            &[
                "head, grpc-status None",
                "12 bytes",
                "end, grpc-status Some(\"0\")",
            ],
        ),
        (
            "/words/split",
            "a fail",
            &[
                "head, grpc-status None",
                "6 bytes",
                "failed: Status: InvalidArgument: told to",
                "end, grpc-status Some(\"3\")",
            ],
        ),
        (
            "/words/upper",
            "fail",
            &[
                "head, grpc-status Some(\"3\")",
                "failed: Status: InvalidArgument: told to",
            ],
        ),
        (
            "/words/none",
            "a",
            &[
                "head, grpc-status Some(\"12\")",
                "failed: Status: Unimplemented: no such method",
            ],
        ),
    ];
    for (method, text, told) in cases {
        let (ours, theirs) = (Log::default(), Log::default());
        let our_layer = traced!(ZeroTraceLayer<_>, &ours);
        let their_layer = traced!(tower_http::trace::TraceLayer<_>, &theirs);
        let our_answer = call(our_layer.layer(service_fn(words)), method, text).await;
        let their_answer = call(their_layer.layer(service_fn(words)), method, text).await;
        assert_eq!(our_answer, their_answer, "{method} {text}");
        let ours = take(&ours);
        assert_eq!(ours, take(&theirs), "{method} {text}");
        assert_eq!(ours, told, "{method} {text}");
    }
}

/// A client may stop reading: nothing is said of the end of what did not end.
#[tokio::test]
async fn a_call_given_up_has_no_end() {
    let log = Log::default();
    let service = traced!(ZeroTraceLayer<_>, &log).layer(service_fn(words));
    let mut message = vec![0, 0, 0, 0, 3];
    message.extend(b"a b");
    let request = Request::builder()
        .uri("/words/split")
        .body(Body::new(http_body_util::Full::from(message)));
    let response = tower::ServiceExt::oneshot(service, request.unwrap()).await;
    let response = response.unwrap();
    assert!(!response.body().is_end_stream());
    drop(response);
    assert_eq!(take(&log), ["head, grpc-status None"]);
}
