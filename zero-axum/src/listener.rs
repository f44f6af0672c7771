//! What can be listened on: anything that becomes an [`Io`].

use std::io;
use std::net::SocketAddr;

use zero_runtime::{Config, Io};

/// What [`serve`](crate::serve) accepts as a listener.
///
/// An [`Io`] is taken as it is; the others become an `Io` of the default [`Config`] with one
/// listener.
pub trait IntoIo {
    /// Makes the `Io`.
    ///
    /// # Errors
    /// As [`Io::new`], and as its `http_listen` or `http_adopt`.
    fn into_io(self) -> io::Result<Io>;
}

impl IntoIo for Io {
    fn into_io(self) -> io::Result<Io> {
        Ok(self)
    }
}

impl IntoIo for std::net::TcpListener {
    fn into_io(self) -> io::Result<Io> {
        let mut io = Io::new(Config::default())?;
        io.http_adopt(self)?;
        Ok(io)
    }
}

impl IntoIo for tokio::net::TcpListener {
    fn into_io(self) -> io::Result<Io> {
        let listener = self.into_std()?;
        // A ring answers EAGAIN, instead of waiting, for a socket that must not block.
        listener.set_nonblocking(false)?;
        listener.into_io()
    }
}

impl IntoIo for SocketAddr {
    fn into_io(self) -> io::Result<Io> {
        let mut io = Io::new(Config::default())?;
        io.http_listen(self)?;
        Ok(io)
    }
}
