//! One connection of the generator: what it waits for, and what it has read of it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::plan::Reply;
use super::response::{Mismatch, Reader, Step};
use crate::ring::PayloadId;

/// A request that was sent, or is due, and has not been answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    /// Which exchange.
    pub exchange: usize,
    /// When it was sent, or was due, in nanoseconds.
    pub since_ns: u64,
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No socket, or a dead one.
    Closed,
    /// On its way.
    Connecting,
    /// Waits for the answer to what opens it.
    Opening,
    /// Carries exchanges.
    Open,
    /// Had its one exchange; the server closes it.
    Finishing,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub phase: Phase,
    socket: Option<OwnedFd>,
    reader: Reader,
    /// Bytes of a raw reply that have come.
    raw_at: usize,
    /// Bytes of messages of a stream that have been counted.
    counted_bytes: u64,
    pub awaited: VecDeque<Awaited>,
    /// What is being sent and how much of it the kernel has taken.
    pub sending: Option<(PayloadId, usize)>,
    /// Whether a receive is with the kernel.
    pub is_receiving: bool,
}

impl Conn {
    pub fn closed() -> Self {
        Conn {
            phase: Phase::Closed,
            socket: None,
            reader: Reader::default(),
            raw_at: 0,
            counted_bytes: 0,
            awaited: VecDeque::with_capacity(1),
            sending: None,
            is_receiving: false,
        }
    }

    /// Starts anew on `socket`.
    pub fn reset(&mut self, socket: OwnedFd, phase: Phase) {
        *self = Conn {
            awaited: std::mem::take(&mut self.awaited),
            phase,
            socket: Some(socket),
            ..Conn::closed()
        };
    }

    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    pub fn close(&mut self) {
        self.socket = None;
        self.phase = Phase::Closed;
    }

    /// Reads on in the answer to what opened the connection.
    pub fn read_opening(&mut self, input: &[u8]) -> Result<Step, Mismatch> {
        let step = self.reader.read(input, None)?;
        if let Step::Done(_) = step {
            self.reader = Reader::default();
        }
        Ok(step)
    }

    /// Reads on in `reply`. Of messages without end, every one that is complete ends a step.
    pub fn read(&mut self, input: &[u8], reply: &Reply) -> Result<Step, Mismatch> {
        match reply {
            Reply::Http(reference) => self.reader.read(input, Some(reference)),
            Reply::Bytes(expected) => self.read_raw(input, expected),
            Reply::Messages(_) => match self.reader.read(input, None)? {
                Step::More => Ok(Step::More),
                Step::Done(_) => Err(Mismatch::Malformed("a stream without end ended")),
            },
        }
    }

    /// How many messages of `message_bytes` have come since this was asked last.
    pub fn new_messages(&mut self, message_bytes: usize) -> u64 {
        let new = (self.reader.body_bytes() - self.counted_bytes) / message_bytes as u64;
        self.counted_bytes += new * message_bytes as u64;
        new
    }

    fn read_raw(&mut self, input: &[u8], expected: &[u8]) -> Result<Step, Mismatch> {
        let left = &expected[self.raw_at..];
        let n = input.len().min(left.len());
        if input[..n] != left[..n] {
            let same = input.iter().zip(left).take_while(|(a, b)| a == b);
            return Err(Mismatch::Body((self.raw_at + same.count()) as u64));
        }
        self.raw_at += n;
        if self.raw_at < expected.len() {
            return Ok(Step::More);
        }
        self.raw_at = 0;
        Ok(Step::Done(n))
    }

    /// The peer sends no more; whether that ended an answer.
    pub fn end(&mut self, reply: Option<&Reply>) -> Result<bool, Mismatch> {
        match reply {
            Some(Reply::Http(reference)) => self.reader.end(Some(reference)),
            _ => Ok(false),
        }
    }
}
