//! Tasks on the tokio runtime: workers that own the far end of a link, and detached calls.
//!
//! A worker polls each call once itself, as a real tokio task; a call that does not answer at
//! once becomes a task of its own. Knows the bridge; never sees a shard.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use pin_project_lite::pin_project;

use crate::bridge::link::{Answer, Call, Complete, Link, Outcome, Taken};
use crate::bridge::reply::{self, Reply, ReplySender};
use crate::driver::{Driver, Ended, Sink};
use crate::message::ResponseHead;
use crate::preemption::Preemption;
use crate::proto::h1::BodyLength;
use crate::service::HttpService;
use crate::time::CoreAccount;

#[cfg(test)]
mod batch_tests;
mod direct;
pub(crate) mod parked;
mod spinner;
mod turns;

use self::spinner::Spinner;

/// Where tasks are spawned, and what their time is: the tokio runtime, or a test's own list.
pub(crate) trait Spawn: Clone + Send + Sync + 'static {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// The time by which a worker tells how long its polls take.
    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Whether a poll that seemed to take `ns`, and has just ended on this thread, may have taken no more than
    /// `most_ns`, had the thread not lost its core.
    #[inline]
    fn excuses(&self, ns: u64, most_ns: u64) -> bool {
        PREEMPTION.with_borrow_mut(|(account, preemption)| {
            // How often it is looked at is the shard's matter; here every look is one at a doubtful poll.
            preemption.excuses(ns, most_ns, 0, account.read().waited_ns)
        })
    }
}

impl Spawn for tokio::runtime::Handle {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::runtime::Handle::spawn(self, task));
    }
}

/// Says why a call produced no response; the connection is closed.
pub(crate) fn trace_ended(ended: &Ended) {
    if let Ended::Failed(error) = ended {
        tracing::debug!(%error, "the service or its response body failed; closing the connection");
    }
}

pin_project! {
    /// A call that runs as a task of its own and replies piece by piece.
    pub(crate) struct Detached<S: HttpService> {
        driver: Option<Pin<Box<Driver<S>>>>,
        reply: ReplySender,
        // What its first poll has said: handed on with what the next one says, so that a response
        // which turns out to be broken within them is not begun.
        first: Option<FirstPoll>,
    }
}

impl<S: HttpService> Detached<S> {
    pub(crate) fn new(driver: Pin<Box<Driver<S>>>, reply: ReplySender) -> Self {
        Detached {
            driver: Some(driver),
            reply,
            first: None,
        }
    }

    /// Of a call that has been polled once, elsewhere.
    fn after(first: FirstPoll, driver: Pin<Box<Driver<S>>>, reply: ReplySender) -> Self {
        Detached {
            first: Some(first),
            ..Detached::new(driver, reply)
        }
    }
}

impl<S: HttpService> Future for Detached<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.reply.register(cx.waker());
        if this.reply.is_cancelled() {
            // Dropped here, inside the runtime, where the handler's destructors may expect to be.
            *this.driver = None;
            return Poll::Ready(());
        }
        let Some(driver) = this.driver else {
            return Poll::Ready(());
        };
        if let Some(first) = this.first.take() {
            first.hand_on(this.reply);
        }
        // What a call that may answer its client itself says, until it is known whether that is all.
        let mut said = FirstPoll::default();
        let polled = catch_unwind(AssertUnwindSafe(|| match this.reply.has_loan() {
            true => poll_lent(driver.as_mut(), cx, this.reply, &mut said),
            false => driver.as_mut().poll(cx, this.reply),
        }));
        match polled {
            Ok(Poll::Pending) => {
                this.reply.announce();
                return Poll::Pending;
            }
            Ok(Poll::Ready(ended)) => {
                trace_ended(&ended);
                *this.driver = None;
                if !matches!(ended, Ended::Complete) {
                    this.reply.fail(Reply::Failed);
                }
            }
            // The panic hook has reported it.
            Err(_panic) => {
                discard(this.driver.take());
                if said.is_whole {
                    // It had answered, and was being dropped.
                    said.hand_on_whole(this.reply);
                }
                this.reply.fail(Reply::Panicked);
            }
        }
        this.reply.announce();
        Poll::Ready(())
    }
}

