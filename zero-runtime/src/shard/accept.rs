//! How connections come in: accepting, its back-off, and the service each connection gets.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::oneshot;

use super::Shard;
use super::conn::{Conn, NEVER, ReadWait};
use super::moving::Moved;
use crate::addr::{EndpointId, LocalAddr, UNSPECIFIED};
use crate::bridge::arrivals::{self, Door};
use crate::bridge::inbox::ConnSignal;
use crate::bridge::peers::Ticket;
use crate::lifecycle::Phase;
use crate::ring::{ListenerId, Ring};
use crate::service::{ConnInfo, HttpService, Made, MakeFuture, MakeHttpService};
use crate::slots::Key;
use crate::tap::Tap;
use crate::worker::Spawn;

/// How long accepting pauses when descriptors or memory have run out.
const BACKOFF_NS: u64 = 500_000_000;

struct Listener {
    local_addr: LocalAddr,
    armed: bool,
    closed: bool,
}

/// A connection that a shard is to have: from its listener, or from another shard.
pub(crate) enum Arrival<K, S> {
    /// Accepted, and not looked at. Every shard has the same listeners.
    Fresh(ListenerId, K),
    /// Between two requests.
    Moved(K, Box<Moved<S>>),
}

/// The shard's listening sockets, as far as they are its business.
pub(super) struct Listeners<K, S> {
    all: Vec<Listener>,
    /// When to try again after a failure.
    retry_at_ns: u64,
    /// There is no slot yet for these.
    waiting: VecDeque<Arrival<K, S>>,
    /// Accepting has ended until a slot is free.
    full: bool,
    /// What the application does to each socket.
    tap: Option<Tap>,
}

impl<K, S> Listeners<K, S> {
    pub(super) fn new(local_addrs: Vec<LocalAddr>, tap: Option<Tap>) -> Self {
        let listener = |local_addr| Listener {
            local_addr,
            armed: false,
            closed: false,
        };
        Listeners {
            all: local_addrs.into_iter().map(listener).collect(),
            retry_at_ns: NEVER,
            waiting: VecDeque::new(),
            full: false,
            tap,
        }
    }

