//! Sockets that a service manager opened: systemd's socket activation, or the `systemfd` command.
//! Who connects while the server restarts waits instead of being refused.
//!
//! Run:  `systemfd --socket http::3000 -- cargo run -p zero-examples --bin inherited`
//!       or by hand, at port 3000 alone: `cargo run -p zero-examples --bin inherited`
//! See:  curl http://localhost:3000/          -> hello
//!       Under systemd: a unit `app.socket` with `ListenStream=3000` and, if you like,
//!       `ListenStream=/run/app.sock`, and a unit `app.service` that runs this program.
use axum::{Router, routing::get};
use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};
use zero_axum::{Config, Io};

/// Takes all sockets that LISTEN_FDS promises; tells how many there were.
fn inherit(io: &mut Io) -> std::io::Result<usize> {
    let mut inherited = ListenFd::from_env();
    for index in 0..inherited.len() {
        // What is no TCP socket fails here, and is still there to be taken as another.
        if let Ok(Some(listener)) = inherited.take_tcp_listener(index) {
            // Shared: the manager keeps the socket, and who waits there waits for our successor.
            io.http_adopt_shared(listener)?;
        } else if let Some(listener) = inherited.take_unix_listener(index)? {
            io.http_adopt_unix(listener)?;
        }
    }
    Ok(inherited.len())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut io = Io::new(Config::default())?;
    if inherit(&mut io)? == 0 {
        io.http_listen(([127, 0, 0, 1], 3000).into())?;
    }
    let app = Router::new().route("/", get(|| async { "hello\n" }));
    // Registered before serving, so that no signal is missed.
    let mut stop = signal(SignalKind::terminate())?;
    let server = zero_axum::serve(io, app)?;
    server
        .with_graceful_shutdown(async move { _ = stop.recv().await })
        .await?;
    Ok(())
}
