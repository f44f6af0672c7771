//! How connections end: terminate (ask for nothing more), join (wait until nothing is in
//! flight), close (give socket and slot back); how they leave; and the phases that end them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::conn::{Carry, Conn, Destination, Incoming, NEVER, ReadWait, Recv, State};
use super::{Exchange, Shard};
use crate::config::Disconnect;
use crate::lifecycle::Phase;
use crate::pool::copies::{self, Copied};
use crate::protocol::ProtocolHandler;
use crate::ring::Ring;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::upgrade::Upgraded;
use crate::worker::{Spawn, discard};

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Reads no further request; sends what is staged, ends the write side, lingers, closes.
    pub(super) fn close_after_flush(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state != State::Open {
            return;
        }
        conn.state = State::Flushing;
        conn.carry = Carry::default();
        conn.incoming = Incoming::Nothing;
        conn.wait_for(ReadWait::Nothing, NEVER);
        conn.request_deadline_ns = NEVER;
        self.close_if_done(key);
    }

    /// Moves a closing connection on if what it waits for has happened. Returns whether it is gone.
    pub(super) fn close_if_done(&mut self, key: Key) -> bool {
        let Some(conn) = self.conns.get_mut(key) else {
            return true;
        };
        match conn.state {
            State::Flushing if conn.unsent_bytes() == 0 => self.linger(key),
            State::Leaving if conn.unsent_bytes() == 0 && !conn.is_in_flight() => {
                self.hand_over(key);
            }
            State::Terminating if !conn.is_in_flight() => self.remove(key),
            _ => {}
        }
        self.conns.get_mut(key).is_none()
    }

    /// Ends the write side. A socket closed with unread bytes would reset the connection and
    /// may destroy what was sent, so what still comes is swallowed for a while.
    fn linger(&mut self, key: Key) {
        let deadline_ns = self.deadline_after(Some(self.limits.linger_timeout_ns));
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.read_closed || self.limits.linger_timeout_ns == 0 {
            return self.terminate(key);
        }
        self.ring.shutdown_write(&conn.socket);
        conn.state = State::Lingering;
        conn.wait_for(ReadWait::Linger, deadline_ns);
        self.steer_recv(key);
        self.arm_timer(key);
    }

    /// Asks for nothing more, drops the handler, and closes once nothing is in flight.
    pub(super) fn terminate(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state == State::Terminating {
            return;
        }
        conn.state = State::Terminating;
        let exchange = match Self::end_loan(conn) {
            true => std::mem::replace(&mut conn.exchange, Exchange::Idle),
            // Its call is done, and writes just now: as with an operation in flight, it is waited for.
            false => {
                self.counters.loans_awaited.add(1);
                Exchange::Idle
            }
        };
        // Dropping the sender tells the body's reader.
        conn.incoming = Incoming::Nothing;
        // Tells whoever waits for an upgrade that there will be none.
        conn.destination = None;
        let making = conn.making.take();
        // There may be a service in it, with destructors of the application's.
        discard(making);
        conn.carry = Carry::default();
        conn.wait_for(ReadWait::Nothing, NEVER);
        conn.write_deadline_ns = NEVER;
        conn.request_deadline_ns = NEVER;
        let out = conn.out.take();
        let sending = conn.is_sending();
        if matches!(
            conn.recv,
            Recv::Multishot | Recv::Watching | Recv::Direct | Recv::Lent
        ) {
            conn.recv = Recv::Cancelling;
            self.ring.cancel_recv(key);
        }
        if sending {
            self.ring.cancel_send(key);
        }
        if conn.connecting {
            self.ring.cancel_connect(key);
        }
        if let Some(out) = out {
            self.outbox.recycle(out);
        }
        self.abandon(exchange);
        self.close_if_done(key);
    }

    /// Whether a handler whose client has gone runs to its end.
    pub(super) fn lets_handlers_go(&self) -> bool {
        self.limits.disconnect == Disconnect::Detach && self.phase != Phase::Terminating
    }

    /// Nobody waits for this exchange's response any more.
    pub(super) fn abandon(&mut self, exchange: Exchange<M::Service>) {
        let lets_go = self.lets_handlers_go();
        match exchange {
            Exchange::Idle => {}
            Exchange::Detached(reply) if lets_go => {
                reply.let_go();
            }
            // Dropping the reply's receiver tells a detached call to end.
            exchange => {
                self.counters.handlers_cancelled.add(1);
                self.drop_exchange(exchange);
            }
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(conn) = self.conns.remove(key) else {
            return;
        };
        assert!(!conn.is_in_flight());
        self.counters.connections_open.decrement();
        if M::Service::IS_RAW {
            self.note_closed(key, &conn);
        }
        self.discharge(conn.charged_bytes);
        self.tell_load();
        // Before the socket is closed: it may have been lent along.
        discard(conn.exchange);
        self.ring.close(conn.socket);
        // The application's own destructors: a panic there is the connection's, not the shard's.
        let service = conn.service;
        if catch_unwind(AssertUnwindSafe(|| drop(service))).is_err() {
            self.counters.handler_panics.add(1);
        }
        self.place_freed();
    }

    /// Lets the connection go: no further request is read, what is queued goes out, and once
    /// nothing is in flight `destination` has it, with all that was read ahead.
    pub(super) fn leave(&mut self, key: Key, destination: Destination) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state != State::Open {
            return;
        }
        conn.state = State::Leaving;
        conn.destination = Some(destination);
        conn.incoming = Incoming::Nothing;
        conn.wait_for(ReadWait::Nothing, NEVER);
        conn.request_deadline_ns = NEVER;
    }

    fn hand_over(&mut self, key: Key) {
        let is_moving = |conn: &mut Conn<R::Socket, M::Service>| {
            matches!(conn.destination, Some(Destination::Shard))
        };
        if self.conns.get_mut(key).is_some_and(is_moving) {
            return self.hand_to_shard(key);
        }
        let Some(conn) = self.conns.remove(key) else {
            return;
        };
        self.counters.connections_open.decrement();
        self.discharge(conn.charged_bytes);
        self.counters.connections_handed_over.add(1);
        let read_ahead = copies::shared(Copied::ReadAhead, conn.carry.bytes());
        let upgraded = self.ring.release(conn.socket);
        let place = self.away.place(conn.ticket);
        let upgraded = upgraded.map(|socket| Upgraded {
            socket,
            read_ahead,
            place,
            guest: self.lifecycle.guest(),
        });
        match (conn.destination, upgraded) {
            // Nobody waits for it: dropping it closes it.
            (Some(Destination::Upgrade(sender)), Ok(upgraded)) => drop(sender.send(upgraded)),
            (Some(Destination::Http2), Ok(upgraded)) => self.serve_http2(conn.service, upgraded),
            (_, Err(error)) => tracing::debug!(%error, "a connection could not be handed over"),
            (Some(Destination::Shard) | None, Ok(_)) => {}
        }
    }

    fn serve_http2(&mut self, service: Option<M::Service>, conn: Upgraded) {
        let (Some(service), make, lifecycle) = (service, &mut self.make, &self.lifecycle) else {
            return;
        };
        let served = catch_unwind(AssertUnwindSafe(|| {
            make.serve_http2(service, conn, lifecycle.clone())
        }));
        match served {
            Ok(served) => self.spawn.spawn(served),
            Err(_panic) => self.counters.handler_panics.add(1),
        }
    }

    /// The peer has ended its side behind a whole request: a handler that waits is dropped. One
    /// that has not been polled yet may still answer.
    pub(super) fn cancel_if_waiting(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match conn.exchange {
            Exchange::Detached(_) | Exchange::Local(_) if self.limits.half_close => {}
            // It is being answered at this moment.
            Exchange::Detached(_) if conn.is_lent() => {}
            // Responses before its own are on their way: they are not taken back.
            Exchange::Detached(_) | Exchange::Local(_)
                if conn.h1.request_complete() && conn.unsent_bytes() > 0 =>
            {
                let exchange = std::mem::replace(&mut conn.exchange, Exchange::Idle);
                self.abandon(exchange);
                self.close_after_flush(key);
            }
            Exchange::Detached(_) | Exchange::Local(_) if conn.h1.request_complete() => {
                self.terminate(key)
            }
            // Its body's reader hears of the end, and may still answer.
            Exchange::Detached(_) | Exchange::Local(_) => {}
            Exchange::Idle => self.close_after_flush(key),
            Exchange::Queued | Exchange::Calling => {}
        }
    }

    /// Does what a change of the server's phase asks of this shard.
    pub(super) fn follow_phase(&mut self) {
        let phase = self.lifecycle.phase();
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        self.steer_accept();
        if phase == Phase::Terminating {
            self.turn_away_waiting();
        }
        for key in self.conns.keys() {
            self.settle_loan(key);
            match phase {
                Phase::Running => {}
                Phase::Draining => self.drain(key),
                Phase::Terminating => self.terminate(key),
            }
        }
        // They have come as the server still ran: each has a moment to ask.
        self.close_arrivals();
    }

    /// A connection between requests closes; one with a request closes behind its response; one
    /// that has not asked yet has a moment to do so.
    fn drain(&mut self, key: Key) {
        if M::Service::IS_RAW {
            return self.note_drain(key);
        }
        let last_head_ns = self.deadline_after(Some(self.last_head_ns()));
        self.with_http1(key, |http1, conn, wire| http1.handle_drain(conn, wire));
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if !matches!(conn.exchange, Exchange::Idle) || conn.state != State::Open {
            return;
        }
        // What it asks may be on its way, or unread: it came as the server still accepted.
        let may_ask = conn.requests == 0 || conn.recv == Recv::Ready;
        if may_ask && conn.service.is_some() && !conn.read_closed {
            conn.wait_for(ReadWait::Head, last_head_ns);
            return self.arm_timer(key);
        }
        match conn.unsent_bytes() {
            0 => self.terminate(key),
            _ => self.close_after_flush(key),
        }
    }
}
