//! Wakes against batches: either end of a link tells the other once for all that it has sent.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body_util::Empty;

use super::{Spawn, Spin, run};
use crate::body::RequestBody;
use crate::bridge::crowd::Crowd;
use crate::bridge::inbox::{ConnSignal, Inbox};
use crate::bridge::link::{Call, ShardPort, link};
use crate::message::Pooled;
use crate::service::HttpService;
use crate::slots::Key;
use crate::sys::EventFd;

/// Calls of a batch.
const CALLS: usize = 16;

/// A worker's clock, which handlers move.
#[derive(Clone)]
struct Clockwork {
    origin: Instant,
    ns: Arc<AtomicU64>,
}

impl Spawn for Clockwork {
    fn spawn(&self, _task: impl Future<Output = ()> + Send + 'static) {
        panic!("every call is answered at once");
    }

    fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.ns.load(Ordering::Relaxed))
    }
}

/// Answers at once, after so much time, and notes whether the shard has been told of anything by then.
#[derive(Clone)]
struct Quick {
    clock: Clockwork,
    ns: u64,
    inbox: Arc<Inbox>,
    told: Arc<Mutex<Vec<bool>>>,
}

impl HttpService for Quick {
    type Head = request::Parts;
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _head: request::Parts, _body: RequestBody) -> Self::Future {
        self.clock.ns.fetch_add(self.ns, Ordering::Relaxed);
        self.told
            .lock()
            .unwrap()
            .push(self.inbox.wakeup().is_awake());
        ready(Ok(Response::new(Empty::new())))
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A shard's end of a link, and the worker at the other one.
struct Story {
    port: ShardPort<Quick>,
    inbox: Arc<Inbox>,
    bell: Arc<EventFd>,
    worker: Pin<Box<dyn Future<Output = ()>>>,
    wakes: Arc<Wakes>,
    quick: Quick,
}

impl Story {
    /// Handlers take `ns` each; the worker sleeps.
    fn new(ns: u64) -> Story {
        let bell = Arc::new(EventFd::new().unwrap());
        let inbox = Inbox::new(CALLS, bell.clone(), Crowd::new(1, 1, 1));
        let clock = Clockwork {
            origin: Instant::now(),
            ns: Arc::default(),
        };
        let port = link(inbox.clone());
        let worker = run(
            port.link.clone(),
            0,
            clock.clone(),
            1 << 20,
            u64::MAX,
            Spin::Never,
        );
        let quick = Quick {
            clock,
            ns,
            inbox: inbox.clone(),
            told: Arc::default(),
        };
        let mut story = Story {
            port,
            inbox,
            bell,
            worker: Box::pin(worker),
            wakes: Arc::default(),
            quick,
        };
        story.poll_worker();
        story
    }

    fn poll_worker(&mut self) {
        let waker = Waker::from(self.wakes.clone());
        let polled = self.worker.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    /// How often the shard was woken since this was last asked.
    fn rings(&self) -> u64 {
        self.bell.read().unwrap()
    }

    fn send(&mut self, calls: usize) {
        for index in 0..calls {
            let conn = Key {
                index: index as u32,
                generation: 0,
            };
            let (head, ()) = Request::get("/").body(()).unwrap().into_parts();
            let refused = self.port.send(Call {
                conn,
                service: self.quick.clone(),
                head,
                body: RequestBody::empty(),
                signal: ConnSignal::new(conn, self.inbox.clone()),
                class: None,
                emptied: Pooled::emptied(),
            });
            assert!(refused.is_none());
        }
    }

    fn take_answers(&mut self) -> usize {
        std::iter::from_fn(|| self.port.next_answer()).count()
    }

    /// Sends a batch to a worker that sleeps, and falls asleep.
    fn begin_batch(&mut self) {
        self.send(CALLS);
        self.port.announce();
        assert!(self.inbox.wakeup().prepare_sleep(|| false));
    }
}

#[test]
fn a_worker_that_sleeps_is_woken_once_a_batch() {
    let mut story = Story::new(1_000);
    for batch in 0..10 {
        story.port.announce();
        story.send(CALLS);
        assert_eq!(story.wakes(), batch, "it is told of all of them at once");
        story.port.announce();
        assert_eq!(story.wakes(), batch + 1);
        // Nothing new, and then something for a worker that has been woken and not come yet.
        story.port.announce();
        story.send(CALLS);
        story.port.announce();
        assert_eq!(story.wakes(), batch + 1);
        story.poll_worker();
        assert_eq!(story.take_answers(), 2 * CALLS);
    }
}

#[test]
fn a_shard_that_sleeps_is_woken_once_a_batch() {
    let mut story = Story::new(1_000);
    for _ in 0..10 {
        story.begin_batch();
        story.poll_worker();
        assert_eq!(story.rings(), 1);
        assert_eq!(story.take_answers(), CALLS);
    }
    let told = story.quick.told.lock().unwrap();
    assert_eq!(*told, [false; 10 * CALLS], "it is told of all at once");
}

#[test]
fn a_shard_that_is_awake_is_not_woken() {
    let mut story = Story::new(1_000);
    story.send(CALLS);
    story.port.announce();
    story.poll_worker();
    assert_eq!(story.rings(), 0);
    assert_eq!(story.take_answers(), CALLS);
}

/// Of a batch that takes its time a shard is told in between, once it is worth it.
#[test]
fn answers_wait_for_those_behind_them_for_a_moment_only() {
    let mut story = Story::new(20_000);
    story.begin_batch();
    story.poll_worker();
    assert_eq!(story.rings(), 1, "it did not fall asleep again");
    assert_eq!(story.take_answers(), CALLS);
    let told = story.quick.told.lock().unwrap();
    // More than 50 us behind the first answer, which is given at 20.
    let first_told = told.iter().position(|told| *told);
    assert_eq!(first_told, Some(4), "{told:?}");
}
