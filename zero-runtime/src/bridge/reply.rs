//! The way of a response from the task that makes it to the shard that sends it.
//!
//! Cancel safe on both ends: a shard that loses its connection drops the receiver, which wakes
//! the task to drop the handler, or lets it go on for nobody; a task that dies drops the sender, which the shard sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http::HeaderMap;

use super::handshake::{Credit, Loan};
use super::inbox::{ConnSignal, Inbox};
use super::lent::{Lent, Outcome, Written};
use crate::message::ResponseHead;
use crate::proto::h1::BodyLength;

/// Pieces between task and shard; with these in flight the body is not polled.
const ITEMS: usize = 32;

/// A piece of a response.
pub(crate) enum Reply {
    Head(Box<ResponseHead>, BodyLength),
    Data(Bytes),
    /// The body ended, perhaps with trailers.
    End(Option<HeaderMap>),
    /// The handler or the body failed: the connection is of no further use.
    Failed,
    /// The handler or the body panicked.
    Panicked,
    /// The response has been written to the lent connection, all that there was to say. Comes alone.
    Written(Box<Written>),
}

struct Shared {
    signal: Arc<ConnSignal>,
    task: AtomicWaker,
    credit: Credit,
    /// Bytes sent so far.
    sent_bytes: AtomicU64,
    interest: AtomicU8,
    /// Who may write to the connection: the task while it has this in use, the shard once it is back.
    loan: Loan,
}

/// What the shard does with a reply.
const WANTED: u8 = 0;
/// The task may end it, for nobody.
const LET_GO: u8 = 1;
const CANCELLED: u8 = 2;

/// Makes both ends of a reply that may be `window` bytes ahead of the shard. What is `lent` stays open until
/// the receiver has it back, or is dropped.
pub(crate) fn channel(
    signal: Arc<ConnSignal>,
    window: usize,
    lent: Option<Box<Lent>>,
) -> (ReplySender, ReplyReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(ITEMS);
    signal.crowd().join();
    let shared = Arc::new(Shared {
        signal,
        task: AtomicWaker::new(),
        credit: Credit::new(),
        sent_bytes: AtomicU64::new(0),
        interest: AtomicU8::new(WANTED),
        loan: Loan::new(lent.is_some()),
    });
    let is_lent = lent.is_some();
    let sender = ReplySender {
        items: producer,
        window,
        sent_bytes: 0,
        ended: false,
        unannounced: false,
        lent,
        shared: shared.clone(),
    };
    let receiver = ReplyReceiver {
        items: consumer,
        is_lent,
        #[cfg(test)]
        is_awaited: false,
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
    /// Sent since the shard was last told.
    unannounced: bool,
    /// For an answer past the shard; taken by the first piece that goes to it.
    lent: Option<Box<Lent>>,
    shared: Arc<Shared>,
}

/// Ends the use of what is lent, also when the user panics.
struct InUse<'a>(&'a Shared);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        if self.0.loan.give_back() {
            self.0.signal.raise();
            // The signal may be raised already, without anybody having been woken.
            self.0.signal.inbox().wakeup().wake();
        }
    }
}

impl ReplySender {
    /// Takes the waker that cancellation and new room call. Register first, look after.
    pub(crate) fn register(&self, waker: &Waker) {
        self.shared.task.register(waker);
    }

    /// Whether the shard no longer wants the reply.
    pub(crate) fn is_cancelled(&self) -> bool {
        // Pairs with the store in `ReplyReceiver::drop`.
        self.shared.interest.load(Ordering::Acquire) == CANCELLED
    }

    /// Whether nobody hears the reply, though its handler is to go on.
    pub(crate) fn is_let_go(&self) -> bool {
        // Pairs with the store in `ReplyReceiver::let_go`.
        self.shared.interest.load(Ordering::Acquire) == LET_GO
    }

