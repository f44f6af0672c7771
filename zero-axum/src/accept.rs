//! The accept loop of the hyper backend on axum's listeners, and the HTTP of its connections. Knows hyper;
//! knows nothing of shards.

use std::pin::pin;
use std::sync::Arc;

use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use zero_runtime::BoxError;
use zero_runtime::fallback::{Accept, AcceptLoop, CutOff};
use zero_runtime::lifecycle::{Lifecycle, Part, Phase};
use zero_runtime::service::Made;

use crate::app::{AppService, Application};
use crate::incoming::IncomingStream;
use crate::make::MakeForStream;

/// Prepares a connection that was accepted, and says what is known of it; `None` closes it.
pub(crate) type Introduce<L> = Arc<
    dyn Fn(&<L as Listener>::Io, <L as Listener>::Addr) -> Option<IncomingStream<'static>>
        + Send
        + Sync,
>;

/// Any listener of axum's, which see to errors themselves.
struct OfAxum<L>(L);

impl<L: Listener> Accept for OfAxum<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (L::Io, L::Addr) {
        self.0.accept().await
    }
}

/// What serves the connections of one listener.
pub(crate) struct Door<L: Listener, M> {
    /// Called in the connection's task: its panic ends that connection only.
    pub(crate) introduce: Introduce<L>,
    pub(crate) make: M,
    pub(crate) http: auto::Builder<TokioExecutor>,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl<L, M, A> Door<L, M>
where
    L: Listener,
    M: MakeForStream<Service = AppService<A>>,
    A: Application,
{
    /// Serves until told to drain and the last connection has ended, or been cut.
    pub(crate) async fn run(self, listener: L, places: Arc<Semaphore>, part: Part) {
        let accept = AcceptLoop {
            listener: OfAxum(listener),
            places,
            lifecycle: self.lifecycle.clone(),
        };
        let serve = accept.run(part, move |connections, io, addr, place| {
            let served = self.serve_connection(io, addr);
            connections.spawn(async move {
                served.await;
                drop(place);
            });
        });
        serve.await;
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
