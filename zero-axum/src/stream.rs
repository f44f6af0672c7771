//! A connection that left its shard, as tokio's traits see it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zero_runtime::upgrade::{Place, Upgraded};

use crate::cut::CutOff;
use crate::socket::Socket;

/// A tokio socket, and what was read from it before it was tokio's.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: CutOff<Socket>,
    /// To be read before the socket; without memory once it has been.
    read_ahead: Bytes,
    /// Behind the socket: free once that is closed.
    _place: Place,
}

impl Stream {
    /// Registers the socket with the runtime that is entered.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    pub(crate) fn new(conn: Upgraded) -> io::Result<Self> {
        Ok(Stream {
            socket: CutOff::new(Socket::new(conn.socket)?, conn.guest),
            read_ahead: conn.read_ahead,
            _place: conn.place,
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let count = self.read_ahead.len().min(buf.remaining());
        buf.put_slice(&self.read_ahead[..count]);
        self.read_ahead.advance(count);
        if self.read_ahead.is_empty() {
            self.read_ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read_ahead_comes_first(socket: OwnedFd, mut peer: impl Write) {
        let read_ahead = Bytes::from_static(b"first, ");
        let mut stream = Stream::new(Upgraded::new(socket, read_ahead)).unwrap();
        peer.write_all(b"then").unwrap();
        drop(peer);
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first, then");
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        read_ahead_comes_first(socket.into(), peer).await;
        let (socket, peer) = UnixStream::pair().unwrap();
        read_ahead_comes_first(socket.into(), peer).await;
    }
}