    /// Whether another piece may be sent; if not, the registered waker is called once it may.
    ///
    /// Keeps one place free, so that an end or a failure always fits.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.is_let_go() {
            return true;
        }
        let window = self.window.min(self.shared.signal.window_bytes()) as u64;
        let fits = |items: &rtrb::Producer<Reply>, taken: u64| {
            items.slots() > 1 && self.sent_bytes - taken < window
        };
        fits(&self.items, self.shared.credit.taken())
            || fits(&self.items, self.shared.credit.wait())
    }

    /// Sends a piece; there must be room, except for the last one. Returns whether anybody wants
    /// more. [`announce`](Self::announce) it, or several at once.
    pub(crate) fn send(&mut self, reply: Reply) -> bool {
        match &reply {
            Reply::Data(data) => {
                self.sent_bytes += data.len() as u64;
                // Relaxed, as in `ReplyReceiver::queued_bytes`: a count that publishes nothing.
                let sent_bytes = &self.shared.sent_bytes;
                sent_bytes.store(self.sent_bytes, Ordering::Relaxed);
            }
            Reply::End(_) | Reply::Failed | Reply::Panicked => self.ended = true,
            Reply::Head(..) | Reply::Written(_) => {}
        }
        self.lent = None;
        if self.is_let_go() {
            return false;
        }
        let pushed = self.items.push(reply);
        debug_assert!(pushed.is_ok(), "a piece is sent only when there is room");
        self.unannounced = true;
        true
    }

    /// Whether the connection was lent, as far as is known here, and somebody wants to hear the reply.
    pub(crate) fn has_loan(&self) -> bool {
        self.lent.is_some() && !self.is_let_go()
    }

    /// Lets `write` answer the client, if the shard sleeps, has not taken back what it lent, and has not many
    /// such answers to hear of already; `None` from `write` if it has sent nothing. The shard is woken if there
    /// is something for it to do; else it hears of the answer when it next wakes. Gives the head back if nobody
    /// has been answered.
    #[allow(clippy::result_large_err, reason = "moved once, and rarely")]
    pub(crate) fn answer_directly(
        &mut self,
        head: ResponseHead,
        write: impl FnOnce(&mut Lent, &ResponseHead) -> Option<(Outcome, u64)>,
    ) -> Result<(), ResponseHead> {
        let Some(mut lent) = self.lent.take() else {
            return Err(head);
        };
        let shared = &*self.shared;
        let inbox = shared.signal.inbox();
        let seems_asleep = !inbox.wakeup().is_awake() || lent.is_mistaken();
        if !seems_asleep || inbox.is_owed_enough() || !shared.loan.take_up() {
            return Err(head);
        }
        let in_use = InUse(shared);
        let Some((outcome, common_ns)) = write(&mut lent, &head) else {
            return Err(head);
        };
        let is_whole = matches!(outcome, Outcome::Whole);
        let written = Box::new(lent.written(outcome, common_ns));
        self.ended = true;
        let pushed = self.items.push(Reply::Written(written));
        debug_assert!(pushed.is_ok(), "nothing was sent before it");
        if is_whole {
            // Before it is given back: until it is, the shard begins nothing on this connection of which it
            // would have to be woken. It looks into its inbox before it sleeps, so it has looked then.
            shared.signal.raise_quietly();
        }
        drop(in_use);
        if !is_whole {
            shared.signal.raise();
        }
        // Last, for it is the application's, and may take its time or panic. So its map is not used again: emptying it
        // drops values that may be the application's as well.
        drop(head);
        Ok(())
    }

    /// The inbox of the shard that takes the reply.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        self.shared.signal.inbox()
    }

    /// Tells the shard of what was sent since the last time.
    pub(crate) fn announce(&mut self) {
        if std::mem::take(&mut self.unannounced) {
            self.shared.signal.raise();
        }
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
        self.announce();
        self.shared.signal.crowd().leave();
    }
}

/// The shard's end.
pub(crate) struct ReplyReceiver {
    items: rtrb::Consumer<Reply>,
    /// The connection is lent along with the call, as far as is known here.
    is_lent: bool,
    /// It was in use when it was to be taken back.
    #[cfg(test)]
    is_awaited: bool,
    shared: Arc<Shared>,
}

impl ReplyReceiver {
    /// Whether somebody else may write to the connection.
    #[inline]
    pub(crate) fn is_lent(&self) -> bool {
        self.is_lent
    }

    /// Takes the connection back; true once nobody else writes to it any more. If somebody does just now,
    /// the shard is told when he has done, and asks again.
    pub(crate) fn recall(&mut self) -> bool {
        self.is_lent = self.is_lent && !self.shared.loan.recall();
        #[cfg(test)]
        {
            self.is_awaited = self.is_lent;
        }
        !self.is_lent
    }

    /// Whether what the shard has asked for in vain is back by now: it is to be told of that.
    #[cfg(test)]
    pub(crate) fn is_owed(&self) -> bool {
        self.is_awaited && self.shared.loan.is_back()
    }

    /// Hears no more of the reply, but lets its handler run to its end.
    pub(crate) fn let_go(self) {
        // Pairs with the loads in `ReplySender`. Dropping the receiver does not overrule it.
        self.shared.interest.store(LET_GO, Ordering::Release);
        self.shared.task.wake();
    }

    /// Whether no piece lies here.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that were sent and not yet taken.
    pub(crate) fn queued_bytes(&self) -> usize {
        let sent_bytes = self.shared.sent_bytes.load(Ordering::Relaxed);
        sent_bytes.saturating_sub(self.shared.credit.taken()) as usize
    }

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
        // A shard waits for its loans before it closes what is lent. One that comes to its end by a panic
        // waits here, for one send that does not block.
        while !self.recall() {
            std::thread::yield_now();
        }
        // Pairs with the load in `ReplySender::is_cancelled`.
        // Only this end writes it.
        if self.shared.interest.load(Ordering::Relaxed) == WANTED {
            self.shared.interest.store(CANCELLED, Ordering::Release);
            self.shared.task.wake();
        }
    }
}
