//! A call that was left, a socket that does as it is told, and a shard that sleeps behind them.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body_util::combinators::BoxBody;

use super::super::{Detached, FirstPoll};
use crate::body::RequestBody;
use crate::bridge::crowd::Crowd;
use crate::bridge::inbox::{ConnSignal, Inbox, UNTOLD_MAX};
use crate::bridge::lent::Lent;
use crate::bridge::reply::{self, Reply, ReplyReceiver};
use crate::driver::Driver;
use crate::lent::{LentSocket, Simulated, WrittenAt};
use crate::proto::h1::{self, H1Limits, HeadTable};
use crate::service::HttpService;
use crate::slots::Key;
use crate::stats::ShardCounters;
use crate::sys::EventFd;

const UNIX_S: u64 = 784_111_777;

pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Answers at its second poll.
#[derive(Clone)]
struct Late(Arc<Mutex<Option<Answer>>>);

impl HttpService for Late {
    type Head = request::Parts;
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _head: request::Parts, _body: RequestBody) -> Self::Future {
        let answer = self.0.clone();
        let mut polls = 0;
        Box::pin(poll_fn(move |_| {
            polls += 1;
            match polls {
                1 => Poll::Pending,
                _ => Poll::Ready(Ok(answer.lock().unwrap().take().expect("one answer"))),
            }
        }))
    }
}

/// What the socket does with what it is given.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    TakesAll,
    Takes(usize),
    Errno(i32),
    Panics,
}

pub(super) type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Peer {
    seen: Vec<u8>,
    /// What happens while it is being written to.
    pub(super) meanwhile: Option<Meanwhile>,
}

struct Scripted(Fate, Arc<Mutex<Peer>>);

impl Simulated for Scripted {
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut peer = self.1.lock().unwrap();
        if let Some(meanwhile) = peer.meanwhile.take() {
            meanwhile();
        }
        let count = match self.0 {
            Fate::TakesAll => bytes.len(),
            Fate::Takes(count) => count,
            Fate::Errno(errno) => return Err(io::Error::from_raw_os_error(errno)),
            Fate::Panics => {
                drop(peer);
                std::panic::resume_unwind(Box::new("a simulated panic"))
            }
        };
        peer.seen.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn now(&self) -> WrittenAt {
        WrittenAt {
            common_ns: 7,
            unix_s: UNIX_S,
        }
    }
}

/// A call that was left, and the shard that sleeps behind it.
pub(super) struct Story {
    task: Option<Pin<Box<Detached<Late>>>>,
    pub(super) receiver: Arc<Mutex<Option<ReplyReceiver>>>,
    pub(super) inbox: Arc<Inbox>,
    bell: Arc<EventFd>,
    pub(super) peer: Arc<Mutex<Peer>>,
    pub(super) counters: Arc<ShardCounters>,
}

pub(super) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub(super) fn machine(request: &[u8]) -> h1::Conn {
    let limits = H1Limits::default();
    let mut machine = h1::Conn::new();
    machine.handle_input(&limits, request, &mut HeadTable::new(limits.headers_max));
    machine
}

impl Story {
    pub(super) fn new(answer: Answer, fate: Fate) -> Story {
        let bell = Arc::new(EventFd::new().unwrap());
        let inbox = Inbox::new(UNTOLD_MAX, bell.clone(), Crowd::new(1, 1, 1));
        let key = Key {
            index: 0,
            generation: 0,
        };
        let peer = Arc::new(Mutex::new(Peer::default()));
        let counters = Arc::new(ShardCounters::default());
        let socket = LentSocket::Simulated(Box::new(Scripted(fate, peer.clone())));
        let lent = Lent::new(socket, machine(REQUEST).lent(), |_| None, counters.clone());
        let signal = ConnSignal::new(key, inbox.clone());
        let (sender, receiver) = reply::channel(signal, 1 << 20, Some(Box::new(lent)));
        let mut driver = Box::pin(Driver::idle());
        let (head, ()) = Request::get("/").body(()).unwrap().into_parts();
        let service = Late(Arc::new(Mutex::new(Some(answer))));
        let mut cx = Context::from_waker(Waker::noop());
        let polled = driver.as_mut().start_now(
            service,
            &mut Some(head),
            RequestBody::empty(),
            &mut cx,
            &mut FirstPoll::default(),
        );
        assert!(polled.is_pending());
        inbox.wakeup().prepare_sleep(|| false);
        Story {
            task: Some(Box::pin(Detached::new(driver, sender))),
            receiver: Arc::new(Mutex::new(Some(receiver))),
            inbox,
            bell,
            peer,
            counters,
        }
    }

    /// Polls the task until it has ended, or waits.
    pub(super) fn poll(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut task = self.task.take().expect("it has not ended");
        if task.as_mut().poll(&mut cx).is_pending() {
            self.task = Some(task);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.task.is_none()
    }

    pub(super) fn has_rung(&self) -> bool {
        self.bell.read().unwrap() > 0
    }

    pub(super) fn seen(&self) -> Vec<u8> {
        self.peer.lock().unwrap().seen.clone()
    }

    pub(super) fn next(&self) -> Option<Reply> {
        let mut receiver = self.receiver.lock().unwrap();
        let receiver = receiver.as_mut().expect("the shard is interested");
        assert!(receiver.recall(), "nobody writes any more");
        receiver.next()
    }

    pub(super) fn is_left_to_the_shard(&self) {
        assert_eq!(self.seen(), b"");
        assert!(matches!(self.next(), Some(Reply::Head(..))));
        assert_eq!(self.counters.direct_replies.get(), 0);
    }
}
