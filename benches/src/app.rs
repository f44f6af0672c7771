//! The application under measure: one router, the same on every backend.

use std::convert::Infallible;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::Path;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::broadcast::{self, error::RecvError};

/// Size of what `/big` answers, in bytes.
pub const BIG_BYTES: usize = 1 << 20;
/// Size of what `/huge` answers, in bytes.
pub const HUGE_BYTES: usize = 64 << 20;
/// What every subscriber of `/events` is told, again and again.
pub const EVENT: &str = "data: twenty-four bytes of news\n\n";
/// How often they are told it.
pub const EVENT_EVERY: Duration = Duration::from_millis(20);
/// Routes of the router of many routes.
pub const ROUTES: usize = 200;

static BIG: [u8; BIG_BYTES] = [b'x'; BIG_BYTES];
static HUGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![b'x'; HUGE_BYTES]));

/// Builds the application.
///
/// No layer raises the limit on request bodies: axum's 2 MB hold every scenario that asks for a body
/// whole, and a layer would add three allocations to each request.
pub fn router() -> Router {
    let router = Router::new();
    #[cfg(feature = "sqlite")]
    let router = router.route("/sqlite", get(sqlite));
    router
        .route("/plaintext", get(async || "Hello, World!"))
        .route("/json", get(json))
        .route("/items", get(items))
        .route("/users/{id}", get(user))
        .route("/echo", post(echo))
        .route("/sleep/{ms}", get(sleep))
        .route("/db", get(db))
        .route("/big", get(async || Bytes::from_static(&BIG)))
        .route("/huge", get(async || HUGE.clone()))
        .route("/upload", post(upload))
        .route("/block/{ms}", get(block))
        .route("/spin/{ms}", get(spin))
        .route("/inplace/{ms}", get(block_in_place))
        .route("/events", get(events))
        .route(
            "/ws",
            get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo_frames)),
        )
        .nest("/many", many_routes())
        .nest("/tower-http", crate::stacks::theirs(plaintext()))
        .nest("/zero-layers", crate::stacks::ours(plaintext()))
}

fn plaintext() -> Router {
    Router::new().route("/plaintext", get(async || "Hello, World!"))
}

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

async fn json() -> Json<Message> {
    Json(Message {
        message: "Hello, World!",
    })
}

#[derive(Serialize)]
struct Item {
    id: u32,
    name: &'static str,
    tags: [&'static str; 3],
    price: f64,
    in_stock: bool,
}

/// About 16 KiB of JSON.
async fn items() -> Json<Vec<Item>> {
    let item = |id| Item {
        id,
        name: "A thing with a name of some length",
        tags: ["useful", "blue", "new"],
        price: 12.5,
        in_stock: id % 2 == 0,
    };
    Json((1000..1140).map(item).collect())
}

async fn user(Path(id): Path<String>) -> String {
    id
}

async fn sleep(Path(ms): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slept"
}

async fn db() -> Result<Vec<u8>, StatusCode> {
    let row = crate::db::ask().await;
    row.map(Vec::from)
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

#[cfg(feature = "sqlite")]
async fn sqlite() -> Result<String, (StatusCode, String)> {
    let row = crate::sqlite::ask().await;
    row.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

async fn echo(body: Bytes) -> Bytes {
    body
}

/// Takes a body of any size, piece by piece, and tells its length.
async fn upload(mut body: axum::body::Body) -> Response {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Err(error) => {
                return (http::StatusCode::BAD_REQUEST, error.to_string()).into_response();
            }
        }
    }
    bytes.to_string().into_response()
}

/// What no handler should do and some do: blocks its thread.
async fn block(Path(ms): Path<u64>) -> &'static str {
    std::thread::sleep(Duration::from_millis(ms));
    "blocked"
}

/// Likewise: computes for so long.
async fn spin(Path(ms): Path<u64>) -> &'static str {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(ms) {
        std::hint::spin_loop();
    }
    "spun"
}

/// Blocks as tokio would have it; on a runtime of one thread, which panics at that, by itself.
async fn block_in_place(Path(ms): Path<u64>) -> &'static str {
    let block = || std::thread::sleep(Duration::from_millis(ms));
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(block),
        _ => block(),
    }
    "blocked in place"
}

fn many_routes() -> Router {
    (0..ROUTES).fold(Router::new(), |router, n| {
        let path = format!("/v1/resource{n}/{{id}}/part/{{part}}");
        router.route(
            &path,
            get(async |Path((id, part)): Path<(String, String)>| format!("{id} {part}")),
        )
    })
}

/// Server-sent events: one publisher, every subscriber told the same.
async fn events() -> impl IntoResponse {
    static NEWS: OnceLock<broadcast::Sender<()>> = OnceLock::new();
    let news = NEWS.get_or_init(|| {
        let (news, _) = broadcast::channel(64);
        tokio::spawn(publish(news.clone()));
        news
    });
    let stream = unfold(news.subscribe(), async |mut news| {
        loop {
            match news.recv().await {
                Ok(()) => {
                    let event = Event::default().data(&EVENT["data: ".len()..EVENT.len() - 2]);
                    return Some((Ok::<_, Infallible>(event), news));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(stream)
}

async fn publish(news: broadcast::Sender<()>) {
    let mut ticks = tokio::time::interval(EVENT_EVERY);
    loop {
        ticks.tick().await;
        // Fails when nobody listens, which is no reason to stop.
        let _ = news.send(());
    }
}

async fn echo_frames(mut socket: WebSocket) {
    while let Some(Ok(frame)) = socket.recv().await {
        let is_data = matches!(frame, Frame::Text(_) | Frame::Binary(_));
        if is_data && socket.send(frame).await.is_err() {
            return;
        }
    }
}
