//! Who is there? `ConnectInfo<SocketAddr>` unchanged, and a type of one's own.
//!
//! Run:  `cargo run -p zero-examples --bin connect_info [PORT]`
//! See:  curl http://localhost:3000/            -> you are 127.0.0.1:54321, by way of 127.0.0.1:3000
//!       The same connection keeps its number: curl localhost:3000 localhost:3000
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::routing::get;
use zero_axum::{IncomingStream, ShutdownHandle};

/// Made once a connection; dropped when it closes.
#[derive(Clone)]
struct Visitor {
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
}

// Under axum::serve this line said `IncomingStream<'_, tokio::net::TcpListener>`.
impl Connected<IncomingStream<'_>> for Visitor {
    fn connect_info(stream: IncomingStream<'_>) -> Self {
        static VISITORS: AtomicU64 = AtomicU64::new(1);
        Visitor {
            number: VISITORS.fetch_add(1, Ordering::Relaxed),
            from: *stream.remote_addr(),
            to: *stream.local_addr(),
        }
    }
}

async fn greet(ConnectInfo(visitor): ConnectInfo<Visitor>) -> String {
    let Visitor { number, from, to } = visitor;
    format!("you are {from}, by way of {to}, visitor {number}\n")
}

async fn address(ConnectInfo(address): ConnectInfo<SocketAddr>) -> String {
    format!("you are {address}\n")
}

fn serve(port: u16, own_type: bool) -> std::io::Result<ShutdownHandle> {
    let addr = SocketAddr::from(([0, 0, 0, 0], port));
    if own_type {
        let app = Router::new().route("/", get(greet));
        zero_axum::serve(addr, app.into_make_service_with_connect_info::<Visitor>())
    } else {
        let app = Router::new().route("/", get(address));
        zero_axum::serve(
            addr,
            app.into_make_service_with_connect_info::<SocketAddr>(),
        )
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port: u16 = std::env::args()
        .nth(1)
        .map_or(Ok(3000), |arg| arg.parse())?;

    // The plain address is served one port higher.
    let plain = serve(port + 1, false)?;
    serve(port, true)?.await?;
    plain.await?;
    Ok(())
}
