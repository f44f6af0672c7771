//! What a worker answers itself, and what it leaves to the shard: on a socket that does as it is told.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::BoxBody};

use super::Detached;
use crate::body::RequestBody;
use crate::bridge::crowd::Crowd;
use crate::bridge::inbox::{ConnSignal, Inbox};
use crate::bridge::lent::{Lent, Outcome};
use crate::bridge::reply::{self, Reply, ReplyReceiver};
use crate::driver::Driver;
use crate::lent::{LentSocket, Simulated, WrittenAt};
use crate::proto::h1::{self, H1Limits, HeadTable};
use crate::service::HttpService;
use crate::slots::Key;
use crate::stats::ShardCounters;
use crate::sys::EventFd;

const UNIX_S: u64 = 784_111_777;
/// A larger body does not go out in one flat send.
const DATA_BYTES_MAX: usize = 4096;

type Answer = Response<BoxBody<Bytes, Infallible>>;

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
enum Fate {
    TakesAll,
    Takes(usize),
    Errno(i32),
    Panics,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Peer {
    seen: Vec<u8>,
    /// What happens while it is being written to.
    meanwhile: Option<Meanwhile>,
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
struct Story {
    task: Option<Pin<Box<Detached<Late>>>>,
    receiver: Arc<Mutex<Option<ReplyReceiver>>>,
    inbox: Arc<Inbox>,
    bell: Arc<EventFd>,
    peer: Arc<Mutex<Peer>>,
    counters: Arc<ShardCounters>,
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn machine(request: &[u8]) -> h1::Conn {
    let limits = H1Limits::default();
    let mut machine = h1::Conn::new();
    machine.handle_input(&limits, request, &mut HeadTable::new(limits.headers_max));
    machine
}

impl Story {
    fn new(answer: Answer, fate: Fate) -> Story {
        let bell = Arc::new(EventFd::new().unwrap());
        let inbox = Inbox::new(1, bell.clone(), Crowd::new(1, 1, 1));
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
            &mut super::FirstPoll::default(),
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
    fn poll(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut task = self.task.take().expect("it has not ended");
        if task.as_mut().poll(&mut cx).is_pending() {
            self.task = Some(task);
        }
    }

    fn has_rung(&self) -> bool {
        self.bell.read().unwrap() > 0
    }

    fn seen(&self) -> Vec<u8> {
        self.peer.lock().unwrap().seen.clone()
    }

    fn next(&self) -> Option<Reply> {
        let mut receiver = self.receiver.lock().unwrap();
        let receiver = receiver.as_mut().expect("the shard is interested");
        assert!(receiver.recall(), "nobody writes any more");
        receiver.next()
    }

    fn is_left_to_the_shard(&self) {
        assert_eq!(self.seen(), b"");
        assert!(matches!(self.next(), Some(Reply::Head(..))));
        assert_eq!(self.counters.direct_replies.get(), 0);
    }
}

fn hello() -> Answer {
    let body = Full::new(Bytes::from_static(b"hello")).boxed();
    Response::builder().header("x-a", "b").body(body).unwrap()
}

/// What it becomes, at [`UNIX_S`].
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 5\r\n\
    date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello";

#[test]
fn a_sleeping_shard_is_answered_for_and_sleeps_on() {
    let mut story = Story::new(hello(), Fate::TakesAll);
    story.poll();
    assert!(story.task.is_none());
    assert_eq!(story.seen(), HELLO);
    assert!(!story.has_rung());
    assert!(!story.inbox.wakeup().is_awake());
    // It hears of it as soon as it looks.
    assert!(story.inbox.pop().is_some());
    let Some(Reply::Written(written)) = story.next() else {
        panic!("it is told what was written");
    };
    assert!(matches!(written.outcome, Outcome::Whole));
    assert_eq!(written.common_ns, 7);
    assert!(story.next().is_none());
    assert_eq!(story.counters.direct_replies.get(), 1);
    let mut own = machine(REQUEST);
    own.has_responded(&written.machine);
    assert_eq!(own.after_response(), h1::Next::Keep);
}

#[test]
fn a_shard_that_is_awake_gets_the_reply() {
    let mut story = Story::new(hello(), Fate::TakesAll);
    story.inbox.wakeup().awake();
    story.poll();
    assert!(!story.has_rung());
    story.is_left_to_the_shard();
}

#[test]
fn what_was_taken_back_is_not_written_to() {
    let mut story = Story::new(hello(), Fate::TakesAll);
    assert!(story.receiver.lock().unwrap().as_mut().unwrap().recall());
    story.poll();
    assert!(story.has_rung());
    story.is_left_to_the_shard();
}

#[test]
fn a_rest_is_the_shards_and_wakes_it() {
    let all = HELLO;
    let part = |fate, sent| {
        let mut story = Story::new(hello(), fate);
        story.poll();
        assert!(story.has_rung());
        assert_eq!(story.seen(), &all[..sent]);
        let Some(Reply::Written(written)) = story.next() else {
            panic!("it is told what was written");
        };
        let Outcome::Part(count, rest) = written.outcome else {
            panic!("there is a rest");
        };
        assert_eq!((count, rest.flat()), (sent, Some(&all[sent..])));
        assert_eq!(story.counters.direct_replies.get(), 0);
    };
    part(Fate::Takes(1), 1);
    part(Fate::Takes(all.len() - 1), all.len() - 1);
    part(Fate::Errno(libc::EAGAIN), 0);
    part(Fate::Errno(libc::EINTR), 0);
}

#[test]
fn a_failure_is_the_shards_and_wakes_it() {
    for errno in [libc::EPIPE, libc::ECONNRESET] {
        let mut story = Story::new(hello(), Fate::Errno(errno));
        story.poll();
        assert!(story.has_rung());
        let Some(Reply::Written(written)) = story.next() else {
            panic!("it is told what was written");
        };
        assert!(matches!(written.outcome, Outcome::Failed(_)));
    }
}

#[test]
fn a_shard_that_wants_it_back_meanwhile_is_told() {
    let mut story = Story::new(hello(), Fate::TakesAll);
    let receiver = story.receiver.clone();
    story.peer.lock().unwrap().meanwhile = Some(Box::new(move || {
        let mut receiver = receiver.lock().unwrap();
        let receiver = receiver.as_mut().unwrap();
        assert!(!receiver.recall(), "it is being written to");
        assert!(!receiver.recall());
    }));
    story.poll();
    assert!(story.has_rung());
    assert!(matches!(story.next(), Some(Reply::Written(_))));
}

#[test]
fn a_panic_in_the_middle_gives_it_back() {
    let mut story = Story::new(hello(), Fate::Panics);
    let receiver = story.receiver.clone();
    story.peer.lock().unwrap().meanwhile = Some(Box::new(move || {
        assert!(!receiver.lock().unwrap().as_mut().unwrap().recall());
    }));
    story.poll();
    assert!(story.task.is_none() && story.has_rung());
    assert!(matches!(story.next(), Some(Reply::Panicked)));
}

/// What the application leaves with its response.
#[derive(Clone)]
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("a simulated panic"))
    }
}

#[test]
fn what_has_been_sent_stays_sent_whatever_panics_after_it() {
    let mut answer = hello();
    answer.extensions_mut().insert(PanicsWhenDropped);
    let mut story = Story::new(answer, Fate::TakesAll);
    story.poll();
    assert!(story.task.is_none() && !story.has_rung());
    assert_eq!(story.seen(), HELLO);
    assert!(matches!(story.next(), Some(Reply::Written(_))));
    assert!(story.next().is_none());
}

/// The descriptor may be closed once the receiver is gone.
#[test]
fn a_receiver_is_not_gone_while_somebody_writes() {
    let mut story = Story::new(hello(), Fate::TakesAll);
    let receiver = story.receiver.clone();
    let is_gone = Arc::new(AtomicBool::new(false));
    let seen_gone = is_gone.clone();
    let (gone, has_gone) = mpsc::channel();
    story.peer.lock().unwrap().meanwhile = Some(Box::new(move || {
        let receiver = receiver.lock().unwrap().take().unwrap();
        std::thread::spawn(move || {
            drop(receiver);
            is_gone.store(true, Ordering::Relaxed);
            gone.send(()).unwrap();
        });
        // However long that is, it waits.
        std::thread::sleep(Duration::from_millis(20));
        assert!(!seen_gone.load(Ordering::Relaxed));
    }));
    story.poll();
    has_gone.recv().unwrap();
    assert_eq!(story.seen(), HELLO);
}

/// So many pieces, and no word of how many before.
struct Pieces(usize);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

#[test]
fn only_small_whole_answers_that_keep_the_connection_are_a_workers() {
    let full = |bytes: usize| Full::new(Bytes::from(vec![b'x'; bytes])).boxed();
    let closing = Response::builder().header("connection", "close");
    let informational = Response::builder().status(103);
    let left = [
        Response::new(full(DATA_BYTES_MAX + 1)),
        closing.body(full(5)).unwrap(),
        informational.body(full(0)).unwrap(),
        Response::new(Pieces(3).boxed()),
    ];
    for answer in left {
        let mut story = Story::new(answer, Fate::TakesAll);
        story.poll();
        assert!(story.task.is_none() && story.has_rung());
        story.is_left_to_the_shard();
    }
    let own = [
        Response::new(full(DATA_BYTES_MAX)),
        Response::new(full(0)),
        Response::builder().status(204).body(full(0)).unwrap(),
    ];
    for answer in own {
        let mut story = Story::new(answer, Fate::TakesAll);
        story.poll();
        assert!(!story.has_rung() && !story.seen().is_empty());
    }
}
