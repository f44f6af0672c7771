//! [`Wire`]: one connection as its protocol sees it.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use crate::bridge::inbox::ConnSignal;
use crate::pool::copies::{self, Copied};
use crate::pool::spares::Spares;
use crate::pool::write_buf::{Mark, WriteBuf};
use crate::time::Now;

/// How far a protocol wants its connection ended. Later ones include earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Ending {
    /// Not at all.
    Not,
    /// What is written goes out, then the write side ends; reading goes on.
    Write,
    /// What is written goes out, then the connection closes.
    Graceful,
    /// At once.
    Now,
}

/// What a protocol has asked of its shard, to be done once it has returned.
pub(crate) struct Asked {
    pub(crate) ending: Ending,
    /// What is staged may have changed.
    pub(crate) has_written: bool,
    pub(crate) looks_again: bool,
    pub(crate) before_send: bool,
    pub(crate) wants_room: bool,
    pub(crate) timed_out: bool,
    /// Whether receiving is to pause, or to go on.
    pub(crate) pauses: Option<bool>,
    /// When to be called, in nanoseconds of the shard's clock.
    pub(crate) timeout_at_ns: Option<u64>,
}

impl Asked {
    pub(crate) const NOTHING: Asked = Asked {
        ending: Ending::Not,
        has_written: false,
        looks_again: false,
        before_send: false,
        wants_room: false,
        timed_out: false,
        pauses: None,
        timeout_at_ns: None,
    };
}

/// One connection, lent to its protocol for the length of a call: what is written here is sent at the end
/// of the turn, what is asked for is done once the call has returned.
pub struct Wire<'a> {
    /// What waits to be sent; there is a buffer once something was.
    pub(crate) staged: &'a mut Option<Box<WriteBuf>>,
    pub(crate) spares: &'a mut Spares,
    /// Where in `staged` the present response begins, until any of it is sent.
    pub(crate) begun: &'a mut Option<Mark>,
    /// Bytes of the send in flight.
    pub(crate) sending_bytes: usize,
    pub(crate) window_bytes: usize,
    pub(crate) now: Now,
    pub(crate) can_write: bool,
    pub(crate) asked: &'a mut Asked,
    pub(crate) signal: &'a dyn Fn() -> Arc<ConnSignal>,
}

impl Wire<'_> {
    /// What is unsent, to be written behind, and where in it the present response begins.
    #[inline]
    pub(crate) fn staged(&mut self) -> (&mut WriteBuf, &mut Option<Mark>) {
        self.asked.has_written = true;
        let staged = self.staged.get_or_insert_with(|| self.spares.take());
        (staged, self.begun)
    }

    /// Copies the beginning of `bytes` behind what is unsent, as far as there is room; returns how much.
    ///
    /// When that is not all of it, `handle_room` is called as soon as there is room again. Takes nothing
    /// once the write side has ended.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = self.room_bytes().min(bytes.len());
        if taken < bytes.len() {
            self.asked.wants_room = true;
        }
        if taken > 0 {
            copies::append(Copied::Written, &bytes[..taken], self.staged().0);
        }
        taken
    }

    /// Sends `bytes` from where they lie if there are more than 4,096 of them, behind a copy otherwise.
    ///
    /// All or nothing: while there is any room all of them are taken, whatever their number.
    ///
    /// # Errors
    /// The bytes, when there is no room: `handle_room` is called when there is; or when the write side has
    /// ended.
    pub fn write_bytes(&mut self, bytes: Bytes) -> Result<(), Bytes> {
        if self.room_bytes() == 0 {
            self.asked.wants_room = true;
            return Err(bytes);
        }
        self.staged().0.put_bytes(bytes);
        Ok(())
    }

    /// How many bytes are written and not yet taken by the kernel.
    pub fn unsent_bytes(&self) -> usize {
        self.sending_bytes + self.staged.as_ref().map_or(0, |staged| staged.len())
    }

    /// How many more bytes may be written: what `Config::response_window_bytes` (256 KiB unless set) leaves.
    pub fn room_bytes(&self) -> usize {
        match self.can_write {
            true => self.window_bytes.saturating_sub(self.unsent_bytes()),
            false => 0,
        }
    }

    /// Whether the write side is open.
    pub fn is_writable(&self) -> bool {
        self.can_write
    }

    /// Calls `handle_room` once at most half of the window is unsent, if it is more now.
    pub fn notify_room(&mut self) {
        self.asked.wants_room = true;
    }

    /// Calls `handle_timeout` after this time, in place of what was set before; `None` not at all.
    pub fn set_timeout(&mut self, after: Option<Duration>) {
        let at_ns = after.map_or(u64::MAX, |after| self.now.deadline(after));
        self.asked.timeout_at_ns = Some(at_ns);
    }

    /// The shard's monotonic clock, as of the beginning of this turn.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now.mono_ns)
    }

    /// Presents what was left of the input once more.
    pub fn look_again(&mut self) {
        self.asked.looks_again = true;
    }

    /// Calls `handle_flush` before the turn's sends leave.
    pub fn before_send(&mut self) {
        self.asked.before_send = true;
    }

    /// Stops receiving, or goes on with it. What the kernel had received already is still presented.
    pub fn pause(&mut self, is_paused: bool) {
        self.asked.pauses = Some(is_paused);
    }

    /// What makes the shard call `handle_wake`, from any thread. Allocates once for a connection.
    pub fn waker(&self) -> Waker {
        Waker::from((self.signal)())
    }

    /// Ends the write side behind what is written; what the peer sends is still read.
    pub fn end_write(&mut self) {
        self.end(Ending::Write);
    }

    /// Closes behind what is written: nothing more is presented, the write side ends, what still arrives is
    /// swallowed for `Config::linger_timeout`, so that no reset destroys what was sent.
    pub fn close_graceful(&mut self) {
        self.end(Ending::Graceful);
    }

    /// Closes at once; what is unsent is dropped, and a peer whose bytes were not read sees a reset.
    pub fn close(&mut self) {
        self.end(Ending::Now);
    }

    /// Says that it is its peer's being late that ends the connection: `handle_closed` is then told
    /// [`DisconnectReason::TimedOut`](super::DisconnectReason::TimedOut). Ends nothing by itself.
    pub fn note_timed_out(&mut self) {
        self.asked.timed_out = true;
    }

    fn end(&mut self, ending: Ending) {
        self.asked.ending = self.asked.ending.max(ending);
        self.can_write = false;
    }
}
