//! HTTP/1.1 for whoever owns the loop: the protocol that serves services, [`Http1`], with the clock and the
//! answers that are theirs.
//!
//! Keeps connections in step (one response for each request, in order) and to the same limits and timeouts;
//! leaves everything else to who is told.

use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;

use super::super::input::count_refused;
use super::super::sink::ShardSink;
use super::NoService;
use crate::driver::{Driver, Ended, SpareDrivers, send_head};
use crate::error::BodyError;
use crate::limits::Limits;
use crate::message::{HttpRequest, ResponseBody, ZeroResponse};
use crate::proto::date::DateCache;
use crate::proto::h1::{
    self, BodyKind, Eof, Event, Late, Overdue, ParseError, RequestHead, RequestLine, is_too_slow,
};
use crate::protocol::{Http1, Next, Opening, ProtocolHandler, Step, Wire};
use crate::stats::ShardCounters;

/// What a peer has said over HTTP/1.1. Ranges count from the start of the input that was shown.
#[derive(Debug)]
pub enum HttpEvent {
    /// A request.
    Request {
        /// Its head, and where what is known of that lies.
        head: Range<usize>,
        /// Where the parts of its first line lie in the head.
        line: RequestLine,
        /// Its body, if all of that lies behind the head.
        body: Range<usize>,
        /// Whether it does; if not, it comes with later events.
        is_whole: bool,
        /// The other end.
        peer_addr: SocketAddr,
    },
    /// A part of the body, never empty.
    Body(Range<usize>),
    /// The body is complete; with its trailers, if there are some.
    BodyEnd(Option<Box<HeaderMap>>),
    /// The body will never be complete.
    BodyFailed(BodyError),
    /// The peer has ended its side behind a whole request that is not answered.
    HalfClosed,
}

/// Requests and responses over the connections of one raw shard.
pub struct RawHttp {
    http1: Http1,
    counters: Arc<ShardCounters>,
    head_timeout: Option<Duration>,
    keep_alive_timeout: Option<Duration>,
    body_timeout: Option<Duration>,
    body_rate_min: u32,
    request_timeout: Option<Duration>,
    requests_max: Option<u32>,
    date: DateCache,
    /// Where a sink leaves header maps; responses of the server's own kind have none.
    maps: Vec<HeaderMap>,
    /// For responses whose bodies are not written with their heads.
    spare_drivers: SpareDrivers<NoService>,
}

/// One connection.
pub struct RawHttpConn {
    h1: h1::Conn,
    peer_addr: SocketAddr,
    waits_for: WaitsFor,
    /// Until when it waits for that, by the shard's clock.
    wait_until: Option<Duration>,
    /// When the present request's response is to have begun.
    answer_by: Option<Duration>,
    /// A body that does not come at once.
    sending: Option<Pin<Box<Driver<NoService>>>>,
    requests: u32,
    /// Of the body, since its rate was last judged.
    span_bytes: u64,
    /// Its body has failed: nothing that follows is told, and it ends with its answer.
    is_deaf: bool,
}

/// What the peer has time for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitsFor {
    /// The first byte of a request.
    Request,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// Nothing: it waits for us.
    Nothing,
}

impl RawHttpConn {
    /// Waits for something else from now on; for as long as `timeout` says, if it does.
    fn wait_for(&mut self, waits_for: WaitsFor, timeout: Option<Duration>, wire: &mut Wire<'_>) {
        self.waits_for = waits_for;
        self.wait_until = timeout.map(|timeout| wire.now() + timeout);
        self.arm(wire);
    }

    /// Asks to be called when the sooner of its two times is over.
    fn arm(&self, wire: &mut Wire<'_>) {
        let until = match (self.wait_until, self.answer_by) {
            (Some(wait), Some(answer)) => Some(wait.min(answer)),
            (wait, answer) => wait.or(answer),
        };
        wire.set_timeout(until.map(|until| until.saturating_sub(wire.now())));
    }
}

/// Why a response was not sent.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RespondError {
    /// The connection is gone, is closing, or speaks no HTTP.
    NotOpen,
    /// No request waits for a response.
    OutOfTurn,
}

impl std::fmt::Display for RespondError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RespondError::NotOpen => "the connection is not open, or speaks no HTTP",
            RespondError::OutOfTurn => "no request waits for a response",
        })
    }
}

impl std::error::Error for RespondError {}

