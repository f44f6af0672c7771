//! Shards for people who own their loop: [`RawShard`] tells what happens on streams and over HTTP/1.1,
//! [`ProtocolShard`] what a protocol of your own makes of it.
//!
//! Knows shards and messages; knows no thread but the caller's.

mod error;
mod event;
mod handle;
mod protocol_shard;
mod standard;
mod stats;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;

use self::standard::{Speaks, Standard, StandardConn, StandardEvent};
use crate::addr::EndpointId;
use crate::config::Config;
use crate::limits::Limits;
use crate::message::{HttpOwnedRequest, HttpRequest, SendBuffer, ZeroResponse};
use crate::pool::copies::{self, Copied};
use crate::proto::h1::RequestLine;
use crate::shard::raw::http::{HttpEvent, request_in};
use crate::stats::Stats;

pub use self::error::{DetachError, SendError, StreamError};
pub use self::event::Event;
pub use self::handle::{IoHandle, OrderError, ProtocolHandle};
pub use self::protocol_shard::{Happened, ProtocolShard};
pub use self::stats::{PoolStats, Pressure};
pub use crate::pool::slot::{Committed, Empty, OwnedSlot, Reserved, Slot, SlotPool};
pub use crate::protocol::{
    Closing, ConnId, DisconnectReason, Next, Opening, ProtocolHandler, Step, Wire,
};
pub use crate::shard::raw::ConnStats;
pub use crate::shard::raw::http::RespondError;

/// One ring and its connections in the thread that made it: streams and HTTP/1.1 for people who own their
/// loop.
///
/// It is not [`Io`](crate::Io), and cannot be. `Io` is a description that several shards are started from,
/// goes to other threads and ends by a handle; this is one running shard that belongs to its thread, since its
/// ring does, and lends out what it has received. One type with both would have half of its methods fail at
/// run time.
///
/// The loop is yours: [`poll`](Self::poll) sends what was written and waits, [`next_event`](Self::next_event)
/// is then called until there is none. In between nothing happens: no thread is started, no runtime is needed.
/// For one shard a core start as many threads, each with its own. To spin instead of sleeping, poll with a
/// timeout of zero.
///
/// Connections are held to the same limits and timeouts as a server's, by the same engine:
/// [`Config::connections_max`], heads, `head_timeout`, `keep_alive_timeout`, `body_timeout`, `write_timeout`,
/// windows; and `request_timeout`: a request that is not answered by then is answered with 503 and its connection
/// closes. Whatever `Config` says of dispatch, workers, waking and `connections_per_peer_max` has no meaning here;
/// streams have no timeout but `write_timeout`.
///
/// HTTP connections are not handed over: `Upgrade` is left unheeded, as a server may, a 101 is sent as 500, and a
/// connection whose CONNECT is answered closes. Other protocols have listeners of their own, or are a
/// [`ProtocolHandler`].
///
/// # What allocates
/// Each connection once, HTTP twice; slots and buffers when first used. In steady state no event, write or
/// response that is there when it is given does; [`IoHandle::send`] what its bytes do, [`OwnedSlot`] into `Bytes`
/// once, one of several responses that are sent piece by piece at a time its driver.
///
/// Dropping it closes every connection at once. Buffers that the kernel was given stay its own until it has
/// let go of them, which dropping waits for.
///
/// # Examples
/// A web server:
/// ```no_run
/// use zero_runtime::{Config, RawShard, ZeroResponse, raw::Event};
///
/// # fn main() -> std::io::Result<()> {
/// let mut shard = RawShard::new(Config::default())?;
/// shard.http_listen(([127, 0, 0, 1], 3000).into())?;
/// loop {
///     shard.poll(None)?;
///     while let Some(event) = shard.next_event() {
///         if let Event::Request { conn, request, .. } = event {
///             let response = ZeroResponse::ok().text(request.path());
///             // The connection may have ended meanwhile.
///             let _ = shard.http_respond(conn, response);
///         }
///     }
/// }
/// # }
/// ```
pub struct RawShard {
    shard: ProtocolShard<Standard>,
    slots: SlotPool,
    /// What the last event had in its input.
    last: Last,
}

