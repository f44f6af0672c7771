//! The challenger: `zero_axum::serve` on io_uring shards.

use std::io;
use std::net::SocketAddr;

use zero_axum::{BackendChoice, Config, Dispatch, IntoApp, Io, Wakeup};

use super::{Backend, Running};

/// Serves from `shards` shards, with as many workers for handlers that leave them.
pub(super) fn start<Marker>(
    backend: Backend,
    app: impl IntoApp<Marker>,
    shards: usize,
    addr: SocketAddr,
) -> io::Result<Running> {
    let mut io = Io::new(config(backend, shards))?;
    io.http_listen(addr)?;
    let handle = zero_axum::serve(io, app)?;
    // ZERO_BACKEND overrides the configuration, and hyper measured as zero would flatter nobody.
    if handle.backend() != zero_axum::Backend::IoUring {
        return Err(io::Error::other(
            "zero fell back to hyper; run: unset ZERO_BACKEND",
        ));
    }
    Ok(Running {
        addr: handle.local_addr()?,
        stats: Some(Box::new(move || format!("{:?}", handle.stats()))),
    })
}

/// As it comes, but for the size, and with an error instead of the fallback to hyper.
fn config(backend: Backend, shards: usize) -> Config {
    let config = Config::default()
        .shards(shards)
        .workers(shards)
        .backend(BackendChoice::IoUring);
    match backend {
        Backend::ZeroInline => config.dispatch(Dispatch::Inline),
        Backend::ZeroWorkers => config.dispatch(Dispatch::Workers),
        Backend::ZeroSleep => config.wakeup(Wakeup::Sleep),
        Backend::ZeroInlineSleep => config.dispatch(Dispatch::Inline).wakeup(Wakeup::Sleep),
        Backend::ZeroSpin => config.wakeup(Wakeup::Spin),
        Backend::ZeroInlineSpin => config.dispatch(Dispatch::Inline).wakeup(Wakeup::Spin),
        Backend::ZeroWorkersSleep => config.dispatch(Dispatch::Workers).wakeup(Wakeup::Sleep),
        Backend::ZeroWorkersSpin => config.dispatch(Dispatch::Workers).wakeup(Wakeup::Spin),
        _ => config,
    }
}
