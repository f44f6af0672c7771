//! Calls that stay on their shard from first poll to last: their futures need not be `Send`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::conn::Conn;
use super::sink::ShardSink;
use super::{Exchange, HeadOf, Shard};
use crate::body::RequestBody;
use crate::driver::{Driver, Ended};
use crate::ring::Ring;
use crate::service::MakeHttpService;
use crate::slots::Key;
use crate::worker::{self, Spawn, trace_ended};

/// A driver of one of this server's calls.
type DriverOf<M> = Driver<<M as MakeHttpService>::Service>;

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Makes a call that stays here, and polls it once.
    pub(super) fn call_here(&mut self, key: Key, head: &mut Option<HeadOf<M>>, body: RequestBody) {
        if let Some(service) = self.clone_service(key) {
            self.poll_here(key, None, move |driver, cx, sink| {
                driver.start_now(service, head, body, cx, sink)
            });
        }
    }

    /// Sends what is left of a response whose head is written.
    pub(super) fn send_here(&mut self, key: Key, body: super::BodyOf<M>) {
        self.poll_here(key, None, move |driver, cx, sink| {
            driver.start_sending(body, cx, sink)
        });
    }

    /// Polls the connection's call again: it was woken, or its response has room.
    pub(super) fn poll_local(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match std::mem::replace(&mut conn.exchange, Exchange::Calling) {
            Exchange::Local(driver) => {
                self.poll_here(key, Some(driver), |driver, cx, sink| driver.poll(cx, sink));
            }
            other => conn.exchange = other,
        }
    }

    fn poll_here(
        &mut self,
        key: Key,
        driver: Option<Pin<Box<DriverOf<M>>>>,
        poll: impl FnOnce(Pin<&mut DriverOf<M>>, &mut Context<'_>, &mut ShardSink<'_>) -> Poll<Ended>,
    ) {
        let mut driver = driver.unwrap_or_else(|| self.spare_drivers.take());
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let mut out = self.outbox.take(conn);
        let waker = Waker::from(Self::signal(conn, key, &self.inbox));
        let mut cx = Context::from_waker(&waker);
        let Conn { h1, begun, .. } = conn;
        let window = self.load.windows.response_bytes;
        let (date, maps) = (&self.date, &mut self.maps);
        let mut sink = ShardSink::new::<M>(h1, begun, &mut out, date, maps, window);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            poll(driver.as_mut(), &mut cx, &mut sink)
        }));
        let refused = sink.refused;
        self.outbox.put(key, conn, out);
        match polled {
            Ok(Poll::Ready(Ended::Complete)) if !refused => {
                self.spare_drivers.put(driver);
                self.response_done(key);
            }
            Ok(Poll::Ready(ended)) => {
                trace_ended(&ended);
                self.spare_drivers.put(driver);
                self.fail_exchange(key);
            }
            Ok(Poll::Pending) => self.keep_here(key, driver),
            Err(_panic) => {
                worker::discard(driver);
                self.handle_panic(key);
            }
        }
    }

    /// Drops what an exchange has come to, the application's destructors included: a panic there is theirs alone.
    /// The driver of a call that waited here is kept for others.
    pub(super) fn drop_exchange(&mut self, exchange: Exchange<M::Service>) {
        let Exchange::Local(mut driver) = exchange else {
            return worker::discard(exchange);
        };
        match catch_unwind(AssertUnwindSafe(|| driver.as_mut().stop())) {
            Ok(()) => self.spare_drivers.put(driver),
            Err(_panic) => worker::discard(driver),
        }
    }

    /// Lets a call wait here.
    fn keep_here(&mut self, key: Key, driver: Pin<Box<DriverOf<M>>>) {
        let Some(conn) = self.conns.get_mut(key) else {
            return worker::discard(driver);
        };
        conn.exchange = Exchange::Local(driver);
        if conn.read_closed {
            self.cancel_if_waiting(key);
        }
    }
}