/// What an event had that may be taken out, in its input.
enum Last {
    Nothing,
    Data(Range<usize>),
    Request {
        head: Range<usize>,
        line: RequestLine,
        body: Range<usize>,
        peer_addr: SocketAddr,
    },
}

impl RawShard {
    /// Sets a ring up for this thread, with `Config::recv_buffers` slots of `Config::recv_buffer_bytes` each
    /// for [`detach_event_data`](Self::detach_event_data) (256 of 16 KiB unless set), allocated as they are
    /// first used.
    ///
    /// # Errors
    /// A configuration that cannot work; a kernel that refuses io_uring, with cause and remedy; memory or
    /// descriptors that cannot be had. There is no other backend: a configuration, or `ZERO_BACKEND`, that
    /// asks for hyper is `Unsupported`.
    pub fn new(config: Config) -> io::Result<Self> {
        let limits = protocol_shard::limits(config)?;
        let slots = SlotPool::new(
            usize::from(limits.recv_buffers),
            limits.recv_buffer_bytes as usize,
        );
        Ok(RawShard {
            shard: ProtocolShard::with_limits(limits, Standard::new)?,
            slots,
            last: Last::Nothing,
        })
    }

    // Where connections come from.

    /// Listens for streams over TCP at `addr`; port 0 picks a free one, see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// What `bind` or `listen` say; an address that somebody else listens at is refused.
    pub fn tcp_listen(&mut self, addr: SocketAddr) -> io::Result<EndpointId> {
        let endpoint = self.shard.tcp_listen(addr)?;
        Ok(self.speak(endpoint, Speaks::Stream))
    }

    /// Listens for streams at a Unix socket, a file at `path`, as
    /// [`Io::http_listen_unix`](crate::Io::http_listen_unix) does.
    ///
    /// # Errors
    /// As there.
    pub fn unix_listen(&mut self, path: impl AsRef<Path>) -> io::Result<EndpointId> {
        let endpoint = self.shard.unix_listen(path)?;
        Ok(self.speak(endpoint, Speaks::Stream))
    }

    /// Listens for HTTP over TCP at `addr`, as [`tcp_listen`](Self::tcp_listen).
    ///
    /// # Errors
    /// As there.
    pub fn http_listen(&mut self, addr: SocketAddr) -> io::Result<EndpointId> {
        let endpoint = self.shard.tcp_listen(addr)?;
        Ok(self.speak(endpoint, Speaks::Http))
    }

    /// Listens for HTTP at a Unix socket, as [`unix_listen`](Self::unix_listen).
    ///
    /// # Errors
    /// As there.
    pub fn http_listen_unix(&mut self, path: impl AsRef<Path>) -> io::Result<EndpointId> {
        let endpoint = self.shard.unix_listen(path)?;
        Ok(self.speak(endpoint, Speaks::Http))
    }

    fn speak(&mut self, endpoint: EndpointId, speaks: Speaks) -> EndpointId {
        let by_listener = &mut self.shard.handler().speaks;
        debug_assert_eq!(by_listener.len(), endpoint.0);
        by_listener.push(speaks);
        endpoint
    }

    /// Begins to connect a stream to `addr`: [`Event::Opened`] follows, or [`Event::Closed`] with
    /// [`DisconnectReason::ConnectFailed`]. How long the kernel tries is the
    /// system's `net.ipv4.tcp_syn_retries`, unless it is [closed](Self::close) before.
    ///
    /// # Errors
    /// `QuotaExceeded` while `Config::connections_max` are open or the shard shuts down; what `socket` says.
    pub fn tcp_connect(&mut self, addr: SocketAddr) -> io::Result<ConnId> {
        self.shard.tcp_connect(addr)
    }

    /// The same, to a Unix socket.
    ///
    /// # Errors
    /// As [`tcp_connect`](Self::tcp_connect); `InvalidInput` when the path is longer than the kernel takes.
    pub fn unix_connect(&mut self, path: impl AsRef<Path>) -> io::Result<ConnId> {
        self.shard.unix_connect(path)
    }

