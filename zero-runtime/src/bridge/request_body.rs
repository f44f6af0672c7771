//! The way of a request's body from its shard to whoever polls it.
//!
//! The shard sends what the peer sent, up to a window beyond what was taken; the reader takes
//! when it likes. Cancel safe on both ends: dropping either tells the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::handshake::Credit;
use super::inbox::ConnSignal;
use crate::error::BodyError;
use crate::pool::copies::{self, Copied};

/// Pieces between shard and reader; more wait with the shard.
const ITEMS: usize = 32;

/// A piece that waits is not made larger than this by what comes behind it.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// What a piece counts for in the window: a tiny one costs more memory than its bytes.
fn cost(data: &Bytes) -> usize {
    data.len().max(256)
}

enum Item {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Failed(BodyError),
}

struct Shared {
    signal: Arc<ConnSignal>,
    reader: AtomicWaker,
    credit: Credit,
    /// The reader has asked for the first time.
    polled: AtomicBool,
    /// The sender is gone, and what it could not hand on with it.
    gone: AtomicBool,
    /// The reader is gone.
    dropped: AtomicBool,
}

/// Makes both ends. With `tell_first_poll` the signal is raised when the reader first asks.
pub(crate) fn channel(
    signal: Arc<ConnSignal>,
    tell_first_poll: bool,
) -> (BodySender, BodyReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(ITEMS);
    let shared = Arc::new(Shared {
        signal,
        reader: AtomicWaker::new(),
        credit: Credit::new(),
        polled: AtomicBool::new(!tell_first_poll),
        gone: AtomicBool::new(false),
        dropped: AtomicBool::new(false),
    });
    let sender = BodySender {
        items: producer,
        waiting: VecDeque::new(),
        sent_bytes: 0,
        ended: false,
        shared: shared.clone(),
    };
    let receiver = BodyReceiver {
        items: consumer,
        ended: false,
        shared,
    };
    (sender, receiver)
}

/// The shard's end.
pub(crate) struct BodySender {
    items: rtrb::Producer<Item>,
    /// What found the ring full, in order.
    waiting: VecDeque<Item>,
    sent_bytes: u64,
    ended: bool,
    shared: Arc<Shared>,
}

impl BodySender {
    /// Sends a piece of the body. While pieces wait, small ones are gathered: a body in chunks of a byte
    /// would cost many times what its peer has sent.
    pub(crate) fn data(&mut self, data: Bytes) {
        if let Some(Item::Data(last)) = self.waiting.back_mut()
            && last.len() + data.len() <= GATHERED_BYTES_MAX
        {
            let before = cost(last);
            let mut gathered = copies::appendable(Copied::BodyGathered, std::mem::take(last));
            copies::append(Copied::BodyGathered, &data, &mut gathered);
            *last = gathered.freeze();
            self.sent_bytes += (cost(last) - before) as u64;
            return self.flush();
        }
        self.sent_bytes += cost(&data) as u64;
        self.send(Item::Data(data));
    }

    /// Ends the body, with trailers if there are any.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) {
        if let Some(trailers) = trailers {
            self.send(Item::Trailers(trailers));
        }
        self.ended = true;
        self.send(Item::End);
    }

    /// Ends the body with an error.
    pub(crate) fn fail(&mut self, error: BodyError) {
        self.ended = true;
        self.send(Item::Failed(error));
    }

    /// Bytes that may still be sent before the reader has to take some; when there are none, the
    /// signal is raised once it has.
    pub(crate) fn room(&mut self, window: usize) -> usize {
        let unread = |taken: u64| self.sent_bytes.saturating_sub(taken) as usize;
        let room = window.saturating_sub(unread(self.shared.credit.taken()));
        if room > 0 && self.waiting.is_empty() {
            return room;
        }
        window.saturating_sub(unread(self.shared.credit.wait()))
    }

    /// What lies between the peer and the reader, as it counts in the window.
    pub(crate) fn unread_bytes(&self) -> usize {
        self.sent_bytes.saturating_sub(self.shared.credit.taken()) as usize
    }

    /// Moves on what found the ring full; call it after each signal.
    pub(crate) fn flush(&mut self) {
        let mut moved = false;
        while let Some(item) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(item)) = self.items.push(item) {
                self.waiting.push_front(item);
                // The next take raises the signal, unless it came before this announcement.
                self.shared.credit.wait();
                if self.items.is_full() {
                    break;
                }
                continue;
            }
            moved = true;
        }
        if moved {
            self.shared.reader.wake();
        }
    }

    /// Whether the reader has asked for the body.
    pub(crate) fn is_polled(&self) -> bool {
        // Pairs with the swap in `BodyReceiver::poll_frame`.
        self.shared.polled.load(Ordering::Acquire)
    }

    /// Whether nobody will read any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        // Pairs with the store in `BodyReceiver::drop`.
        self.shared.dropped.load(Ordering::Acquire)
    }

    fn send(&mut self, item: Item) {
        self.waiting.push_back(item);
        self.flush();
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if !self.ended {
            // Whatever waits is lost with the connection: the reader sees an incomplete body.
            let _ = self.items.push(Item::Failed(BodyError::Incomplete));
        }
        // Pairs with the load in `BodyReceiver::poll_frame`.
        self.shared.gone.store(true, Ordering::Release);
        self.shared.reader.wake();
    }
}

