//! Each layer over zero-runtime's own requests, beside the same layer over `http`'s: what the service sees
//! and what the client gets must be the same. Last, all of them in a server.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use http::{Method, Request, Response, StatusCode, response};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, service_fn};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber, span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use zero_runtime::instrument::Reader;
use zero_runtime::{
    BackendChoice, Config, HttpOwnedRequest, Io, ResponseBody, ZeroResponse, ZeroRuntime,
};
use zero_tower_layers::auth::{ZeroAsyncAuthLayer, ZeroAuthLayer};
use zero_tower_layers::classify::{SharedClassifier, StatusInRangeAsFailures};
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::compression::predicate::SizeAbove;
use zero_tower_layers::cors::{AllowOrigin, ZeroCorsLayer};
use zero_tower_layers::normalize_path::ZeroNormalizePathLayer;
use zero_tower_layers::request_id::{
    MakeRequestId, MakeRequestUuid, RequestId, ZeroPropagateRequestIdLayer, ZeroRequestIdLayer,
    ZeroSetRequestIdLayer,
};
use zero_tower_layers::sensitive_headers::ZeroSensitiveHeadersLayer;
use zero_tower_layers::trace::{DefaultMakeSpan, DefaultOnResponse, ZeroTraceLayer};

// --- the same twice ---

/// What a service sees of a request, and what a client gets.
#[derive(Debug, PartialEq)]
struct Exchange {
    status: StatusCode,
    /// In their order, but for the body's type and for lines that replace others.
    headers: Vec<(String, String)>,
    /// Which tells what the service saw, unless it is compressed.
    body: Bytes,
}

/// Answers with what was seen, and with the response of the script.
fn answer(script: &str, seen: String) -> ZeroResponse {
    match script {
        "short" => ZeroResponse::ok().text(seen),
        "long" => ZeroResponse::ok().text(seen.repeat(100)),
        "image" => ZeroResponse::ok()
            .header("content-type", "image/png")
            .bytes(seen.repeat(100)),
        "encoded" => ZeroResponse::ok()
            .header("content-encoding", "x")
            .text(seen.repeat(100)),
        "vary" => ZeroResponse::ok()
            .header("vary", "Accept-Encoding")
            .header("x-request-id", "theirs")
            .header("access-control-allow-origin", "theirs")
            .text(seen.repeat(100)),
        "cookie" => ZeroResponse::ok()
            .header("set-cookie", "a=b")
            .header("set-cookie", "c=d"),
        "empty" => ZeroResponse::status(StatusCode::NO_CONTENT),
        "broken" => ZeroResponse::status(StatusCode::INTERNAL_SERVER_ERROR).text(seen),
        other => panic!("no script {other:?}"),
    }
}

fn seen<'a>(
    method: &str,
    target: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> String {
    let lines = headers.map(|(name, value)| {
        let value = String::from_utf8_lossy(value);
        format!("{}: {value}", name.to_ascii_lowercase())
    });
    format!("{method} {target} {:?}", lines.collect::<Vec<_>>())
}

fn owned_service(
    script: &'static str,
) -> impl Service<
    HttpOwnedRequest,
    Response = ZeroResponse,
    Error = Infallible,
    Future = Ready<Result<ZeroResponse, Infallible>>,
> + Clone {
    service_fn(move |request: HttpOwnedRequest| {
        let query = request
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        let target = format!("{}{query}", request.path());
        let seen = seen(request.method(), &target, request.headers());
        ready(Ok(answer(script, seen)))
    })
}

fn http_service(
    script: &'static str,
) -> impl Service<
    Request<String>,
    Response = Response<ResponseBody>,
    Error = Infallible,
    Future = Ready<Result<Response<ResponseBody>, Infallible>>,
> + Clone {
    service_fn(move |request: Request<String>| {
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let target = request
            .uri()
            .path_and_query()
            .map_or("", |target| target.as_str());
        let seen = seen(request.method().as_str(), target, headers);
        ready(Ok(answer(script, seen).into()))
    })
}

