//! What the owner of a raw shard's loop is told.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;

use crate::addr::EndpointId;
use crate::error::BodyError;
use crate::message::HttpRequest;
use crate::protocol::{ConnId, DisconnectReason};

/// Something that happened on a [`RawShard`](crate::RawShard).
///
/// What it borrows lies where it was received, until the next event is asked for, or the shard polled:
/// keeping it for longer does not compile (`tests/compile_fail`).
///
/// What is to live longer is taken out:
///
/// ```
/// # use zero_runtime::{RawShard, raw::Event};
/// # fn keep(shard: &mut RawShard) -> std::io::Result<()> {
/// if let Some(Event::Data { .. }) = shard.next_event() {
///     let data = shard.detach_event_data()?;
///     shard.poll(None)?;
///     println!("{}", data.len());
/// }
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection is there: accepted, or connected.
    Opened {
        /// Its name.
        conn: ConnId,
        /// The listener it came through; `None` for one that was connected from here.
        endpoint: Option<EndpointId>,
        /// The other end; unspecified (`0.0.0.0:0`) for a Unix socket.
        peer_addr: SocketAddr,
    },
    /// Bytes came on a stream, never none.
    Data {
        /// Which.
        conn: ConnId,
        /// The bytes.
        data: &'a [u8],
    },
    /// The peer has ended its side: no data follows. A stream may still be written to; that it is closed is
    /// up to you. Over HTTP this is told behind a request that is not answered yet: its client may have
    /// gone, or still read the answer, behind which the connection closes.
    HalfClosed {
        /// Which.
        conn: ConnId,
    },
    /// A stream that took less than was to be written has room again: at most half of its window is unsent.
    Writable {
        /// Which.
        conn: ConnId,
    },
    /// Bytes that another thread sent, and that the stream has no room for, or that go to no stream. What
    /// becomes of them is up to you.
    Refused {
        /// Which.
        conn: ConnId,
        /// The bytes.
        bytes: Bytes,
    },
    /// A request: it is to be answered by [`http_respond`](crate::RawShard::http_respond), in this turn or
    /// later. The next request of the connection is told after that.
    Request {
        /// Of which connection.
        conn: ConnId,
        /// The request; its body is empty unless `is_whole`.
        request: HttpRequest<'a>,
        /// Whether it has all of its body. If not, `Body` events follow, and one that ends them.
        is_whole: bool,
    },
    /// A part of a request's body, without its chunked coding, never empty.
    Body {
        /// Of which connection.
        conn: ConnId,
        /// The bytes.
        data: &'a [u8],
    },
    /// A request's body is complete.
    BodyEnd {
        /// Of which connection.
        conn: ConnId,
        /// What was sent behind it, if anything.
        trailers: Option<Box<HeaderMap>>,
    },
    /// A request's body will never be complete. It may still be answered, and its connection ends then.
    BodyFailed {
        /// Of which connection.
        conn: ConnId,
        /// Why.
        error: BodyError,
    },
    /// A connection is gone, or one that was to be connected did not come about. Its name names nothing any
    /// more.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        why: DisconnectReason,
    },
}

impl Event<'_> {
    /// The connection it happened to.
    pub fn conn(&self) -> ConnId {
        match self {
            Event::Opened { conn, .. }
            | Event::Data { conn, .. }
            | Event::HalfClosed { conn }
            | Event::Writable { conn }
            | Event::Refused { conn, .. }
            | Event::Request { conn, .. }
            | Event::Body { conn, .. }
            | Event::BodyEnd { conn, .. }
            | Event::BodyFailed { conn, .. }
            | Event::Closed { conn, .. } => *conn,
        }
    }
}
