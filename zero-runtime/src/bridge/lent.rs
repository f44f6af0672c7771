//! What a shard lends to a call that it leaves: all that whoever completes it needs to answer its client
//! itself, past a shard that sleeps.
//!
//! Which of the two writes is for the [`Loan`](super::handshake::Loan) between them to say.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::HeaderMap;

use crate::lent::LentSocket;
use crate::message::{ReasonPhrase, ResponseHead, Whole};
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

/// What became of it.
pub(crate) struct Written {
    /// As it is behind the response.
    pub(crate) machine: h1::Conn,
    /// Empty, to be used again.
    pub(crate) map: Option<HeaderMap>,
    pub(crate) outcome: Outcome,
    /// When, in nanoseconds of the clock that all threads share.
    pub(crate) common_ns: u64,
}

pub(crate) enum Outcome {
    /// All of it was sent, which has been counted.
    Whole,
    /// So many bytes were sent, and these were not.
    Part(usize, Box<WriteBuf>),
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

    /// Encodes a response and sends what the socket takes at once; `None`, and nothing sent, for one that
    /// is better left to the shard: it is faulty, or the last of its connection.
    pub(crate) fn answer(&mut self, whole: Whole<'_>, desk: &mut Desk) -> Option<(Outcome, u64)> {
        let Desk { out, date, clock } = desk;
        out.clear();
        let now = self.socket.now(clock);
        date.update(now.unix_s);
        let is_written = whole.write(&mut self.machine, self.reason_phrase, date, out);
        if !is_written || !self.machine.response_complete() || !self.machine.keep_alive() {
            return None;
        }
        let bytes = out.flat()?;
        // Before the client can know of it.
        self.counters.direct_replies.add_shared(1);
        let outcome = match self.socket.send(bytes) {
            Ok(sent) if sent == bytes.len() => {
                self.counters.direct_bytes_out.add_shared(sent as u64);
                return Some((Outcome::Whole, now.common_ns));
            }
            Ok(sent) => Outcome::Part(sent, rest(&bytes[sent..])),
            Err(error) => match error.raw_os_error() {
                // Nothing was sent and nothing is wrong.
                Some(libc::EAGAIN | libc::EINTR) => Outcome::Part(0, rest(bytes)),
                _ => Outcome::Failed(error.kind()),
            },
        };
        // The shard has a part in it, and counts it.
        self.counters.direct_replies.subtract_shared(1);
        Some((outcome, now.common_ns))
    }

    /// Ends the loan behind a response. Takes what is of use out of its head.
    pub(crate) fn written(
        self,
        head: &mut ResponseHead,
        outcome: Outcome,
        common_ns: u64,
    ) -> Written {
        Written {
            machine: self.machine,
            map: spare_map(head),
            outcome,
            common_ns,
        }
    }
}

/// The map of a head, emptied. Its values may be the application's to drop, whose panic must not make
/// what has been sent unsent.
fn spare_map(head: &mut ResponseHead) -> Option<HeaderMap> {
    let ResponseHead::Http(parts) = head else {
        return None;
    };
    let mut map = std::mem::take(&mut parts.headers);
    let emptied = catch_unwind(AssertUnwindSafe(move || {
        map.clear();
        map
    }));
    emptied.ok()
}

#[cold]
fn rest(bytes: &[u8]) -> Box<WriteBuf> {
    let mut rest = Box::new(WriteBuf::with_capacity(bytes.len()));
    rest.put_slice(bytes);
    rest
}
