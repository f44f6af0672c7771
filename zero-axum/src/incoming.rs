//! What makers of services, and `ConnectInfo` types, may know of a connection that has come in.

use std::any::Any;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use zero_runtime::PeerCred;
use zero_runtime::service::ConnInfo;

/// A connection that has come in, as make services and `ConnectInfo` types see it.
///
/// `ConnectInfo<SocketAddr>` works unchanged. A type of your own names this stream where it named
/// axum's:
///
/// # Examples
/// ```no_run
/// use axum::extract::connect_info::{ConnectInfo, Connected};
/// use axum::{Router, routing::get};
/// use zero_axum::IncomingStream;
///
/// #[derive(Clone)]
/// struct Port(u16);
///
/// impl Connected<IncomingStream<'_>> for Port {
///     fn connect_info(stream: IncomingStream<'_>) -> Self {
///         Port(stream.remote_addr().port())
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let app = Router::new()
///     .route("/", get(|ConnectInfo(port): ConnectInfo<Port>| async move { port.0.to_string() }));
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// zero_axum::serve(listener, app.into_make_service_with_connect_info::<Port>())?.wait()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct IncomingStream<'a> {
    conn: ConnInfo,
    listener_addr: Option<Arc<dyn Any + Send + Sync>>,
    _borrow: PhantomData<&'a ()>,
}

impl IncomingStream<'_> {
    /// The address of the other end. Unspecified (`0.0.0.0:0`) for a Unix socket, and for a listener
    /// of [`serve_listener`](crate::serve_listener) whose addresses are no `SocketAddr`s.
    pub fn remote_addr(&self) -> &SocketAddr {
        &self.conn.peer_addr
    }

    /// The address of the listener the connection came through; unspecified as
    /// [`remote_addr`](Self::remote_addr).
    pub fn local_addr(&self) -> &SocketAddr {
        &self.conn.local_addr
    }

    /// Who is at the other end of a Unix socket; `None` for other connections.
    pub fn peer_cred(&self) -> Option<PeerCred> {
        self.conn.peer_cred
    }

    /// What a listener of [`serve_listener`](crate::serve_listener) said the other end's address is,
    /// if `A` is its `Listener::Addr`; `None` for other connections.
    pub fn listener_addr<A: 'static>(&self) -> Option<&A> {
        self.listener_addr.as_deref()?.downcast_ref()
    }
}

impl IncomingStream<'static> {
    /// Of a listener that is none of ours, whose addresses may be anything.
    pub(crate) fn of_listener<A>(local_addr: Option<SocketAddr>, peer_addr: A) -> Self
    where
        A: Send + Sync + 'static,
    {
        let any: &dyn Any = &peer_addr;
        let mut conn = ConnInfo::default();
        if let Some(addr) = any.downcast_ref() {
            conn.peer_addr = *addr;
        }
        if let Some(addr) = local_addr {
            conn.local_addr = addr;
        }
        IncomingStream {
            listener_addr: Some(Arc::new(peer_addr)),
            ..IncomingStream::from(conn)
        }
    }
}

impl From<ConnInfo> for IncomingStream<'_> {
    fn from(conn: ConnInfo) -> Self {
        IncomingStream {
            conn,
            listener_addr: None,
            _borrow: PhantomData,
        }
    }
}

impl Connected<IncomingStream<'_>> for SocketAddr {
    fn connect_info(stream: IncomingStream<'_>) -> Self {
        stream.conn.peer_addr
    }
}

/// Who connected, for `ConnectInfo<UnixPeer>`: the credentials of a Unix socket's peer, `None` over
/// TCP.
///
/// # Examples
/// ```no_run
/// use axum::extract::ConnectInfo;
/// use axum::http::StatusCode;
/// use axum::{Router, routing::get};
/// use zero_axum::{Config, Io, UnixPeer};
///
/// async fn for_root(ConnectInfo(UnixPeer(peer)): ConnectInfo<UnixPeer>) -> StatusCode {
///     match peer {
///         Some(peer) if peer.uid == 0 => StatusCode::OK,
///         _ => StatusCode::FORBIDDEN,
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let app = Router::new().route("/", get(for_root));
/// let mut io = Io::new(Config::default())?;
/// io.http_listen_unix("/run/app.sock")?;
/// zero_axum::serve(io, app.into_make_service_with_connect_info::<UnixPeer>())?.wait()
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UnixPeer(pub Option<PeerCred>);

impl Connected<IncomingStream<'_>> for UnixPeer {
    fn connect_info(stream: IncomingStream<'_>) -> Self {
        UnixPeer(stream.conn.peer_cred)
    }
}
