//! What a shard lends to a call that it leaves: all that whoever completes it needs to answer its client
//! itself, past a shard that sleeps.
//!
//! Which of the two writes is for the [`Loan`](super::handshake::Loan) between them to say.

use std::io;
use std::sync::Arc;

use crate::lent::LentSocket;
use crate::limits::SPARE_BUF_BYTES_MAX;
use crate::message::{ReasonPhrase, Whole};
use crate::pool::copies::{self, Copied};
use crate::pool::write_buf::WriteBuf;
use crate::proto::date::DateCache;
use crate::proto::h1;
use crate::stats::ShardCounters;
use crate::time::Clock;

/// A connection's next response, to be written by somebody else.
pub(crate) struct Lent {
    socket: LentSocket,
    /// Writes what the shard's own would.
    machine: h1::Conn,
    reason_phrase: ReasonPhrase,
    counters: Arc<ShardCounters>,
}

/// What became of it. The response is counted, and what of it was sent.
pub(crate) struct Written {
    /// As it is behind the response.
    pub(crate) machine: h1::Conn,
    pub(crate) outcome: Outcome,
    /// When, in nanoseconds of the clock that all threads share.
    pub(crate) common_ns: u64,
}

pub(crate) enum Outcome {
    /// All of it was sent.
    Whole,
    /// These bytes were not.
    Part(Box<WriteBuf>),
    /// The connection is of no more use.
    Failed(io::ErrorKind),
}

/// What a thread that answers writes with.
#[derive(Default)]
pub(crate) struct Desk {
    out: WriteBuf,
    date: DateCache,
    clock: Clock,
}

impl Desk {
    /// Makes it ready for the next answer. A buffer that one large head has made large is not kept.
    pub(crate) fn clear(&mut self) {
        match self.out.capacity() <= SPARE_BUF_BYTES_MAX {
            true => self.out.clear(),
            false => self.out = WriteBuf::default(),
        }
    }

    /// Bytes that it keeps room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.out.capacity()
    }
}

impl Lent {
    pub(crate) fn new(
        socket: LentSocket,
        machine: h1::Conn,
        reason_phrase: ReasonPhrase,
        counters: Arc<ShardCounters>,
    ) -> Self {
        Lent {
            socket,
            machine,
            reason_phrase,
            counters,
        }
    }

    /// Whether who holds this takes a shard that is awake for one that sleeps.
    pub(crate) fn is_mistaken(&mut self) -> bool {
        self.socket.is_mistaken()
    }

    /// Encodes a response and sends what the socket takes at once; `None`, and nothing sent, for one that
    /// is better left to the shard: it is faulty, or the last of its connection. The desk is clear before.
    pub(crate) fn answer(&mut self, whole: Whole<'_>, desk: &mut Desk) -> Option<(Outcome, u64)> {
        let Desk { out, date, clock } = desk;
        debug_assert!(out.is_empty());
        let now = self.socket.now(clock);
        date.update(now.unix_s);
        let is_written = whole.write(&mut self.machine, self.reason_phrase, date, out);
        if !is_written || !self.machine.response_complete() || !self.machine.keep_alive() {
            return None;
        }
        let bytes = out.flat()?;
        // Before the client can know of it, and whatever the socket takes: the shard counts it no more.
        self.counters.direct_replies.add_shared(1);
        let sent = match self.socket.send(bytes) {
            Ok(sent) => sent,
            // Nothing was sent and nothing is wrong.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => 0,
            Err(error) => return Some((Outcome::Failed(error.kind()), now.common_ns)),
        };
        self.counters.direct_bytes_out.add_shared(sent as u64);
        let outcome = match &bytes[sent..] {
            [] => Outcome::Whole,
            unsent => Outcome::Part(rest(unsent)),
        };
        Some((outcome, now.common_ns))
    }

    /// Ends the loan behind a response.
    pub(crate) fn written(self, outcome: Outcome, common_ns: u64) -> Written {
        Written {
            machine: self.machine,
            outcome,
            common_ns,
        }
    }
}

#[cold]
fn rest(bytes: &[u8]) -> Box<WriteBuf> {
    let mut rest = Box::new(WriteBuf::with_capacity(bytes.len()));
    copies::append(Copied::Written, bytes, &mut *rest);
    rest
}