/// Polls a call that may answer its client itself.
fn poll_lent<S: HttpService>(
    mut driver: Pin<&mut Driver<S>>,
    cx: &mut Context<'_>,
    reply: &mut ReplySender,
    said: &mut FirstPoll,
) -> Poll<Ended> {
    let polled = driver.as_mut().poll(cx, said);
    match polled {
        Poll::Ready(Ended::Complete) => {
            if let Err(said) = direct::answer(reply, mem::take(said)) {
                said.hand_on_whole(reply);
            }
        }
        // What was said of it is of no use to anybody.
        Poll::Ready(_) => {}
        // It has not begun to answer, and waits.
        Poll::Pending if said.head.is_none() => {}
        Poll::Pending => {
            let is_full = said.is_full;
            mem::take(said).hand_on(reply);
            if reply.is_let_go() {
                // The shard lost interest meanwhile: no more of the body is polled.
                driver.stop();
                return Poll::Ready(Ended::Complete);
            }
            if is_full {
                // It waits for nothing but room, of which nobody tells it.
                return driver.poll(cx, reply);
            }
        }
    }
    polled
}

impl Sink for ReplySender {
    fn head(&mut self, head: ResponseHead, length: BodyLength) -> Result<bool, ()> {
        Ok(self.send(Reply::Head(Box::new(head), length)))
    }

    fn has_room(&mut self) -> bool {
        ReplySender::has_room(self)
    }

    fn data(&mut self, data: Bytes) -> bool {
        self.send(Reply::Data(data))
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.send(Reply::End(trailers));
    }
}

/// Keeps what a first poll yields, as long as it is at most one piece.
#[derive(Default)]
struct FirstPoll {
    head: Option<(ResponseHead, BodyLength)>,
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// There was no room for more.
    is_full: bool,
    /// It has come to its end.
    is_whole: bool,
}

impl Sink for FirstPoll {
    fn head(&mut self, head: ResponseHead, length: BodyLength) -> Result<bool, ()> {
        self.head = Some((head, length));
        Ok(true)
    }

    fn has_room(&mut self) -> bool {
        self.is_full |= self.data.is_some();
        !self.is_full
    }

    fn data(&mut self, data: Bytes) -> bool {
        self.data = Some(data);
        true
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.trailers = trailers;
        self.is_whole = true;
    }
}

impl FirstPoll {
    /// Hands on what a driver that did not end has said so far.
    fn hand_on(self, reply: &mut ReplySender) {
        if let Some((head, length)) = self.head {
            reply.send(Reply::Head(Box::new(head), length));
        }
        if let Some(data) = self.data {
            reply.send(Reply::Data(data));
        }
    }

    /// Hands on what a driver that is complete has said.
    fn hand_on_whole(mut self, reply: &mut ReplySender) {
        let trailers = self.trailers.take();
        self.hand_on(reply);
        reply.send(Reply::End(trailers));
    }
}

/// Whether a worker without calls spins for a moment before it sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spin {
    Never,
    /// While that has been worth it of late and no core is wanted for something better.
    Adaptive,
}

