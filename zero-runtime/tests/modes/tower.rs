//! `run_tower` under tower's own layers, and with http-typed ones, wherever it may poll; `run_async` on its workers.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::{ServiceBuilder, service_fn};
use tower_http::set_header::SetResponseHeaderLayer;
use zero_runtime::router::Router;
use zero_runtime::tower_http_compat::HttpLayer;
use zero_runtime::{Config, Dispatch, HttpOwnedRequest, ShutdownHandle, StatusCode, ZeroResponse};

use crate::client::Client;
use crate::listening;
use crate::patience::eventually;

const GET: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: h\r\n\r\n";

/// Where a service may be polled first: by turns, each told with a service of its own.
const WAYS: [Dispatch; 3] = [Dispatch::Inline, Dispatch::Adaptive, Dispatch::Workers];

/// With `Adaptive` a class is on the shard after its first poll, and stays there however slow the machine is.
fn config(way: Dispatch) -> Config {
    let config = Config::default().dispatch(way).inline_streak(1);
    config.inline_poll_max(Duration::from_secs(3600))
}

/// Requires that every class of requests that was asked for is polled on the shard from now on.
fn all_are_polled_on_the_shard(handle: &ShutdownHandle) {
    let stats = handle.stats();
    assert!(stats.promotions > 0);
    assert_eq!(
        (stats.classes_inline, stats.classes_on_workers),
        (stats.promotions, 0)
    );
    assert_eq!(stats.demotions, 0);
}

/// Serves a tower service for as long as `test` runs, polled first by each [`Dispatch`]: by `Adaptive` on workers,
/// and then, the same story once more, on the shard.
macro_rules! serving {
    ($service:expr, $test:expr) => {{
        for way in WAYS {
            eprintln!("{way:?}");
            let (runtime, client) = listening(config(way));
            let handle = runtime.run_tower($service).unwrap();
            let test: fn(Client) = $test;
            test(client);
            if way == Dispatch::Adaptive {
                all_are_polled_on_the_shard(&handle);
                test(client);
                all_are_polled_on_the_shard(&handle);
            }
            handle.shutdown();
            handle.wait().unwrap();
        }
    }};
}

/// Answers at once, or never.
async fn app(request: HttpOwnedRequest) -> Result<ZeroResponse, Infallible> {
    if request.path() == "/slow" {
        std::future::pending().await
    }
    Ok(ZeroResponse::ok().text("done"))
}