impl RawHttp {
    pub(crate) fn new(limits: &Limits, counters: &Arc<ShardCounters>) -> Self {
        let time = |ns: Option<u64>| ns.map(Duration::from_nanos);
        RawHttp {
            http1: Http1::new(limits),
            counters: counters.clone(),
            head_timeout: time(limits.head_timeout_ns),
            keep_alive_timeout: time(limits.keep_alive_timeout_ns),
            body_timeout: time(limits.body_timeout_ns),
            body_rate_min: limits.body_rate_min,
            request_timeout: time(limits.request_timeout_ns),
            requests_max: limits.requests_per_connection_max,
            date: DateCache::new(),
            maps: Vec::new(),
            spare_drivers: SpareDrivers::new(),
        }
    }

    /// Answers the present request of a connection.
    pub(crate) fn respond(
        &mut self,
        conn: &mut RawHttpConn,
        response: ZeroResponse,
        wire: &mut Wire<'_>,
    ) -> Result<(), RespondError> {
        if !conn.h1.is_response_due() {
            return Err(RespondError::OutOfTurn);
        }
        if conn.answer_by.take().is_some() {
            conn.arm(wire);
        }
        if !conn.h1.request_complete() {
            // What is still to come of its body is in the way of the next request.
            conn.h1.close_after_response();
        }
        let mut left = None;
        let sent = self.with_sink(conn, wire, |sink| {
            // To HEAD the machine sends no body, whoever asks for it.
            left = send_head(response, false, sink)?;
            Ok(())
        });
        if sent.is_ok() {
            self.counters.responses.increment();
        }
        match (sent, left) {
            (Ok(()), None) => self.response_done(conn, wire),
            (Ok(()), Some(body)) => self.start_sending(conn, body, wire),
            (Err(()), _) => wire.close_graceful(),
        }
        Ok(())
    }

