//! A shard whose loop belongs to somebody else: where the engine, instead of reading HTTP/1.1 for a service,
//! notes what has happened, for [`Host`] to take to a [`ProtocolHandler`](crate::protocol::ProtocolHandler).
//!
//! Accepting, receiving, sending, deadlines and closing are the shard's own, as for services.

mod host;
pub(crate) mod http;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, Ready};
use std::io;
use std::task::{Context, Poll};

use super::conn::{Conn, ReadWait, State};
use super::{Shard, Want};
use crate::addr::EndpointId;
use crate::body::RequestBody;
use crate::bridge::peers::Ticket;
use crate::limits::Limits;
use crate::message::{OwnedHead, ZeroResponse};
use crate::protocol::DisconnectReason;
use crate::ring::Ring;
use crate::service::{ConnInfo, HttpService, Made, MakeHttpService};
use crate::slots::Key;
use crate::worker::Spawn;

pub use host::ConnStats;
pub(crate) use host::{Host, HostSeed, Orders, Told};

/// Something that happened to a connection, for its protocol.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    Opened(Key, Option<EndpointId>),
    /// A send is done.
    Room(Key),
    Timeout(Key),
    Woken(Key),
    Drain(Key),
    /// What was left of its input is to be presented.
    Look(Key),
    /// The peer has ended its side.
    Eof(Key),
    Closed(Key, DisconnectReason),
}

/// Notes, oldest first. Bounded by what connections can have happen to them between two turns.
pub(super) type Notes = VecDeque<Note>;

/// In the place of a service where there is none: a raw shard calls nobody.
#[derive(Clone)]
pub(crate) struct NoService;

impl HttpService for NoService {
    type Head = OwnedHead;
    type Response = ZeroResponse;
    type Error = Infallible;
    type Future = Ready<Result<ZeroResponse, Infallible>>;

    const IS_RAW: bool = true;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        unreachable!("a raw shard calls no service")
    }

    fn call(&mut self, _head: OwnedHead, _body: RequestBody) -> Self::Future {
        unreachable!("a raw shard calls no service")
    }
}

impl MakeHttpService for NoService {
    type Service = NoService;
    const WANTS_PEER_ADDR: bool = true;

    fn make(&mut self, _conn: ConnInfo) -> Made<NoService> {
        Made::Ready(NoService)
    }
}

/// A raw shard has no tasks.
#[derive(Clone)]
pub(crate) struct NoSpawn;

impl Spawn for NoSpawn {
    fn spawn(&self, _task: impl Future<Output = ()> + Send + 'static) {
        unreachable!("a raw shard spawns nothing")
    }
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// The connection is there: its protocol may have it.
    #[cold]
    pub(super) fn open_raw(
        &mut self,
        key: Key,
        endpoint: Option<EndpointId>,
        ticket: Option<Box<Ticket>>,
    ) {
        let Made::Ready(service) = self.make.make(ConnInfo::default()) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.ticket = ticket;
        conn.service = Some(service);
        self.notes.push_back(Note::Opened(key, endpoint));
        self.settle(key);
    }

    #[cold]
    pub(super) fn handle_connected(&mut self, key: Key, result: io::Result<()>) {
        let Some(conn) = self.conns.get_mut(key) else {
            self.counters.late_completions.add(1);
            return;
        };
        conn.connecting = false;
        match result {
            Ok(()) if conn.state == State::Open => self.open_raw(key, None, None),
            Ok(()) => {}
            Err(error) => {
                conn.why
                    .get_or_insert(DisconnectReason::ConnectFailed(error.kind()));
                self.terminate(key);
            }
        }
        self.settle(key);
    }

    /// The connection cannot go on.
    #[cold]
    pub(super) fn fail(&mut self, key: Key, kind: io::ErrorKind) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.why.get_or_insert(match kind {
                io::ErrorKind::TimedOut => DisconnectReason::TimedOut,
                kind => DisconnectReason::Failed(kind),
            });
        }
        self.terminate(key);
    }

    /// What was being sent is sent.
    pub(super) fn note_room(&mut self, key: Key) {
        let staged = |conn: &mut Conn<R::Socket, M::Service>| conn.out.is_some();
        if self.conns.get_mut(key).is_some_and(staged) {
            self.mark_dirty(key);
        }
        self.notes.push_back(Note::Room(key));
    }

    #[cold]
    pub(super) fn note_timeout(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.wait_for(ReadWait::Nothing, super::NEVER);
            self.notes.push_back(Note::Timeout(key));
        }
    }

    #[cold]
    pub(super) fn note_woken(&mut self, key: Key) {
        self.notes.push_back(Note::Woken(key));
    }

    #[cold]
    pub(super) fn note_drain(&mut self, key: Key) {
        self.notes.push_back(Note::Drain(key));
    }

    #[cold]
    pub(super) fn note_closed(&mut self, key: Key, conn: &Conn<R::Socket, M::Service>) {
        let in_order = match conn.read_closed {
            true => DisconnectReason::Ended,
            false => DisconnectReason::Closed,
        };
        let why = conn.why.unwrap_or(in_order);
        self.notes.push_back(Note::Closed(key, why));
    }
}

impl<K, S: HttpService> Conn<K, S> {
    /// What a raw connection can take from the kernel while it is open.
    pub(super) fn wanted_raw(&self, limits: &Limits) -> Want {
        let kept_bytes_max = limits.request_window_bytes.max(limits.head_bytes_max);
        match () {
            () if self.read_closed || self.service.is_none() => Want::Nothing,
            () if self.paused => Want::Pause,
            () if self.kept_bytes + self.carry.len() > kept_bytes_max => Want::Pause,
            () => Want::Multishot,
        }
    }
}
