//! The accept loop of the hyper backend: one listener, of any kind axum serves on, and its
//! connections. Knows hyper; knows nothing of shards.

use std::pin::pin;
use std::sync::Arc;

use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use zero_runtime::BoxError;
use zero_runtime::lifecycle::{Lifecycle, Part, Phase};
use zero_runtime::service::Made;

use crate::app::{AppService, Application};
use crate::cut::CutOff;
use crate::incoming::IncomingStream;
use crate::make::MakeForStream;

/// Prepares a connection that was accepted, and says what is known of it; `None` closes it.
pub(crate) type Introduce<L> = Arc<
    dyn Fn(&<L as Listener>::Io, <L as Listener>::Addr) -> Option<IncomingStream<'static>>
        + Send
        + Sync,
>;

/// One listener and the connections that came through it.
pub(crate) struct AcceptLoop<L: Listener, M> {
    pub(crate) listener: L,
    /// Called in the connection's task: its panic ends that connection only.
    pub(crate) introduce: Introduce<L>,
    pub(crate) make: M,
    pub(crate) http: auto::Builder<TokioExecutor>,
    /// One for each connection that may be open.
    pub(crate) places: Arc<Semaphore>,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl<L, M, A> AcceptLoop<L, M>
where
    L: Listener,
    M: MakeForStream<Service = AppService<A>>,
    A: Application,
{
    /// Accepts until told to drain, then waits for the connections, and cuts them when told to
    /// terminate.
    pub(crate) async fn run(mut self, part: Part) {
        let mut connections = JoinSet::new();
        while let Some((io, addr, place)) = self.next(&mut connections).await {
            let served = self.serve_connection(io, addr);
            connections.spawn(async move {
                served.await;
                drop(place);
            });
        }
        let AcceptLoop {
            listener,
            lifecycle,
            ..
        } = self;
        drop(listener);
        loop {
            tokio::select! {
                () = lifecycle.until(Phase::Terminating) => break,
                ended = connections.join_next() => match ended {
                    Some(ended) => log_panic(ended),
                    None => break,
                },
            }
        }
        connections.shutdown().await;
        drop(part);
    }

    /// The next connection, and its place; `None` when the server drains. Joins those that end.
    async fn next(
        &mut self,
        connections: &mut JoinSet<()>,
    ) -> Option<(L::Io, L::Addr, OwnedSemaphorePermit)> {
        let mut draining = pin!(self.lifecycle.until(Phase::Draining));
        // Polled to its end: there may be a handshake in it, which must not be dropped half way.
        let mut accepted = pin!(accept(&mut self.listener, &self.places));
        loop {
            tokio::select! {
                () = draining.as_mut() => return None,
                Some(ended) = connections.join_next() => log_panic(ended),
                accepted = accepted.as_mut() => return Some(accepted),
            }
        }
    }

    /// The whole life of one connection. Runs in a task of its own, so that a panic ends just that.
    fn serve_connection(
        &self,
        io: L::Io,
        addr: L::Addr,
    ) -> impl Future<Output = ()> + Send + use<L, M, A> {
        let introduce = self.introduce.clone();
        let mut make = self.make.clone();
        let http = self.http.clone();
        let lifecycle = self.lifecycle.clone();
        async move {
            let Some(stream) = introduce(&io, addr) else {
                return;
            };
            let made = match make.make_for(stream) {
                Made::Ready(service) => Ok(service),
                Made::Later(service) => tokio::select! {
                    made = service => made,
                    // No request has been read: there is nothing to finish.
                    () = lifecycle.until(Phase::Draining) => return,
                },
            };
            let served = match made {
                Ok(service) => serve_http(http, io, service, &lifecycle).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::trace!(%error, "a connection ended early");
            }
        }
    }
}

/// Waits for a place, then for a connection. axum's listeners see to errors themselves.
async fn accept<L: Listener>(
    listener: &mut L,
    places: &Arc<Semaphore>,
) -> (L::Io, L::Addr, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await;
    let place = place.expect("nobody closes the semaphore");
    let (io, addr) = listener.accept().await;
    (io, addr, place)
}

async fn serve_http<A: Application>(
    http: auto::Builder<TokioExecutor>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: AppService<A>,
    lifecycle: &Lifecycle,
) -> Result<(), BoxError> {
    let service = TowerToHyperService::new(service);
    let io = CutOff::new(io, lifecycle.guest());
    let mut served = pin!(http.serve_connection_with_upgrades(TokioIo::new(io), service));
    tokio::select! {
        ended = served.as_mut() => return ended,
        () = lifecycle.until(Phase::Draining) => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection's task ended early");
    }
}
