//! Connections that speak HTTP/2 from their first byte: served by hyper on tokio, until there is a
//! machine of our own. Knows hyper; knows nothing of shards but that the connection came from one.

use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use zero_runtime::BoxError;
use zero_runtime::lifecycle::{Lifecycle, Phase};
use zero_runtime::upgrade::{Stream, Upgraded};

use crate::app::{AppService, Application};

/// Serves one connection to its end. Finishes its streams when the server drains, cuts them when it
/// terminates.
pub(crate) async fn serve<A: Application>(
    service: AppService<A>,
    conn: Upgraded,
    lifecycle: Arc<Lifecycle>,
) {
    let _part = lifecycle.part();
    let served = tokio::select! {
        served = serve_streams(service, conn, &lifecycle) => served,
        () = lifecycle.until(Phase::Terminating) => return,
    };
    if let Err(error) = served {
        tracing::trace!(%error, "an HTTP/2 connection ended early");
    }
}

async fn serve_streams<A: Application>(
    service: AppService<A>,
    conn: Upgraded,
    lifecycle: &Lifecycle,
) -> Result<(), BoxError> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    // As axum::serve: WebSockets over HTTP/2 need it (RFC 8441).
    http.timer(TokioTimer::new()).enable_connect_protocol();
    let stream = TokioIo::new(Stream::new(conn)?);
    let mut served = pin!(http.serve_connection(stream, TowerToHyperService::new(service)));
    tokio::select! {
        ended = served.as_mut() => return Ok(ended?),
        () = lifecycle.until(Phase::Draining) => {}
    }
    served.as_mut().graceful_shutdown();
    Ok(served.await?)
}
