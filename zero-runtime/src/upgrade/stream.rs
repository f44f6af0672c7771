//! A connection that left its shard, as tokio's traits see it.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::Socket;
use super::{Place, Upgraded};
use crate::phase::{Guest, cut};
use crate::pool::copies::{self, Append, Copied};

/// A connection that left its shard, for tokio: its socket, and what was read from that before it was tokio's.
///
/// Its reads and writes fail with
/// `ConnectionAborted` once its server terminates: an end of the stream might pass for the peer's.
///
/// Small, since an idle WebSocket has one: a task that waits is woken by the socket, which the server
/// shuts down.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Behind the socket, which it has been lent: gone once that is closed.
    guest: Guest,
    /// To be read before the socket.
    read_ahead: Option<Box<Bytes>>,
    /// Behind the socket: free once that is closed.
    _place: Place,
}

impl Stream {
    /// Registers the socket with the runtime that is entered.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn new(conn: Upgraded) -> io::Result<Self> {
        let socket = Socket::new(conn.socket)?;
        let mut guest = conn.guest;
        guest.lend(socket.as_fd());
        let read_ahead = conn.read_ahead;
        Ok(Stream {
            socket,
            guest,
            read_ahead: (!read_ahead.is_empty()).then(|| Box::new(read_ahead)),
            _place: conn.place,
        })
    }

    /// Does `poll` to the socket, unless the server terminates or does so meanwhile.
    fn poll_socket<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut Socket>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let polled = poll(Pin::new(&mut self.socket));
        // Behind the poll: the server says that it terminates, and shuts the socket down then.
        match self.guest.is_cut() {
            true => cut(),
            false => polled,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.guest.take_back();
    }
}

impl Append for ReadBuf<'_> {
    fn append(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(read_ahead) = &mut self.read_ahead else {
            return self.poll_socket(|socket| socket.poll_read(cx, buf));
        };
        let count = read_ahead.len().min(buf.remaining());
        copies::append(Copied::ReadAhead, &read_ahead.split_to(count), buf);
        if read_ahead.is_empty() {
            self.read_ahead = None;
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
        self.poll_socket(|socket| socket.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_socket(|socket| socket.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Of a socket, neither this nor the next waits.
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

    use crate::phase::{Phase, Phases};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

    #[tokio::test]
    async fn both_directions_end_with_the_server_and_not_before() {
        let phases = Phases::new();
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut conn = Upgraded::new(socket.into(), Bytes::new());
        conn.guest = phases.guest();
        let (mut reader, mut writer) = tokio::io::split(Stream::new(conn).unwrap());
        writer.write_all(b"bye").await.unwrap();
        peer.write_all(b"you").unwrap();
        reader.read_exact(&mut [0; 3]).await.unwrap();
        // Each waits in a task of its own: for bytes, and for room.
        let reads = tokio::spawn(async move { reader.read(&mut [0; 1]).await });
        let writes = tokio::spawn(async move { writer.write_all(&vec![0; 16 << 20]).await });
        tokio::task::yield_now().await;
        phases.advance(Phase::Draining);
        tokio::task::yield_now().await;
        assert!(!reads.is_finished() && !writes.is_finished());
        phases.advance(Phase::Terminating);
        // Not by the draining before.
        let aborted = io::ErrorKind::ConnectionAborted;
        assert_eq!(reads.await.unwrap().unwrap_err().kind(), aborted);
        assert_eq!(writes.await.unwrap().unwrap_err().kind(), aborted);
    }
}