    fn with_sink<T>(
        &mut self,
        conn: &mut RawHttpConn,
        wire: &mut Wire<'_>,
        with: impl FnOnce(&mut ShardSink<'_>) -> Result<T, ()>,
    ) -> Result<T, ()> {
        self.date.update(wire.now.unix_s);
        let window = wire.window_bytes.saturating_sub(wire.sending_bytes);
        let (out, begun) = wire.staged();
        let h1 = &mut conn.h1;
        let (date, maps) = (&self.date, &mut self.maps);
        let mut sink = ShardSink::new::<NoService>(h1, begun, out, date, maps, window);
        let done = with(&mut sink);
        match sink.refused {
            true => Err(()),
            false => done,
        }
    }

    /// Sends a body that is not all there, as far as there is room and it comes.
    fn start_sending(&mut self, conn: &mut RawHttpConn, body: ResponseBody, wire: &mut Wire<'_>) {
        let mut driver = self.spare_drivers.take();
        let waker = wire.waker();
        let mut cx = Context::from_waker(&waker);
        let polled = self.with_sink(conn, wire, |sink| {
            Ok(driver.as_mut().start_sending(body, &mut cx, sink))
        });
        self.after_poll(conn, driver, polled, wire);
    }

    fn go_on_sending(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) {
        let Some(mut driver) = conn.sending.take() else {
            return;
        };
        let waker = wire.waker();
        let mut cx = Context::from_waker(&waker);
        let polled = self.with_sink(conn, wire, |sink| Ok(driver.as_mut().poll(&mut cx, sink)));
        self.after_poll(conn, driver, polled, wire);
    }

    fn after_poll(
        &mut self,
        conn: &mut RawHttpConn,
        driver: Pin<Box<Driver<NoService>>>,
        polled: Result<Poll<Ended>, ()>,
        wire: &mut Wire<'_>,
    ) {
        match polled {
            Ok(Poll::Pending) => {
                conn.sending = Some(driver);
                if wire.room_bytes() == 0 {
                    wire.notify_room();
                }
            }
            Ok(Poll::Ready(Ended::Complete)) => {
                self.spare_drivers.put(driver);
                self.response_done(conn, wire);
            }
            // What has gone out of it stays; the end tells that it is not whole.
            Ok(Poll::Ready(_)) | Err(()) => {
                self.counters.bodies_failed.increment();
                let (out, begun) = wire.staged();
                if let Some(begun) = begun.take() {
                    out.rewind(begun);
                }
                wire.close_graceful();
            }
        }
    }

    fn response_done(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) {
        *wire.begun = None;
        match conn.h1.after_response() {
            h1::Next::Keep => {
                conn.wait_for(WaitsFor::Request, self.keep_alive_timeout, wire);
                wire.look_again();
            }
            h1::Next::Drain | h1::Next::Close => wire.close_graceful(),
        }
    }

    fn handle_head(
        &mut self,
        conn: &mut RawHttpConn,
        head: RequestHead,
        input: &[u8],
        consumed: usize,
        wire: &mut Wire<'_>,
    ) -> Step<HttpEvent> {
        let line = self.http1.table.line();
        if !line.has_valid_target(&input[head.range.clone()]) {
            return self.refuse(conn, ParseError::Target, input, wire);
        }
        self.counters.requests.increment();
        conn.requests = conn.requests.saturating_add(1);
        if self.requests_max == Some(conn.requests) {
            self.counters.connections_used_up.increment();
            conn.h1.close_after_response();
        }
        conn.answer_by = self.request_timeout.map(|timeout| wire.now() + timeout);
        let rest = &input[consumed..];
        let body_bytes = match head.body {
            BodyKind::None => Some(0),
            BodyKind::Length(bytes) if bytes <= rest.len() as u64 => Some(bytes as usize),
            BodyKind::Length(_) | BodyKind::Chunked => None,
        };
        match body_bytes {
            None => self.expect_body(conn, head.expect_continue, wire),
            Some(bytes) => {
                if bytes > 0 {
                    // The machine counts what is shown here, behind the head.
                    for input in [&rest[..bytes], &[]] {
                        self.http1.handle_input(&mut conn.h1, input, wire);
                    }
                    debug_assert!(conn.h1.request_complete());
                }
                self.wait_for_nothing(conn, wire);
            }
        }
        let body = consumed..consumed + body_bytes.unwrap_or(0);
        let event = HttpEvent::Request {
            head: head.range,
            line,
            body: body.clone(),
            is_whole: body_bytes.is_some(),
            peer_addr: conn.peer_addr,
        };
        Step::event(body.end, event)
    }

    #[cold]
    fn expect_body(&mut self, conn: &mut RawHttpConn, asks: bool, wire: &mut Wire<'_>) {
        conn.span_bytes = 0;
        conn.wait_for(WaitsFor::Body, self.body_timeout, wire);
        if asks && conn.h1.ask_for_body() {
            // Unless it is answered within this turn.
            wire.before_send();
        }
    }

    fn wait_for_nothing(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) {
        if conn.waits_for != WaitsFor::Nothing {
            conn.wait_for(WaitsFor::Nothing, None, wire);
        }
    }

    /// Nothing that follows can be understood.
    #[cold]
    fn refuse(
        &mut self,
        conn: &mut RawHttpConn,
        error: ParseError,
        input: &[u8],
        wire: &mut Wire<'_>,
    ) -> Step<HttpEvent> {
        count_refused(error, &self.counters);
        if error.is_body() && conn.h1.is_response_due() {
            let failed = self.fail_body(conn, BodyError::Invalid, wire);
            return Step::event(input.len(), failed);
        }
        if conn.sending.is_none() {
            self.date.update(wire.now.unix_s);
            let (out, _) = wire.staged();
            conn.h1.respond_error(error, &self.date, out);
        }
        wire.close_graceful();
        Step::more(input.len())
    }

    /// A response has not begun in time: another takes its place.
    fn end_request(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) {
        conn.answer_by = None;
        self.counters.timeouts_request.increment();
        self.counters.responses.increment();
        self.date.update(wire.now.unix_s);
        let (out, _) = wire.staged();
        let status = http::StatusCode::SERVICE_UNAVAILABLE;
        conn.h1.respond_instead(status, &self.date, out);
        wire.close_graceful();
    }

    /// The rate of a body is judged: the peer is cut if it sent too little.
    fn judge_body(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) -> Option<HttpEvent> {
        let span = self.body_timeout?;
        let span_ns = span.as_nanos() as u64;
        let bytes = std::mem::take(&mut conn.span_bytes);
        if !is_too_slow(bytes, self.body_rate_min, span_ns) {
            conn.wait_for(WaitsFor::Body, self.body_timeout, wire);
            return None;
        }
        self.counters.timeouts_body.increment();
        wire.note_timed_out();
        conn.h1.close_after_response();
        Some(self.fail_body(conn, BodyError::TooSlow, wire))
    }

    /// The body will never be complete, which is said once.
    fn fail_body(
        &mut self,
        conn: &mut RawHttpConn,
        error: BodyError,
        wire: &mut Wire<'_>,
    ) -> HttpEvent {
        conn.is_deaf = true;
        self.wait_for_nothing(conn, wire);
        HttpEvent::BodyFailed(error)
    }
}

/// The request that an event speaks of, in the input that was shown with it.
pub(crate) fn request_in<'a>(
    input: &'a [u8],
    head: Range<usize>,
    line: RequestLine,
    body: Range<usize>,
    peer_addr: SocketAddr,
) -> HttpRequest<'a> {
    HttpRequest::new(&input[head], line, &input[body], peer_addr)
}

impl ProtocolHandler for RawHttp {
    type Conn = RawHttpConn;
    type Event = HttpEvent;
    type Order = ZeroResponse;

