//! What goes out: replies into the machine, staged bytes into sends, and the end of a response.

use std::io;

use super::conn::{Conn, Incoming, ReadWait, State};
use super::{Exchange, Shard};
use crate::bridge::reply::Reply;
use crate::driver::Sink;
use crate::pool::write_buf::WriteBuf;
use crate::proto::h1::Next;
use crate::protocol::ProtocolHandler;
use crate::ring::Ring;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::worker::Spawn;

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Lets the end of the turn look for what is to be sent.
    #[inline]
    pub(super) fn mark_dirty(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            self.outbox.mark(key, conn);
        }
    }

    /// Starts a send on every connection that has something staged and none in flight.
    pub(super) fn stage_sends(&mut self) {
        let deadline_ns = self.next_write_check_ns();
        let mut dirty = self.outbox.take_dirty();
        for key in dirty.drain(..) {
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            if conn.is_sending() || conn.state == State::Terminating {
                conn.dirty = false;
                // What is staged waits behind what is being sent.
                self.charge(key);
                continue;
            }
            let conn = match conn.h1.is_continue_due() && conn.state == State::Open {
                false => conn,
                true => {
                    self.say_continue(key);
                    let Some(conn) = self.conns.get_mut(key) else {
                        continue;
                    };
                    conn
                }
            };
            conn.dirty = false;
            if let Some(out) = conn.out.take() {
                conn.begun = None;
                conn.note_send(out.len(), deadline_ns);
                self.load.send_began(out.len(), &self.limits);
                self.ring.send(key, &conn.socket, out);
                let is_charged = conn.charged_bytes > 0;
                if deadline_ns < conn.timer_at_ns {
                    self.arm_timer(key);
                }
                if is_charged {
                    self.charge(key);
                }
            }
        }
        self.outbox.give_back(dirty);
    }

    /// As late as it can be said: with a response that begins in the same turn it is not. The connection is
    /// still marked dirty, so that it is not marked again.
    #[cold]
    fn say_continue(&mut self, key: Key) {
        self.with_http1(key, |http1, conn, wire| http1.handle_flush(conn, wire));
    }

    fn go_on_sending(&mut self, key: Key, buf: Box<WriteBuf>) {
        let deadline_ns = self.next_write_check_ns();
        if let Some(conn) = self.conns.get_mut(key) {
            conn.note_send(buf.len(), deadline_ns);
            self.load.send_began(buf.len(), &self.limits);
            self.ring.send(key, &conn.socket, buf);
            self.arm_timer(key);
        }
    }

    pub(super) fn handle_sent(&mut self, key: Key, buf: Box<WriteBuf>, result: io::Result<usize>) {
        let Some(conn) = self.conns.get_mut(key) else {
            self.counters.late_completions.add(1);
            return self.outbox.recycle(buf);
        };
        self.load.send_ended(conn.sending_bytes, &self.limits);
        conn.sending_bytes = 0;
        conn.write_deadline_ns = super::NEVER;
        if conn.state == State::Terminating {
            self.outbox.recycle(buf);
            return self.settle(key);
        }
        match result {
            Ok(sent) => self.counters.bytes_out.add(sent as u64),
            // Nothing was sent and nothing is wrong.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
            // The peer is gone.
            Err(error) => {
                self.outbox.recycle(buf);
                self.fail(key, error.kind());
                return self.settle(key);
            }
        }
        if !buf.is_empty() {
            self.go_on_sending(key, buf);
        } else {
            self.outbox.recycle(buf);
            if M::Service::IS_RAW {
                self.note_room(key);
            } else if conn.wants_room() {
                self.use_room(key);
            }
        }
        self.settle(key);
    }

    /// There is room again: for the reply that waits for it, for the next request, or for what is
    /// staged.
    fn use_room(&mut self, key: Key) {
        self.pull_reply(key);
        let waits = |conn: &Conn<R::Socket, M::Service>| {
            matches!(conn.exchange, Exchange::Idle) && !conn.carry.is_empty()
        };
        if self.conns.get_mut(key).is_some_and(|conn| waits(conn)) {
            self.process_carry(key);
            self.close_if_unheard(key);
        }
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.out.is_some() || conn.h1.is_continue_due() {
            self.mark_dirty(key);
        }
    }

    /// Takes what a detached call has replied, as far as the window allows; lets one that stays here
    /// go on.
    #[inline]
    pub(super) fn pull_reply(&mut self, key: Key) {
        match self.conns.get_mut(key).map(|conn| &conn.exchange) {
            Some(Exchange::Detached(_)) => self.pull_detached(key),
            Some(Exchange::Local(_)) => self.poll_local(key),
            _ => {}
        }
    }

    fn pull_detached(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if !Self::end_loan(conn) {
            self.counters.loans_awaited.add(1);
            return;
        }
        if conn.state == State::Terminating {
            return self.abandon_loan(key);
        }
        loop {
            let window = self.load.windows.response_bytes;
            let Some(conn) = self.conns.get_mut(key) else {
                return;
            };
            if conn.unsent_bytes() >= window {
                return;
            }
            let Exchange::Detached(receiver) = &mut conn.exchange else {
                return;
            };
            let Some(reply) = receiver.next() else {
                return;
            };
            self.handle_reply(key, reply);
        }
    }

    fn handle_reply(&mut self, key: Key, reply: Reply) {
        let reply = match reply {
            Reply::Panicked => return self.handle_panic(key),
            Reply::Written(written) => return self.handle_written(key, *written),
            reply => reply,
        };
        let ends = matches!(reply, Reply::End(_));
        let written = self.with_sink(key, |sink| {
            match reply {
                // What the head leaves no room for is cut off, piece by piece.
                Reply::Head(head, length) => return sink.head(*head, length).map(drop),
                Reply::Data(data) => {
                    sink.data(data);
                }
                Reply::End(trailers) => sink.end(trailers),
                Reply::Failed | Reply::Panicked | Reply::Written(_) => return Err(()),
            }
            Ok(())
        });
        match written {
            Err(()) => self.fail_exchange(key),
            Ok(()) if ends => self.response_done(key),
            Ok(()) => {}
        }
    }

    /// The response is complete: on to the next request, or to the end.
    pub(super) fn response_done(&mut self, key: Key) {
        self.counters.responses.add(1);
        let keep_alive = self.deadline_after(self.load.keep_alive_ns);
        self.response_ended(key, keep_alive);
    }

    /// The same, of one that has been counted. The next request has until `keep_alive` to begin.
    pub(super) fn response_ended(&mut self, key: Key, keep_alive: u64) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        // Nearly always both are empty: a look takes 16 instructions less than two drops.
        if !matches!(conn.exchange, Exchange::Idle) {
            conn.exchange = Exchange::Idle;
        }
        if !matches!(conn.incoming, Incoming::Nothing) {
            conn.incoming = Incoming::Nothing;
        }
        conn.begun = None;
        conn.request_deadline_ns = super::NEVER;
        if let Some(destination) = conn.destination.take()
            && conn.h1.is_upgraded()
        {
            return self.leave(key, destination);
        }
        let conn = match conn.h1.request_complete() {
            true => conn,
            false => {
                self.skip_arrived(key);
                let Some(conn) = self.conns.get_mut(key) else {
                    return;
                };
                conn
            }
        };
        if conn.deaf {
            // What it sends is not understood, or not waited for: there is no next request.
            return self.close_after_flush(key);
        }
        match conn.h1.after_response() {
            Next::Keep => conn.wait_for(ReadWait::KeepAlive, keep_alive),
            // One attempt has been made to skip the rest: what has arrived was offered above.
            Next::Drain | Next::Close => return self.close_after_flush(key),
        }
        let (is_carrying, is_closed) = (!conn.carry.is_empty(), conn.read_closed);
        if self.moving.are_wanted() && self.move_on(key) {
            return;
        }
        if is_carrying {
            self.process_carry(key);
        }
        if is_carrying || is_closed {
            self.close_if_unheard(key);
        }
    }

    /// What has arrived of the body is skipped; a body that goes on costs the connection.
    fn skip_arrived(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.h1.abandon_body();
        conn.incoming = Incoming::Skipping;
        self.process_carry(key);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.incoming = Incoming::Nothing;
        }
    }

    /// The peer has ended its side and nothing it asked is left to be answered.
    fn close_if_unheard(&mut self, key: Key) {
        let window = self.load.windows.response_bytes;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let waits = conn.is_stalled(window) && !conn.carry.is_empty();
        if conn.read_closed && matches!(conn.exchange, Exchange::Idle) && !waits {
            self.close_after_flush(key);
        }
    }

    /// There will be no whole response: what was sent of it stays, what was staged is taken back; what
    /// was written before goes out, then the end.
    pub(super) fn fail_exchange(&mut self, key: Key) {
        self.counters.bodies_failed.add(1);
        self.take_back(key);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.exchange = Exchange::Idle;
        conn.incoming = Incoming::Nothing;
        self.close_after_flush(key);
    }
}
