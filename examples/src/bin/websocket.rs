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

const PAGE: &str = r#"<!doctype html>
<meta name="viewport" content="width=device-width">
<title>chat</title>
<style>
  body { font: 1rem/1.5 system-ui; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
  form { display: flex; gap: .5rem } input { flex: 1; font: inherit; padding: .4rem }
  #state { color: gray }
</style>
<h1>chat</h1>
<form><input placeholder="Say something" aria-label="message" autofocus><button>Send</button></form>
<p id="state" role="status">connecting…</p>
<ul id="said"></ul>
<script>
  const socket = new WebSocket(`ws://${location.host}/ws`);
  const state = document.getElementById('state');
  socket.onopen = () => state.textContent = 'connected';
  socket.onclose = ({reason}) => state.textContent = (reason || 'disconnected') + '; reload to join again';
  socket.onmessage = event => {
    const line = document.createElement('li');
    line.textContent = event.data;
    document.getElementById('said').prepend(line);
  };
  document.forms[0].onsubmit = event => {
    event.preventDefault();
    const input = event.target.querySelector('input');
    if (input.value) socket.send(input.value);
    input.value = '';
  };
</script>
"#;

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