/// The reader's end.
pub(crate) struct BodyReceiver {
    items: rtrb::Consumer<Item>,
    ended: bool,
    shared: Arc<Shared>,
}

impl BodyReceiver {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if !self.shared.polled.load(Ordering::Relaxed) {
            // Pairs with the load in `BodySender::is_polled`.
            self.shared.polled.store(true, Ordering::Release);
            self.shared.signal.raise();
        }
        if let Some(item) = self.take() {
            return Poll::Ready(item);
        }
        self.shared.reader.register(cx.waker());
        // Looked at before the last take: what the sender pushed before it left is not missed.
        // Pairs with the store in `BodySender::drop`.
        let sender_is_gone = self.shared.gone.load(Ordering::Acquire);
        match self.take() {
            Some(item) => Poll::Ready(item),
            None if sender_is_gone => {
                self.ended = true;
                Poll::Ready(Some(Err(BodyError::Incomplete)))
            }
            None => Poll::Pending,
        }
    }

    fn take(&mut self) -> Option<Option<Result<Frame<Bytes>, BodyError>>> {
        let item = self.items.pop().ok()?;
        let (bytes, answer) = match item {
            Item::Data(data) => (cost(&data), Some(Ok(Frame::data(data)))),
            Item::Trailers(trailers) => (0, Some(Ok(Frame::trailers(trailers)))),
            Item::End => {
                self.ended = true;
                (0, None)
            }
            Item::Failed(error) => {
                self.ended = true;
                (0, Some(Err(error)))
            }
        };
        if self.shared.credit.give(bytes) {
            self.shared.signal.raise();
        }
        Some(answer)
    }
}

impl Drop for BodyReceiver {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Pairs with the load in `BodySender::is_abandoned`.
        self.shared.dropped.store(true, Ordering::Release);
        self.shared.signal.raise();
    }
}

/// For tests here and elsewhere.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::bridge::crowd::Crowd;
    use crate::bridge::inbox::Inbox;
    use crate::slots::Key;
    use crate::sys::EventFd;

    pub(crate) fn pair() -> (BodySender, BodyReceiver) {
        let bell = Arc::new(EventFd::new().unwrap());
        let inbox = Inbox::new(1, bell, Crowd::new(1, 1, 1));
        let key = Key {
            index: 0,
            generation: 0,
        };
        channel(ConnSignal::new(key, inbox), false)
    }
}

#[cfg(all(test, not(zero_loom)))]
mod tests {
    use super::testing::pair;
    use super::*;
    use std::task::Waker;

    #[test]
    fn crumbs_nobody_reads_cost_what_they_are() {
        let (mut sender, mut receiver) = pair();
        let body: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        for byte in &body {
            sender.data(Bytes::copy_from_slice(&[*byte]));
        }
        assert!(sender.waiting.len() <= body.len() / GATHERED_BYTES_MAX + 1);
        assert!(sender.unread_bytes() <= ITEMS * 256 + body.len());
        sender.end(None);
        let mut read = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match receiver.poll_frame(&mut cx) {
                Poll::Ready(Some(frame)) => {
                    read.extend_from_slice(frame.unwrap().data_ref().unwrap())
                }
                Poll::Ready(None) => break,
                Poll::Pending => sender.flush(),
            }
        }
        assert!(read == body);
        assert_eq!(sender.unread_bytes(), 0);
    }

    #[test]
    fn large_pieces_are_handed_on_as_they_are() {
        let (mut sender, mut receiver) = pair();
        let pieces: Vec<Bytes> = (0..100).map(|n| Bytes::from(vec![n; 10_000])).collect();
        for piece in &pieces {
            sender.data(piece.clone());
        }
        let mut cx = Context::from_waker(Waker::noop());
        for piece in &pieces {
            sender.flush();
            let Poll::Ready(Some(Ok(frame))) = receiver.poll_frame(&mut cx) else {
                panic!("a piece is there");
            };
            assert_eq!(frame.data_ref().unwrap().as_ptr(), piece.as_ptr());
        }
        assert_eq!(sender.unread_bytes(), 0);
    }
}
