//! The incumbent: `axum::serve` on tokio.

use std::io;
use std::net::SocketAddr;
use std::thread;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use super::Running;

/// Whether small writes wait for earlier ones to be acknowledged.
pub(super) enum Nagle {
    On,
    Off,
}

/// Binds, then serves from a thread of its own.
pub(super) fn start(
    app: Router,
    threads: usize,
    addr: SocketAddr,
    nagle: Nagle,
) -> io::Result<Running> {
    let runtime = runtime(threads)?;
    let listener = runtime.block_on(TcpListener::bind(addr))?;
    let addr = listener.local_addr()?;
    thread::Builder::new()
        .name("hyper".into())
        .spawn(move || runtime.block_on(serve(listener, app, nagle)))?;
    Ok(Running { addr, stats: None })
}

/// One thread is a current-thread runtime: tokio's cheapest, as one shard is zero's.
pub(super) fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = if threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

async fn serve(listener: TcpListener, app: Router, nagle: Nagle) {
    let served = match nagle {
        Nagle::On => axum::serve(listener, app).await,
        Nagle::Off => {
            let listener = listener.tap_io(|tcp| {
                // A connection that is already gone is the connection's own affair.
                let _ = tcp.set_nodelay(true);
            });
            axum::serve(listener, app).await
        }
    };
    if let Err(error) = served {
        eprintln!("axum::serve ended: {error}");
    }
}
