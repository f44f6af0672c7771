//! What can be listened on: anything that becomes an [`Io`].

use std::io;
use std::net::SocketAddr;

use zero_runtime::{Config, Io};

/// What [`serve`](crate::serve) accepts as a listener.
///
/// An [`Io`] is taken as it is; the others become an `Io` of the default [`Config`] with one
/// listener. A TCP listener is adopted by [`Io::http_adopt`]; for one that others go on with, such as
/// one that a service manager keeps, make an `Io` and call its `http_adopt_shared`. For listeners of
/// other kinds there is [`serve_listener`](crate::serve_listener).
pub trait IntoIo {
    /// Makes the `Io`.
    ///
    /// # Errors
    /// As [`Io::new`], and as its `http_listen`, `http_adopt` or `http_adopt_unix`.
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
        self.into_std()?.into_io()
    }
}

impl IntoIo for std::os::unix::net::UnixListener {
    fn into_io(self) -> io::Result<Io> {
        let mut io = Io::new(Config::default())?;
        io.http_adopt_unix(self)?;
        Ok(io)
    }
}

impl IntoIo for tokio::net::UnixListener {
    fn into_io(self) -> io::Result<Io> {
        self.into_std()?.into_io()
    }
}

impl IntoIo for SocketAddr {
    fn into_io(self) -> io::Result<Io> {
        let mut io = Io::new(Config::default())?;
        io.http_listen(self)?;
        Ok(io)
    }
}