fn gathered<B: Body<Data = Bytes>>(response: Response<B>) -> Exchange {
    let (head, body) = response.into_parts();
    // A server does not ask a body for more that has said it has ended.
    if body.is_end_stream() {
        return exchange(head, Bytes::new());
    }
    let collected = body
        .collect()
        .now_or_never()
        .expect("a body that does not wait");
    let Ok(collected) = collected else {
        panic!("a body that breaks off");
    };
    exchange(head, collected.to_bytes())
}

fn exchange(head: response::Parts, body: Bytes) -> Exchange {
    let mut headers: Vec<_> = head
        .headers
        .iter()
        // The server's to set, of either kind of response.
        .filter(|(name, _)| *name != "content-length")
        .map(|(name, value)| (name.to_string(), format!("{value:?}")))
        .collect();
    // Lines of one name stand together, as in `http`'s maps. The type of its body a `ZeroResponse` keeps apart, and
    // says it last.
    let names: Vec<_> = headers.iter().map(|(name, _)| name.clone()).collect();
    headers.sort_by_key(|(name, _)| {
        let first = names.iter().position(|first| first == name);
        (name == "content-type", first)
    });
    Exchange {
        status: head.status,
        headers,
        body,
    }
}

fn head(line: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{line} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

/// Sends `head` through a layer over services of either kind, which answer by `script`; the exchange, once
/// it is known to be the same.
macro_rules! same {
    ($layer:expr, $script:expr, $head:expr) => {{
        let head = $head;
        let request = Reader::new().read_owned(head.as_bytes());
        let service = Layer::layer(&$layer, owned_service($script));
        let response = service.oneshot(request).now_or_never().expect("at once");
        let mut owned = gathered(Response::<ResponseBody>::from(response.unwrap()));

        let request = Reader::new().read(head.as_bytes());
        let request = Request::from_parts(request, String::new());
        let service = Layer::layer(&$layer, http_service($script));
        let response = service.oneshot(request).now_or_never().expect("at once");
        let mut http = gathered(response.unwrap());
        // A line that takes another's place stands there in a map, and behind the others in a `ZeroResponse`.
        if $script == "vary" {
            owned.headers.sort();
            http.headers.sort();
        }
        assert_eq!(owned, http, "{head} {}", $script);
        owned
    }};
}

impl Exchange {
    fn has(&self, name: &str, value: &str) -> bool {
        let value = format!("{value:?}");
        self.headers.iter().any(|(n, v)| n == name && *v == value)
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

const SCRIPTS: [&str; 8] = [
    "short", "long", "image", "encoded", "vary", "cookie", "empty", "broken",
];

// --- layer by layer ---

#[test]
fn cors() {
    let origins = [
        HeaderValue::from_static("http://a"),
        HeaderValue::from_static("http://b"),
    ];
    let asked = AllowOrigin::predicate(|origin, parts| {
        origin == "http://a" && parts.uri.path() == "/" && parts.headers.contains_key("host")
    });
    let waited = AllowOrigin::async_predicate(|origin, _| async move { origin == "http://a" });
    let layers = [
        ZeroCorsLayer::new(),
        ZeroCorsLayer::permissive(),
        ZeroCorsLayer::very_permissive(),
        ZeroCorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::PUT])
            .allow_headers([COOKIE])
            .expose_headers([SET_COOKIE])
            .allow_private_network(true)
            .max_age(Duration::from_secs(9)),
        ZeroCorsLayer::new().allow_origin(asked).vary([COOKIE]),
        ZeroCorsLayer::new().allow_origin(waited),
    ];
    let heads = [
        head("GET /", &[]),
        head("GET /", &["Origin: http://a"]),
        head("GET /", &["Origin: http://c"]),
        head(
            "GET /",
            &[
                "Origin: http://b",
                "Access-Control-Request-Private-Network: true",
            ],
        ),
        head(
            "OPTIONS /",
            &[
                "Origin: http://a",
                "Access-Control-Request-Method: PUT",
                "Access-Control-Request-Headers: x-a,x-b",
                "Access-Control-Request-Private-Network: true",
            ],
        ),
    ];
    for layer in &layers {
        for head in &heads {
            for script in ["short", "vary", "empty"] {
                same!(layer.clone(), script, head);
            }
        }
    }
    let allowed = same!(layers[4].clone(), "short", &heads[1]);
    assert!(allowed.has("access-control-allow-origin", "http://a"));
    let preflight = same!(layers[2].clone(), "short", &heads[4]);
    assert!(preflight.has("access-control-allow-headers", "x-a,x-b"));
    assert!(preflight.body.is_empty());
}

#[test]
fn auth() {
    let authorized = |value| head("GET /", &[&format!("Authorization: {value}")]);
    assert_eq!(
        same!(
            ZeroAuthLayer::bearer("secret"),
            "short",
            authorized("Bearer secret")
        )
        .status,
        200
    );
    for refused in [
        head("GET /", &[]),
        authorized("Bearer secre"),
        authorized("bearer secret"),
    ] {
        let refused = same!(ZeroAuthLayer::bearer("secret"), "short", refused);
        assert_eq!(refused.status, 401);
        assert!(refused.has("www-authenticate", "Bearer"));
    }
    let silent = same!(
        ZeroAuthLayer::bearer("secret").without_challenge(),
        "short",
        head("GET /", &[])
    );
    assert!(silent.headers.is_empty());
    let basic = same!(
        ZeroAuthLayer::basic("a", "b"),
        "short",
        authorized("Basic YTpi")
    );
    assert_eq!(basic.status, 200);

    for (accept, status) in [
        (vec![], 200),
        (vec!["Accept: text/html, application/*;q=0.5"], 200),
        (vec!["Accept: text/html", "Accept: */*"], 200),
        (vec!["Accept: text/html"], 406),
    ] {
        let answered = same!(
            ZeroAuthLayer::accept("application/json"),
            "short",
            head("GET /", &accept)
        );
        assert_eq!(answered.status, status, "{accept:?}");
    }
    for (field, status) in [("X-Key: 7", 200), ("X-Key: 8", 403), ("X-Kex: 7", 403)] {
        assert_eq!(
            same!(
                ZeroAuthLayer::has_header_value("x-key", "7").unwrap(),
                "short",
                head("GET /", &[field])
            )
            .status,
            status
        );
    }
}

#[test]
fn a_check_of_ones_own() {
    let layer = ZeroAuthLayer::custom(|request: &mut HttpOwnedRequest| match request.path() {
        "/open" => Ok(()),
        _ => Err(ZeroResponse::not_found()),
    });
    for (path, status) in [("/open", 200), ("/closed", 404)] {
        let request = Reader::new().read_owned(head(&format!("GET {path}"), &[]).as_bytes());
        let service = layer.layer(owned_service("short"));
        let response = service.oneshot(request).now_or_never().unwrap().unwrap();
        assert_eq!(response.status_code(), status);
    }
}

/// A check that waits before it answers, and may give the request something to go on with.
#[test]
fn a_check_that_waits() {
    let layer = ZeroAsyncAuthLayer::new(async |mut request: HttpOwnedRequest| {
        tokio::task::yield_now().await;
        match request.header("authorization") {
            Some("Bearer secret") => {
                let user = HeaderName::from_static("x-user");
                request.append_header(&user, &HeaderValue::from_static("7"));
                Ok(request)
            }
            _ => Err(ZeroResponse::status(StatusCode::UNAUTHORIZED).text("who?")),
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ask = |fields: &[&str]| {
        let request = Reader::new().read_owned(head("GET /", fields).as_bytes());
        let service = layer.layer(owned_service("short"));
        let response = runtime.block_on(service.oneshot(request)).unwrap();
        gathered(Response::<ResponseBody>::from(response))
    };
    let refused = ask(&["Authorization: Bearer other"]);
    assert_eq!(
        (refused.status, refused.text()),
        (StatusCode::UNAUTHORIZED, "who?")
    );
    let passed = ask(&["Authorization: Bearer secret"]);
    assert_eq!(passed.status, 200);
    assert!(passed.text().contains("x-user: 7"), "{}", passed.text());
}

/// The service that was ready is the one that is called, and the one that stays is its clone.
#[test]
fn the_service_that_was_ready_waits_for_the_check() {
    let mut service = ZeroAsyncAuthLayer::new(|request| ready(Ok(request))).layer(
        tower::limit::ConcurrencyLimit::new(owned_service("short"), 1),
    );
    let request = || Reader::new().read_owned(head("GET /", &[]).as_bytes());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let first = service.call(request());
    // Its place is taken until it is done.
    assert!(service.poll_ready(&mut cx).is_pending());
    assert!(first.now_or_never().unwrap().is_ok());
    assert!(service.poll_ready(&mut cx).is_ready());
}

#[test]
fn compression() {
    let accepts = [
        "gzip, deflate, br, zstd",
        "gzip",
        "br;q=0.5, identity",
        "*;q=0",
        "identity;q=0, x",
        "gzip;q=2",
    ];
    let heads: Vec<_> = accepts
        .iter()
        .map(|accept| head("GET /", &[&format!("Accept-Encoding: {accept}")]))
        .chain([head("GET /", &[])])
        .collect();
    for script in SCRIPTS {
        for head in &heads {
            same!(ZeroCompressionLayer::new(), script, head);
            let picky = ZeroCompressionLayer::new().compress_when(SizeAbove::new(1 << 20));
            same!(picky, script, head);
            let asked = ZeroCompressionLayer::new().compress_when(
                |status: StatusCode,
                 _: http::Version,
                 headers: &http::HeaderMap,
                 _: &http::Extensions| {
                    status.is_success() && !headers.contains_key("set-cookie")
                },
            );
            same!(asked, script, head);
        }
    }
    let long = same!(ZeroCompressionLayer::new(), "long", &heads[0]);
    assert!(long.has("content-encoding", "zstd") && long.has("vary", "accept-encoding"));
    assert_eq!(
        &long.body[..4],
        [0x28, 0xb5, 0x2f, 0xfd],
        "zstd's magic number"
    );
    assert_eq!(
        same!(ZeroCompressionLayer::new(), "long", &heads[3]).status,
        406
    );
}

#[derive(Clone)]
struct ByPath;

impl MakeRequestId for ByPath {
    fn make_request_id<B>(&mut self, request: &Request<B>) -> Option<RequestId> {
        let id = HeaderValue::from_str(request.uri().path()).ok()?;
        (id != "/none").then(|| RequestId::new(id))
    }
}

#[test]
fn request_ids() {
    let heads = [
        head("GET /seven", &[]),
        head("GET /none", &[]),
        head("GET /seven", &["X-Request-Id: mine"]),
    ];
    for head in &heads {
        for script in ["short", "vary", "empty"] {
            same!(ZeroRequestIdLayer::x_request_id(ByPath), script, head);
            same!(ZeroSetRequestIdLayer::x_request_id(ByPath), script, head);
            same!(ZeroPropagateRequestIdLayer::x_request_id(), script, head);
        }
    }
    let made = same!(ZeroRequestIdLayer::x_request_id(ByPath), "short", &heads[0]);
    assert!(made.has("x-request-id", "/seven") && made.text().contains("x-request-id: /seven"));
    let kept = same!(ZeroRequestIdLayer::x_request_id(ByPath), "short", &heads[2]);
    assert!(kept.has("x-request-id", "mine"));

    let layer = ZeroRequestIdLayer::x_request_id(MakeRequestUuid);
    let request = Reader::new().read_owned(heads[0].as_bytes());
    let response = layer.layer(owned_service("short")).oneshot(request);
    let response = response.now_or_never().unwrap().unwrap();
    let id = response.header_bytes(&HeaderName::from_static("x-request-id"));
    assert_eq!(id.unwrap().len(), 36);
}

#[test]
fn normalized_paths() {
    for target in [
        "/",
        "/a",
        "/a/",
        "/a/?b=c/",
        "//a//b//",
        "//",
        "/a?b",
        "http://h/a/?b",
    ] {
        let head = head(&format!("GET {target}"), &[]);
        same!(
            ZeroNormalizePathLayer::trim_trailing_slash(),
            "short",
            &head
        );
        same!(
            ZeroNormalizePathLayer::append_trailing_slash(),
            "short",
            &head
        );
    }
    let trimmed = same!(
        ZeroNormalizePathLayer::trim_trailing_slash(),
        "short",
        head("GET /a/?b=c/", &[])
    );
    assert!(trimmed.text().starts_with("GET /a?b=c/ "));
}

#[test]
fn sensitive_headers() {
    let layer = || ZeroSensitiveHeadersLayer::new([COOKIE, SET_COOKIE]);
    let marked = same!(layer(), "cookie", head("GET /", &["Cookie: a=b"]));
    let shown: Vec<_> = marked
        .headers
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(shown, ["Sensitive", "Sensitive"]);
    same!(layer(), "short", head("GET /", &[]));

    // What lies further in sees the marks of the request, in whichever types it looks.
    let inner = service_fn(async |request: HttpOwnedRequest| {
        assert!(request.header_value(&COOKIE).unwrap().is_sensitive());
        assert!(request.into_http().unwrap().headers()[COOKIE].is_sensitive());
        Ok::<_, Infallible>(ZeroResponse::ok())
    });
    let request = Reader::new().read_owned(head("GET /", &["Cookie: a=b"]).as_bytes());
    let answered = layer().layer(inner).oneshot(request).now_or_never();
    assert_eq!(answered.unwrap().unwrap().status_code(), 200);
}

// --- traces ---

/// What a subscriber is told, but for durations.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn tell(&self, level: &Level, target: &str, fields: impl FnOnce(&mut Text)) {
        let mut text = Text(format!("{level} {target}"));
        fields(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if !["latency", "stream_duration"].contains(&field.name()) {
            self.0 += &format!(" {field}={value:?}");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Told {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let span = attributes.metadata();
        self.tell(span.level(), span.target(), |text| attributes.record(text));
    }

    fn on_event(&self, event: &tracing::Event<'_>, cx: Context<'_, S>) {
        let of = event.metadata();
        self.tell(of.level(), of.target(), |text| {
            event.record(text);
            text.0 += &format!(" in {:?}", cx.event_span(event).map(|span| span.name()));
        });
    }
}

/// What a subscriber of this level is told of the exchange by the layer over either kind of request.
macro_rules! traced {
    ($level:ident, $layer:expr, $script:expr, $head:expr) => {{
        let told = [Told::default(), Told::default()];
        let subscriber = |told: &Told| {
            tracing_subscriber::registry()
                .with(LevelFilter::$level)
                .with(told.clone())
        };
        tracing::subscriber::with_default(subscriber(&told[0]), || {
            let request = Reader::new().read_owned($head.as_bytes());
            let service = Layer::layer(&$layer, owned_service($script));
            let response = service.oneshot(request).now_or_never().unwrap();
            gathered(Response::<ResponseBody>::from(response.unwrap()))
        });
        tracing::subscriber::with_default(subscriber(&told[1]), || {
            let request = Reader::new().read($head.as_bytes());
            let service = Layer::layer(&$layer, http_service($script));
            let request = Request::from_parts(request, String::new());
            gathered(service.oneshot(request).now_or_never().unwrap().unwrap())
        });
        let [owned, http] = told.map(|told| std::mem::take(&mut *told.0.lock().unwrap()));
        assert_eq!(owned, http, "{}", $script);
        owned
    }};
}

#[test]
fn traces() {
    let head = head("GET /a?b", &["Cookie: a=b"]);
    for script in SCRIPTS {
        traced!(DEBUG, ZeroTraceLayer::new_for_http(), script, head);
        traced!(INFO, ZeroTraceLayer::new_for_http(), script, head);
        traced!(INFO, ZeroTraceLayer::new_for_grpc(), script, head);
        traced!(OFF, ZeroTraceLayer::new_for_http(), script, head);
        let shown = || {
            ZeroTraceLayer::new(SharedClassifier::new(StatusInRangeAsFailures::new(
                200..=299,
            )))
            .make_span_with(
                DefaultMakeSpan::new()
                    .level(Level::INFO)
                    .include_headers(true),
            )
            .on_response(
                DefaultOnResponse::new()
                    .level(Level::INFO)
                    .include_headers(true),
            )
        };
        traced!(INFO, shown(), script, head);
    }
    let told = traced!(DEBUG, ZeroTraceLayer::new_for_http(), "broken", head);
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(told[0].contains("uri=/a?b"), "{told:#?}");
    let failed = traced!(INFO, ZeroTraceLayer::new_for_http(), "broken", head);
    assert!(
        failed[0].starts_with("ERROR") && failed[0].contains("500"),
        "{failed:#?}"
    );
    assert!(traced!(INFO, ZeroTraceLayer::new_for_http(), "short", head).is_empty());
}

#[test]
fn a_trace_shows_no_header_that_was_marked() {
    let told = traced!(
        INFO,
        ServiceBuilder::new()
            .layer(ZeroSensitiveHeadersLayer::new([COOKIE]))
            .layer(
                ZeroTraceLayer::new_for_http().make_span_with(
                    DefaultMakeSpan::new()
                        .level(Level::INFO)
                        .include_headers(true)
                )
            ),
        "short",
        head("GET /", &["Cookie: secret"])
    );
    assert!(
        told[0].contains("Sensitive") && !told[0].contains("secret"),
        "{told:#?}"
    );
}

// --- in a server ---

#[test]
fn all_of_them_in_a_server() {
    let config = Config::default()
        .shards(1)
        .workers(1)
        .backend(BackendChoice::IoUring);
    let served = Io::new(config).and_then(|mut io| {
        io.http_listen(([127, 0, 0, 1], 0).into())?;
        let app = ServiceBuilder::new()
            .layer(ZeroNormalizePathLayer::trim_trailing_slash())
            .layer(ZeroSensitiveHeadersLayer::new([COOKIE]))
            .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(ZeroTraceLayer::new_for_http())
            .layer(ZeroCompressionLayer::new())
            .layer(ZeroCorsLayer::permissive())
            .layer(ZeroAuthLayer::bearer("secret"))
            .service(service_fn(async |request: HttpOwnedRequest| {
                assert_eq!(request.path(), "/a");
                Ok::<_, Infallible>(ZeroResponse::ok().text("0123456789".repeat(100)))
            }));
        ZeroRuntime::new(io).run_tower(app)
    });
    let server = match served {
        Ok(server) => server,
        Err(error) => {
            eprintln!("SKIPPED: io_uring is refused: {error}");
            return;
        }
    };
    let mut stream = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut ask = |fields: &str| {
        write!(stream, "GET /a/ HTTP/1.1\r\nHost: h\r\n{fields}\r\n").unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while !answer.ends_with(b"\r\n0\r\n\r\n") && !answer.ends_with(b"length: 0\r\n\r\n") {
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "the connection ended");
            answer.extend_from_slice(&piece[..n]);
            if answer.windows(4).any(|end| end == b"\r\n\r\n")
                && answer.starts_with(b"HTTP/1.1 401")
            {
                break;
            }
        }
        String::from_utf8_lossy(&answer).to_lowercase()
    };
    let refused = ask("");
    assert!(refused.starts_with("http/1.1 401"), "{refused}");
    let answer = ask("Authorization: Bearer secret\r\nAccept-Encoding: gzip\r\n");
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    for field in [
        "content-encoding: gzip\r\n",
        "vary: accept-encoding\r\n",
        "access-control-allow-origin: *\r\n",
        "x-request-id: ",
        "content-type: text/plain",
    ] {
        assert!(answer.contains(field), "{field}{answer}");
    }
}
