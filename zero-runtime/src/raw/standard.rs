//! [`Standard`]: plain streams and HTTP/1.1 on one shard, by the listener a connection came through.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::addr::EndpointId;
use crate::limits::Limits;
use crate::message::ZeroResponse;
use crate::protocol::{
    Closing, ConnId, DisconnectReason, Next, Opening, ProtocolHandler, Step, Wire,
};
use crate::shard::raw::http::{HttpEvent, RawHttp, RawHttpConn, RespondError};
use crate::stats::ShardCounters;

/// What is spoken behind a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speaks {
    Stream,
    Http,
}

/// The protocol of a [`RawShard`](crate::RawShard).
pub(super) struct Standard {
    http: RawHttp,
    /// By listener.
    pub(super) speaks: Vec<Speaks>,
}

pub(super) enum StandardConn {
    /// Bytes as they come.
    Stream,
    Http(Box<RawHttpConn>),
}

pub(super) enum StandardEvent {
    Opened {
        endpoint: Option<EndpointId>,
        peer_addr: SocketAddr,
    },
    Data(Range<usize>),
    HalfClosed,
    Writable,
    Refused(Bytes),
    Http(HttpEvent),
    Closed(DisconnectReason),
}

/// What an [`IoHandle`](crate::IoHandle) asks for.
pub(super) enum RawOrder {
    Send(Bytes),
    Respond(Box<ZeroResponse>),
    Close,
    CloseGraceful,
}

impl fmt::Debug for RawOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RawOrder::Send(_) => "Send",
            RawOrder::Respond(_) => "Respond",
            RawOrder::Close => "Close",
            RawOrder::CloseGraceful => "CloseGraceful",
        })
    }
}

impl Standard {
    pub(super) fn new(limits: &Limits, counters: &Arc<ShardCounters>) -> Self {
        Standard {
            http: RawHttp::new(limits, counters),
            speaks: Vec::new(),
        }
    }

    pub(super) fn respond(
        &mut self,
        conn: &mut StandardConn,
        response: ZeroResponse,
        wire: &mut Wire<'_>,
    ) -> Result<(), RespondError> {
        match conn {
            StandardConn::Http(conn) => self.http.respond(conn, response, wire),
            StandardConn::Stream => Err(RespondError::NotOpen),
        }
    }
}

/// `$call` of the HTTP machine, or nothing for a stream.
macro_rules! of_http {
    ($self:ident, $conn:ident, $call:ident($($arg:expr),*)) => {
        match $conn {
            StandardConn::Stream => None,
            StandardConn::Http(conn) => {
                $self.http.$call(conn, $($arg),*).map(StandardEvent::Http)
            }
        }
    };
}

impl ProtocolHandler for Standard {
    type Conn = StandardConn;
    type Event = StandardEvent;
    type Order = RawOrder;

    fn open(&mut self, opening: &Opening, wire: &mut Wire<'_>) -> StandardConn {
        let speaks = opening.endpoint.and_then(|at| self.speaks.get(at.0));
        match speaks {
            Some(Speaks::Http) => StandardConn::Http(Box::new(self.http.open(opening, wire))),
            // What is connected from here is a stream.
            Some(Speaks::Stream) | None => StandardConn::Stream,
        }
    }

    fn handle_open(
        &mut self,
        _conn: &mut StandardConn,
        opening: &Opening,
        _wire: &mut Wire<'_>,
    ) -> Option<StandardEvent> {
        Some(StandardEvent::Opened {
            endpoint: opening.endpoint,
            peer_addr: opening.peer_addr,
        })
    }

    #[inline]
    fn handle_input(
        &mut self,
        conn: &mut StandardConn,
        input: &[u8],
        wire: &mut Wire<'_>,
    ) -> Step<StandardEvent> {
        let conn = match conn {
            StandardConn::Stream if input.is_empty() => return Step::more(0),
            StandardConn::Stream => {
                return Step::event(input.len(), StandardEvent::Data(0..input.len()));
            }
            StandardConn::Http(conn) => conn,
        };
        let Step { consumed, next } = self.http.handle_input(conn, input, wire);
        let next = match next {
            Next::Event(event) => Next::Event(StandardEvent::Http(event)),
            Next::More => Next::More,
            Next::Later => Next::Later,
        };
        Step { consumed, next }
    }

    fn handle_eof(
        &mut self,
        conn: &mut StandardConn,
        wire: &mut Wire<'_>,
    ) -> Option<StandardEvent> {
        match conn {
            StandardConn::Stream => Some(StandardEvent::HalfClosed),
            StandardConn::Http(conn) => self.http.handle_eof(conn, wire).map(StandardEvent::Http),
        }
    }

    fn handle_room(
        &mut self,
        conn: &mut StandardConn,
        wire: &mut Wire<'_>,
    ) -> Option<StandardEvent> {
        match conn {
            StandardConn::Stream => Some(StandardEvent::Writable),
            StandardConn::Http(conn) => self.http.handle_room(conn, wire).map(StandardEvent::Http),
        }
    }

    fn handle_timeout(
        &mut self,
        conn: &mut StandardConn,
        wire: &mut Wire<'_>,
    ) -> Option<StandardEvent> {
        of_http!(self, conn, handle_timeout(wire))
    }

    fn handle_wake(
        &mut self,
        conn: &mut StandardConn,
        wire: &mut Wire<'_>,
    ) -> Option<StandardEvent> {
        of_http!(self, conn, handle_wake(wire))
    }

    fn handle_flush(&mut self, conn: &mut StandardConn, wire: &mut Wire<'_>) {
        if let StandardConn::Http(conn) = conn {
            self.http.handle_flush(conn, wire);
        }
    }

    fn handle_drain(
        &mut self,
        conn: &mut StandardConn,
        wire: &mut Wire<'_>,
    ) -> Option<StandardEvent> {
        if let StandardConn::Stream = conn {
            wire.close_graceful();
        }
        of_http!(self, conn, handle_drain(wire))
    }

    fn handle_order(
        &mut self,
        conn: &mut StandardConn,
        order: RawOrder,
        wire: &mut Wire<'_>,
    ) -> Option<StandardEvent> {
        match (order, conn) {
            (RawOrder::Send(bytes), StandardConn::Stream) => {
                return wire.write_bytes(bytes).err().map(StandardEvent::Refused);
            }
            (RawOrder::Send(bytes), _) => return Some(StandardEvent::Refused(bytes)),
            (RawOrder::Respond(response), conn) => drop(self.respond(conn, *response, wire)),
            (RawOrder::Close, _) => wire.close(),
            (RawOrder::CloseGraceful, _) => wire.close_graceful(),
        }
        None
    }

    fn closes(order: &RawOrder) -> Option<Closing> {
        match order {
            RawOrder::Close => Some(Closing::Now),
            RawOrder::CloseGraceful => Some(Closing::Graceful),
            RawOrder::Send(_) | RawOrder::Respond(_) => None,
        }
    }

    fn handle_unconnected(
        &mut self,
        _conn: ConnId,
        why: DisconnectReason,
    ) -> Option<StandardEvent> {
        Some(StandardEvent::Closed(why))
    }

    fn handle_closed(
        &mut self,
        _conn: StandardConn,
        why: DisconnectReason,
    ) -> Option<StandardEvent> {
        Some(StandardEvent::Closed(why))
    }
}
