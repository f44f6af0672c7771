//! A pair of rtrb rings between a shard and a worker: calls one way, answers the other.
//!
//! A worker runs user code between two pops, and user code may block. So the worker's port is
//! not its own: it is borrowed for a pop or a push only, and a relief worker may take over the
//! link of one that is stuck: its [`Tenancy`].
//!
//! Either side tells the other once for all that it has sent, and only if that one sleeps.
// Calls and answers travel by value: a box would cost each request an allocation.
#![allow(clippy::large_enum_variant, clippy::result_large_err)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http::HeaderMap;

use super::crowd::Crowd;
use super::handshake::Bell;
use super::inbox::{ConnSignal, Inbox};
use super::reply::ReplyReceiver;
use super::tenancy::Tenancy;
use crate::body::RequestBody;
use crate::dispatch::ClassId;
use crate::message::{Pooled, ResponseHead};
use crate::proto::h1::BodyLength;
use crate::service::HttpService;
use crate::slots::Key;

/// Calls under way on one link; a shard with more uses another link, or waits.
pub(crate) const CALLS_MAX: usize = 256;
/// How long calls may be under way on a link without news before the shard looks at it unasked, and
/// its worker counts as stuck in a handler if there are calls behind that one's.
const PATIENCE_NS: u64 = 1_000_000;
/// Doublings of that: to a second.
const ENDS_MAX: u32 = 10;

impl Bell for AtomicWaker {
    fn ring(&self) {
        self.wake();
    }
}

/// A request and the service to call with it.
pub(crate) struct Call<S: HttpService> {
    pub(crate) conn: Key,
    pub(crate) service: S,
    pub(crate) head: S::Head,
    pub(crate) body: RequestBody,
    /// For a reply that does not come at once.
    pub(crate) signal: Arc<ConnSignal>,
    /// Where the poll's time is to be noted.
    pub(crate) class: Option<ClassId>,
    /// For the worker to make a response of: the shard is left with those it has sent.
    pub(crate) emptied: Pooled,
}

/// What became of a call.
pub(crate) struct Answer {
    pub(crate) conn: Key,
    pub(crate) outcome: Outcome,
    /// How long its first poll took, in nanoseconds, where that was asked for.
    pub(crate) polled: Option<(ClassId, u64)>,
}

pub(crate) enum Outcome {
    /// The whole response was there at once.
    Complete(Complete),
    /// The handler waits in a task of its own and replies from there.
    Detached(ReplyReceiver),
    /// The handler failed.
    Failed,
    /// The handler panicked.
    Panicked,
}

/// A response whose body is at most one piece.
pub(crate) struct Complete {
    pub(crate) head: ResponseHead,
    pub(crate) length: BodyLength,
    pub(crate) data: Option<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// The worker's end of the rings.
struct WorkerPort<S: HttpService> {
    calls: rtrb::Consumer<Call<S>>,
    answers: rtrb::Producer<Answer>,
}

/// What shard and workers share of a link.
pub(crate) struct Link<S: HttpService> {
    port: Tenancy<WorkerPort<S>, AtomicWaker>,
    /// Calls ever taken; a link whose count stands still while calls wait has a stuck worker.
    taken: AtomicU64,
    /// Calls ever sent, as far as workers know: written once a batch.
    sent: AtomicU64,
    inbox: Arc<Inbox>,
}

/// The shard's end of a link. After dropping it, [`Link::wake`] lets the worker see that.
pub(crate) struct ShardPort<S: HttpService> {
    pub(crate) link: Arc<Link<S>>,
    calls: rtrb::Producer<Call<S>>,
    answers: rtrb::Consumer<Answer>,
    /// Calls sent whose answers have not come.
    under_way: usize,
    sent: u64,
    /// Sent since the worker was last woken.
    unannounced: bool,
    /// How long calls have waited with none being taken.
    untaken: Silence,
    /// How long calls have been under way with none being answered.
    unanswered: Silence,
}

pub(crate) fn link<S: HttpService>(inbox: Arc<Inbox>) -> ShardPort<S> {
    let (call_producer, call_consumer) = rtrb::RingBuffer::new(CALLS_MAX);
    let (answer_producer, answer_consumer) = rtrb::RingBuffer::new(CALLS_MAX);
    let port = WorkerPort {
        calls: call_consumer,
        answers: answer_producer,
    };
    let link = Arc::new(Link {
        port: Tenancy::new(port, AtomicWaker::new()),
        taken: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        inbox,
    });
    ShardPort {
        link,
        calls: call_producer,
        answers: answer_consumer,
        under_way: 0,
        sent: 0,
        unannounced: false,
        untaken: Silence::default(),
        unanswered: Silence::default(),
    }
}

/// A count that should move, and how long it has not.
#[derive(Default)]
struct Silence {
    count: u64,
    since_ns: u64,
    /// How often patience has ended meanwhile; each time doubles it.
    ends: u32,
}

impl Silence {
    fn ends_ns(&self) -> u64 {
        self.since_ns + (PATIENCE_NS << self.ends)
    }

