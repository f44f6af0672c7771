//! A connection in the hands of its protocol for the length of a call: what it may write to and ask for, made
//! in one place for services and for raw shards. Knows no protocol's rules.

use std::cell::RefCell;
use std::sync::Arc;

use super::Shard;
use super::conn::Conn;
use super::outbox::Outbox;
use crate::bridge::inbox::{ConnSignal, Inbox};
use crate::proto::h1;
use crate::protocol::{Asked, Ending, Http1, ProtocolHandler, Step, Wire};
use crate::ring::Ring;
use crate::service::{HttpService, MakeHttpService};
use crate::slots::Key;
use crate::time::Now;
use crate::worker::Spawn;

/// What a shard lends along with a connection.
pub(super) struct Lender<'a> {
    pub(super) outbox: &'a mut Outbox,
    pub(super) inbox: &'a Arc<Inbox>,
    pub(super) window_bytes: usize,
    pub(super) now: Now,
}

/// What a shard of services lends, while one of its connections is borrowed.
macro_rules! lender {
    ($shard:ident) => {
        crate::shard::lend::Lender {
            outbox: &mut $shard.outbox,
            inbox: &$shard.inbox,
            window_bytes: $shard.load.windows.response_bytes,
            now: $shard.now,
        }
    };
}

pub(super) use lender;

impl<K, S: HttpService> Conn<K, S> {
    /// Lets `act` work on the connection, and on its HTTP/1.1 if it speaks that. What was written is staged;
    /// what else was asked for is the caller's to do.
    ///
    /// Inlined, so that a call which neither writes nor asks costs nothing but itself.
    #[inline(always)]
    pub(super) fn lend<T>(
        &mut self,
        key: Key,
        lender: Lender<'_>,
        can_write: bool,
        act: impl FnOnce(&mut h1::Conn, &mut Wire<'_>) -> T,
    ) -> (T, Asked) {
        let Lender { outbox, inbox, .. } = lender;
        let mut asked = Asked::NOTHING;
        let signal = RefCell::new(&mut self.signal);
        let signal = || -> Arc<ConnSignal> {
            let mut signal = signal.borrow_mut();
            signal
                .get_or_insert_with(|| ConnSignal::new(key, inbox.clone()))
                .clone()
        };
        let mut wire = Wire {
            staged: &mut self.out,
            spares: &mut outbox.spares,
            begun: &mut self.begun,
            sending_bytes: self.sending_bytes,
            window_bytes: lender.window_bytes,
            now: lender.now,
            can_write,
            asked: &mut asked,
            signal: &signal,
        };
        let value = act(&mut self.h1, &mut wire);
        if asked.has_written {
            outbox.stage(key, self);
        }
        (value, asked)
    }
}

/// Presents input to the protocol of a connection that is served.
#[inline(always)]
pub(super) fn present<K, S: HttpService>(
    http1: &mut Http1,
    conn: &mut Conn<K, S>,
    key: Key,
    lender: Lender<'_>,
    input: &[u8],
) -> Step<h1::Event> {
    let (step, asked) = conn.lend(key, lender, true, |h1, wire| {
        http1.handle_input(h1, input, wire)
    });
    // How it ends is for who hears the events to say.
    debug_assert_eq!(asked.ending, Ending::Not);
    step
}

impl<R: Ring, M: MakeHttpService, X: Spawn> Shard<R, M, X> {
    /// Lets the protocol of a connection that is served act on it, and does what that asks for.
    pub(super) fn with_http1<T>(
        &mut self,
        key: Key,
        act: impl FnOnce(&mut Http1, &mut h1::Conn, &mut Wire<'_>) -> T,
    ) -> Option<T> {
        let conn = self.conns.get_mut(key)?;
        let lender = lender!(self);
        let http1 = &mut self.http1;
        let (value, asked) = conn.lend(key, lender, true, |h1, wire| act(http1, h1, wire));
        match asked.ending {
            Ending::Not | Ending::Write => {}
            Ending::Graceful => self.close_after_flush(key),
            Ending::Now => self.terminate(key),
        }
        Some(value)
    }
}
