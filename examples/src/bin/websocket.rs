//! A chat: axum's own `WebSocketUpgrade`, unchanged, on connections that began on a shard.
//!
//! Run:  `cargo run -p zero-examples --bin websocket [PORT]`
//! See:  open http://localhost:3000/ in two windows and write; ctrl-c, and both are told goodbye
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{Html, Response};
use axum::routing::{any, get};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};
use zero_axum::{Config, Draining, Io};

/// A guest who is this many messages behind misses the oldest.
const MESSAGES_KEPT: usize = 256;

type Room = broadcast::Sender<Utf8Bytes>;

async fn join(
    upgrade: WebSocketUpgrade,
    State((room, draining)): State<(Room, Draining)>,
) -> Response {
    upgrade.on_upgrade(|socket| chat(socket, room, draining))
}

async fn chat(socket: WebSocket, room: Room, draining: Draining) {
    let mut messages = room.subscribe();
    let (mut to_guest, mut from_guest) = socket.split();
    let tell = async {
        loop {
            let sent = match messages.recv().await {
                Ok(text) => to_guest.send(Message::Text(text)).await,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    };
    let hear = async {
        while let Some(Ok(message)) = from_guest.next().await {
            match message {
                // Nobody listens only when the last guest is leaving.
                Message::Text(text) => drop(room.send(text)),
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    tokio::select! {
        () = tell => return,
        () = hear => return,
        () = draining.begun() => {}
    }
    let (code, reason) = (close_code::AWAY, "the server is going away".into());
    // The guest may be gone already.
    let _ = to_guest
        .send(Message::Close(Some(CloseFrame { code, reason })))
        .await;
}

const PAGE: &str = include_str!("../pages/chat.html");

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args()
        .nth(1)
        .as_deref()
        .unwrap_or("3000")
        .parse()?;
    let (room, _) = broadcast::channel(MESSAGES_KEPT);
    let mut io = Io::new(Config::default().shutdown_timeout(Duration::from_secs(5)))?;
    io.http_listen(([127, 0, 0, 1], port).into())?;
    let app = Router::new()
        .route("/", get(Html(PAGE)))
        .route("/ws", any(join))
        .with_state((room, io.draining()));
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    let server = zero_axum::serve(io, app)?;
    Ok(server.with_graceful_shutdown(interrupted).await?)
}
