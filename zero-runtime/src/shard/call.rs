//! Calling services: in place, or through a worker; and what becomes of calls that wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::conn::{Collected, Conn, Incoming, Recv, State};
use super::sink::ShardSink;
use super::{Exchange, HeadOf, PendingCall, Shard};
use crate::body::RequestBody;
use crate::bridge::link::{Answer, Call, Complete, Outcome};
use crate::bridge::reply;
use crate::bridge::request_body;
use crate::config::Dispatch;
use crate::dispatch::{ClassId, Way};
use crate::driver::{Driver, Ended, Sink};
use crate::message::Pooled;
use crate::proto::h1::BodyKind;
use crate::ring::Ring;
use crate::service::sealed::Fill;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::worker::parked::Place;
use crate::worker::{self, Detached, Spawn, trace_ended};

/// From this much on, the rest of a body is received into buffers of its own.
const DIRECT_BYTES_MIN: u64 = 64 * 1024;

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Makes the oldest pending call.
    pub(super) fn make_call(&mut self, mut call: Box<PendingCall<HeadOf<M>>>) {
        let key = call.conn;
        if self.is_worth_waiting(&call) {
            return self.park(call);
        }
        let Some(body) = self.open_body(&mut call) else {
            // Not kept for reuse: what has come of its body is still in it.
            return;
        };
        self.calling = Some(key);
        // Only another's call ends a streak: requests that merely queue up do not.
        if self.last_called != Some(key) {
            self.last_called = Some(key);
            self.streak = 0;
        }
        match self.limits.dispatch {
            _ if M::Service::STAYS => self.call_here(key, &mut call.head, body),
            // It will most likely wait for its client.
            _ if call.expects_continue => self.call_detached(key, call.take_head(), body),
            Dispatch::Workers => self.send_call(key, call.take_head(), body, None),
            // Rare, dear, and of another thread for the rest of its life: what it allocates for that
            // is better not the shard's.
            Dispatch::Adaptive if call.upgrades => {
                self.send_call(key, call.take_head(), body, None);
            }
            Dispatch::Adaptive => self.call_adaptively(&mut call, body),
            Dispatch::Inline => self.call_inline(&mut call, body),
        }
        self.calling = None;
        self.settle(key);
        if self.spare_calls.len() < super::CALLS_KEPT_MAX {
            self.spare_calls.push(call);
        }
    }

    /// Whether the rest of the call's body is likely to be here in a moment: a handler that finds
    /// it whole answers at once, one that has to wait for it costs a task and two thread hops.
    fn is_worth_waiting(&self, call: &PendingCall<HeadOf<M>>) -> bool {
        let window = self.load.windows.request_bytes as u64;
        let fits = matches!(call.kind, BodyKind::Length(bytes) if bytes <= window);
        fits && call.ended.is_none() && !call.impatient && !call.expects_continue
    }

    /// Lets a call wait for the rest of its body.
    fn park(&mut self, call: Box<PendingCall<HeadOf<M>>>) {
        let key = call.conn;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.state != State::Open {
            return;
        }
        conn.incoming = Incoming::Parked(call);
        let until_ns = self.now.mono_ns + PATIENCE_NS;
        self.patient.push_back((until_ns, key));
        self.settle(key);
    }

    /// Makes the calls whose bodies have not come in time.
    pub(super) fn end_patience(&mut self) {
        while let Some((until_ns, key)) = self.patient.front().copied() {
            if until_ns > self.now.mono_ns {
                return;
            }
            self.patient.pop_front();
            let Some(conn) = self.conns.get_mut(key) else {
                continue;
            };
            // A later call of the same connection may be meant; it loses a part of its patience.
            let Incoming::Parked(call) = &mut conn.incoming else {
                continue;
            };
            call.impatient = true;
            if !matches!(call.body, Collected::Lent) {
                self.unpark(key);
            } else if conn.recv == Recv::Lent {
                // Made once its body is back.
                conn.recv = Recv::Cancelling;
                self.ring.cancel_recv(key);
            }
        }
    }

    /// Queues a parked call to be made.
    pub(super) fn unpark(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match std::mem::replace(&mut conn.incoming, Incoming::Nothing) {
            Incoming::Parked(call) => self.queue_call(call, true),
            other => conn.incoming = other,
        }
    }

    /// Queues a call, and notes with its connection under which number: the next of a connection
    /// that is being answered goes first, unless that one has had its share. A call that has a body
    /// is found by its number until it is made.
    #[inline]
    pub(super) fn queue_call(&mut self, call: Box<PendingCall<HeadOf<M>>>, has_body: bool) {
        let key = call.conn;
        let goes_first = self.calling == Some(key) && self.streak < super::STREAK_MAX;
        let number = match goes_first {
            true => {
                self.streak += 1;
                self.calls_made -= 1;
                self.calls.push_front(call);
                self.calls_made
            }
            false => {
                self.calls.push_back(call);
                self.calls_made + self.calls.len() as u64 - 1
            }
        };
        if has_body && let Some(conn) = self.conns.get_mut(key) {
            conn.incoming = Incoming::Collecting(number);
        }
    }

    /// The body of a call: whole if it has arrived, else one that streams. `None` when nobody
    /// waits for the call's answer any more.
    fn open_body(&mut self, call: &mut PendingCall<HeadOf<M>>) -> Option<RequestBody> {
        let conn = self.conns.get_mut(call.conn)?;
        if conn.state != State::Open {
            return None;
        }
        if call.kind == BodyKind::None {
            conn.incoming = Incoming::Nothing;
            return Some(RequestBody::empty());
        }
        let arrived = std::mem::take(&mut call.body).into_bytes();
        Some(match (call.kind, call.ended.take()) {
            (_, Some(Ok(None))) => {
                conn.incoming = Incoming::Nothing;
                call.expects_continue = false;
                RequestBody::whole(arrived, call.kind == BodyKind::Chunked)
            }
            (kind, ended) => {
                let signal = Self::signal(conn, call.conn, &self.inbox);
                let (mut sender, receiver) = request_body::channel(signal, call.expects_continue);
                let length = kind.length();
                let direct = length.is_some_and(|bytes| {
                    bytes.saturating_sub(arrived.len() as u64) >= DIRECT_BYTES_MIN
                });
                if !arrived.is_empty() {
                    sender.data(arrived);
                }
                match ended {
                    None => {}
                    Some(Ok(trailers)) => sender.end(trailers.map(|trailers| *trailers)),
                    Some(Err(error)) => sender.fail(error),
                }
                conn.incoming = Incoming::Streaming { sender, direct };
                RequestBody::stream(receiver, length)
            }
        })
    }

    /// Makes the call where its class has earned to be polled.
    fn call_adaptively(&mut self, call: &mut PendingCall<HeadOf<M>>, body: RequestBody) {
        let Some(head) = &call.head else {
            return;
        };
        let (method, path) = head.class();
        let (class, way) = self.classes.classify(method, path);
        if way == Way::Worker {
            let (key, head) = (call.conn, call.take_head());
            return self.send_call(key, head, body, Some(class));
        }
        // Next to nothing lies between two calls of a turn.
        let mut started_ns = match self.polled_until_ns {
            0 => self.ring.now().mono_ns,
            until_ns => until_ns,
        };
        if self.preemption.is_due(started_ns) {
            let waited_ns = self.ring.core_times().waited_ns;
            // Behind the reading: what was waited before it excuses nothing, so it must not count either.
            started_ns = self.ring.now().mono_ns;
            self.preemption.look(started_ns, waited_ns);
        }
        self.call_inline(call, body);
        let now_ns = self.ring.now().mono_ns;
        self.polled_until_ns = now_ns;
        let ns = now_ns.saturating_sub(started_ns);
        if ns > self.limits.poll_unnoted_ns_max() {
            self.note_long_poll(class, ns, now_ns);
        }
    }

    /// Takes note of a poll that was long, or a stall, or both: either may be what is shorter.
    #[cold]
    fn note_long_poll(&mut self, class: ClassId, ns: u64, now_ns: u64) {
        let waited_ns = self.ring.core_times().waited_ns;
        let unnoted_ns_max = self.limits.poll_unnoted_ns_max();
        let most_ns = match ns > self.limits.inline_poll_max_ns {
            true => self.limits.inline_poll_max_ns,
            false => unnoted_ns_max,
        };
        let own_ns = self.preemption.own_ns(ns, most_ns, now_ns, waited_ns);
        if own_ns <= most_ns {
            self.counters.polls_excused.add(1);
        }
        if own_ns <= unnoted_ns_max {
            return;
        }
        let longest_ns = self.counters.inline_poll_ns_max.get().max(ns);
        self.counters.inline_poll_ns_max.set(longest_ns);
        if self
            .limits
            .stall_min_ns
            .is_some_and(|min_ns| own_ns > min_ns)
        {
            self.counters.stalls.add(1);
            if let Some(class) = self.classes.name(class) {
                let us = own_ns / 1_000;
                tracing::warn!(%class, us, "a handler held up a shard before its first await");
            }
        }
        if self
            .classes
            .polled_on_shard(class, own_ns, now_ns)
            .is_some()
        {
            self.counters.demotions.add(1);
            self.count_classes();
        }
    }

    fn note_worker_poll(&mut self, class: ClassId, ns: u64) {
        let now_ns = self.now.mono_ns;
        if self.classes.polled_on_worker(class, ns, now_ns).is_some() {
            self.counters.promotions.add(1);
        }
        self.count_classes();
    }

    fn count_classes(&self) {
        let (inline, on_workers) = self.classes.counts();
        self.counters.classes_inline.set(inline as u64);
        self.counters.classes_on_workers.set(on_workers as u64);
    }

    /// Polls the call once, here. What does not end goes on as a task.
    fn call_inline(&mut self, call: &mut PendingCall<HeadOf<M>>, body: RequestBody) {
        let key = call.conn;
        // Handed in by reference, so that the head is moved once: from its place into the call.
        let mut body = Some(body);
        let mut driver = self.spare_drivers.take();
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let mut out = self.outbox.take(conn);
        let Conn {
            service, h1, begun, ..
        } = conn;
        let Some(service) = service else {
            return;
        };
        let window = self.load.windows.response_bytes;
        let (date, maps) = (&self.date, &mut self.maps);
        let mut sink = ShardSink::new::<M>(h1, begun, &mut out, date, maps, window);
        let place = self
            .spare_place
            .take()
            .unwrap_or_else(|| Place::new(self.spawn.clone()));
        let mut cx = Context::from_waker(place.waker());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let driver = driver.as_mut();
            let body = body.take().unwrap_or_else(RequestBody::empty);
            driver.start_beside(service, &mut call.head, body, &mut cx, &mut sink)
        }));
        let (refused, filled) = (sink.refused, sink.filled);
        self.outbox.put(key, conn, out);
        match polled {
            Ok(Poll::Ready(Ended::Complete)) if !refused => {
                self.spare_drivers.put(driver);
                self.spare_place = place.renew();
                self.response_done(key);
            }
            Ok(Poll::Ready(ended)) => {
                trace_ended(&ended);
                self.spare_drivers.put(driver);
                self.fail_exchange(key);
            }
            // Room for more of its body is with its task.
            Ok(Poll::Pending) if filled => self.detach(key, driver, None),
            Ok(Poll::Pending) => self.detach(key, driver, Some(place)),
            Err(_panic) => {
                worker::discard(driver);
                self.handle_panic(key);
            }
        }
    }

    /// Lets a call go on elsewhere: as a task of its own, as soon as the waker of its place is called,
    /// or at once if it has none, because it does not wait for anything.
    fn detach(
        &mut self,
        key: Key,
        driver: Pin<Box<Driver<M::Service>>>,
        place: Option<Place<M::Service, X>>,
    ) {
        let window = self.load.windows.response_bytes;
        let lent = match place {
            Some(_) => self.lend_response(key),
            None => None,
        };
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        self.counters.handlers_detached.add(1);
        let signal = Self::signal(conn, key, &self.inbox);
        let (sender, receiver) = reply::channel(signal, window, lent);
        conn.exchange = Exchange::Detached(receiver);
        let call = Detached::new(driver, sender);
        match place {
            Some(place) => place.park(call),
            None => self.spawn.spawn(call),
        }
        if conn.read_closed {
            self.cancel_if_waiting(key);
        }
    }

    /// The service for one call. The clone is the application's code: if it panics, the call has.
    pub(super) fn clone_service(&mut self, key: Key) -> Option<M::Service> {
        let service = self.conns.get_mut(key)?.service.as_ref()?;
        let cloned = catch_unwind(AssertUnwindSafe(|| service.clone()));
        if cloned.is_err() {
            self.handle_panic(key);
        }
        cloned.ok()
    }

    /// Makes the call in a task of its own from the start.
    fn call_detached(&mut self, key: Key, head: HeadOf<M>, body: RequestBody) {
        if let Some(service) = self.clone_service(key) {
            let mut driver = Box::pin(Driver::idle());
            driver.as_mut().start(service, head, body);
            self.detach(key, driver, None);
        }
    }

    /// Hands the call to a worker; the links take turns.
    fn send_call(&mut self, key: Key, head: HeadOf<M>, body: RequestBody, class: Option<ClassId>) {
        let Some(service) = self.clone_service(key) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let signal = Self::signal(conn, key, &self.inbox);
        conn.exchange = Exchange::Calling;
        let mut call = Call {
            conn: key,
            service,
            head,
            body,
            signal,
            class,
            emptied: Pooled::emptied(),
        };
        for _ in 0..self.ports.len() {
            let port = &mut self.ports[self.next_port];
            if port.under_way() >= LINK_BATCH {
                self.next_port = (self.next_port + 1) % self.ports.len();
            }
            match self.ports[self.next_port].send(call) {
                None => return,
                Some(refused) => call = refused,
            }
            self.next_port = (self.next_port + 1) % self.ports.len();
        }
        // Every link is full.
        self.call_detached(key, call.head, call.body);
    }

    /// Takes what workers and tasks have sent.
    pub(super) fn handle_replies(&mut self) {
        for port in 0..self.ports.len() {
            while let Some(answer) = self.ports[port].next_answer() {
                self.handle_answer(answer);
            }
            self.relieve_if_stuck(port);
        }
        while let Some(key) = self.inbox.pop() {
            self.handle_signal(key);
        }
        if self.inbox.arrivals().is_knocked() {
            self.take_arrivals();
        }
        if self.inbox.take_places() {
            self.free_places();
        }
        if self.inbox.take_overflow() {
            for key in self.conns.keys() {
                self.handle_signal(key);
            }
        }
    }

    fn relieve_if_stuck(&mut self, port: usize) {
        let now_ns = self.now.mono_ns;
        let port = &mut self.ports[port];
        if port.is_stuck(now_ns) {
            self.counters.relief_workers.add(1);
            let epoch = port.relieve();
            let window = self.limits.response_window_bytes;
            let spin = worker::Spin::Never;
            let short_ns = self.limits.inline_poll_max_ns / 2;
            let link = port.link.clone();
            let task = worker::run(link, epoch, self.spawn.clone(), window, short_ns, spin);
            self.spawn.spawn(task);
        }
    }

    fn handle_answer(&mut self, answer: Answer) {
        let key = answer.conn;
        if let Some((class, ns)) = answer.polled {
            self.note_worker_poll(class, ns);
        }
        let Some(conn) = self.conns.get_mut(key) else {
            self.counters.late_completions.add(1);
            return self.let_answer_go(answer.outcome);
        };
        if !matches!(conn.exchange, Exchange::Calling) {
            return self.let_answer_go(answer.outcome);
        }
        match answer.outcome {
            Outcome::Complete(complete) => self.send_complete(key, complete),
            Outcome::Detached(receiver) => {
                self.counters.handlers_detached.add(1);
                conn.exchange = Exchange::Detached(receiver);
                if conn.read_closed {
                    self.cancel_if_waiting(key);
                }
                self.pull_reply(key);
            }
            Outcome::Failed => self.fail_exchange(key),
            Outcome::Panicked => self.handle_panic(key),
        }
        self.settle(key);
    }

    /// Nobody waits for this answer, and its call has been counted as cancelled: a handler that is still
    /// at it goes on all the same if it may.
    fn let_answer_go(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Detached(reply) if self.lets_handlers_go() => reply.let_go(),
            outcome => worker::discard(outcome),
        }
    }

    fn send_complete(&mut self, key: Key, complete: Complete) {
        let sent = self.with_sink(key, |sink| {
            sink.head(complete.head, complete.length)?;
            if let Some(data) = complete.data {
                sink.data(data);
            }
            sink.end(complete.trailers);
            Ok(())
        });
        match sent {
            Ok(()) => self.response_done(key),
            Err(()) => self.fail_exchange(key),
        }
    }

    /// Something was said about this connection: its body was polled, taken or dropped, its
    /// reply has grown, or its service is there.
    fn handle_signal(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if let Some(signal) = &conn.signal {
            signal.lower();
        }
        if M::Service::IS_RAW {
            return self.note_woken(key);
        }
        if conn.making.is_some() {
            return self.poll_making(key);
        }
        self.serve_body_reader(key);
        self.pull_reply(key);
        self.charge(key);
        self.settle(key);
    }

    /// Reacts to what the request body's reader has done.
    fn serve_body_reader(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Conn {
            incoming,
            h1,
            exchange,
            ..
        } = conn;
        let Incoming::Streaming { sender, .. } = incoming else {
            return;
        };
        if sender.is_abandoned() {
            h1.abandon_body();
            conn.incoming = Incoming::Skipping;
            return;
        }
        sender.flush();
        // A response that was begun before its body asked for the request's lies here already.
        if sender.is_polled() && !exchange.has_reply() && h1.ask_for_body() {
            self.mark_dirty(key);
        }
    }
}

/// How long a call waits for the rest of a body that has begun to come.
const PATIENCE_NS: u64 = 1_000_000;

/// Calls on one link before the next one is tried.
const LINK_BATCH: usize = 16;
