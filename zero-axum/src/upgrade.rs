//! hyper's `OnUpgrade`, for connections that are not hyper's.
//!
//! Whatever upgrades a connection under axum, from `WebSocketUpgrade` to proxies, asks for a
//! `hyper::upgrade::OnUpgrade`, and only hyper makes those. So a request that may be upgraded gets a
//! connection of hyper's of its own, in memory: it reads a request that was written here, takes the
//! real connection's upgrade for its handler's, and then is that connection to whoever asked.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zero_runtime::upgrade::{NotUpgraded, OnUpgrade, Stream};

/// What hyper's connection reads first. Any upgrade will do: nobody else sees it.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: any\r\n\r\n";

/// Where the real connection is put for hyper's to find it.
type Place = Arc<Mutex<Option<Stream>>>;

/// Makes a hyper upgrade of the shard's. Called inside the server's runtime, which gets a task that
/// lasts until the upgrade or the request's end.
pub(crate) fn hyper_upgrade(upgrade: OnUpgrade) -> Option<hyper::upgrade::OnUpgrade> {
    let made = Arc::new(Mutex::new(None));
    let place = Place::default();
    let conn = InMemory(Phase::Request(REQUEST, place.clone()));
    let handler = service_fn({
        let made = made.clone();
        move |mut request: Request<hyper::body::Incoming>| {
            *lock(&made) = Some(hyper::upgrade::on(&mut request));
            agree(upgrade.clone(), place.clone())
        }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(conn), handler);
    let mut served = Box::pin(served.with_upgrades());
    // Reads the request and calls the handler; the task polls it again with a waker of its own.
    let polled = served
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    debug_assert!(
        polled.is_pending(),
        "the real connection cannot be here yet"
    );
    tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::trace!(%error, "a request was not upgraded");
        }
    });
    let made = lock(&made).take();
    debug_assert!(made.is_some(), "the handler is called in the first poll");
    made
}

/// hyper's side of the handler: switches protocols when the real connection has.
async fn agree(upgrade: OnUpgrade, place: Place) -> Result<Response<Empty>, NotUpgraded> {
    let stream = Stream::new(upgrade.await?).map_err(|error| {
        tracing::warn!(%error, "an upgraded connection could not be registered with tokio");
        NotUpgraded
    })?;
    *lock(&place) = Some(stream);
    let mut response = Response::new(Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    Ok(response)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No body.
struct Empty;

impl http_body::Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(0)
    }
}

/// The transport of hyper's connection: at first made up, then the real one.
struct InMemory(Phase);

/// What the transport is; who needs no place any more has none.
enum Phase {
    /// So much of the request is to be read.
    Request(&'static [u8], Place),
    /// The response is swallowed. Its end in sight is so long.
    Response(usize, Place),
    Open(Stream),
}

/// A head ends with this.
const HEAD_END: &[u8] = b"\r\n\r\n";

impl InMemory {
    /// Swallows a part of hyper's response; behind its end the connection is the real one.
    fn swallow(&mut self, bytes: &[u8]) {
        let (mut seen, place) = match &self.0 {
            Phase::Request(_, place) => (0, place.clone()),
            Phase::Response(seen, place) => (*seen, place.clone()),
            Phase::Open(_) => return,
        };
        for byte in bytes {
            seen = match HEAD_END.get(seen) {
                Some(next) if next == byte => seen + 1,
                Some(_) if *byte == b'\r' => 1,
                Some(_) => 0,
                None => break,
            };
        }
        let stream = match seen == HEAD_END.len() {
            true => lock(&place).take(),
            false => None,
        };
        self.0 = match stream {
            Some(stream) => Phase::Open(stream),
            None => Phase::Response(seen, place),
        };
    }
}

impl AsyncRead for InMemory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Phase::Request(rest, _) => {
                if rest.is_empty() {
                    // hyper takes an end here for the client's; it is polled again to write.
                    return Poll::Pending;
                }
                let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
                buf.put_slice(now);
                *rest = later;
                Poll::Ready(Ok(()))
            }
            Phase::Response(..) => Poll::Pending,
            Phase::Open(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for InMemory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Phase::Open(stream) = &mut self.0 {
            return Pin::new(stream).poll_write(cx, bytes);
        }
        self.swallow(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Phase::Open(stream) = &mut self.0 {
            return Pin::new(stream).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        let bytes = first.map_or(&[][..], |slice| slice);
        self.swallow(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Phase::Open(stream) => Pin::new(stream).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Phase::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            _ => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_in_any_pieces() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n";
        for size in 1..=head.len() {
            let mut conn = InMemory(Phase::Request(&[], Place::default()));
            for piece in head.chunks(size) {
                assert!(!matches!(conn.0, Phase::Response(4, _)), "too early");
                conn.swallow(piece);
            }
            assert!(matches!(conn.0, Phase::Response(4, _)), "pieces of {size}");
        }
    }

    #[test]
    fn a_body_without_bytes_says_so() {
        assert!(Empty.is_end_stream());
    }
}
