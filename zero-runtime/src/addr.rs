//! Where a server listens, and who may be told of at the other end. Knows no sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::net;
use std::path::Path;

/// Names a listener of an [`Io`](crate::Io).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EndpointId(pub(crate) usize);

/// `0.0.0.0:0`, which stands for an address that is not known or that there is none of.
pub(crate) const UNSPECIFIED: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// Who connected to a Unix socket, as the kernel saw it at that moment (SO_PEERCRED). It cannot be
/// forged, but a process may have changed its user, or handed the socket on, since then.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PeerCred {
    /// The process that connected; `None` when it has no number in our PID namespace. It may have
    /// ended since, and its number been given to another.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// The address of a listener, of either kind.
#[derive(Clone, Debug)]
pub enum LocalAddr {
    /// Of a TCP socket.
    Tcp(SocketAddr),
    /// Of a Unix socket: a path, or on Linux a name in the abstract namespace.
    Unix(net::SocketAddr),
}

impl LocalAddr {
    /// The address of a TCP socket.
    ///
    /// # Errors
    /// `Unsupported` for a Unix socket, which has none.
    pub fn tcp(&self) -> io::Result<SocketAddr> {
        match self {
            LocalAddr::Tcp(addr) => Ok(*addr),
            LocalAddr::Unix(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this is a Unix socket, which has a path and no IP address; ask for local_path",
            )),
        }
    }

    /// The path of a Unix socket, as it was given when the socket was bound.
    ///
    /// # Errors
    /// `Unsupported` for a TCP socket and for a Unix socket without a path.
    pub fn path(&self) -> io::Result<&Path> {
        let path = match self {
            LocalAddr::Tcp(_) => None,
            LocalAddr::Unix(addr) => addr.as_pathname(),
        };
        path.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "this is no Unix socket with a path; ask for local_addr",
            )
        })
    }
}

impl From<SocketAddr> for LocalAddr {
    fn from(addr: SocketAddr) -> Self {
        LocalAddr::Tcp(addr)
    }
}

impl From<net::SocketAddr> for LocalAddr {
    fn from(addr: net::SocketAddr) -> Self {
        LocalAddr::Unix(addr)
    }
}
