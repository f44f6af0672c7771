//! The way of a response from the task that makes it to the shard that sends it.
//!
//! Cancel safe on both ends: a shard that loses its connection drops the receiver, which wakes
//! the task to drop the handler; a task that dies drops the sender, which the shard sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http::{HeaderMap, response};

use super::handshake::Credit;
use super::inbox::ConnSignal;
use crate::proto::h1::BodyLength;

/// Pieces between task and shard; with these in flight the body is not polled.
const ITEMS: usize = 32;

/// A piece of a response.
pub(crate) enum Reply {
    Head(Box<response::Parts>, BodyLength),
    Data(Bytes),
    /// The body ended, perhaps with trailers.
    End(Option<HeaderMap>),
    /// The handler or the body failed: the connection is of no further use.
    Failed,
    /// The handler or the body panicked.
    Panicked,
}

struct Shared {
    signal: Arc<ConnSignal>,
    task: AtomicWaker,
    credit: Credit,
    cancelled: AtomicBool,
}

/// Makes both ends of a reply that may be `window` bytes ahead of the shard.
pub(crate) fn channel(signal: Arc<ConnSignal>, window: usize) -> (ReplySender, ReplyReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(ITEMS);
    let shared = Arc::new(Shared {
        signal,
        task: AtomicWaker::new(),
        credit: Credit::new(),
        cancelled: AtomicBool::new(false),
    });
    let sender = ReplySender {
        items: producer,
        window,
        sent_bytes: 0,
        ended: false,
        shared: shared.clone(),
    };
    let receiver = ReplyReceiver {
        items: consumer,
        shared,
    };
    (sender, receiver)
}

/// The task's end.
pub(crate) struct ReplySender {
    items: rtrb::Producer<Reply>,
    window: usize,
    sent_bytes: u64,
    ended: bool,
    shared: Arc<Shared>,
}

impl ReplySender {
    /// Takes the waker that cancellation and new room call. Register first, look after.
    pub(crate) fn register(&self, waker: &Waker) {
        self.shared.task.register(waker);
    }

    /// Whether the shard no longer wants the reply.
    pub(crate) fn is_cancelled(&self) -> bool {
        // Pairs with the store in `ReplyReceiver::drop`.
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// Whether another piece may be sent; if not, the registered waker is called once it may.
    ///
    /// Keeps one place free, so that an end or a failure always fits.
    pub(crate) fn has_room(&mut self) -> bool {
        let fits = |items: &rtrb::Producer<Reply>, taken: u64| {
            items.slots() > 1 && self.sent_bytes - taken < self.window as u64
        };
        fits(&self.items, self.shared.credit.taken())
            || fits(&self.items, self.shared.credit.wait())
    }

    /// Sends a piece; there must be room, except for the last one.
    pub(crate) fn send(&mut self, reply: Reply) {
        match &reply {
            Reply::Data(data) => self.sent_bytes += data.len() as u64,
            Reply::End(_) | Reply::Failed | Reply::Panicked => self.ended = true,
            Reply::Head(..) => {}
        }
        let pushed = self.items.push(reply);
        debug_assert!(pushed.is_ok(), "a piece is sent only when there is room");
        self.shared.signal.raise();
    }

    /// Says that there will be no whole reply, unless it has been given: what panics after that
    /// concerns nobody here.
    pub(crate) fn fail(&mut self, reply: Reply) {
        if !self.ended {
            self.send(reply);
        }
    }
}

impl Drop for ReplySender {
    fn drop(&mut self) {
        self.fail(Reply::Failed);
    }
}

/// The shard's end.
pub(crate) struct ReplyReceiver {
    items: rtrb::Consumer<Reply>,
    shared: Arc<Shared>,
}

impl ReplyReceiver {
    /// The next piece, if one has come.
    pub(crate) fn next(&mut self) -> Option<Reply> {
        let reply = self.items.pop().ok()?;
        let bytes = match &reply {
            Reply::Data(data) => data.len(),
            _ => 0,
        };
        if self.shared.credit.give(bytes) {
            self.shared.task.wake();
        }
        Some(reply)
    }
}

impl Drop for ReplyReceiver {
    fn drop(&mut self) {
        // Pairs with the load in `ReplySender::is_cancelled`.
        self.shared.cancelled.store(true, Ordering::Release);
        self.shared.task.wake();
    }
}
