//! What a worker answers itself, and what it leaves to the shard.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};

use super::DESK;
use super::story::{Answer, Fate, REQUEST, Story, machine};
use crate::bridge::inbox::{ConnSignal, UNTOLD_MAX};
use crate::bridge::lent::Outcome;
use crate::bridge::reply::Reply;
use crate::limits::SPARE_BUF_BYTES_MAX;
use crate::proto::h1;
use crate::slots::Key;

/// A larger body does not go out in one flat send.
const DATA_BYTES_MAX: usize = 4096;

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
    assert!(story.has_ended());
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

/// Signals of other connections, of which nobody has told it.
fn owe(story: &Story, keys: usize) {
    for index in 1..=keys as u32 {
        let generation = 0;
        ConnSignal::new(Key { index, generation }, story.inbox.clone()).raise_quietly();
    }
}

#[test]
fn a_shard_that_is_owed_much_is_woken() {
    let mut story = Story::new(hello(), Fate::TakesAll);
    owe(&story, UNTOLD_MAX - 1);
    story.poll();
    assert_eq!(story.seen(), HELLO);
    assert!(!story.has_rung());

    let mut story = Story::new(hello(), Fate::TakesAll);
    owe(&story, UNTOLD_MAX);
    story.poll();
    assert!(story.has_rung());
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
        let Outcome::Part(rest) = written.outcome else {
            panic!("there is a rest");
        };
        assert_eq!(rest.flat(), Some(&all[sent..]));
        let stats = story.counters.snapshot();
        assert_eq!((stats.responses, stats.direct_replies), (1, 1));
        assert_eq!(stats.bytes_out, sent as u64);
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
        let stats = story.counters.snapshot();
        assert_eq!((stats.responses, stats.bytes_out), (1, 0));
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
    assert!(story.has_ended() && story.has_rung());
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
    assert!(story.has_ended() && !story.has_rung());
    assert_eq!(story.seen(), HELLO);
    assert!(matches!(story.next(), Some(Reply::Written(_))));
    assert!(story.next().is_none());
}

/// These pieces, and no word of how many before; what goes with them is dropped with the body.
struct Pieces<T>(std::vec::IntoIter<&'static str>, #[allow(dead_code)] T);

impl<T> Pieces<T> {
    fn new(pieces: Vec<&'static str>, along: T) -> Self {
        Pieces(pieces.into_iter(), along)
    }
}

impl<T: Unpin> Body for Pieces<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece.into()))))
    }
}

#[test]
fn what_has_been_said_is_answered_whatever_panics_behind_it() {
    let answer = Response::new(Pieces::new(vec!["hello"], PanicsWhenDropped).boxed());
    let mut story = Story::new(answer, Fate::TakesAll);
    story.poll();
    assert!(story.has_ended());
    assert!(matches!(story.next(), Some(Reply::Head(..))));
    assert!(matches!(story.next(), Some(Reply::Data(data)) if data == "hello"));
    assert!(matches!(story.next(), Some(Reply::End(None))));
    assert!(story.next().is_none());
}

/// A body that nobody may poll, and that tells when it is dropped.
struct Unwanted(mpsc::Sender<()>);

impl Body for Unwanted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("nobody wants it");
    }
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn the_body_of_a_response_that_nobody_gets_is_dropped_unpolled() {
    let (dropped, is_dropped) = mpsc::channel();
    let mut story = Story::new(Response::new(Unwanted(dropped).boxed()), Fate::TakesAll);
    let mut receiver = story.receiver.lock().unwrap().take().unwrap();
    assert!(receiver.recall());
    receiver.let_go();
    story.poll();
    assert!(story.has_ended());
    assert_eq!(is_dropped.try_recv(), Ok(()));
    assert_eq!(story.seen(), b"");
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

/// Another call is answered by the same thread while one is.
#[test]
fn whoever_answers_meanwhile_has_a_desk_of_his_own() {
    let mut story = Story::new(hello(), Fate::TakesAll);
    story.peer.lock().unwrap().meanwhile = Some(Box::new(|| {
        let mut other = Story::new(hello(), Fate::TakesAll);
        other.poll();
        assert_eq!(other.seen(), HELLO);
    }));
    story.poll();
    assert_eq!(story.seen(), HELLO);
}

#[test]
fn a_desk_that_has_grown_is_not_kept_as_it_is() {
    let capacity = || {
        let desk = DESK.take().expect("it is put back");
        let bytes = desk.capacity();
        DESK.set(Some(desk));
        bytes
    };
    Story::new(hello(), Fate::TakesAll).poll();
    assert!((HELLO.len()..=SPARE_BUF_BYTES_MAX).contains(&capacity()));
    let large = "x".repeat(SPARE_BUF_BYTES_MAX + 1);
    let mut answer = hello();
    answer
        .headers_mut()
        .insert("x-large", large.parse().unwrap());
    let mut story = Story::new(answer, Fate::TakesAll);
    story.poll();
    assert!(story.seen().len() > SPARE_BUF_BYTES_MAX);
    assert!(capacity() <= SPARE_BUF_BYTES_MAX);
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
        Response::new(Pieces::new(vec!["piece"; 3], ()).boxed()),
    ];
    for answer in left {
        let mut story = Story::new(answer, Fate::TakesAll);
        story.poll();
        assert!(story.has_ended() && story.has_rung());
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