/// A layer's failure as the response that suits it.
async fn or_unavailable(
    answered: Result<ZeroResponse, tower::BoxError>,
) -> Result<ZeroResponse, tower::BoxError> {
    Ok(answered.unwrap_or_else(|_| ZeroResponse::status(StatusCode::SERVICE_UNAVAILABLE)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_answered_with_500_or_as_a_layer_says() {
    let service = || {
        let timeout = Duration::from_millis(50);
        ServiceBuilder::new().timeout(timeout).service_fn(app)
    };
    serving!(service(), |client| {
        assert_eq!(client.ask(GET).status, 200);
        assert_eq!(client.ask(SLOW).status, 500);
        assert_eq!(client.ask(GET).status, 200);
    });
    let service = || {
        ServiceBuilder::new()
            .then(or_unavailable)
            .timeout(Duration::from_millis(50))
            .service_fn(app)
    };
    serving!(service(), |client| assert_eq!(client.ask(SLOW).status, 503));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_makes_requests_wait_and_shedding_turns_them_away() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    let counted = async |_: HttpOwnedRequest| {
        assert_eq!(RUNNING.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
        tokio::time::sleep(Duration::from_millis(20)).await;
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        Ok::<_, Infallible>(ZeroResponse::ok())
    };
    let service = || {
        ServiceBuilder::new()
            .layer(GlobalConcurrencyLimitLayer::new(1))
            .service_fn(counted)
    };
    serving!(service(), |client| {
        assert_eq!(client.ask(GET).status, 200);
        let mut conns: Vec<_> = (0..4).map(|_| client.connect()).collect();
        conns.iter_mut().for_each(|conn| conn.send(GET));
        assert!(conns.iter_mut().all(|conn| conn.answer().status == 200));
    });
    static ENTERED: AtomicBool = AtomicBool::new(false);
    static GO: Semaphore = Semaphore::const_new(0);
    let held = async |request: HttpOwnedRequest| {
        if request.path() == "/slow" {
            ENTERED.store(true, Ordering::SeqCst);
            GO.acquire().await.unwrap().forget();
        }
        Ok::<_, Infallible>(ZeroResponse::ok())
    };
    let service = || {
        ServiceBuilder::new()
            .then(or_unavailable)
            .load_shed()
            .layer(ConcurrencyLimitLayer::new(1))
            .service_fn(held)
    };
    serving!(service(), |client| {
        ENTERED.store(false, Ordering::SeqCst);
        assert_eq!(client.ask(GET).status, 200);
        let mut first = client.connect();
        first.send(SLOW);
        eventually("the first is let in", || ENTERED.load(Ordering::SeqCst));
        assert_eq!(client.ask(GET).status, 503);
        GO.add_permits(1);
        assert_eq!(first.answer().status, 200);
        assert_eq!(client.ask(GET).status, 200);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffer_and_a_rate_limit_hold_requests_back() {
    let service = || {
        ServiceBuilder::new()
            .buffer(16)
            .rate_limit(2, Duration::from_millis(100))
            .service_fn(app)
    };
    serving!(service(), |client| {
        // What was asked before counts towards no rate any more.
        std::thread::sleep(Duration::from_millis(100));
        let started = std::time::Instant::now();
        let mut conns: Vec<_> = (0..5).map(|_| client.connect()).collect();
        conns.iter_mut().for_each(|conn| conn.send(GET));
        assert!(conns.iter_mut().all(|conn| conn.answer().status == 200));
        // Two at once, two after a tenth of a second, one after another tenth.
        assert!(started.elapsed() >= Duration::from_millis(190));
    });
}

#[derive(Clone)]
struct Again(usize);

impl tower::retry::Policy<HttpOwnedRequest, ZeroResponse, Infallible> for Again {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _request: &mut HttpOwnedRequest,
        result: &mut Result<ZeroResponse, Infallible>,
    ) -> Option<Self::Future> {
        let is_failed = result
            .as_ref()
            .is_ok_and(|response| response.status_code() == 503);
        (is_failed && self.0 > 0).then(|| {
            self.0 -= 1;
            std::future::ready(())
        })
    }

    fn clone_request(&mut self, request: &HttpOwnedRequest) -> Option<HttpOwnedRequest> {
        request.try_clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_tried_again_with_its_body() {
    let tries = Arc::new(AtomicUsize::new(0));
    // Fails twice, whoever asks.
    let flaky = service_fn(move |request: HttpOwnedRequest| {
        let status = match tries.fetch_add(1, Ordering::SeqCst) % 3 {
            2 => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let response = ZeroResponse::status(status).bytes(request.body().to_vec());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let service = ServiceBuilder::new().retry(Again(5)).service(flaky);
    serving!(service.clone(), |client| {
        let post = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi";
        let answer = client.ask(post);
        assert_eq!((answer.status, answer.text()), (200, "hi"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_never_ready_fails_its_request_alone() {
    #[derive(Clone)]
    struct Refuses;
    impl tower::Service<HttpOwnedRequest> for Refuses {
        type Response = ZeroResponse;
        type Error = tower::BoxError;
        type Future = std::future::Ready<Result<ZeroResponse, tower::BoxError>>;

        fn poll_ready(
            &mut self,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), tower::BoxError>> {
            std::task::Poll::Ready(Err("not today".into()))
        }

        fn call(&mut self, _request: HttpOwnedRequest) -> Self::Future {
            unreachable!("it is not ready")
        }
    }
    serving!(Refuses, |client| {
        let mut conn = client.connect();
        conn.send(GET.repeat(2));
        assert_eq!(conn.answer().status, 500);
        assert_eq!(conn.answer().status, 500);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_answers_and_awaits() {
    let router = Router::new()
        .get("/", |_, _| ZeroResponse::ok().text("now"))
        .get("/users/{id}", |_, params| {
            ZeroResponse::ok().text(params.get("id").unwrap_or_default())
        })
        .route_async("GET", "/later", async |_, _| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ZeroResponse::ok().text("later")
        });
    serving!(router.clone(), |client| {
        let get = |path| client.ask(&format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"));
        assert_eq!(get("/").text(), "now");
        assert_eq!(get("/users/7").text(), "7");
        assert_eq!(get("/later").text(), "later");
        assert_eq!(get("/nothing").status, 404);
        let answer = client.ask("DELETE / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET,HEAD"))
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn http_typed_layers_go_around_it() {
    let name = http::HeaderName::from_static("x-layer");
    let value = http::HeaderValue::from_static("was here");
    let layer = SetResponseHeaderLayer::overriding(name, value);
    let service = ServiceBuilder::new()
        .layer(HttpLayer::new(tower_http::trace::TraceLayer::new_for_http()))
        .layer(HttpLayer::new(layer))
        .service_fn(async |request: HttpOwnedRequest| {
            assert_eq!(request.header("x-asked"), Some("1"));
            Ok::<_, Infallible>(ZeroResponse::ok().text(request.peer_addr().ip().to_string()))
        });
    serving!(service.clone(), |client| {
        let answer = client.ask("GET /a?b HTTP/1.1\r\nhost: h\r\nX-Asked: 1\r\n\r\n");
        assert_eq!(
            (answer.text(), answer.header("x-layer")),
            ("127.0.0.1", Some("was here"))
        );
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(answer.header("content-length"), Some("9"));
    });
}

#[test]
fn run_async_calls_handlers_on_workers() {
    let (runtime, client) = listening(Config::default());
    let handle = runtime
        .run_async(async |_| {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(1)));
            ZeroResponse::ok().text(name)
        })
        .unwrap();
    let name = client.ask(GET);
    assert!(!name.text().starts_with("zero-shard"), "{}", name.text());
    handle.shutdown();
    handle.wait().unwrap();
}