    /// One more, of which the ring knows already.
    pub(super) fn add(&mut self, local_addr: LocalAddr) {
        self.all.push(Listener {
            local_addr,
            armed: false,
            closed: false,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn local_addr(&self, listener: usize) -> Option<&LocalAddr> {
        self.all.get(listener).map(|listener| &listener.local_addr)
    }

    pub(super) fn armed(&mut self, listener: usize) {
        self.all[listener].armed = true;
    }

    pub(super) fn retry_at_ns(&self) -> u64 {
        self.retry_at_ns
    }

    pub(super) fn are_closed(&self) -> bool {
        self.waiting.is_empty() && self.all.iter().all(|listener| listener.closed)
    }
}

/// A peer has as many connections as it may.
struct OverLimit;

struct RaiseOnDrop(Arc<ConnSignal>);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.raise();
    }
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    pub(super) fn handle_accepted(
        &mut self,
        listener: ListenerId,
        result: io::Result<R::Socket>,
        more: bool,
    ) {
        self.listeners.all[listener.0 as usize].armed = more;
        match result {
            Ok(socket) => self.settle_in(listener, socket),
            Err(error) => self.handle_accept_error(&error),
        }
        self.steer_accept();
    }

    fn handle_accept_error(&mut self, error: &io::Error) {
        match error.raw_os_error() {
            // We asked for it.
            Some(libc::ECANCELED) => {}
            // The connection died in the queue; the next one is not affected.
            Some(libc::ECONNABORTED | libc::ECONNRESET | libc::EINTR | libc::EAGAIN) => {}
            _ => {
                self.counters.accept_backoffs.add(1);
                tracing::warn!(%error, "accepting pauses for 500 ms; open connections are served");
                self.listeners.retry_at_ns = self.now.mono_ns + BACKOFF_NS;
            }
        }
    }

    /// Opens a connection here, or on a shard that has fewer.
    fn settle_in(&mut self, listener: ListenerId, socket: R::Socket) {
        let arrival = Arrival::Fresh(listener, socket);
        match self.less_loaded() {
            None => self.admit(arrival),
            Some(neighbour) => self.hand_to(neighbour, arrival),
        }
        self.tell_load();
    }

    /// The shard that should have what is accepted here, if it is another one.
    fn less_loaded(&self) -> Option<usize> {
        if !self.neighbours.are_there() || self.phase != Phase::Running {
            return None;
        }
        let most = self.limits.connections_max;
        let own = match self.neighbours.is_on_duty() {
            true => self.places_taken(),
            false => most,
        };
        let loads = |on_duty: bool| {
            let is_asked = move |index| self.neighbours.roster().is_on_duty(index) == on_duty;
            let is_deaf = |door: &Door<_>| door.is_deaf(|| self.ring.common_ns());
            let others = self.neighbours.others();
            let others = others.filter(move |(index, door)| is_asked(*index) && !is_deaf(door));
            others.map(|(index, door)| (index, door.inbox().arrivals().load()))
        };
        let to = arrivals::choose(own, most, loads(true));
        match self.is_full() {
            // Places are the server's: those of shards that stand by are the last.
            true => to.or_else(|| arrivals::choose(own, most, loads(false))),
            false => to,
        }
    }

    fn hand_to(&mut self, neighbour: usize, arrival: Arrival<R::Socket, M::Service>) {
        let (Arrival::Fresh(_, socket) | Arrival::Moved(socket, _)) = &arrival;
        self.ring.part_with(socket);
        let door = self.neighbours.door(neighbour);
        match door.push(arrival, self.ring.common_ns()) {
            Ok(()) => self.counters.connections_given.increment(),
            // It is about to end, as this one will be told.
            Err(arrival) => self.admit(arrival),
        }
    }

    /// Those who wait for a place here are handed to shards that have one by now.
    pub(super) fn share_waiting(&mut self) {
        // Once each: who is refused, by a shard that is about to end, waits here again.
        for _ in 0..self.listeners.waiting.len() {
            let Some(neighbour) = self.less_loaded() else {
                break;
            };
            if let Some(arrival) = self.listeners.waiting.pop_front() {
                self.hand_to(neighbour, arrival);
            }
        }
        self.tell_load();
        // Who comes is let in again when there is a place for him, wherever.
        let is_place = !self.is_full() || self.less_loaded().is_some();
        if self.listeners.full && self.listeners.waiting.is_empty() && is_place {
            self.listeners.full = false;
            self.steer_accept();
        }
    }

    /// Whether nobody is accepted until there is a place, which may be another shard's.
    pub(super) fn awaits_place(&self) -> bool {
        self.listeners.full && self.neighbours.are_there() && self.phase == Phase::Running
    }

    /// Tells the other shards how many connections this one has.
    #[inline]
    pub(super) fn tell_load(&self) {
        let taken = self.places_taken() + self.listeners.waiting.len();
        self.inbox.arrivals().set_load(taken);
    }

    /// Takes connections in that come from other shards.
    #[cold]
    pub(super) fn take_arrivals(&mut self) {
        let came = self.neighbours.own_door().map(Door::take);
        came.into_iter()
            .flatten()
            .for_each(|arrival| self.admit(arrival));
        self.tell_load();
    }

    /// Takes the last of them in.
    pub(super) fn close_arrivals(&mut self) {
        let came = self.neighbours.own_door().map(Door::close);
        came.into_iter()
            .flatten()
            .for_each(|arrival| self.admit(arrival));
    }

    /// Opens a connection, or lets it wait for a slot.
    pub(super) fn admit(&mut self, arrival: Arrival<R::Socket, M::Service>) {
        if self.phase == Phase::Terminating {
            return self.turn_away(arrival);
        }
        if self.is_full() {
            self.listeners.waiting.push_back(arrival);
            // Which connections of a raw shard are idle only its protocol knows: none is let go for another.
            if !M::Service::IS_RAW {
                self.load.place_is_wanted(self.now.mono_ns);
            }
            if !self.listeners.full {
                self.listeners.full = true;
                self.counters.accept_paused_full.add(1);
            }
            return;
        }
        self.seat(arrival);
    }

    fn seat(&mut self, arrival: Arrival<R::Socket, M::Service>) {
        match arrival {
            Arrival::Fresh(listener, socket) => self.open(listener, socket),
            Arrival::Moved(socket, moved) => self.welcome(socket, *moved),
        }
    }

    /// Arms, ends or closes the listeners as the shard's state wants it.
    pub(super) fn steer_accept(&mut self) {
        let draining = self.phase != Phase::Running;
        if draining {
            self.empty_queues();
        }
        let refusing = self.listeners.full || self.load.refuses_connections();
        let pausing = refusing || self.listeners.retry_at_ns != NEVER;
        for (index, listener) in self.listeners.all.iter_mut().enumerate() {
            let id = ListenerId(index as u32);
            match (listener.armed, draining) {
                _ if listener.closed => {}
                (true, true) => self.ring.cancel_accept(id),
                (true, false) if refusing => self.ring.cancel_accept(id),
                (false, true) => {
                    listener.closed = true;
                    self.ring.close_listener(id);
                }
                (false, false) if !pausing => {
                    listener.armed = true;
                    self.ring.arm_accept(id);
                }
                _ => {}
            }
        }
    }

    /// Takes what waits in the queues of listeners that are about to be closed, which would reset it.
    fn empty_queues(&mut self) {
        for index in 0..self.listeners.len() {
            // Whoever connects meanwhile must not keep us here.
            for _ in 0..self.limits.backlog {
                let listener = &self.listeners.all[index];
                if listener.armed || listener.closed || self.phase == Phase::Terminating {
                    break;
                }
                let id = ListenerId(index as u32);
                match self.ring.accept_waiting(id) {
                    Some(socket) => self.admit(Arrival::Fresh(id, socket)),
                    None => break,
                }
            }
        }
    }

    /// Resumes accepting when its pause is over.
    pub(super) fn retry_accept(&mut self) {
        if self.listeners.retry_at_ns <= self.now.mono_ns {
            self.listeners.retry_at_ns = NEVER;
            self.steer_accept();
        }
    }

    /// How many places are taken, those of connections that have left included.
    pub(super) fn places_taken(&self) -> usize {
        self.conns.len() + self.away.count()
    }

    /// Whether all places are taken.
    pub(super) fn is_full(&self) -> bool {
        self.places_taken() >= self.limits.connections_max
    }

    /// How many have been accepted and have no place yet.
    pub(super) fn waiting_for_places(&self) -> usize {
        self.listeners.waiting.len()
    }

    /// A place has become free: whoever waits gets it.
    pub(super) fn place_freed(&mut self) {
        if self.is_full() {
            return;
        }
        if let Some(arrival) = self.listeners.waiting.pop_front() {
            self.seat(arrival);
        } else if self.listeners.full {
            self.listeners.full = false;
            self.steer_accept();
        }
    }

    /// Places of connections that had left have become free, perhaps several.
    #[cold]
    pub(super) fn free_places(&mut self) {
        while self.listeners.full && !self.is_full() {
            self.place_freed();
        }
    }

    /// Closes those who wait for a slot.
    pub(super) fn turn_away_waiting(&mut self) {
        while let Some(arrival) = self.listeners.waiting.pop_front() {
            self.turn_away(arrival);
        }
    }

    fn open(&mut self, listener: ListenerId, socket: R::Socket) {
        self.counters.connections_accepted.add(1);
        let Ok(ticket) = self.admit_peer(&socket) else {
            return self.turn_peer_away(socket);
        };
        if M::Service::IS_RAW {
            let key = self.insert(socket);
            return self.open_raw(key, Some(EndpointId(listener.0 as usize)), ticket);
        }
        let made = self.introduce(listener, &socket);
        let key = self.insert(socket);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.ticket = ticket;
        }
        match made {
            Some(Made::Ready(service)) => self.begin(key, service),
            Some(Made::Later(future)) => self.make_later(key, future),
            // As a panicking make service under axum::serve, less the end of its accept loop.
            None => {
                self.counters.handler_panics.add(1);
                self.terminate(key);
            }
        }
    }

