//! Where a response is written to: the connection's machine, and the bytes staged for its peer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use http::{HeaderMap, response};

use super::Shard;
use super::conn::Conn;
use crate::driver::Sink;
use crate::message::{Pooled, ReasonPhrase, ResponseHead, write_lines, write_parts};
use crate::pool::write_buf::{Mark, WriteBuf};
use crate::proto::date::DateCache;
use crate::proto::h1::{self, BodyLength, RespondError, SendBody, SendMore};
use crate::ring::Ring;
use crate::service::MakeHttpService;
use crate::slots::Key;
use crate::worker::Spawn;

/// Writes a response to a connection of this shard.
pub(super) struct ShardSink<'a> {
    h1: &'a mut h1::Conn,
    out: &'a mut WriteBuf,
    date: &'a DateCache,
    maps: &'a mut Vec<HeaderMap>,
    window: usize,
    reason_phrase: ReasonPhrase,
    /// Where the response begins in `out`, if it does there.
    begun: &'a mut Option<Mark>,
    /// The response broke its own framing; nothing more can follow it.
    pub(super) refused: bool,
    /// A piece was not welcome: who asked waits for nothing but room.
    pub(super) filled: bool,
}

impl<'a> ShardSink<'a> {
    /// A sink for the connection whose machine is `h1`, with what its shard lends it: a response of which
    /// `window` bytes are staged has no room for more.
    #[inline]
    pub(super) fn new<M: MakeHttpService>(
        h1: &'a mut h1::Conn,
        begun: &'a mut Option<Mark>,
        out: &'a mut WriteBuf,
        date: &'a DateCache,
        maps: &'a mut Vec<HeaderMap>,
        window: usize,
    ) -> Self {
        ShardSink {
            h1,
            out,
            date,
            maps,
            window,
            reason_phrase: M::reason_phrase,
            begun,
            refused: false,
            filled: false,
        }
    }
}

impl ShardSink<'_> {
    #[inline]
    fn http_head(
        &mut self,
        parts: response::Parts,
        length: BodyLength,
    ) -> Result<SendBody, RespondError> {
        let (h1, date) = (&mut *self.h1, self.date);
        let responded = write_parts(h1, &parts, length, self.reason_phrase, date, self.out);
        if self.maps.len() < super::MAPS_MAX {
            self.maps.push(parts.headers);
            // Where it lies now: what has just been written is slow to move.
            self.maps.last_mut().map(HeaderMap::clear);
        }
        responded
    }
}

impl Sink for ShardSink<'_> {
    #[inline]
    fn head(&mut self, head: ResponseHead, length: BodyLength) -> Result<bool, ()> {
        *self.begun = Some(self.out.mark());
        let responded = match head {
            ResponseHead::Http(parts) => self.http_head(parts, length),
            ResponseHead::Lines(lines) => write_lines(self.h1, &lines, length, self.date, self.out),
        };
        responded
            .map(|body| body != SendBody::Nothing)
            .map_err(drop)
    }

    #[inline]
    fn whole(&mut self, lines: Pooled) -> Result<(), ()> {
        if lines.closes {
            self.h1.close_after_response();
        }
        let (status, has_date, payload) = (lines.status, lines.has_date, &lines.payload);
        let (date, out) = (self.date, &mut *self.out);
        if !has_date
            && self
                .h1
                .respond_plainly(status, &lines.lines, payload, date, out)
        {
            return Ok(());
        }
        *self.begun = Some(self.out.mark());
        write_lines(self.h1, &lines, BodyLength::Empty, self.date, self.out).map_err(drop)?;
        self.end(None);
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        self.filled |= self.out.len() >= self.window;
        !self.filled
    }

    fn data(&mut self, data: Bytes) -> bool {
        self.h1.send_data(data, self.out) == SendMore::More
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        if self.h1.finish(trailers.as_ref(), self.out).is_err() {
            // What has not been sent of a response that breaks its promise is not sent at all.
            if let Some(begun) = self.begun.take() {
                self.out.rewind(begun);
            }
            self.refused = true;
        }
    }
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Lets `with` write to the connection's response. `Err` when the exchange must end.
    pub(super) fn with_sink(
        &mut self,
        key: Key,
        with: impl FnOnce(&mut ShardSink<'_>) -> Result<(), ()>,
    ) -> Result<(), ()> {
        let Some(conn) = self.conns.get_mut(key) else {
            return Err(());
        };
        let mut out = self.outbox.take(conn);
        let Conn { h1, begun, .. } = conn;
        let window = self.load.windows.response_bytes;
        let (date, maps) = (&self.date, &mut self.maps);
        let mut sink = ShardSink::new::<M>(h1, begun, &mut out, date, maps, window);
        // What is dropped in there is the application's, and may panic.
        let done = catch_unwind(AssertUnwindSafe(|| with(&mut sink)));
        let refused = sink.refused;
        self.outbox.put(key, conn, out);
        if done.is_err() {
            self.counters.handler_panics.add(1);
        }
        match done {
            Ok(done) if !refused => done,
            _ => Err(()),
        }
    }
}
