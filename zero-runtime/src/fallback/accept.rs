//! The accept loop of the hyper backend: one listener, of any kind, and the tasks of its connections. Knows no
//! HTTP, and nothing of shards.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use crate::lifecycle::{Lifecycle, Part, Phase};

/// How long accepting pauses when there is something wrong that waiting may cure, such as a lack of
/// descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// Something that connections come from.
pub trait Accept: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Who is at its other end.
    type Addr: Send + 'static;

    /// The next connection; errors are its own to see to.
    fn accept(&mut self) -> impl Future<Output = (Self::Io, Self::Addr)> + Send;
}

impl Accept for TcpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match TcpListener::accept(self).await {
                Ok(accepted) => return accepted,
                Err(error) => see_to(error).await,
            }
        }
    }
}

impl Accept for UnixListener {
    type Io = UnixStream;
    type Addr = unix::SocketAddr;

    async fn accept(&mut self) -> (UnixStream, unix::SocketAddr) {
        loop {
            match UnixListener::accept(self).await {
                Ok(accepted) => return accepted,
                Err(error) => see_to(error).await,
            }
        }
    }
}

/// A connection that is gone before it was taken is nobody's trouble; else who waits is served later.
async fn see_to(error: io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::error!(%error, "accepting pauses for a second");
        tokio::time::sleep(PAUSE).await;
    }
}

/// One listener and the connections that come through it.
#[derive(Debug)]
pub struct AcceptLoop<L> {
    /// Where they come from.
    pub listener: L,
    /// One for each connection that may be open.
    pub places: Arc<Semaphore>,
    /// Whose phase is followed.
    pub lifecycle: Arc<Lifecycle>,
}

impl<L: Accept> AcceptLoop<L> {
    /// Accepts until told to drain, then waits for the connections, and cuts them when told to terminate.
    ///
    /// `serve` makes a task of each, in the set, that holds the connection's place until it ends: a panic
    /// there ends nothing else.
    pub async fn run(
        mut self,
        part: Part,
        mut serve: impl FnMut(&mut JoinSet<()>, L::Io, L::Addr, OwnedSemaphorePermit),
    ) {
        let mut connections = JoinSet::new();
        while let Some((io, addr, place)) = self.next(&mut connections).await {
            serve(&mut connections, io, addr, place);
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
}

/// Waits for a place, then for a connection.
async fn accept<L: Accept>(
    listener: &mut L,
    places: &Arc<Semaphore>,
) -> (L::Io, L::Addr, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await;
    let place = place.expect("nobody closes the semaphore");
    let (io, addr) = listener.accept().await;
    (io, addr, place)
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection's task ended early");
    }
}
