//! What arrives: presented to the protocol where it was received, kept if it has to wait.

use super::super::super::Shard;
use super::super::super::conn::{Recv, State};
use super::super::Note;
use super::{Held, HeldBytes, Host};
use crate::protocol::{Next, ProtocolHandler, Step};
use crate::ring::{Completion, Ring};
use crate::slots::Key;

impl<R: Ring, P: ProtocolHandler> Host<R, P> {
    pub(super) fn handle_completion(
        &mut self,
        completion: Completion<R>,
    ) -> Option<(Key, P::Event)> {
        match completion {
            Completion::Received { conn, result, more } => match result {
                Ok(Some(lease)) => self.hold(conn, lease, more),
                Ok(None) => self.handle_end(conn, more),
                Err(error) => {
                    if let Some(conn) = self.shard.conns.get_mut(conn)
                        && !more
                    {
                        conn.recv = Recv::Idle;
                    }
                    self.shard.handle_recv_error(conn, &error);
                    self.shard.settle(conn);
                }
            },
            other => self.shard.handle_completion(other),
        }
        None
    }

    /// Bytes have come.
    pub(super) fn hold(&mut self, key: Key, lease: R::Lease, more: bool) {
        let Some(conn) = self.shard.conns.get_mut(key) else {
            self.shard.counters.late_completions.add(1);
            return;
        };
        if !more {
            conn.recv = Recv::Idle;
        }
        self.shard.counters.bytes_in.add(lease.len() as u64);
        let is_open = conn.state == State::Open;
        let is_carrying = !conn.carry.is_empty();
        if is_open {
            let is_later = match self.peer(key) {
                Some(peer) => {
                    peer.bytes_in += lease.len() as u64;
                    peer.is_later
                }
                // Its protocol has not been told of it yet.
                None => true,
            };
            match is_later || is_carrying {
                true => self.keep(key, &lease, !is_later),
                false => {
                    self.held = Some(Held {
                        key,
                        bytes: HeldBytes::Lease(lease),
                        base: 0,
                        at: 0,
                    });
                }
            }
        }
        self.shard.settle(key);
    }

    /// Keeps bytes behind those that were left; looks at them all if they were waiting for more.
    pub(super) fn keep(&mut self, key: Key, bytes: &[u8], looks: bool) {
        let Shard {
            conns,
            carries,
            notes,
            ..
        } = &mut self.shard;
        if let Some(conn) = conns.get_mut(key) {
            conn.carry.push(bytes, carries);
            if looks {
                notes.push_back(Note::Look(key));
            }
        }
    }

    /// The peer has ended its side.
    pub(super) fn handle_end(&mut self, key: Key, more: bool) {
        let Some(conn) = self.shard.conns.get_mut(key) else {
            self.shard.counters.late_completions.add(1);
            return;
        };
        if !more {
            conn.recv = Recv::Idle;
        }
        conn.read_closed = true;
        match conn.state {
            State::Open => self.shard.notes.push_back(Note::Eof(key)),
            State::Lingering => self.shard.terminate(key),
            State::Flushing | State::Leaving | State::Terminating => {}
        }
        self.shard.settle(key);
    }

    /// Presents what is held to its protocol.
    pub(super) fn read_on(&mut self) -> Option<(Key, P::Event)> {
        let mut held = self.held.take()?;
        let key = held.key;
        held.base = held.at;
        if let Some(peer) = self.peer(key) {
            // Until something else is said, by the step or by what it asks for.
            peer.is_later = true;
        }
        let step = self.with(key, |handler, conn, wire| {
            handler.handle_input(conn, &held.bytes()[held.at..], wire)
        });
        // It has been closed meanwhile.
        let Step { consumed, next } = step?;
        held.at += consumed;
        assert!(held.at <= held.bytes().len(), "more consumed than shown");
        if !matches!(next, Next::Later)
            && let Some(peer) = self.peer(key)
        {
            peer.is_later = false;
        }
        match next {
            Next::Event(event) => {
                self.held = Some(held);
                Some((key, event))
            }
            Next::More => {
                self.put_back(held);
                self.end_input(key)
            }
            Next::Later => {
                self.put_back(held);
                None
            }
        }
    }

    /// Keeps what is not consumed, and gives the memory of the rest back.
    pub(super) fn put_back(&mut self, held: Held<R::Lease>) {
        let Shard { conns, carries, .. } = &mut self.shard;
        let Some(conn) = conns.get_mut(held.key) else {
            return;
        };
        if conn.state != State::Open {
            return;
        }
        match held.bytes {
            HeldBytes::Lease(lease) => {
                if held.at < lease.len() {
                    conn.carry.push(&lease[held.at..], carries);
                }
            }
            HeldBytes::Carry(mut carry) => {
                carry.consume(held.at, carries);
                conn.carry = carry;
                conn.kept_bytes = 0;
            }
        }
        self.shard.settle(held.key);
    }

    /// All of the input was looked at; if it is the last of it, the protocol is told.
    pub(super) fn end_input(&mut self, key: Key) -> Option<(Key, P::Event)> {
        let peer = self.peer(key)?;
        if !std::mem::take(&mut peer.owes_eof) {
            return None;
        }
        let told = self.with(key, |handler, conn, wire| handler.handle_eof(conn, wire));
        self.end_if_both_have(key);
        told.flatten().map(|event| (key, event))
    }

    /// Lets go of the input of the last event.
    pub(super) fn let_go(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        let key = held.key;
        let is_rest = held.at < held.bytes().len();
        self.put_back(held);
        let owes_eof = self.peer(key).is_some_and(|peer| peer.owes_eof);
        if is_rest || owes_eof {
            self.shard.notes.push_front(Note::Look(key));
        }
    }
}
