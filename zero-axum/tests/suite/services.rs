//! What may be served besides a plain `Router`, and how services are called.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Response;
use axum::routing::get;
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, service_fn};
use zero_axum::BoxError;

use crate::support::{Mode, eventually, in_every_mode};

in_every_mode![
    a_handler_alone,
    a_method_router_alone,
    a_plain_service_with_its_own_body,
    a_layer_outside_the_router_that_changes_the_body,
    a_failing_service_closes_the_connection,
    poll_ready_comes_before_each_call_on_the_same_clone,
    a_service_may_be_ready_late,
    a_concurrency_limit_outside_the_router_holds,
];

fn a_handler_alone(mode: Mode) {
    let handler = |body: String| async move { format!("got {body}") };
    let server = mode.serve(handler.with_state(()));
    assert_eq!(server.connect().post("/any", b"it").text(), "got it");
}

fn a_method_router_alone(mode: Mode) {
    let server = mode.serve(get(|| async { "hello" }));
    let mut client = server.connect();
    assert_eq!(client.get("/any").text(), "hello");
    assert_eq!(client.post("/any", b"").status, 405);
}

fn a_plain_service_with_its_own_body(mode: Mode) {
    let server = mode.serve(service_fn(|request: Request| async move {
        let path = request.uri().path().to_owned();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(path))))
    }));
    let response = server.connect().get("/here");
    assert_eq!(response.header("content-length"), Some("5"));
    assert_eq!(response.text(), "/here");
}

/// A body that is not axum's, of data that is not `Bytes`.
fn a_layer_outside_the_router_that_changes_the_body(mode: Mode) {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let shouting = tower::ServiceBuilder::new()
        .map_response(|response: Response<Body>| {
            response.map(|body| {
                let shouted = |data: Bytes| std::io::Cursor::new(data.to_ascii_uppercase());
                body.map_frame(move |frame| frame.map_data(shouted))
            })
        })
        .service(app);
    let server = mode.serve(shouting);
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "HELLO");
    assert_eq!(client.get("/").text(), "HELLO");
}

fn a_failing_service_closes_the_connection(mode: Mode) {
    let server = mode.serve(service_fn(|request: Request| async move {
        match request.uri().path() {
            "/" => Ok(Response::new(Body::from("hello"))),
            _ => Err(BoxError::from("no answer")),
        }
    }));
    let mut client = server.connect();
    assert_eq!(client.get("/").text(), "hello");
    client.send_get("/fail").assert_closed();
    server.assert_serves("/");
}

/// Ready only after `poll_ready` was called on this very clone, and for one call.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    /// How often a clone says "not yet" before it is ready.
    delays: usize,
    polls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Strict {
            is_ready: false,
            delays: self.delays,
            polls: self.polls.clone(),
        }
    }
}

impl Service<Request> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        if let Some(delays) = self.delays.checked_sub(1) {
            self.delays = delays;
            let waker = cx.waker().clone();
            std::thread::spawn(move || waker.wake());
            return Poll::Pending;
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        assert!(self.is_ready, "called without being ready");
        self.is_ready = false;
        ready(Ok(Response::new(Body::from("strictly"))))
    }
}

fn poll_ready_comes_before_each_call_on_the_same_clone(mode: Mode) {
    let service = Strict::default();
    let polls = service.polls.clone();
    let server = mode.serve(service);
    let mut client = server.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "strictly");
    }
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(10));
    for _ in 0..10 {
        assert_eq!(client.response().text(), "strictly");
    }
    assert_eq!(polls.load(Ordering::Relaxed), 20, "once a request");
}

fn a_service_may_be_ready_late(mode: Mode) {
    let server = mode.serve(Strict {
        delays: 3,
        ..Strict::default()
    });
    let mut client = server.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "strictly");
    }
}

/// Counts a handler out, however it ends.
struct Inside(Arc<AtomicUsize>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn a_concurrency_limit_outside_the_router_holds(mode: Mode) {
    const LIMIT: usize = 2;
    let inside = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(Semaphore::new(0));
    let counted = {
        let (inside, most, go) = (inside.clone(), most.clone(), go.clone());
        move || async move {
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            let _inside = Inside(inside);
            most.fetch_max(now, Ordering::SeqCst);
            go.acquire().await.unwrap().forget();
        }
    };
    let app = Router::new().route("/", get(counted));
    let server = mode.serve(ConcurrencyLimitLayer::new(LIMIT).layer(app));
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send_get("/");
    }
    eventually("the limit is reached", || {
        inside.load(Ordering::SeqCst) == LIMIT
    });
    // One who leaves, be it while waiting for a turn or in its turn, must not keep the turn.
    drop(clients.pop());
    go.add_permits(clients.len() + 1);
    let answered = clients
        .iter_mut()
        .map(|client| client.response().status)
        .filter(|status| *status == 200);
    assert_eq!(answered.count(), 7);
    assert_eq!(most.load(Ordering::SeqCst), LIMIT);
}
