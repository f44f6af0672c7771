//! What an [`Io`](crate::Io) listens on: sockets of either kind, and how shards share them.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use crate::addr::{EndpointId, LocalAddr};
use crate::limits::Limits;
use crate::phase::Phases;
use crate::ring::uring::ListenSocket;
use crate::tap::Tap;

/// A socket that listens, of either kind.
#[derive(Debug)]
pub enum Listener {
    /// For TCP.
    Tcp(TcpListener),
    /// For Unix stream sockets.
    Unix(UnixListener),
}

impl Listener {
    /// The address it is bound to.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn local_addr(&self) -> io::Result<LocalAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(LocalAddr::Tcp),
            Listener::Unix(listener) => listener.local_addr().map(LocalAddr::Unix),
        }
    }
}

#[cfg(feature = "hyper")]
impl Listener {
    /// One more descriptor of the same socket.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Listener::Tcp(listener) => listener.try_clone().map(Listener::Tcp),
            Listener::Unix(listener) => listener.try_clone().map(Listener::Unix),
        }
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> OwnedFd {
        match listener {
            Listener::Tcp(listener) => listener.into(),
            Listener::Unix(listener) => listener.into(),
        }
    }
}

/// What an [`Io`](crate::Io) is made of, for a backend that is not of this crate.
#[non_exhaustive]
#[derive(Debug)]
pub struct IoParts {
    /// The sockets, in the order in which they were added.
    pub listeners: Vec<(EndpointId, Listener)>,
    /// The validated configuration.
    pub limits: Limits,
    /// What is to be done to each accepted socket.
    pub tap: Option<Tap>,
    /// What the server's [`Lifecycle`](crate::lifecycle::Lifecycle) is to be made of.
    pub phases: Arc<Phases>,
}

/// An address we listen at, with a socket for each shard or fewer. There is at least one.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) local_addr: LocalAddr,
    sockets: Vec<Listener>,
    /// Nobody else has these sockets, nor serves who waits with them.
    is_ours: bool,
}

impl Endpoint {
    /// Of the TCP sockets on one address.
    ///
    /// # Errors
    /// When the kernel does not tell the address.
    pub(crate) fn tcp(sockets: Vec<TcpListener>) -> io::Result<Self> {
        Self::new(sockets.into_iter().map(Listener::Tcp).collect())
    }

    /// Of a Unix socket: an address of these takes one socket only.
    ///
    /// # Errors
    /// As [`tcp`](Self::tcp).
    pub(crate) fn unix(socket: UnixListener) -> io::Result<Self> {
        Self::new(vec![Listener::Unix(socket)])
    }

    fn new(sockets: Vec<Listener>) -> io::Result<Self> {
        Ok(Endpoint {
            local_addr: sockets[0].local_addr()?,
            sockets,
            is_ours: true,
        })
    }

    /// Others may have these sockets, too, and go on with them.
    pub(crate) fn shared(self) -> Self {
        Endpoint {
            is_ours: false,
            ..self
        }
    }

    /// The sockets, for whoever serves without shards.
    pub(crate) fn into_sockets(self) -> impl Iterator<Item = Listener> {
        self.sockets.into_iter()
    }

    /// A descriptor for each of `count` shards. Where there are fewer sockets, the others get
    /// duplicates of the last, and with them its accept queue.
    fn for_shards(self, count: usize) -> io::Result<Vec<ListenSocket>> {
        let is_ours = self.is_ours;
        let mut sockets: Vec<OwnedFd> = self.sockets.into_iter().map(Into::into).collect();
        while let Some(last) = sockets.last()
            && sockets.len() < count
        {
            sockets.push(last.try_clone()?);
        }
        let sockets = sockets.into_iter().map(|fd| ListenSocket { fd, is_ours });
        Ok(sockets.collect())
    }
}

/// Gives every shard its socket of each endpoint: by shard, then by endpoint.
///
/// # Errors
/// When descriptors run out.
pub(crate) fn share_among(
    shards: usize,
    endpoints: Vec<Endpoint>,
) -> io::Result<Vec<Vec<ListenSocket>>> {
    let mut shared: Vec<Vec<ListenSocket>> = (0..shards).map(|_| Vec::new()).collect();
    for endpoint in endpoints {
        let sockets = endpoint.for_shards(shards)?;
        for (of_shard, socket) in shared.iter_mut().zip(sockets) {
            of_shard.push(socket);
        }
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn tcp() -> TcpListener {
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }

    fn port(ListenSocket { fd: socket, .. }: &ListenSocket) -> u16 {
        let listener = TcpListener::from(socket.try_clone().unwrap());
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn every_shard_gets_a_socket_of_each_endpoint_in_order() {
        let listeners = [tcp(), tcp()];
        let ports = listeners
            .each_ref()
            .map(|one| one.local_addr().unwrap().port());
        let endpoints = listeners.map(|one| Endpoint::tcp(vec![one]).unwrap());
        let shared = share_among(3, endpoints.into()).unwrap();
        assert_eq!(shared.len(), 3);
        for of_shard in shared {
            assert_eq!(of_shard.iter().map(port).collect::<Vec<_>>(), ports);
        }
    }

    #[test]
    fn sockets_are_given_out_before_duplicates_are_made() {
        let endpoint = Endpoint::tcp(vec![tcp(), tcp()]).unwrap();
        let sockets = endpoint.for_shards(3).unwrap();
        let ports: Vec<_> = sockets.iter().map(port).collect();
        assert_ne!(ports[0], ports[1]);
        assert_eq!(ports[1], ports[2]);
        assert!(sockets.iter().all(|socket| socket.is_ours));
        let endpoint = Endpoint::tcp(vec![tcp()]).unwrap().shared();
        assert!(!endpoint.for_shards(1).unwrap()[0].is_ours);
    }
}
