//! What peers and handlers may take their time for, and what becomes of them when it is over.

use http::StatusCode;

use super::conn::{BodySpan, Incoming, NEVER, ReadWait, Recv, State};
use super::{Exchange, Shard};
use crate::error::BodyError;
use crate::lifecycle::Phase;
use crate::proto::h1::{Late, Overdue, is_too_slow};
use crate::ring::Ring;
use crate::service::MakeHttpService;
use crate::slots::Key;
use crate::worker::Spawn;

/// See [`Shard::last_head_ns`].
const LAST_HEAD_NS: u64 = 200_000_000;

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    pub(super) fn handle_deadlines(&mut self) {
        self.retry_accept();
        self.end_patience();
        if self.wheel.is_due(self.now.mono_ns) {
            self.handle_timers();
        }
    }

    #[cold]
    fn handle_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.poll(self.now.mono_ns, &mut due);
        for key in due.drain(..) {
            self.handle_timer(key);
        }
        self.due = due;
    }

    fn handle_timer(&mut self, key: Key) {
        let now_ns = self.now.mono_ns;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if now_ns < conn.timer_at_ns {
            // An entry made before an earlier one was needed; that one has taken over.
            return;
        }
        conn.timer_at_ns = NEVER;
        self.settle_loan(key);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.is_lent() {
            // Answered at this moment: in time.
            return;
        }
        if conn.write_deadline_ns <= now_ns {
            self.handle_write_check(key);
        } else if conn.request_deadline_ns <= now_ns {
            self.end_request(key);
        } else if conn.read_deadline_ns <= now_ns {
            self.handle_read_deadline(key);
        }
        self.settle(key);
    }

    fn handle_read_deadline(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let has_begun = conn.state == State::Open && !conn.carry.is_empty();
        let (overdue, count) = match conn.read_wait {
            ReadWait::Body => return self.judge_body(key),
            ReadWait::Handler => return self.note_timeout(key),
            ReadWait::Head => (Overdue::Head { has_begun }, &self.counters.timeouts_head),
            ReadWait::KeepAlive => (Overdue::NextRequest, &self.counters.timeouts_keep_alive),
            ReadWait::Nothing | ReadWait::Linger | ReadWait::Lent => return self.terminate(key),
        };
        let wait = conn.read_wait;
        let late = overdue.consequence(conn.unsent_bytes(), self.limits.conformance);
        if late == Late::StillReads {
            return self.wait_longer(key, wait);
        }
        // While the server drains it was to ask at once, and had nothing to ask.
        if self.phase == Phase::Running || has_begun || wait == ReadWait::KeepAlive {
            count.increment();
        }
        match late {
            Late::Refused => self.refuse(key, StatusCode::REQUEST_TIMEOUT),
            Late::Cut | Late::StillReads => self.terminate(key),
        }
    }

    /// How long a connection that has not asked yet has to do so while the server drains.
    pub(super) fn last_head_ns(&self) -> u64 {
        let head_ns = self.limits.head_timeout_ns.unwrap_or(NEVER);
        head_ns.min(LAST_HEAD_NS)
    }

    fn wait_longer(&mut self, key: Key, wait: ReadWait) {
        let timeout_ns = match wait {
            ReadWait::Head => self.limits.head_timeout_ns,
            _ => self.load.keep_alive_ns,
        };
        let deadline_ns = self.deadline_after(timeout_ns);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.wait_for(wait, deadline_ns);
        }
    }

    /// Answers a peer that has asked nothing yet, and closes.
    pub(super) fn refuse(&mut self, key: Key, status: StatusCode) {
        if let Some(conn) = self.conns.get_mut(key) {
            let mut out = self.outbox.take(conn);
            conn.h1.turn_away(status, &self.date, &mut out);
            conn.deaf = true;
            self.outbox.put(key, conn, out);
        }
        self.close_after_flush(key);
    }

    /// A span of a body is over: its peer is cut if it sent too little, although more was welcome
    /// all the time.
    fn judge_body(&mut self, key: Key) {
        let span_ns = self.limits.body_timeout_ns.unwrap_or(NEVER);
        let rate_min = self.limits.body_rate_min;
        let next_ns = self.deadline_after(self.limits.body_timeout_ns);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let is_paused = matches!(conn.recv, Recv::Idle | Recv::Ready);
        let is_excused = conn.body_span.is_excused
            || is_paused
            || conn.h1.owes_continue()
            || matches!(conn.incoming, Incoming::Skipping);
        if is_excused || !is_too_slow(conn.body_span.bytes, rate_min, span_ns) {
            conn.body_span = BodySpan {
                bytes: 0,
                is_excused: is_paused,
            };
            return conn.wait_for(ReadWait::Body, next_ns);
        }
        self.counters.timeouts_body.add(1);
        conn.deaf = true;
        conn.wait_for(ReadWait::Nothing, NEVER);
        self.end_body(key, Err(BodyError::TooSlow));
    }

    /// A response has not begun in time: its handler is dropped.
    fn end_request(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.request_deadline_ns = NEVER;
        let waits = !matches!(conn.exchange, Exchange::Idle) && !conn.h1.response_begun();
        if conn.state != State::Open || !waits {
            return;
        }
        self.counters.timeouts_request.add(1);
        self.counters.handlers_cancelled.add(1);
        let mut out = self.outbox.take(conn);
        let status = StatusCode::SERVICE_UNAVAILABLE;
        conn.h1.respond_instead(status, &self.date, &mut out);
        self.counters.responses.add(1);
        self.outbox.put(key, conn, out);
        // A call that stays here is dropped here, with what the application has put into it.
        let exchange = std::mem::replace(&mut conn.exchange, Exchange::Idle);
        self.drop_exchange(exchange);
        self.close_after_flush(key);
    }

    /// When a blocked send is next looked at: twice within its timeout.
    pub(super) fn next_write_check_ns(&self) -> u64 {
        self.deadline_after(self.limits.write_timeout_ns.map(|ns| ns / 2))
    }

    /// A send has been blocked for a while. A peer that has taken nothing at two looks in a row
    /// is cut; one that takes little by little is not.
    fn handle_write_check(&mut self, key: Key) {
        let next_ns = self.next_write_check_ns();
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let now = self.ring.unacknowledged_bytes(&conn.socket);
        let (before, same) = conn.unacknowledged;
        let same = match before == now {
            true => same + 1,
            false => 0,
        };
        conn.unacknowledged = (now, same);
        // Where the ring cannot tell, the first look finds no difference.
        let looks = if now.is_some() { 2 } else { 1 };
        if same < looks {
            conn.write_deadline_ns = next_ns;
            return;
        }
        self.counters.timeouts_write.add(1);
        self.ring.reset_on_close(&conn.socket);
        self.fail(key, std::io::ErrorKind::TimedOut);
    }
}

/// A deadline this long from `now_ns`, if there is to be one.
pub(super) fn after(now_ns: u64, timeout_ns: Option<u64>) -> u64 {
    match timeout_ns {
        Some(ns) => now_ns.saturating_add(ns),
        None => NEVER,
    }
}
