//! Connections that leave their shard: upgraded by the application, or speaking another protocol.
//!
//! Owns the way of a socket from a shard to whoever goes on with it. Knows nothing of requests.

use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

mod socket;
mod stream;

pub use self::stream::Stream;
pub use crate::bridge::place::Place;
pub use crate::phase::Guest;

/// A connection that is no longer its shard's, as it was after the last byte of HTTP on it.
#[non_exhaustive]
#[derive(Debug)]
pub struct Upgraded {
    /// The socket, in blocking mode. No operation of the shard is in flight on it.
    pub socket: OwnedFd,
    /// What the peer had sent behind its request, to be read before the socket.
    pub read_ahead: Bytes,
    /// To be kept for as long as the socket is open.
    pub place: Place,
    /// Likewise; and what tells when the socket is to be closed because its server terminates.
    pub guest: Guest,
}

impl Upgraded {
    /// Joins a socket and what was read from it. It counts towards no server's connections.
    pub fn new(socket: OwnedFd, read_ahead: Bytes) -> Self {
        Upgraded {
            socket,
            read_ahead,
            place: Place::nowhere(),
            guest: Guest::nowhere(),
        }
    }
}

/// In the extensions of a request that may change its connection's protocol: one with an `Upgrade`
/// field ([RFC 9110 §7.8]) on HTTP/1.1, or a CONNECT. Resolves once the response that agrees, 101 or
/// 2xx to CONNECT, has been sent; to an error when there is another response or none.
///
/// Clones share one connection: the first to resolve has it.
///
/// # Cancel safety
/// Polling is cancel safe. A connection that nobody waits for is closed.
///
/// [RFC 9110 §7.8]: https://www.rfc-editor.org/rfc/rfc9110#section-7.8
#[derive(Clone)]
pub struct OnUpgrade(Arc<Mutex<oneshot::Receiver<Upgraded>>>);

/// The connection stayed what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotUpgraded;

/// The shard's end of an [`OnUpgrade`].
pub(crate) type UpgradeSender = oneshot::Sender<Upgraded>;

impl OnUpgrade {
    pub(crate) fn new() -> (UpgradeSender, OnUpgrade) {
        let (sender, receiver) = oneshot::channel();
        (sender, OnUpgrade(Arc::new(Mutex::new(receiver))))
    }
}

impl Future for OnUpgrade {
    type Output = Result<Upgraded, NotUpgraded>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A oneshot that has given its value panics when polled again; a clone may do that.
        if receiver.is_terminated() {
            return Poll::Ready(Err(NotUpgraded));
        }
        let upgraded = Pin::new(&mut *receiver).poll(cx);
        upgraded.map(|upgraded| upgraded.map_err(|_| NotUpgraded))
    }
}

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnUpgrade").finish_non_exhaustive()
    }
}

impl fmt::Display for NotUpgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was not upgraded")
    }
}

impl std::error::Error for NotUpgraded {}
