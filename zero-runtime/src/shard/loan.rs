//! Connections lent along with the calls that leave a shard: when one is, how it comes back, and what was
//! answered on it meanwhile. What a loan is, is `bridge/lent`'s and `bridge/handshake`'s to know.
//!
//! While a connection is lent its shard writes nothing to it and asks for no send. Whatever else happens to
//! it, the loan is looked at first ([`Shard::settle_loan`]).

use super::conn::{Conn, Incoming, NEVER, ReadWait, State};
use super::{Exchange, Shard};
use crate::bridge::lent::{Lent, Outcome, Written};
use crate::bridge::reply::Reply;
use crate::lifecycle::Phase;
use crate::ring::Ring;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::worker::{Spawn, discard};

impl<K, S: HttpService> Conn<K, S> {
    /// Whether somebody else may write to it, as far as is known here.
    #[inline]
    pub(super) fn is_lent(&self) -> bool {
        matches!(&self.exchange, Exchange::Detached(reply) if reply.is_lent())
    }

    /// Whether the present response is all that there is to do.
    fn may_be_lent(&self) -> bool {
        self.state == State::Open
            && self.h1.may_be_lent()
            && matches!(self.incoming, Incoming::Nothing)
            && self.destination.is_none()
            && self.unsent_bytes() == 0
            && self.carry.is_empty()
            && !self.read_closed
            && !self.deaf
    }
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Lends the connection of a call that is left, if whoever completes it may answer. Its shard may hear
    /// nothing of that: it looks when the connection would be idle for too long. It is not lent by a shard that
    /// will be at its calls for a while, and awake.
    pub(super) fn lend_response(&mut self, key: Key) -> Option<Box<Lent>> {
        let look_at_ns = self.deadline_after(self.load.keep_alive_ns);
        // Who waits for the last response, or for a connection to leave, is to be told of it.
        if self.phase != Phase::Running || self.moving.are_wanted() || !self.calls.is_empty() {
            return None;
        }
        let conn = self.conns.get_mut(key)?;
        if !conn.may_be_lent() {
            return None;
        }
        let socket = self.ring.lend(&conn.socket)?;
        let (machine, counters) = (conn.h1.lent(), self.counters.clone());
        conn.wait_for(ReadWait::Lent, look_at_ns);
        let lent = Lent::new(socket, machine, M::reason_phrase, counters);
        Some(Box::new(lent))
    }

    /// Takes the connection back if it is lent, before anything else is done with it. If somebody answers on
    /// it just now it stays lent, and we are told when he has done.
    #[cold]
    pub(super) fn settle_loan(&mut self, key: Key) {
        if self.conns.get_mut(key).is_some_and(|conn| conn.is_lent()) {
            self.pull_reply(key);
        }
    }

    /// Takes the connection back; true if nobody else writes to it any more.
    pub(super) fn end_loan(conn: &mut Conn<R::Socket, M::Service>) -> bool {
        let Exchange::Detached(reply) = &mut conn.exchange else {
            return true;
        };
        if !reply.is_lent() {
            return true;
        }
        if reply.recall() && conn.read_wait == ReadWait::Lent {
            conn.wait_for(ReadWait::Nothing, NEVER);
        }
        !conn.is_lent()
    }

    /// The loan of a connection that was terminated meanwhile has ended: nobody waits for what its call says,
    /// and if it has answered it is done.
    #[cold]
    pub(super) fn abandon_loan(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match std::mem::replace(&mut conn.exchange, Exchange::Idle) {
            Exchange::Detached(mut reply) => match reply.next() {
                Some(Reply::Written(_)) => {}
                said => {
                    discard(said);
                    self.abandon(Exchange::Detached(reply));
                }
            },
            exchange => self.abandon(exchange),
        }
    }

    /// The response has been written: goes on as if we had done it.
    pub(super) fn handle_written(&mut self, key: Key, written: Written) {
        let keep_alive_ns = self.load.keep_alive_ns;
        let age_ns = self.ring.common_ns().saturating_sub(written.common_ns);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.h1.has_responded(&written.machine);
        match written.outcome {
            Outcome::Whole => {
                let idle_ns = keep_alive_ns.map(|ns| ns.saturating_sub(age_ns));
                let deadline_ns = self.deadline_after(idle_ns);
                self.response_ended(key, deadline_ns);
            }
            Outcome::Part(rest) => {
                debug_assert!(conn.out.is_none());
                self.outbox.put(key, conn, rest);
                let deadline_ns = self.deadline_after(keep_alive_ns);
                self.response_ended(key, deadline_ns);
            }
            Outcome::Failed(kind) => {
                conn.exchange = Exchange::Idle;
                self.fail(key, kind);
            }
        }
    }
}
