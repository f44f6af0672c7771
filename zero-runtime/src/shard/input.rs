//! What arrives: bytes through the machine into calls and bodies, and the peer's end of stream.

use std::io;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::conn::{BodySpan, Collected, Destination, Incoming, ReadWait, Recv, State};
use super::deadline::after;
use super::lend::{lender, present};
use super::{Exchange, HeadOf, PendingCall, Shard, Want};
use crate::error::BodyError;
use crate::pool::arena::PIECE_BYTES_MAX;
use crate::pool::copies::Copied;
use crate::proto::h1::{self, Eof, Event, ParseError};
use crate::protocol::{Next, ProtocolHandler};
use crate::ring::Ring;
use crate::service::sealed::Fill;
use crate::service::{HttpService, MakeHttpService, Source};
use crate::slots::Key;
use crate::stats::ShardCounters;
use crate::upgrade::OnUpgrade;
use crate::worker::Spawn;

/// Input as it lies in memory.
#[derive(Clone, Copy)]
enum Input<'a> {
    /// In a buffer that goes back to the ring: bodies are copied out.
    Borrowed(&'a [u8]),
    /// In memory of its own: bodies are slices of it.
    Shared(&'a Bytes),
}

impl<'a> Input<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Input::Borrowed(bytes) => bytes,
            Input::Shared(bytes) => bytes,
        }
    }
}

/// So much of large bodies is received before it is answered, or a little more. All that 32 connections have
/// to say at once, 64 KiB each, has left the cache by the time it is sent: it took up to three times the CPU.
const READY_BYTES_PER_TURN: usize = 64 * 1024;