    pub(super) fn insert(&mut self, socket: R::Socket) -> Key {
        let key = self.conns.insert_with(|_| Conn::new(socket));
        self.counters.connections_open.add(1);
        key.expect("a slot is free")
    }

    /// Counts the connection with its peer's, where they are counted; an error if there are too many.
    fn admit_peer(&mut self, socket: &R::Socket) -> Result<Option<Box<Ticket>>, OverLimit> {
        let Some(peers) = &self.peers else {
            return Ok(None);
        };
        match self.ring.peer_addr(socket) {
            Ok(addr) => peers.admit(addr.ip()).map(Some).ok_or(OverLimit),
            // It is gone already, or has no address.
            Err(_) => Ok(None),
        }
    }

    #[cold]
    fn turn_peer_away(&mut self, socket: R::Socket) {
        self.counters.peers_over_limit.add(1);
        let key = self.insert(socket);
        self.refuse(key, StatusCode::SERVICE_UNAVAILABLE);
        self.settle(key);
    }

    /// Shows a connection to the application, which makes its service; `None` when that panics.
    fn introduce(&mut self, listener: ListenerId, socket: &R::Socket) -> Option<Made<M::Service>> {
        if let Some(tap) = &self.listeners.tap
            && let Some(options) = self.ring.options(socket)
        {
            tap.call(options, EndpointId(listener.0 as usize)).ok()?;
        }
        let info = self.describe(listener, socket);
        let make = &mut self.make;
        catch_unwind(AssertUnwindSafe(|| make.make(info))).ok()
    }