    /// The address a TCP listener is bound to.
    ///
    /// # Errors
    /// `NotFound` when `endpoint` is another shard's; `Unsupported` when it is a Unix socket.
    pub fn local_addr(&self, endpoint: EndpointId) -> io::Result<SocketAddr> {
        self.shard.local_addr(endpoint)
    }

    // The loop.

    /// Sends what was written, and waits until something happens, for `timeout` at most: `None` without end,
    /// zero not at all. Lets go of what the last event borrowed.
    ///
    /// Returns at once while events are left to be taken. It may also return without any.
    ///
    /// # Errors
    /// Only what makes the ring unusable; drop the shard then. Trouble of a single connection is told by its
    /// [`Event::Closed`].
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.last = Last::Nothing;
        self.shard.poll(timeout)
    }

    /// The next event, until there is none: then [`poll`](Self::poll). Lets go of what the last one borrowed.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.last = Last::Nothing;
        let Happened { conn, event, input } = self.shard.next_event()?;
        Some(match event {
            StandardEvent::Opened {
                endpoint,
                peer_addr,
            } => Event::Opened {
                conn,
                endpoint,
                peer_addr,
            },
            StandardEvent::Data(range) => {
                self.last = Last::Data(range.clone());
                let data = &input[range];
                Event::Data { conn, data }
            }
            StandardEvent::HalfClosed => Event::HalfClosed { conn },
            StandardEvent::Writable => Event::Writable { conn },
            StandardEvent::Refused(bytes) => Event::Refused { conn, bytes },
            StandardEvent::Closed(why) => Event::Closed { conn, why },
            StandardEvent::Http(event) => http_event(conn, event, input, &mut self.last),
        })
    }

    /// Takes the bytes of the last event out: data of a stream, or a part of a body. They may then go
    /// anywhere, and are given back by dropping them.
    ///
    /// They are copied, into one of the shard's slots: buffers that the kernel receives into never leave the
    /// shard, because one that is kept for long would be missing for every connection.
    ///
    /// # Errors
    /// The last event had no bytes, or its bytes were let go; they are more than a slot holds; all slots are
    /// out. The event's bytes are not lost by that.
    pub fn detach_event_data(&mut self) -> Result<OwnedSlot, DetachError> {
        let Last::Data(range) = &self.last else {
            return Err(DetachError::NoData);
        };
        let data = &self.shard.input()[range.clone()];
        if data.len() > self.slots.slot_bytes() {
            return Err(DetachError::TooLong);
        }
        let slot = self.slots.take().ok_or(DetachError::Exhausted)?;
        let mut slot = slot.reserve();
        copies::append(Copied::Detached, data, &mut slot);
        Ok(slot.commit())
    }

    /// Takes the request of the last event out, by copying it: it may then go anywhere. Its body is whole if
    /// the event's was, else empty: what comes of it later is told all the same. `None` when the last event
    /// was none, or let go.
    pub fn detach_http_request(&mut self) -> Option<HttpOwnedRequest> {
        let Last::Request {
            head,
            line,
            body,
            peer_addr,
        } = &self.last
        else {
            return None;
        };
        let input = self.shard.input();
        let request = request_in(input, head.clone(), *line, body.clone(), *peer_addr);
        Some(request.to_owned_request())
    }

    // What goes out.

    /// Answers the present request of a connection. It is sent by the next [`poll`](Self::poll), together with
    /// whatever else is written until then. The next request is told after that.
    ///
    /// If the request's body has not come to its end, the connection ends behind the response.
    ///
    /// # Errors
    /// The connection is gone or closing, or speaks no HTTP; no request waits for a response.
    pub fn http_respond(
        &mut self,
        conn: ConnId,
        response: ZeroResponse,
    ) -> Result<(), RespondError> {
        let responded = self.shard.with(conn, |standard, conn, wire| {
            standard.respond(conn, response, wire)
        });
        responded.unwrap_or(Err(RespondError::NotOpen))
    }

    /// Writes as much of `bytes` to a stream as there is room for, and returns how much that was: less than
    /// all, also nothing, while the peer leaves more than `Config::response_window_bytes` (256 KiB unless
    /// set) untaken. [`Event::Writable`] then says when there is room again. So a stream never holds more
    /// than its window.
    ///
    /// # Errors
    /// The connection is no open stream; its write side has ended.
    pub fn stream_write(&mut self, conn: ConnId, bytes: &[u8]) -> Result<usize, StreamError> {
        self.with_stream(conn, |wire, _| wire.write(bytes))
    }

    /// The same with the data of the last event, which is copied once, from where it was received to where it
    /// is sent from. `to` may be any stream.
    ///
    /// # Errors
    /// As [`stream_write`](Self::stream_write). If the last event had no data, nothing is written.
    pub fn stream_forward(&mut self, to: ConnId) -> Result<usize, StreamError> {
        let range = match &self.last {
            Last::Data(range) => range.clone(),
            Last::Nothing | Last::Request { .. } => 0..0,
        };
        self.with_stream(to, |wire, input| wire.write(&input[range]))
    }

    /// Sends bytes from where they lie if there are more than 4,096 of them: a [`SendBuffer`]'s
    /// (`buffer.freeze()`), an [`OwnedSlot`], any `Bytes`. All or nothing: while there is room for one more
    /// byte all of them are taken, so a stream holds its window and one such piece at most.
    ///
    /// # Errors
    /// The bytes, with the reason: there is no room, and [`Event::Writable`] will say when there is; or as
    /// [`stream_write`](Self::stream_write).
    pub fn stream_send(&mut self, conn: ConnId, bytes: impl Into<Bytes>) -> Result<(), SendError> {
        let bytes = bytes.into();
        let mut left = Some(bytes);
        let sent = self.with_stream(conn, |wire, _| {
            let bytes = left.take().unwrap_or_default();
            left = wire.write_bytes(bytes).err();
        });
        match (sent, left) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(bytes)) => Err(SendError::NoRoom(bytes)),
            (Err(why), bytes) => Err(SendError::Stream(why, bytes.unwrap_or_default())),
        }
    }

    /// Memory to write into, of `bytes` bytes or more, which [`stream_send`](Self::stream_send) and
    /// [`ZeroResponse::buffer`] send without copying it.
    pub fn send_buffer(&self, bytes: usize) -> SendBuffer {
        SendBuffer::with_capacity(bytes)
    }

    /// Ends the write side of a stream behind what is written; its peer is still read. The stream closes once
    /// the peer has ended its side, too.
    ///
    /// # Errors
    /// The connection is no open stream; its write side has ended already.
    pub fn stream_end(&mut self, conn: ConnId) -> Result<(), StreamError> {
        self.with_stream(conn, |wire, _| wire.end_write())
    }

    /// Stops receiving from a stream, or goes on with it: the way to hold a peer back. What the kernel had
    /// received already is still told.
    ///
    /// # Errors
    /// The connection is no open stream.
    pub fn stream_pause(&mut self, conn: ConnId, is_paused: bool) -> Result<(), StreamError> {
        let paused = self.shard.with(conn, |_, conn, wire| match conn {
            StandardConn::Stream => {
                wire.pause(is_paused);
                Some(())
            }
            StandardConn::Http(_) => None,
        });
        paused.flatten().ok_or(StreamError::NotOpen)
    }

    fn with_stream<T>(
        &mut self,
        conn: ConnId,
        act: impl FnOnce(&mut Wire<'_>, &[u8]) -> T,
    ) -> Result<T, StreamError> {
        let done = self.shard.with_input(conn, |conn, wire, input| match conn {
            StandardConn::Http(_) => Err(StreamError::NotOpen),
            StandardConn::Stream if !wire.is_writable() => Err(StreamError::Ended),
            StandardConn::Stream => Ok(act(wire, input)),
        });
        done.unwrap_or(Err(StreamError::NotOpen))
    }

    // How connections and the shard end.

    /// Closes a connection at once, also one that is still being connected; [`Event::Closed`] follows. What is
    /// unsent is dropped; a peer whose bytes were not read sees a reset. One that is gone is left alone.
    pub fn close(&mut self, conn: ConnId) {
        self.shard.close(conn);
    }

    /// Closes a connection behind what was written, in order: the write side ends, and what still arrives is
    /// swallowed until the peer ends, too, for `Config::linger_timeout` (2 s unless set) at most;
    /// [`Event::Closed`] follows then. One that is still being connected is closed at once.
    pub fn close_graceful(&mut self, conn: ConnId) {
        self.shard.close_graceful(conn);
    }

    /// Stops accepting and closes the listeners; streams close behind what was written, HTTP connections
    /// behind their present response. Go on polling until [`has_ended`](Self::has_ended).
    pub fn shutdown(&mut self) {
        self.shard.shutdown();
    }

    /// The same, at once: what is left is cut off by the next [`poll`](Self::poll).
    pub fn terminate(&mut self) {
        self.shard.terminate();
    }

    /// Whether the shard was shut down and nothing is left.
    pub fn has_ended(&self) -> bool {
        self.shard.has_ended()
    }

    // What is known.

    /// A way to connections of this shard, for any thread.
    pub fn handle(&self) -> IoHandle {
        IoHandle::new(self.shard.handle())
    }

    /// The socket of an open connection, for its options.
    pub fn socket(&mut self, conn: ConnId) -> Option<SockRef<'_>> {
        self.shard.socket(conn)
    }

    /// What is known of a connection, unless it is gone.
    pub fn conn_stats(&mut self, conn: ConnId) -> Option<ConnStats> {
        self.shard.conn_stats(conn)
    }

    /// The slots that [`detach_event_data`](Self::detach_event_data) takes, and how many are free: nothing but
    /// these. Buffers that the kernel receives into are home again with the next event (`recv_starved` of
    /// [`stats`](Self::stats) counts how often they did not suffice), and what connections hold in memory besides is
    /// its `buffered_bytes`, held to `Config::buffered_bytes_max`.
    pub fn pool_stats(&self) -> PoolStats {
        PoolStats {
            slots: self.slots.slots(),
            slots_free: self.slots.free(),
            slot_bytes: self.slots.slot_bytes(),
        }
    }

    /// How near to their end the [slots](Self::pool_stats) are.
    pub fn pool_pressure(&self) -> Pressure {
        self.pool_stats().pressure()
    }

    /// What the shard has counted since it was made; of HTTP what a server's shard counts of its connections, too:
    /// requests, responses, `parse_errors` and their kinds, the four timeouts of peers and answers.
    pub fn stats(&self) -> Stats {
        self.shard.stats()
    }

    /// The validated configuration.
    pub fn limits(&self) -> &Limits {
        self.shard.limits()
    }
}

impl fmt::Debug for RawShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawShard")
            .field("shard", &self.shard)
            .field("slots", &self.slots)
            .finish()
    }
}

/// What HTTP/1.1 says, borrowing from the input.
#[inline]
fn http_event<'a>(conn: ConnId, event: HttpEvent, input: &'a [u8], last: &mut Last) -> Event<'a> {
    match event {
        HttpEvent::Request {
            head,
            line,
            body,
            is_whole,
            peer_addr,
        } => {
            let request: HttpRequest<'a> =
                request_in(input, head.clone(), line, body.clone(), peer_addr);
            *last = Last::Request {
                head,
                line,
                body,
                peer_addr,
            };
            Event::Request {
                conn,
                request,
                is_whole,
            }
        }
        HttpEvent::Body(range) => {
            *last = Last::Data(range.clone());
            let data = &input[range];
            Event::Body { conn, data }
        }
        HttpEvent::BodyEnd(trailers) => Event::BodyEnd { conn, trailers },
        HttpEvent::BodyFailed(error) => Event::BodyFailed { conn, error },
        HttpEvent::HalfClosed => Event::HalfClosed { conn },
    }
}
