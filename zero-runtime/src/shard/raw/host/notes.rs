//! Everything else that happens to a connection, from its opening to its end.

use super::super::super::conn::{Conn, State};
use super::super::{NoService, Note};
use super::{Held, HeldBytes, Host, Peer};
use crate::addr::{EndpointId, UNSPECIFIED};
use crate::lifecycle::Phase;
use crate::protocol::{ConnId, Opening, ProtocolHandler};
use crate::ring::Ring;
use crate::slots::Key;

impl<R: Ring, P: ProtocolHandler> Host<R, P> {
    pub(super) fn handle_note(&mut self, note: Note) -> Option<(Key, P::Event)> {
        match note {
            Note::Opened(key, endpoint) => self.open(key, endpoint),
            Note::Room(key) => self.handle_room(key),
            Note::Look(key) => {
                self.look(key);
                None
            }
            Note::Eof(key) => {
                let peer = self.peer(key)?;
                peer.owes_eof = true;
                // Nothing is left to be presented before it: it is told, whatever is waited for.
                let carries = |conn: &mut Conn<R::Socket, NoService>| !conn.carry.is_empty();
                match self.shard.conns.get_mut(key).is_some_and(carries) {
                    true => {
                        self.look(key);
                        None
                    }
                    false => self.end_input(key),
                }
            }
            Note::Timeout(key) => {
                let told = self.with(key, |handler, conn, wire| {
                    handler.handle_timeout(conn, wire)
                });
                told.flatten().map(|event| (key, event))
            }
            Note::Woken(key) => {
                let told = self.with(key, |handler, conn, wire| handler.handle_wake(conn, wire));
                told.flatten().map(|event| (key, event))
            }
            Note::Drain(key) => {
                if self.peer(key).is_none() {
                    self.shard.terminate(key);
                    return None;
                }
                let told = self.with(key, |handler, conn, wire| handler.handle_drain(conn, wire));
                told.flatten().map(|event| (key, event))
            }
            Note::Closed(key, why) => {
                let told = match self.take_peer(key) {
                    Some(peer) => self.handler.handle_closed(peer.conn, why),
                    None => self.handler.handle_unconnected(ConnId(key), why),
                };
                told.map(|event| (key, event))
            }
        }
    }

    pub(super) fn open(
        &mut self,
        key: Key,
        endpoint: Option<EndpointId>,
    ) -> Option<(Key, P::Event)> {
        let conn = self.shard.conns.get_mut(key)?;
        if conn.state != State::Open {
            return None;
        }
        let opening = Opening {
            conn: ConnId(key),
            endpoint,
            peer_addr: self
                .shard
                .ring
                .peer_addr(&conn.socket)
                .unwrap_or(UNSPECIFIED),
            peer_cred: self.shard.ring.peer_cred(&conn.socket),
        };
        let opened_ns = self.shard.now.mono_ns;
        let opened = self.with_wire(key, |handler, _, wire| handler.open(&opening, wire))?;
        let index = key.index as usize;
        if index >= self.peers.len() {
            self.peers.resize_with(index + 1, || None);
        }
        let (conn, asked, written) = opened;
        self.peers[index] = Some(Peer {
            key,
            conn,
            is_later: false,
            owes_eof: false,
            wants_room: false,
            ends_write: false,
            has_ended_write: false,
            flushes: false,
            bytes_in: 0,
            written: written as u64,
            opened_ns,
        });
        self.apply(key, asked);
        // Bytes that came with it have waited for this.
        self.shard.notes.push_front(Note::Look(key));
        if self.shard.phase != Phase::Running {
            // It came as the listeners were being closed.
            self.shard.notes.push_back(Note::Drain(key));
        }
        let told = self.with(key, |handler, conn, wire| {
            handler.handle_open(conn, &opening, wire)
        });
        told.flatten().map(|event| (key, event))
    }

    /// Presents what was kept, unless it waits for something else.
    pub(super) fn look(&mut self, key: Key) {
        debug_assert!(self.held.is_none());
        if self.peer(key).is_none_or(|peer| peer.is_later) {
            return;
        }
        let owes_eof = self.peer(key).is_some_and(|peer| peer.owes_eof);
        let Some(conn) = self.shard.conns.get_mut(key) else {
            return;
        };
        if conn.state == State::Open && (!conn.carry.is_empty() || owes_eof) {
            let carry = std::mem::take(&mut conn.carry);
            conn.kept_bytes = carry.len();
            self.held = Some(Held {
                key,
                bytes: HeldBytes::Carry(carry),
                base: 0,
                at: 0,
            });
        }
    }

    pub(super) fn handle_room(&mut self, key: Key) -> Option<(Key, P::Event)> {
        self.end_write_if_due(key);
        let unsent_bytes = self.shard.conns.get_mut(key)?.unsent_bytes();
        let is_room = unsent_bytes <= self.shard.load.windows.response_bytes / 2;
        let peer = self.peer(key)?;
        let told = match is_room && std::mem::take(&mut peer.wants_room) {
            true => self.with(key, |handler, conn, wire| handler.handle_room(conn, wire)),
            false => None,
        };
        self.shard.settle(key);
        told.flatten().map(|event| (key, event))
    }
}