    fn open(&mut self, opening: &Opening, wire: &mut Wire<'_>) -> RawHttpConn {
        wire.set_timeout(self.head_timeout);
        RawHttpConn {
            h1: h1::Conn::new(),
            peer_addr: opening.peer_addr,
            waits_for: WaitsFor::Head,
            wait_until: self.head_timeout.map(|timeout| wire.now() + timeout),
            answer_by: None,
            sending: None,
            requests: 0,
            span_bytes: 0,
            is_deaf: false,
        }
    }

    fn handle_input(
        &mut self,
        conn: &mut RawHttpConn,
        input: &[u8],
        wire: &mut Wire<'_>,
    ) -> Step<HttpEvent> {
        if conn.is_deaf {
            return Step::more(input.len());
        }
        // Whoever asks and does not read the answers is not heard further.
        if conn.h1.is_idle() && wire.room_bytes() == 0 && wire.is_writable() {
            wire.notify_room();
            return Step::later(0);
        }
        let Step { consumed, next } = self.http1.handle_input(&mut conn.h1, input, wire);
        let event = match next {
            Next::Event(event) => event,
            Next::Later => return Step::later(consumed),
            Next::More => {
                if conn.waits_for == WaitsFor::Request && consumed < input.len() {
                    conn.wait_for(WaitsFor::Head, self.head_timeout, wire);
                }
                return Step::more(consumed);
            }
        };
        match event {
            Event::Head(head) => self.handle_head(conn, head, input, consumed, wire),
            Event::Data(range) => {
                conn.span_bytes += range.len() as u64;
                Step::event(consumed, HttpEvent::Body(range))
            }
            Event::Trailers(trailers) => {
                self.wait_for_nothing(conn, wire);
                Step::event(consumed, HttpEvent::BodyEnd(Some(trailers)))
            }
            Event::End => {
                self.wait_for_nothing(conn, wire);
                Step::event(consumed, HttpEvent::BodyEnd(None))
            }
            Event::Error(error) => self.refuse(conn, error, input, wire),
            Event::PeerEnded(_) => unreachable!("said of the end, not of input"),
        }
    }

    fn handle_eof(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) -> Option<HttpEvent> {
        let ended = self.http1.handle_eof(&mut conn.h1, wire)?;
        Some(match ended {
            Event::PeerEnded(Eof::MidBody) if !conn.is_deaf => {
                self.fail_body(conn, BodyError::Incomplete, wire)
            }
            // It may still be answered, and closes then.
            _ => HttpEvent::HalfClosed,
        })
    }

    fn handle_room(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) -> Option<HttpEvent> {
        self.go_on_sending(conn, wire);
        wire.look_again();
        None
    }

    fn handle_wake(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) -> Option<HttpEvent> {
        self.go_on_sending(conn, wire);
        None
    }

    fn handle_flush(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) {
        self.http1.handle_flush(&mut conn.h1, wire);
    }

    fn handle_timeout(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) -> Option<HttpEvent> {
        if conn.answer_by.is_some_and(|by| by <= wire.now()) {
            self.end_request(conn, wire);
            return None;
        }
        let (overdue, count, again) = match conn.waits_for {
            WaitsFor::Nothing => return None,
            WaitsFor::Body => return self.judge_body(conn, wire),
            WaitsFor::Request => (
                Overdue::NextRequest,
                &self.counters.timeouts_keep_alive,
                self.keep_alive_timeout,
            ),
            WaitsFor::Head => (
                Overdue::Head {
                    has_begun: !conn.h1.is_idle(),
                },
                &self.counters.timeouts_head,
                self.head_timeout,
            ),
        };
        match overdue.consequence(wire.unsent_bytes(), self.http1.limits.conformance) {
            Late::StillReads => {
                conn.wait_for(conn.waits_for, again, wire);
                return None;
            }
            Late::Refused => {
                self.date.update(wire.now.unix_s);
                let status = http::StatusCode::REQUEST_TIMEOUT;
                let (out, _) = wire.staged();
                conn.h1.turn_away(status, &self.date, out);
                wire.close_graceful();
            }
            Late::Cut => wire.close(),
        }
        count.increment();
        wire.note_timed_out();
        None
    }

    fn handle_drain(&mut self, conn: &mut RawHttpConn, wire: &mut Wire<'_>) -> Option<HttpEvent> {
        self.http1.handle_drain(&mut conn.h1, wire);
        if matches!(conn.waits_for, WaitsFor::Request | WaitsFor::Head) {
            wire.close_graceful();
        }
        None
    }

    /// Too late for a request is too late: what comes out of turn is dropped.
    fn handle_order(
        &mut self,
        conn: &mut RawHttpConn,
        response: ZeroResponse,
        wire: &mut Wire<'_>,
    ) -> Option<HttpEvent> {
        let _ = self.respond(conn, response, wire);
        None
    }
}
