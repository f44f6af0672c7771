//! HTTP/1.1 as a [`ProtocolHandler`]. Owns what all connections of a shard parse with; a connection's state is
//! the machine of `proto/h1`, whose words are the events. Knows no request but by its ranges.
//!
//! Who is told gives the answers, by the machine's own methods, and has the clock: a server's shard, which
//! makes calls of the events (`shard/input`), or whoever owns the loop (`shard/raw/http`).

use std::convert::Infallible;

use super::{Opening, ProtocolHandler, Step, Wire};
use crate::limits::Limits;
use crate::proto::h1::{Conn, Eof, Event, H1Limits, HeadTable};

/// HTTP/1.1 over the connections of one shard.
pub(crate) struct Http1 {
    pub(crate) limits: H1Limits,
    /// Describes the head of the last event that was one.
    pub(crate) table: HeadTable,
}

impl Http1 {
    pub(crate) fn new(limits: &Limits) -> Self {
        Http1 {
            limits: H1Limits {
                head_bytes_max: limits.head_bytes_max,
                headers_max: limits.headers_max,
                uri_bytes_max: limits.uri_bytes_max,
                chunk_extension_bytes_max: limits.chunk_extension_bytes_max,
                trailer_bytes_max: limits.trailer_bytes_max,
                trailers_max: limits.trailers_max,
                conformance: limits.conformance,
            },
            table: HeadTable::new(limits.headers_max),
        }
    }
}

impl ProtocolHandler for Http1 {
    type Conn = Conn;
    type Event = Event;
    type Order = Infallible;

    fn open(&mut self, _opening: &Opening, _wire: &mut Wire<'_>) -> Conn {
        Conn::new()
    }

    #[inline(always)]
    fn handle_input(&mut self, conn: &mut Conn, input: &[u8], _wire: &mut Wire<'_>) -> Step<Event> {
        conn.handle_input(&self.limits, input, &mut self.table)
    }

    /// Between requests, and within a head, there is nobody to be told.
    fn handle_eof(&mut self, conn: &mut Conn, wire: &mut Wire<'_>) -> Option<Event> {
        match conn.handle_eof() {
            Eof::Idle | Eof::MidHead => {
                wire.close_graceful();
                None
            }
            eof @ (Eof::MidBody | Eof::AfterRequest) => Some(Event::PeerEnded(eof)),
        }
    }

    /// The last moment for `100 Continue`: a response that has begun by now takes its place.
    fn handle_flush(&mut self, conn: &mut Conn, wire: &mut Wire<'_>) {
        if conn.is_continue_due() {
            conn.poll_continue(wire.staged().0);
        }
    }

    /// The present response is the last; whether one that is not asked for is waited for is for others to say.
    fn handle_drain(&mut self, conn: &mut Conn, _wire: &mut Wire<'_>) -> Option<Event> {
        conn.close_after_response();
        None
    }
}
