//! An application at a Unix socket, which tells its callers who they are.
//!
//! Run:  `cargo run -p zero-examples --bin unix_socket [PATH]`
//! See:  curl --unix-socket zero.sock http://any/   -> you are user 1000, process 4242
//!       Stop it and start it again: the file it leaves is replaced, one that is listened at is not.
use axum::extract::ConnectInfo;
use axum::{Router, routing::get};
use zero_axum::{Config, Io, UnixPeer};

async fn greet(ConnectInfo(UnixPeer(peer)): ConnectInfo<UnixPeer>) -> String {
    match peer {
        Some(peer) => {
            let process = peer.pid.map_or("unknown".to_owned(), |pid| pid.to_string());
            format!("you are user {}, process {process}\n", peer.uid)
        }
        None => "you came over TCP\n".to_owned(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let path = std::env::args().nth(1);
    let path = path.unwrap_or_else(|| "zero.sock".to_owned());

    let app = Router::new().route("/", get(greet));
    let mut io = Io::new(Config::default())?;
    io.http_listen_unix(&path)?;
    let server = zero_axum::serve(io, app.into_make_service_with_connect_info::<UnixPeer>())?;
    tracing::info!(path, "listening");
    Ok(server.await?)
}
