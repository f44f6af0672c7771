//! A transport that ends when its server terminates, whoever has it by then. Knows nothing of HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::phase::{Guest, cut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport whose reads and writes fail with `ConnectionAborted` once its server terminates: an
/// end of the stream might pass for the peer's.
#[derive(Debug)]
pub struct CutOff<Io> {
    io: Io,
    /// Behind the transport: gone once that is closed.
    guest: Guest,
    reader: Alarm,
    writer: Alarm,
}

impl<Io> CutOff<Io> {
    /// Wraps a transport of the server that `guest` is noted with.
    pub fn new(io: Io, guest: Guest) -> Self {
        CutOff {
            io,
            guest,
            reader: Alarm::default(),
            writer: Alarm::default(),
        }
    }
}

/// Wakes the task that waits for one direction. Costs no memory until somebody does.
#[derive(Default)]
struct Alarm(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Alarm {
    /// Passes `polled` on, and sees to it that who waits hears of the end.
    fn guard<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        guest: &Guest,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        let alarm = self.0.get_or_insert_with(|| Box::pin(guest.cut()));
        match alarm.as_mut().poll(cx) {
            Poll::Ready(()) => cut(),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Alarm").field(&self.0.is_some()).finish()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for CutOff<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.guest.is_cut() {
            return cut();
        }
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        this.reader.guard(polled, &this.guest, cx)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for CutOff<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.guest.is_cut() {
            return cut();
        }
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.writer.guard(polled, &this.guest, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.guest.is_cut() {
            return cut();
        }
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.writer.guard(polled, &this.guest, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        this.writer.guard(polled, &this.guest, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_shutdown(cx);
        this.writer.guard(polled, &this.guest, cx)
    }
}

#[cfg(test)]
mod tests {
    use crate::lifecycle::{Lifecycle, Phases, RuntimeRef};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_directions_end_with_the_server_and_not_before() {
        let runtime = RuntimeRef::current_or_new(1).unwrap();
        let lifecycle = Lifecycle::new(Phases::new(), runtime, None);
        let (io, mut peer) = tokio::io::duplex(4);
        let (mut reader, mut writer) = tokio::io::split(CutOff::new(io, lifecycle.guest()));
        writer.write_all(b"bye").await.unwrap();
        peer.write_all(b"you").await.unwrap();
        reader.read_exact(&mut [0; 3]).await.unwrap();
        // Each waits in a task of its own: for bytes, and for room.
        let reads = tokio::spawn(async move { reader.read(&mut [0; 1]).await });
        let writes = tokio::spawn(async move { writer.write_all(b"too much").await });
        tokio::task::yield_now().await;
        lifecycle.drain();
        tokio::task::yield_now().await;
        lifecycle.terminate();
        // Not by the draining before.
        let aborted = io::ErrorKind::ConnectionAborted;
        assert_eq!(reads.await.unwrap().unwrap_err().kind(), aborted);
        assert_eq!(writes.await.unwrap().unwrap_err().kind(), aborted);
    }
}
