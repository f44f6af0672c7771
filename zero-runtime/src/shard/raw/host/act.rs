//! What a protocol, or the owner of the loop, does to a connection.

use std::io;
use std::time::Duration;

use socket2::{SockAddr, SockRef};

use super::super::super::Shard;
use super::super::super::conn::{Conn, ReadWait, State};
use super::super::super::lend::Lender;
use super::super::{NoService, Note};
use super::{ConnStats, Host, Peer};
use crate::lifecycle::Phase;
use crate::protocol::{Asked, ConnId, DisconnectReason, Ending, ProtocolHandler, Wire};
use crate::ring::Ring;
use crate::slots::Key;

impl<R: Ring, P: ProtocolHandler> Host<R, P> {
    /// Lets `act` work on a connection; `None` when it is gone, or closing.
    pub(crate) fn with<T>(
        &mut self,
        key: Key,
        act: impl FnOnce(&mut P, &mut P::Conn, &mut Wire<'_>) -> T,
    ) -> Option<T> {
        let (out, asked, written) = self.with_wire(key, |handler, peer, wire| {
            peer.map(|peer| act(handler, &mut peer.conn, wire))
        })?;
        if written > 0
            && let Some(peer) = self.peer(key)
        {
            peer.written += written as u64;
        }
        self.apply(key, asked);
        out
    }

    /// The same, with the input of the last event.
    pub(crate) fn with_input<T>(
        &mut self,
        key: Key,
        act: impl FnOnce(&mut P::Conn, &mut Wire<'_>, &[u8]) -> T,
    ) -> Option<T> {
        let held = self.held.take();
        let input = held
            .as_ref()
            .map_or(&[][..], |held| &held.bytes()[held.base..]);
        let done = self.with(key, |_, conn, wire| act(conn, wire, input));
        self.held = held;
        done
    }

    pub(super) fn with_wire<T>(
        &mut self,
        key: Key,
        act: impl FnOnce(&mut P, Option<&mut Peer<P::Conn>>, &mut Wire<'_>) -> T,
    ) -> Option<(T, Asked, usize)> {
        let Shard {
            conns,
            outbox,
            inbox,
            load,
            now,
            ..
        } = &mut self.shard;
        let conn = conns.get_mut(key)?;
        if conn.state != State::Open {
            return None;
        }
        let staged =
            |conn: &Conn<R::Socket, NoService>| conn.out.as_ref().map_or(0, |out| out.len());
        let had = staged(conn);
        let peer = self.peers.get_mut(key.index as usize);
        let peer = peer.and_then(Option::as_mut);
        let peer = peer.filter(|peer| peer.key == key);
        let can_write = peer.as_ref().is_none_or(|peer| !peer.ends_write);
        let lender = Lender {
            outbox,
            inbox,
            window_bytes: load.windows.response_bytes,
            now: *now,
        };
        let handler = &mut self.handler;
        let (value, asked) = conn.lend(key, lender, can_write, |_, wire| act(handler, peer, wire));
        // What was staged may have been taken back.
        let written = staged(conn).saturating_sub(had);
        Some((value, asked, written))
    }

    /// Does what was asked for.
    pub(super) fn apply(&mut self, key: Key, asked: Asked) {
        if let Some(at_ns) = asked.timeout_at_ns
            && let Some(conn) = self.shard.conns.get_mut(key)
        {
            conn.wait_for(ReadWait::Handler, at_ns);
        }
        if let Some(paused) = asked.pauses
            && let Some(conn) = self.shard.conns.get_mut(key)
        {
            conn.paused = paused;
        }
        if let Some(peer) = self.peer(key) {
            // Who waits already has a note under way, or a send whose end brings one.
            let begins_to_wait = asked.wants_room && !peer.wants_room;
            peer.wants_room |= asked.wants_room;
            let flushes = asked.before_send && !std::mem::replace(&mut peer.flushes, true);
            if asked.looks_again {
                peer.is_later = false;
                self.shard.notes.push_back(Note::Look(key));
            }
            if begins_to_wait {
                // Nothing may be on its way whose end would bring the news.
                self.shard.notes.push_back(Note::Room(key));
            }
            if flushes {
                self.flushes.push(key);
            }
        }
        if asked.timed_out
            && let Some(conn) = self.shard.conns.get_mut(key)
        {
            conn.why.get_or_insert(DisconnectReason::TimedOut);
        }
        match asked.ending {
            Ending::Not => {}
            Ending::Write => self.end_write(key),
            Ending::Graceful => self.shard.close_after_flush(key),
            Ending::Now => {
                if let Some(conn) = self.shard.conns.get_mut(key) {
                    conn.why.get_or_insert(DisconnectReason::Closed);
                }
                self.shard.terminate(key);
            }
        }
        self.shard.settle(key);
    }

    pub(super) fn end_write(&mut self, key: Key) {
        if let Some(peer) = self.peer(key) {
            peer.ends_write = true;
        }
        self.end_write_if_due(key);
        self.end_if_both_have(key);
    }

    /// Ends the write side if that was asked for and all is sent.
    pub(super) fn end_write_if_due(&mut self, key: Key) {
        let Some(conn) = self.shard.conns.get_mut(key) else {
            return;
        };
        if conn.unsent_bytes() > 0 || conn.state != State::Open {
            return;
        }
        let peer = self.peers.get_mut(key.index as usize);
        let Some(Some(peer)) = peer else {
            return;
        };
        if peer.key == key && peer.ends_write && !peer.has_ended_write {
            peer.has_ended_write = true;
            self.shard.ring.shutdown_write(&conn.socket);
        }
    }

    /// Nothing can come any more, nor be written: there is nothing left but to close.
    pub(super) fn end_if_both_have(&mut self, key: Key) {
        let read_closed = |conn: &mut Conn<R::Socket, NoService>| conn.read_closed;
        let is_read_closed = self.shard.conns.get_mut(key).is_some_and(read_closed);
        let has_ended = |peer: &mut Peer<P::Conn>| peer.ends_write && !peer.owes_eof;
        if is_read_closed && self.peer(key).is_some_and(has_ended) {
            self.shard.close_after_flush(key);
        }
    }

    pub(super) fn peer(&mut self, key: Key) -> Option<&mut Peer<P::Conn>> {
        let peer = self.peers.get_mut(key.index as usize)?.as_mut()?;
        (peer.key == key).then_some(peer)
    }

    pub(super) fn take_peer(&mut self, key: Key) -> Option<Peer<P::Conn>> {
        self.peer(key)?;
        self.peers[key.index as usize].take()
    }

    /// Begins to connect to `addr`.
    ///
    /// # Errors
    /// No place is free, or the kernel makes no socket for it.
    pub(crate) fn connect(&mut self, addr: SockAddr) -> io::Result<ConnId> {
        if self.shard.is_full() || self.shard.phase != Phase::Running {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "no connection is free: raise Config::connections_max, or close some; or the shard \
                 shuts down",
            ));
        }
        let socket = self.shard.ring.socket_for(&addr)?;
        if self.shard.limits.nodelay
            && addr.as_socket().is_some()
            && let Some(options) = self.shard.ring.options(&socket)
        {
            options.set_tcp_nodelay(true)?;
        }
        let key = self.shard.insert(socket);
        if let Some(conn) = self.shard.conns.get_mut(key) {
            conn.connecting = true;
            self.shard.ring.connect(key, &conn.socket, addr);
        }
        Ok(ConnId(key))
    }

    /// Closes a connection at once, whatever its state.
    pub(crate) fn close(&mut self, ConnId(key): ConnId) {
        if let Some(conn) = self.shard.conns.get_mut(key) {
            conn.why.get_or_insert(DisconnectReason::Closed);
        }
        self.shard.terminate(key);
    }

    /// Closes a connection behind what was written; one that is being connected at once.
    pub(crate) fn close_graceful(&mut self, ConnId(key): ConnId) {
        let closed = self.with(key, |_, _, wire| wire.close_graceful());
        if closed.is_none() {
            self.close_connecting(key);
        }
    }

    /// Closes a connection that is still being connected: nothing can have been written.
    pub(super) fn close_connecting(&mut self, key: Key) {
        let connecting = |conn: &mut Conn<R::Socket, NoService>| conn.connecting;
        if self.shard.conns.get_mut(key).is_some_and(connecting) {
            self.close(ConnId(key));
        }
    }

    pub(crate) fn options(&mut self, ConnId(key): ConnId) -> Option<SockRef<'_>> {
        let conn = self.shard.conns.get_mut(key)?;
        self.shard.ring.options(&conn.socket)
    }

    pub(crate) fn conn_stats(&mut self, ConnId(key): ConnId) -> Option<ConnStats> {
        let now_ns = self.shard.now.mono_ns;
        let (bytes_in, written, opened_ns) = {
            let peer = self.peer(key)?;
            (peer.bytes_in, peer.written, peer.opened_ns)
        };
        let conn = self.shard.conns.get_mut(key)?;
        let unsent_bytes = conn.unsent_bytes();
        Some(ConnStats {
            bytes_in,
            bytes_out: written.saturating_sub(unsent_bytes as u64),
            unsent_bytes,
            kept_bytes: conn.kept_bytes + conn.carry.len(),
            peer_has_ended: conn.read_closed,
            age: Duration::from_nanos(now_ns.saturating_sub(opened_ns)),
        })
    }

    /// Stops accepting, closes the listeners and lets every connection end.
    pub(crate) fn shutdown(&mut self) {
        self.shard.lifecycle.drain();
    }

    /// Cuts what is left.
    pub(crate) fn terminate(&mut self) {
        self.shard.lifecycle.drain();
        self.shard.lifecycle.terminate();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.shard.has_ended() && self.shard.notes.is_empty()
    }
}
