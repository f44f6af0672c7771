//! The application that both serve: handlers that answer in every way there is, and tell what they saw.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;

pub(crate) fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/info", get(info).fallback(info))
        .route("/info/{*rest}", get(info))
        .route("/seen", post(info))
        .route(
            "/status/{code}",
            get(|status| async { (code(status), "x") }),
        )
        .route("/switch", get(|| async { StatusCode::SWITCHING_PROTOCOLS }))
        .route("/bare/{code}", get(|status| async { bare(status) }))
        .route("/reason", get(reason))
        .route("/says/1.0", get(|| async { says(Version::HTTP_10) }))
        .route("/says/2", get(|| async { says(Version::HTTP_2) }))
        .route("/headers", get(headers))
        .route(
            "/own",
            get(|| async { ([("date", "today"), ("content-length", "3")], "own") }),
        )
        .route(
            "/close",
            get(|| async { ([("connection", "close")], "bye") }),
        )
        .route(
            "/keep",
            get(|| async { ([("connection", "keep-alive")], "on") }),
        )
        .route("/stream", get(|| async { streamed(&["one", "", "two"]) }))
        .route("/stream/empty", get(|| async { streamed(&[]) }))
        .route("/trailers", get(trailers))
        .route(
            "/gzip",
            get(|| async { ([("transfer-encoding", "gzip")], streamed(&["zip"])) }),
        )
        .route(
            "/long",
            get(|| async { ([("content-length", "3")], streamed(&["longer"])) }),
        )
        .route(
            "/short",
            get(|| async { ([("content-length", "10")], streamed(&["abc"])) }),
        )
        .route("/says/3", get(|| async { says(Version::HTTP_3) }))
        .route(
            "/chunked",
            get(|| async { framed(&[("transfer-encoding", "chunked")]) }),
        )
        .route(
            "/both",
            get(|| async { framed(&[("content-length", "4"), ("transfer-encoding", "chunked")]) }),
        )
        .route(
            "/204/own",
            get(|| async { (StatusCode::NO_CONTENT, [("content-length", "4")]) }),
        )
        .route(
            "/length/other",
            get(|| async { framed(&[("content-length", "x")]) }),
        )
        .route(
            "/length/nothing",
            get(|| async { ([("content-length", "4")], Body::empty()) }),
        )
        .route(
            "/dates",
            get(|| async { framed(&[("date", "one"), ("date", "two")]) }),
        )
        .route("/connections", get(connections))
        .route("/cookies", get(cookies))
        .route("/trailers/secret", get(|| trailers_behind(&[], &["x-sum"])))
        .route(
            "/trailers/forbidden",
            get(|| {
                trailers_behind(
                    &[("trailer", "content-length, x-a")],
                    &["content-length", "x-a"],
                )
            }),
        )
        .route(
            "/trailers/length",
            get(|| trailers_behind(&[("trailer", "x-a"), ("content-length", "4")], &["x-a"])),
        )
        .route("/err/{pieces}", get(|pieces| async { fails_after(pieces) }))
        .route("/err/later", get(|| async { fails_later() }))
        .route("/panic", get(panics))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/echo/stream", post(|body: Body| async { body }))
        .route("/sum", post(sum))
        .route("/ignore", post(|| async { "ignored" }))
        .route("/ignore/later", post(ignores_later))
        .route("/slow/{ms}", get(slow))
        .route("/watched/{name}", any(watched))
}

/// The same, but every handler finds its request's body read: how much of an unread one had come when
/// it was answered must not decide what comes next.
pub(crate) fn reading_app() -> Router {
    app().layer(from_fn(read_first))
}

async fn read_first(request: Request, next: Next) -> Response<Body> {
    let (parts, body) = request.into_parts();
    match body.collect().await {
        Ok(body) => next.run(Request::from_parts(parts, Body::new(body))).await,
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// The request as an application sees it.
async fn info(request: Request) -> String {
    let (parts, body) = request.into_parts();
    let headers: HeaderMap = parts.headers;
    let hint = http_body::Body::size_hint(&body);
    let body = body.collect().await.map(|body| body.to_bytes().len());
    format!(
        "{} {} {:?} {headers:?} {:?}..{:?} {:?}",
        parts.method,
        parts.uri,
        parts.version,
        hint.lower(),
        hint.upper(),
        body.map_err(drop),
    )
}

fn code(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT)
}

fn bare(status: Path<u16>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code(status);
    response
}

async fn reason() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let reason = hyper::ext::ReasonPhrase::from_static(b"Quite All Right");
    response.extensions_mut().insert(reason);
    response
}

