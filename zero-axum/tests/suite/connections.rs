//! What applications learn of connections, and the services made for each.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::routing::get;
use tower::make::Shared;
use tower::{Service, service_fn};
use zero_axum::{BoxError, IncomingStream};

use crate::support::{Guard, Mode, eventually, in_every_mode};

in_every_mode![
    connect_info_is_the_peers_address,
    connect_info_may_be_ones_own_type,
    make_services_may_be_plain,
    make_services_know_both_addresses,
    make_services_may_wait,
    make_services_may_wait_until_ready,
    make_services_may_refuse,
    make_services_may_panic,
    a_connections_service_lives_as_long_as_the_connection,
];

fn connect_info_is_the_peers_address(mode: Mode) {
    let app = Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
    );
    let server = mode.serve(app.into_make_service_with_connect_info::<SocketAddr>());
    for _ in 0..8 {
        let mut client = server.connect();
        let own = client.stream.local_addr().unwrap().to_string();
        assert_eq!(client.get("/").text(), own);
        assert_eq!(client.get("/").text(), own);
    }
}

#[derive(Clone)]
struct Route {
    from: SocketAddr,
    to: SocketAddr,
}

impl Connected<IncomingStream<'_>> for Route {
    fn connect_info(stream: IncomingStream<'_>) -> Self {
        Route {
            from: *stream.remote_addr(),
            to: *stream.local_addr(),
        }
    }
}

fn connect_info_may_be_ones_own_type(mode: Mode) {
    let show = |ConnectInfo(route): ConnectInfo<Route>| async move {
        format!("{} -> {}", route.from, route.to)
    };
    let app = Router::new().route("/", get(show));
    let server = mode.serve(app.into_make_service_with_connect_info::<Route>());
    let mut client = server.connect();
    let own = client.stream.local_addr().unwrap();
    assert_eq!(client.get("/").text(), format!("{own} -> {}", server.addr));
}

fn make_services_may_be_plain(mode: Mode) {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let server = mode.serve(app.clone().into_make_service());
    assert_eq!(server.connect().get("/").text(), "hello");
    let server = mode.serve(Shared::new(app));
    assert_eq!(server.connect().get("/").text(), "hello");
}

fn says(text: String) -> Router {
    Router::new().route("/", get(|| async { text }))
}

fn make_services_know_both_addresses(mode: Mode) {
    let make = service_fn(|stream: IncomingStream<'static>| async move {
        let (from, to) = (stream.remote_addr(), stream.local_addr());
        Ok::<_, Infallible>(says(format!("{from} -> {to}")))
    });
    let server = mode.serve(make);
    let mut client = server.connect();
    let own = client.stream.local_addr().unwrap();
    assert_eq!(client.get("/").text(), format!("{own} -> {}", server.addr));
}

fn make_services_may_wait(mode: Mode) {
    let made = Arc::new(AtomicUsize::new(0));
    let make = service_fn(move |_: IncomingStream<'static>| {
        let made = made.clone();
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            let number = made.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(says(format!("made {}", number < 16)))
        }
    });
    let server = mode.serve(make);
    let mut clients: Vec<_> = (0..16).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send_get("/");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "made true");
        assert_eq!(client.get("/").text(), "made true");
    }
}

/// Ready once for each time it is let; remembers one waker, as services may.
#[derive(Default)]
struct Turnstile {
    turns: usize,
    waiting: Option<Waker>,
}

struct MakeInTurn(Arc<Mutex<Turnstile>>);

impl Service<IncomingStream<'static>> for MakeInTurn {
    type Response = Router;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Router, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let mut turnstile = self.0.lock().unwrap();
        if turnstile.turns > 0 {
            return Poll::Ready(Ok(()));
        }
        turnstile.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn call(&mut self, _: IncomingStream<'static>) -> Self::Future {
        let mut turnstile = self.0.lock().unwrap();
        turnstile.turns = turnstile.turns.checked_sub(1).expect("called while ready");
        std::future::ready(Ok(says("in turn".into())))
    }
}

fn make_services_may_wait_until_ready(mode: Mode) {
    let turnstile = Arc::new(Mutex::new(Turnstile::default()));
    let server = mode.serve(MakeInTurn(turnstile.clone()));
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send_get("/");
    }
    for _ in 0..clients.len() {
        eventually("somebody waits at the turnstile", || {
            turnstile.lock().unwrap().waiting.is_some()
        });
        let mut turnstile = turnstile.lock().unwrap();
        turnstile.turns += 1;
        turnstile.waiting.take().expect("checked above").wake();
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "in turn");
    }
}

fn make_services_may_refuse(mode: Mode) {
    let count = AtomicUsize::new(0);
    let make = service_fn(move |_: IncomingStream<'static>| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(match number % 2 {
            0 => Err(BoxError::from("an even connection")),
            _ => Ok(says("odd".into())),
        })
    });
    let server = mode.serve(make);
    for number in 0..6 {
        let mut client = server.connect();
        if number % 2 == 0 {
            client.assert_closed();
        } else {
            assert_eq!(client.get("/").text(), "odd");
        }
    }
}

fn make_services_may_panic(mode: Mode) {
    let count = AtomicUsize::new(0);
    let make = service_fn(move |_: IncomingStream<'static>| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        assert_ne!(number, 0, "this panic belongs to the test");
        std::future::ready(Ok::<_, Infallible>(says("hello".into())))
    });
    let server = mode.serve(make);
    server.connect().assert_closed();
    server.assert_serves("/");
}

fn a_connections_service_lives_as_long_as_the_connection(mode: Mode) {
    #[derive(Clone)]
    struct Guarded {
        app: Router,
        _guard: Arc<Guard>,
    }
    impl Service<axum::extract::Request> for Guarded {
        type Response = axum::response::Response;
        type Error = Infallible;
        type Future = axum::routing::future::RouteFuture<Infallible>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Service::<axum::extract::Request>::poll_ready(&mut self.app, cx)
        }

        fn call(&mut self, request: axum::extract::Request) -> Self::Future {
            self.app.call(request)
        }
    }
    let (tx, guards) = mpsc::channel();
    let make = service_fn(move |_: IncomingStream<'static>| {
        let (guard, dropped) = Guard::new();
        tx.send(dropped).unwrap();
        let _guard = Arc::new(guard);
        let app = says("hello".into());
        std::future::ready(Ok::<_, Infallible>(Guarded { app, _guard }))
    });
    let server = mode.serve(make);
    let mut client = server.connect();
    let mut other = server.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(other.get("/").status, 200);
    }
    let dropped: Vec<_> = guards.try_iter().collect();
    assert_eq!(dropped.len(), 2, "one service a connection");
    assert!(!dropped.iter().any(|dropped| dropped.happened()));
    drop(client);
    drop(other);
    for dropped in &dropped {
        dropped.wait("the service of a closed connection");
    }
}