    /// Whether patience with the count has ended just now. Begins anew when it moves or `is_done`.
    fn has_ended(&mut self, count: u64, is_done: bool, now_ns: u64) -> bool {
        if is_done || count != self.count {
            *self = Silence {
                count,
                since_ns: now_ns,
                ends: 0,
            };
            return false;
        }
        if now_ns < self.ends_ns() {
            return false;
        }
        self.since_ns = now_ns;
        self.ends = (self.ends + 1).min(ENDS_MAX);
        true
    }
}

impl<S: HttpService> ShardPort<S> {
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Sends a call; gives it back when the link is full.
    pub(crate) fn send(&mut self, call: Call<S>) -> Option<Call<S>> {
        // Never more calls under way than answers fit, so that an answer is never refused.
        if self.under_way == CALLS_MAX {
            return Some(call);
        }
        if let Err(rtrb::PushError::Full(call)) = self.calls.push(call) {
            return Some(call);
        }
        self.link.inbox.crowd().join();
        self.under_way += 1;
        self.sent += 1;
        self.unannounced = true;
        None
    }

    /// Wakes the worker if something was sent since the last time: once a batch.
    pub(crate) fn announce(&mut self) {
        if std::mem::take(&mut self.unannounced) {
            // Relaxed: read by a worker that spins, which then looks at the ring itself.
            self.link.sent.store(self.sent, Ordering::Relaxed);
            self.link.port.announce();
            // Patience with these calls begins anew, whatever others have been under way for.
            self.unanswered.ends = 0;
        }
    }

    pub(crate) fn next_answer(&mut self) -> Option<Answer> {
        let answer = self.answers.pop().ok()?;
        self.link.inbox.crowd().leave();
        self.under_way -= 1;
        Some(answer)
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// When to look at the link again, though nobody has called: calls may wait behind one that
    /// blocks, and answers that came before a long call are told of only with that one's.
    pub(crate) fn patience_ends_ns(&self) -> Option<u64> {
        if self.under_way == 0 {
            return None;
        }
        let silence = match self.has_waiting_calls() {
            true => &self.untaken,
            false => &self.unanswered,
        };
        Some(silence.ends_ns())
    }

    /// Takes note of how far the worker is. Returns whether it has kept calls waiting for too long.
    pub(crate) fn is_stuck(&mut self, now_ns: u64) -> bool {
        // Relaxed: a late value only delays a relief.
        let taken = self.link.taken.load(Ordering::Relaxed);
        let answered = self.sent - self.under_way as u64;
        self.unanswered
            .has_ended(answered, self.under_way == 0, now_ns);
        self.untaken.has_ended(taken, taken == self.sent, now_ns)
    }

    /// Whether calls wait that no worker has yet taken.
    fn has_waiting_calls(&self) -> bool {
        self.link.taken.load(Ordering::Relaxed) != self.sent
    }

    /// Takes the link away from its present worker; whoever runs with the returned epoch owns it.
    pub(crate) fn relieve(&mut self) -> u64 {
        self.link.port.relieve()
    }
}

impl<S: HttpService> Drop for ShardPort<S> {
    fn drop(&mut self) {
        // Nobody hears the answers that are still to come.
        (0..self.under_way).for_each(|_| self.link.inbox.crowd().leave());
    }
}

/// What a worker finds on its link.
pub(crate) enum Taken<S: HttpService> {
    Call(Call<S>),
    Nothing,
    /// The link belongs to another worker now.
    Relieved,
}

impl<S: HttpService> Link<S> {
    /// Takes the next call for the worker of `epoch`.
    pub(crate) fn take(&self, epoch: u64) -> Taken<S> {
        let taken = self.port.with_own(epoch, |port| match port {
            Some(port) => port.calls.pop().map_or(Taken::Nothing, Taken::Call),
            None => Taken::Relieved,
        });
        if matches!(taken, Taken::Call(_)) {
            // Relaxed: read only to see whether it moves.
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Sends an answer; [`announce`](Self::announce) it, or several at once.
    pub(crate) fn answer(&self, answer: Answer) {
        let refused = self.port.with(|port| port.answers.push(answer)).is_err();
        debug_assert!(!refused, "there is room for an answer to each call");
    }

    /// Wakes the shard, if it sleeps, to take the answers sent so far.
    pub(crate) fn announce(&self) {
        self.inbox.wakeup().wake();
    }

    /// The server's handlers that are away from their shards.
    pub(crate) fn crowd(&self) -> &Crowd {
        self.inbox.crowd()
    }

    /// Whether a call seems to wait. Whoever may take it finds out by taking it.
    pub(crate) fn has_calls(&self) -> bool {
        // Relaxed: looked at again and again, and never relied on.
        self.sent.load(Ordering::Relaxed) != self.taken.load(Ordering::Relaxed)
    }

    /// Whether the worker of `epoch` may sleep; its waker is registered first.
    pub(crate) fn prepare_sleep(&self, epoch: u64, waker: &std::task::Waker) -> bool {
        // A shard that is gone may have rung before the waker was registered.
        let is_wanted =
            |port: &mut WorkerPort<S>| !port.calls.is_empty() || port.calls.is_abandoned();
        self.port
            .prepare_sleep(epoch, |bell| bell.register(waker), is_wanted)
    }

    /// Whether the shard is gone and nothing is left to take.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.port
            .with(|port| port.calls.is_abandoned() && port.calls.is_empty())
    }

    /// Wakes whatever worker sleeps on the link, whatever the word says: to be called by a worker
    /// that was relieved, which may have meddled with it, and when the shard is gone.
    pub(crate) fn wake(&self) {
        self.port.wake();
    }
}