fn says(version: Version) -> Response<Body> {
    let mut response = Response::new(Body::from("said"));
    *response.version_mut() = version;
    response
}

async fn headers() -> impl IntoResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-b", "1"),
        ("set-cookie", "a"),
        ("x-a", "2"),
        ("set-cookie", "b"),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    headers.append("x-bytes", b"\xff".as_slice().try_into().unwrap());
    (headers, "many")
}

fn streamed(pieces: &'static [&'static str]) -> Body {
    let pieces = pieces.iter().map(|piece| Ok::<_, Infallible>(*piece));
    Body::from_stream(stream::iter(pieces))
}

fn framed(fields: &[(&'static str, &'static str)]) -> Response<Body> {
    let mut response = Response::new(streamed(&["data"]));
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        response.headers_mut().append(*name, value);
    }
    response
}

async fn connections() -> Response<Body> {
    framed(&[
        ("connection", "x-a"),
        ("connection", "Keep-Alive, x-b"),
        ("keep-alive", "timeout=5"),
        ("upgrade", "x"),
    ])
}

async fn cookies() -> Response<Body> {
    framed(&[
        ("set-cookie", "a=1"),
        ("x", "y"),
        ("set-cookie", "b=2"),
        ("set-cookie", "a=3"),
    ])
}

async fn trailers_behind(
    fields: &'static [(&'static str, &'static str)],
    names: &'static [&'static str],
) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    for name in names {
        trailers.insert(*name, HeaderValue::from_static("7"));
    }
    let mut response = framed(fields);
    let body = streamed(&["data"]).with_trailers(async { Some(Ok(trailers)) });
    *response.body_mut() = Body::new(body);
    response
}

/// So many pieces at once, and then an error.
fn fails_after(Path(pieces): Path<usize>) -> Body {
    let pieces = (0..pieces).map(|_| Ok("piece"));
    Body::from_stream(stream::iter(pieces.chain([Err("no further")])))
}

/// A piece, and some time later an error.
fn fails_later() -> Body {
    let later = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Err("no further")
    };
    Body::from_stream(stream::iter([Ok("piece")]).chain(stream::once(later)))
}

async fn panics() -> &'static str {
    // Without the hook's report.
    std::panic::resume_unwind(Box::new("this panic belongs to the test"))
}

/// What the request's body came to, trailers and error included.
async fn sum(body: Body) -> String {
    match body.collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned();
            format!("{} bytes, {trailers:?}", body.to_bytes().len())
        }
        Err(_) => "broken".to_owned(),
    }
}

async fn ignores_later(_body: Body) -> &'static str {
    tokio::time::sleep(Duration::from_millis(30)).await;
    "ignored"
}

async fn slow(Path(ms): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slow"
}

/// Reads its body, then waits for ever; tells what it has read, and when it is dropped.
async fn watched(Path(name): Path<String>, body: Body) -> &'static str {
    let guard = Watched(name);
    let read = body.collect().await.map(|body| body.to_bytes().len());
    guard.tell(&format!("read {:?}", read.map_err(drop)));
    std::future::pending::<()>().await;
    "never"
}

/// What handlers have told.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Watched(String);

impl Watched {
    fn tell(&self, what: &str) {
        TOLD.lock().unwrap().push(format!("{}: {what}", self.0));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tell("dropped");
    }
}

/// What handlers of this name have told so far.
pub(crate) fn told(name: &str) -> Vec<String> {
    let told = TOLD.lock().unwrap();
    let told = told
        .iter()
        .filter_map(|told| told.strip_prefix(name)?.strip_prefix(": "));
    told.map(str::to_owned).collect()
}

async fn trailers() -> impl IntoResponse {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    trailers.insert("x-unannounced", "8".parse().unwrap());
    let body = streamed(&["data"]).with_trailers(async { Some(Ok(trailers)) });
    ([("trailer", "x-sum")], Body::new(body))
}