/// Whether there may be more in the input for the machine.
enum Progress {
    /// The next event may be had at once.
    More,
    /// More bytes, or the end of a response, must come first.
    Waits,
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    pub(super) fn handle_received(
        &mut self,
        key: Key,
        result: io::Result<Option<R::Lease>>,
        more: bool,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            self.counters.late_completions.add(1);
            return;
        };
        if !more {
            conn.recv = Recv::Idle;
        }
        if conn.is_lent() {
            self.settle_loan(key);
        }
        match result {
            Ok(Some(lease)) => {
                self.counters.bytes_in.add(lease.len() as u64);
                self.handle_input(key, Input::Borrowed(&lease));
            }
            Ok(None) => self.handle_eof(key),
            Err(error) => self.handle_recv_error(key, &error),
        }
        self.settle(key);
    }

    pub(super) fn handle_received_into(
        &mut self,
        key: Key,
        buf: BytesMut,
        result: io::Result<usize>,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            self.counters.late_completions.add(1);
            return;
        };
        conn.recv = Recv::Idle;
        conn.receiving_bytes = 0;
        if conn.is_lent() {
            self.settle_loan(key);
        }
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if let Incoming::Parked(call) = &conn.incoming
            && matches!(call.body, Collected::Lent)
        {
            self.handle_lent(key, buf, result);
            return self.settle(key);
        }
        match result {
            Ok(0) => self.handle_eof(key),
            Ok(received) => {
                self.counters.bytes_in.add(received as u64);
                // A chunk much smaller than its buffer would keep all of it alive.
                match received >= buf.capacity() / 2 {
                    true => self.handle_input(key, Input::Shared(&buf.freeze())),
                    false => self.handle_input(key, Input::Borrowed(&buf)),
                }
            }
            Err(error) => self.handle_recv_error(key, &error),
        }
        self.settle(key);
    }

    /// Lends the buffer of a parked call's body to the kernel: the rest of a large body then comes
    /// to lie behind its beginning without being copied.
    pub(super) fn lend_body(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let may_read =
            conn.bulk.is_usual() && conn.recv == Recv::Idle && !conn.read_closed && !conn.deaf;
        let Incoming::Parked(call) = &mut conn.incoming else {
            return;
        };
        if !may_read || call.impatient {
            return;
        }
        let expected = call.kind.length().unwrap_or(0) as usize;
        if !self.load.can_hold_ahead(expected) {
            return;
        }
        if let Some(buf) = call.body.lend(expected) {
            conn.recv = Recv::Lent;
            conn.receiving_bytes = buf.capacity();
            self.ring.recv_into(key, &conn.socket, buf);
        }
    }

    /// Receives into a buffer made for that.
    pub(super) fn receive_into(&mut self, key: Key, bytes: usize) {
        if let Some(conn) = self.conns.get_mut(key) {
            let buf = BytesMut::with_capacity(bytes);
            conn.recv = Recv::Direct;
            conn.receiving_bytes = buf.capacity();
            self.ring.recv_into(key, &conn.socket, buf);
        }
    }

    /// The buffer of a parked call's body is back.
    fn handle_lent(&mut self, key: Key, mut buf: BytesMut, result: io::Result<usize>) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let received = *result.as_ref().unwrap_or(&0);
        self.counters.bytes_in.add(received as u64);
        conn.body_span.bytes += received as u64;
        let mut at = buf.len() - received;
        // The machine only counts: what it calls data lies where it belongs.
        let is_whole = loop {
            let rest = &buf[at..];
            let lender = lender!(self);
            let step = present(&mut self.http1, conn, key, lender, rest);
            at += step.consumed;
            match step.next {
                Next::Event(Event::Data(_)) => {}
                next => break matches!(next, Next::Event(Event::End)),
            }
        };
        if at < buf.len() {
            // Room was made for the body alone; should there be more, it is not the body's.
            conn.carry.push(&buf[at..], &mut self.carries);
            buf.truncate(at);
        }
        let Incoming::Parked(call) = &mut conn.incoming else {
            return;
        };
        call.body = Collected::Pieces(buf);
        let is_due = call.ended.is_some() || call.impatient;
        if is_whole {
            self.end_body(key, Ok(None));
        }
        match result {
            Ok(0) => self.handle_eof(key),
            Ok(_) => {}
            Err(error) => self.handle_recv_error(key, &error),
        }
        if is_due {
            self.unpark(key);
        }
    }

    /// There is something to receive on a connection whose requests are large: only now is there a
    /// buffer for the next.
    pub(super) fn handle_readable(&mut self, key: Key, result: io::Result<()>) {
        let Some(conn) = self.conns.get_mut(key) else {
            self.counters.late_completions.add(1);
            return;
        };
        match result {
            Ok(()) => {
                conn.recv = Recv::Ready;
                self.ready.push_back(key);
            }
            Err(error) => {
                conn.recv = Recv::Idle;
                self.settle_loan(key);
                self.handle_recv_error(key, &error);
            }
        }
        self.settle(key);
    }

    /// Receives from those who found no buffer, and from those who have something large, as much as is looked
    /// at while it is in the cache.
    pub(super) fn receive_ready(&mut self) {
        if !self.starved.is_empty() {
            self.receive_starved();
        }
        let mut bytes = 0;
        while bytes < READY_BYTES_PER_TURN
            && let Some(key) = self.ready.pop_front()
        {
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            if conn.recv == Recv::Ready {
                conn.recv = Recv::Idle;
                bytes += conn.bulk.room(&self.load.windows);
                self.receive_bulk(key);
                self.settle(key);
            }
        }
    }

    /// Lets those who found no buffer try again. Who was first is last now: whoever is asked for first takes
    /// what there is, and with few buffers would take it every time.
    #[cold]
    fn receive_starved(&mut self) {
        let mut starved = std::mem::take(&mut self.starved);
        starved.rotate_left(1);
        for key in starved.drain(..) {
            if let Some(conn) = self.conns.get_mut(key)
                && conn.recv == Recv::Ready
            {
                conn.recv = Recv::Idle;
                self.settle(key);
            }
        }
        self.starved = starved;
    }

    fn receive_bulk(&mut self, key: Key) {
        self.lend_body(key);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let bytes = conn.bulk.room(&self.load.windows);
        if conn.recv == Recv::Idle
            && self.load.can_hold_ahead(bytes)
            && matches!(
                conn.wanted_recv(&self.load.windows, &self.limits),
                Want::Multishot
            )
        {
            self.receive_into(key, bytes);
        }
    }

    pub(super) fn handle_recv_error(&mut self, key: Key, error: &io::Error) {
        match error.raw_os_error() {
            // No buffer was free; all are again by the time the next receive is submitted.
            Some(libc::ENOBUFS) => {
                self.counters.recv_starved.add(1);
                // To settle its loan may have asked for the next receive already.
                if let Some(conn) = self.conns.get_mut(key)
                    && conn.recv == Recv::Idle
                {
                    conn.recv = Recv::Ready;
                    self.starved.push(key);
                }
            }
            // We asked for it, or nothing has happened.
            Some(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            // The peer has reset the connection, or the network has.
            _ => self.fail(key, error.kind()),
        }
    }

    #[inline]
    fn handle_input(&mut self, key: Key, input: Input<'_>) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state == State::Leaving {
            return conn.carry.push(input.bytes(), &mut self.carries);
        }
        if conn.state != State::Open {
            return;
        }
        if !conn.carry.is_empty() {
            conn.carry.push(input.bytes(), &mut self.carries);
            return self.process_carry(key);
        }
        let consumed = self.process(key, input);
        let rest = &input.bytes()[consumed..];
        if rest.is_empty() {
            return;
        }
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.deaf
        {
            conn.carry.push(rest, &mut self.carries);
        }
        self.note_reading(key);
    }

    /// Lets the machine look again at bytes that had to wait.
    pub(super) fn process_carry(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state == State::Leaving {
            return;
        }
        // Taken out while it is read: what is called below may not add to it.
        let mut carry = std::mem::take(&mut conn.carry);
        let consumed = self.process(key, Input::Borrowed(carry.bytes()));
        carry.consume(consumed, &mut self.carries);
        if let Some(conn) = self.conns.get_mut(key)
            && !conn.deaf
        {
            conn.carry = carry;
        }
        self.note_reading(key);
        self.hear_eof_again(key);
    }

    /// The peer had ended its side before this request was looked at; if it is not whole, it
    /// never will be.
    fn hear_eof_again(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let is_cut_off = !matches!(conn.exchange, Exchange::Idle) && !conn.h1.request_complete();
        if conn.read_closed && is_cut_off {
            self.tell_eof(key);
        }
    }

    /// Runs the machine over `input`; returns how much of it is done with.
    fn process(&mut self, key: Key, input: Input<'_>) -> usize {
        let bytes = input.bytes();
        let mut at = 0;
        loop {
            let Some(conn) = self.conns.get_mut(key) else {
                return at;
            };
            if conn.state != State::Open || conn.deaf {
                return bytes.len();
            }
            // A peer that asks and does not read what it is answered is not heard further.
            let is_skipping = matches!(conn.incoming, Incoming::Skipping);
            if !is_skipping && conn.is_stalled(self.load.windows.response_bytes) {
                return at;
            }
            let rest = &bytes[at..];
            let lender = lender!(self);
            let step = present(&mut self.http1, conn, key, lender, rest);
            let from = at;
            at += step.consumed;
            if M::Service::ANSWERS
                && let Next::Event(Event::Head(head)) = &step.next
            {
                let head_bytes = &rest[head.range.clone()];
                if let Some(taken) = self.answer_here(key, head, head_bytes, &bytes[at..]) {
                    at += taken;
                    match at == bytes.len() {
                        true => return at,
                        false => continue,
                    }
                }
            }
            match self.handle_next(key, step.next, input, from) {
                Progress::More => {}
                Progress::Waits => return at,
            }
        }
    }

    /// Ranges in an event count from `from` in `input`.
    fn handle_next(
        &mut self,
        key: Key,
        next: Next<Event>,
        input: Input<'_>,
        from: usize,
    ) -> Progress {
        let event = match next {
            Next::Event(event) => event,
            Next::More | Next::Later => return Progress::Waits,
        };
        match event {
            Event::Head(head) => {
                let range = head.range.start + from..head.range.end + from;
                let is_all = range.end == input.bytes().len() && head.body == h1::BodyKind::None;
                self.handle_head(key, &head, &input.bytes()[range]);
                if is_all {
                    return Progress::Waits;
                }
            }
            Event::Data(range) => {
                let range = range.start + from..range.end + from;
                let piece = &input.bytes()[range.clone()];
                let whole = match input {
                    Input::Borrowed(_) => None,
                    Input::Shared(bytes) => Some(bytes.slice(range)),
                };
                self.handle_data(key, piece, whole);
            }
            Event::Trailers(trailers) => self.end_body(key, Ok(Some(trailers))),
            Event::End => self.end_body(key, Ok(None)),
            Event::Error(error) => {
                self.handle_parse_error(key, error);
                return Progress::Waits;
            }
            Event::PeerEnded(Eof::MidBody) => self.end_body(key, Err(BodyError::Incomplete)),
            Event::PeerEnded(_) => self.cancel_if_waiting(key),
        }
        Progress::More
    }

    /// A request begins: it waits among the calls for the end of this turn's input.
    #[inline(never)]
    fn handle_head(&mut self, key: Key, head: &h1::RequestHead, bytes: &[u8]) {
        let blank = || {
            Box::new(PendingCall {
                conn: key,
                head: None,
                kind: h1::BodyKind::None,
                expects_continue: false,
                upgrades: false,
                body: Default::default(),
                impatient: false,
                ended: None,
            })
        };
        let mut call = self.spare_calls.pop().unwrap_or_else(blank);
        let source = Source {
            bytes,
            table: &self.http1.table,
            arena: &mut self.arena,
            memory: &mut self.memory,
            maps: &mut self.maps,
        };
        if let Err(error) = HeadOf::<M>::fill(&mut call.head, source) {
            return self.handle_parse_error(key, error);
        }
        let now_ns = self.now.mono_ns;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        debug_assert!(matches!(conn.exchange, Exchange::Idle));
        conn.exchange = Exchange::Queued;
        conn.large_head_bytes = match bytes.len() > PIECE_BYTES_MAX {
            true => bytes.len() as u32,
            false => 0,
        };
        conn.count_request(self.limits.requests_per_connection_max, &self.counters);
        if head.upgrade {
            let (sender, on_upgrade) = OnUpgrade::new();
            conn.destination = Some(Destination::Upgrade(sender));
            if let Some(head) = &mut call.head {
                head.offer(on_upgrade);
            }
        }
        conn.bulk.note(head.body.length().unwrap_or(0));
        conn.request_deadline_ns = after(now_ns, self.limits.request_timeout_ns);
        match head.body {
            h1::BodyKind::None => conn.wait_for(ReadWait::Nothing, super::NEVER),
            _ => {
                let deadline_ns = after(now_ns, self.limits.body_timeout_ns);
                conn.wait_for(ReadWait::Body, deadline_ns);
                conn.body_span = BodySpan::default();
            }
        }
        call.conn = key;
        call.impatient = false;
        call.kind = head.body;
        call.expects_continue = head.expect_continue;
        call.upgrades = head.upgrade;
        let has_body = call.kind != h1::BodyKind::None;
        self.queue_call(call, has_body);
    }

    /// `whole` is `piece`, shared, where that costs nothing.
    fn handle_data(&mut self, key: Key, piece: &[u8], whole: Option<Bytes>) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.body_span.bytes += piece.len() as u64;
        match &mut conn.incoming {
            Incoming::Nothing | Incoming::Skipping => {}
            Incoming::Streaming { sender, .. } => {
                let kept = || self.arena.copy(Copied::BodyKept, piece);
                sender.data(whole.unwrap_or_else(kept));
            }
            incoming => {
                let call = match incoming {
                    Incoming::Parked(call) => call,
                    Incoming::Collecting(number) => {
                        &mut self.calls[(*number - self.calls_made) as usize]
                    }
                    _ => unreachable!("the other cases are above"),
                };
                let window = self.load.windows.request_bytes;
                let expected = call.kind.length().unwrap_or(0).min(window as u64) as usize;
                call.body.push(piece, whole, expected, &mut self.arena);
            }
        }
    }

    /// The body has come to its end, or to one that is not its own.
    pub(super) fn end_body(&mut self, key: Key, ended: Result<Option<Box<HeaderMap>>, BodyError>) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.read_wait == ReadWait::Body {
            conn.wait_for(ReadWait::Nothing, super::NEVER);
        }
        match &mut conn.incoming {
            Incoming::Nothing | Incoming::Skipping => {}
            Incoming::Collecting(number) => {
                let call = &mut self.calls[(*number - self.calls_made) as usize];
                call.ended.get_or_insert(ended);
            }
            Incoming::Parked(call) => {
                call.ended.get_or_insert(ended);
                self.unpark(key);
            }
            // Kept until the exchange is over: what it could not yet hand on is in it.
            Incoming::Streaming { sender, .. } => match ended {
                Ok(trailers) => sender.end(trailers.map(|trailers| *trailers)),
                Err(error) => sender.fail(error),
            },
        }
    }

    /// Nothing that follows can be understood: the head is answered, the body's reader told.
    pub(super) fn handle_parse_error(&mut self, key: Key, error: ParseError) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if error == ParseError::Http2 && conn.requests == 0 && M::SPEAKS_HTTP2 {
            return self.leave(key, Destination::Http2);
        }
        count_refused(error, &self.counters);
        conn.deaf = true;
        if !matches!(conn.exchange, Exchange::Idle) {
            return self.end_body(key, Err(BodyError::Invalid));
        }
        let mut out = self.outbox.take(conn);
        conn.h1.respond_error(error, &self.date, &mut out);
        self.outbox.put(key, conn, out);
        self.close_after_flush(key);
    }

    fn handle_eof(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state == State::Lingering {
            return self.terminate(key);
        }
        conn.read_closed = true;
        if conn.state != State::Open {
            return;
        }
        // What it asked before is heard once it has read its answers.
        if conn.is_stalled(self.load.windows.response_bytes) && !conn.carry.is_empty() {
            return;
        }
        // A request that is whole may be answered, and those that wait behind it.
        if !matches!(conn.exchange, Exchange::Idle) && conn.h1.request_complete() {
            return self.cancel_if_waiting(key);
        }
        self.tell_eof(key);
    }

    /// Tells the protocol that nothing more will come.
    fn tell_eof(&mut self, key: Key) {
        let told = self.with_http1(key, |http1, conn, wire| http1.handle_eof(conn, wire));
        if let Some(event) = told.flatten() {
            self.handle_next(key, Next::Event(event), Input::Borrowed(&[]), 0);
        }
    }

    /// Between requests a deadline runs: for the first byte of a head, then for its last.
    pub(super) fn note_reading(&mut self, key: Key) {
        let head = self.deadline_after(self.limits.head_timeout_ns);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let reading = matches!(conn.exchange, Exchange::Idle)
            && !conn.carry.is_empty()
            && !conn.is_stalled(self.load.windows.response_bytes);
        if reading && conn.read_wait == ReadWait::KeepAlive {
            conn.wait_for(ReadWait::Head, head);
        }
    }

    /// A deadline this long from now, if there is to be one.
    pub(super) fn deadline_after(&self, timeout_ns: Option<u64>) -> u64 {
        after(self.now.mono_ns, timeout_ns)
    }
}

/// Counts a message that was malformed or went over a limit.
#[cold]
pub(super) fn count_refused(error: ParseError, counters: &ShardCounters) {
    counters.parse_errors.increment();
    match error {
        ParseError::HeadTooLarge => counters.heads_too_large.increment(),
        ParseError::TargetTooLong => counters.targets_too_long.increment(),
        ParseError::ChunkExtension | ParseError::TrailersTooLarge => {
            counters.bodies_over_limits.increment();
        }
        _ => {}
    }
}