/// Serves a link until it is taken over or its shard is gone.
pub(crate) async fn run<S: HttpService, X: Spawn>(
    link: Arc<Link<S>>,
    epoch: u64,
    spawn: X,
    response_window_bytes: usize,
    short_ns: u64,
    spin: Spin,
) {
    let mut spare: Option<Pin<Box<Driver<S>>>> = None;
    let mut spinner = (spin == Spin::Adaptive).then(Spinner::new);
    poll_fn(|cx| {
        if let Some(spinner) = &mut spinner {
            spinner.woke();
        }
        let mut batch = Batch::new(&link, spawn.now());
        loop {
            let call = match link.take(epoch) {
                Taken::Relieved => {
                    batch.announce();
                    link.wake();
                    return Poll::Ready(());
                }
                Taken::Call(call) => call,
                Taken::Nothing => {
                    batch.announce();
                    if link.is_abandoned() {
                        return Poll::Ready(());
                    }
                    let has_calls = spinner.as_mut().is_some_and(|spinner| spinner.spin(&link));
                    if !has_calls && link.prepare_sleep(epoch, cx.waker()) {
                        return Poll::Pending;
                    }
                    // What was waited is no poll's time.
                    batch = Batch::new(&link, spawn.now());
                    continue;
                }
            };
            let (conn, class) = (call.conn, call.class);
            let outcome = answer(call, &mut spare, &spawn, response_window_bytes);
            let ns = batch.answered(spawn.now());
            link.answer(Answer {
                conn,
                outcome,
                polled: class
                    // What is excused tells nothing of its class.
                    .filter(|_| ns <= short_ns || !spawn.excuses(ns, short_ns))
                    .map(|class| (class, ns)),
            });
            batch.announce_if_late();
            // A fresh budget for the next handler, as if it were a task of its own.
            if !tokio::task::coop::has_budget_remaining() {
                batch.announce();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    })
    .await;
}

thread_local! {
    static PREEMPTION: RefCell<(CoreAccount, Preemption)> = RefCell::default();
}

/// Answers a sleeping shard is told of together.
struct Batch<'a, S: HttpService> {
    link: &'a Link<S>,
    answers: usize,
    /// When the first of them was given.
    first: Instant,
    /// When the last poll ended, which is about when the next one begins.
    last: Instant,
}

/// An answer waits no longer than this for those behind it, unless a poll takes longer.
const ANNOUNCE: Duration = Duration::from_micros(50);

impl<'a, S: HttpService> Batch<'a, S> {
    fn new(link: &'a Link<S>, now: Instant) -> Self {
        Batch {
            link,
            answers: 0,
            first: now,
            last: now,
        }
    }

    /// Counts an answer that is being given; returns how long its poll took, in nanoseconds.
    fn answered(&mut self, now: Instant) -> u64 {
        if self.answers == 0 {
            self.first = now;
        }
        self.answers += 1;
        let before = std::mem::replace(&mut self.last, now);
        now.duration_since(before).as_nanos() as u64
    }

    fn announce_if_late(&mut self) {
        if self.last.duration_since(self.first) > ANNOUNCE {
            self.announce();
        }
    }

    fn announce(&mut self) {
        if std::mem::take(&mut self.answers) > 0 {
            self.link.announce();
        }
    }
}

/// Drops what a panic has left half done; its destructors may panic again.
pub(crate) fn discard<T>(left: T) {
    drop(catch_unwind(AssertUnwindSafe(|| drop(left))));
}

/// Polls a call once; what does not end goes on as a task of its own.
fn answer<S: HttpService, X: Spawn>(
    call: Call<S>,
    spare: &mut Option<Pin<Box<Driver<S>>>>,
    spawn: &X,
    response_window_bytes: usize,
) -> Outcome {
    // Into this thread's pool, where the handler takes it from.
    drop(call.emptied);
    let mut driver = spare.take().unwrap_or_else(|| Box::pin(Driver::idle()));
    let mut first = FirstPoll::default();
    // The task that goes on polls the driver at once, so this waker is never relied on.
    let mut cx = Context::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let driver = driver.as_mut();
        let mut head = Some(call.head);
        driver.start_now(call.service, &mut head, call.body, &mut cx, &mut first)
    }));
    match polled {
        Ok(Poll::Ready(Ended::Complete)) => {
            *spare = Some(driver);
            let FirstPoll {
                head,
                data,
                trailers,
                ..
            } = first;
            let (head, length) = head.expect("a complete response has a head");
            Outcome::Complete(Complete {
                head,
                length,
                data,
                trailers,
            })
        }
        Ok(Poll::Ready(ended)) => {
            trace_ended(&ended);
            Outcome::Failed
        }
        Ok(Poll::Pending) => {
            let (sender, receiver) = reply::channel(call.signal, response_window_bytes, None);
            spawn.spawn(Detached::after(first, driver, sender));
            Outcome::Detached(receiver)
        }
        // The panic hook has reported it.
        Err(_panic) => {
            discard(driver);
            Outcome::Panicked
        }
    }
}