    fn describe(&self, listener: ListenerId, socket: &R::Socket) -> ConnInfo {
        let local_addr = &self.listeners.all[listener.0 as usize].local_addr;
        let mut info = ConnInfo::default();
        match (local_addr, M::WANTS_PEER_ADDR) {
            (LocalAddr::Tcp(addr), wanted) => {
                info.local_addr = *addr;
                if wanted {
                    info.peer_addr = self.ring.peer_addr(socket).unwrap_or(UNSPECIFIED);
                }
            }
            (LocalAddr::Unix(_), true) => info.peer_cred = self.ring.peer_cred(socket),
            (LocalAddr::Unix(_), false) => {}
        }
        info
    }

    /// The connection has its service: requests may come.
    pub(super) fn begin(&mut self, key: Key, service: M::Service) {
        let draining = self.phase != Phase::Running;
        let timeout_ns = match draining {
            true => Some(self.last_head_ns()),
            false => self.limits.head_timeout_ns,
        };
        let deadline_ns = self.deadline_after(timeout_ns);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.service = Some(service);
        conn.making = None;
        conn.wait_for(ReadWait::Head, deadline_ns);
        if draining {
            conn.h1.close_after_response();
        }
        self.settle(key);
    }

    fn make_later(&mut self, key: Key, future: MakeFuture<M::Service>) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let signal = Self::signal(conn, key, &self.inbox);
        let (mut sender, receiver) = oneshot::channel();
        conn.making = Some(receiver);
        let raise = RaiseOnDrop(signal);
        self.spawn.spawn(async move {
            // Dropped last, also when the maker panics: the shard then sees what became of it.
            let _raise = raise;
            tokio::select! {
                biased;
                made = future => drop(sender.send(made)),
                // The connection is gone.
                () = sender.closed() => {}
            }
        });
    }

    /// Looks whether a service that had to be waited for has come.
    pub(super) fn poll_making(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Some(making) = &mut conn.making else {
            return;
        };
        match making.try_recv() {
            Ok(Ok(service)) => self.begin(key, service),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the make service failed; closing the connection");
                self.terminate(key);
            }
            Err(oneshot::error::TryRecvError::Closed) => self.terminate(key),
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
    }
}
