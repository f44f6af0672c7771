//! Services made for each connection. Knows nothing of requests.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::Extensions;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tower_service::Service;
use zero_runtime::BoxError;
use zero_runtime::service::{ConnInfo, Made, MakeFuture, MakeHttpService};

use crate::app::{AppService, Application};
use crate::incoming::IncomingStream;

/// A maker that may be told more of a connection than a shard knows.
pub trait MakeForStream: MakeHttpService {
    /// As [`MakeHttpService::make`].
    fn make_for(&mut self, stream: IncomingStream<'static>) -> Made<Self::Service>;
}

/// The same application, cloned, for every connection.
#[derive(Clone, Debug)]
pub struct SameForAll<A>(AppService<A>);

impl<A> SameForAll<A> {
    pub(crate) fn new(app: A) -> Self {
        SameForAll(AppService::new(app))
    }
}

impl<A: Application> MakeHttpService for SameForAll<A> {
    type Service = AppService<A>;
    const WANTS_PEER_ADDR: bool = false;
    const SPEAKS_HTTP2: bool = cfg!(feature = "http2");

    #[cfg(feature = "http2")]
    fn serve_http2(
        &mut self,
        service: Self::Service,
        conn: zero_runtime::upgrade::Upgraded,
        lifecycle: Arc<zero_runtime::lifecycle::Lifecycle>,
    ) -> impl Future<Output = ()> + Send + 'static {
        crate::http2::serve(service, conn, lifecycle)
    }

    fn make(&mut self, _conn: ConnInfo) -> Made<Self::Service> {
        Made::Ready(self.0.clone())
    }

    fn reason_phrase(extensions: &Extensions) -> Option<&[u8]> {
        reason_phrase(extensions)
    }
}

impl<A: Application> MakeForStream for SameForAll<A> {
    fn make_for(&mut self, _stream: IncomingStream<'static>) -> Made<Self::Service> {
        Made::Ready(self.0.clone())
    }
}

/// As hyper does: an application may replace the words behind a status code.
fn reason_phrase(extensions: &Extensions) -> Option<&[u8]> {
    let phrase = extensions.get::<hyper::ext::ReasonPhrase>();
    phrase.map(hyper::ext::ReasonPhrase::as_bytes)
}

/// A make service, one for the whole server, that makes the service of each connection.
///
/// Its lock is held for `poll_ready` and `call`, not for the future that `call` returns: a slow
/// connection does not hold up the next one.
#[derive(Debug)]
pub struct MakePerConnection<M>(Arc<Mutex<M>>);

impl<M> MakePerConnection<M> {
    pub(crate) fn new(make: M) -> Self {
        MakePerConnection(Arc::new(Mutex::new(make)))
    }
}

impl<M> Clone for MakePerConnection<M> {
    fn clone(&self) -> Self {
        MakePerConnection(self.0.clone())
    }
}

impl<M: Maker> MakeHttpService for MakePerConnection<M> {
    type Service = AppService<M::App>;
    const WANTS_PEER_ADDR: bool = true;
    const SPEAKS_HTTP2: bool = cfg!(feature = "http2");

    #[cfg(feature = "http2")]
    fn serve_http2(
        &mut self,
        service: Self::Service,
        conn: zero_runtime::upgrade::Upgraded,
        lifecycle: Arc<zero_runtime::lifecycle::Lifecycle>,
    ) -> impl Future<Output = ()> + Send + 'static {
        crate::http2::serve(service, conn, lifecycle)
    }

    fn make(&mut self, conn: ConnInfo) -> Made<Self::Service> {
        self.make_for(conn.into())
    }

    fn reason_phrase(extensions: &Extensions) -> Option<&[u8]> {
        reason_phrase(extensions)
    }
}

impl<M: Maker> MakeForStream for MakePerConnection<M> {
    fn make_for(&mut self, stream: IncomingStream<'static>) -> Made<Self::Service> {
        // Whatever registers this waker is polled again by the one who gets `Made::Later`.
        let cx = &mut Context::from_waker(Waker::noop());
        let Ok(mut maker) = self.0.clone().try_lock_owned() else {
            return later(make_in_turn(self.0.clone(), stream));
        };
        match maker.poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return later(ready(Err(error))),
            // Waits with the lock held: a service under `poll_ready` knows one waker only.
            Poll::Pending => return later(make_when_ready(maker, stream)),
        }
        let mut made = maker.make(stream);
        drop(maker);
        match made.as_mut().poll(cx) {
            Poll::Ready(Ok(app)) => Made::Ready(AppService::new(app)),
            Poll::Ready(Err(error)) => later(ready(Err(error))),
            Poll::Pending => later(made),
        }
    }
}

/// Waits for the lock, in order of arrival, then as [`make_when_ready`].
async fn make_in_turn<M: Maker>(
    maker: Arc<Mutex<M>>,
    stream: IncomingStream<'static>,
) -> Result<M::App, BoxError> {
    make_when_ready(maker.lock_owned().await, stream).await
}

async fn make_when_ready<M: Maker>(
    mut maker: OwnedMutexGuard<M>,
    stream: IncomingStream<'static>,
) -> Result<M::App, BoxError> {
    poll_fn(|cx| maker.poll_ready(cx)).await?;
    let made = maker.make(stream);
    drop(maker);
    made.await
}

fn later<A: Application>(
    app: impl Future<Output = Result<A, BoxError>> + Send + 'static,
) -> Made<AppService<A>> {
    Made::Later(Box::pin(async { app.await.map(AppService::new) }))
}

/// A make service of connections. Implemented for every
/// `tower::Service<IncomingStream<'static>>` that makes an [`Application`]; never by hand.
// It hides the lifetime from the futures above, which rustc could not see to be `Send`
// otherwise (rust-lang/rust#100013).
pub trait Maker: Send + 'static {
    /// What it makes.
    type App: Application;

    /// As [`Service::poll_ready`].
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
    /// As [`Service::call`].
    fn make(&mut self, stream: IncomingStream<'static>) -> MakeFuture<Self::App>;
}

impl<M> Maker for M
where
    M: Service<IncomingStream<'static>, Response: Application, Error: Into<BoxError>>
        + Send
        + 'static,
    M::Future: Send + 'static,
{
    type App = M::Response;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(self, cx).map_err(Into::into)
    }

    fn make(&mut self, stream: IncomingStream<'static>) -> MakeFuture<M::Response> {
        Box::pin(with_boxed_error(self.call(stream)))
    }
}

async fn with_boxed_error<F, A, E>(made: F) -> Result<A, BoxError>
where
    F: Future<Output = Result<A, E>>,
    E: Into<BoxError>,
{
    made.await.map_err(Into::into)
}
