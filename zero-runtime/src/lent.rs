//! A socket as whoever is lent it sees it: to be written to, now or not at all. Owns nothing; knows the clocks
//! that what is written needs.

use std::io;
use std::os::fd::RawFd;

use crate::sys;
use crate::time::{Clock, process_ns};

/// A connection's socket in the hands of somebody other than its owner, who sees to it that it stays open
/// for as long as it may be written to (`shard/loan`).
pub enum LentSocket {
    /// A socket of the kernel's.
    Descriptor(RawFd),
    /// One of a simulated kernel's.
    #[cfg(test)]
    Simulated(Box<dyn Simulated>),
}

/// What a simulation puts in the place of a socket.
#[cfg(test)]
pub trait Simulated: Send {
    /// As [`LentSocket::send`].
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// As [`LentSocket::now`].
    fn now(&self) -> WrittenAt;
    /// As [`LentSocket::is_mistaken`].
    fn is_mistaken(&mut self) -> bool {
        false
    }
}

/// When something is written.
#[derive(Clone, Copy, Debug)]
pub struct WrittenAt {
    /// On the clock that all threads share, in nanoseconds.
    pub common_ns: u64,
    /// Seconds since the Unix epoch, for `date`.
    pub unix_s: u64,
}

impl LentSocket {
    /// Sends as much of `bytes` as the socket takes at once; never blocks.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when it takes nothing now.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            LentSocket::Descriptor(fd) => sys::send_now(*fd, bytes),
            #[cfg(test)]
            LentSocket::Simulated(socket) => socket.send(bytes),
        }
    }

    /// Whether who holds this is to take its shard for asleep whatever there is to see, as who looks a moment
    /// too early or too late does: a simulation has this happen more often.
    pub fn is_mistaken(&mut self) -> bool {
        match self {
            LentSocket::Descriptor(_) => false,
            #[cfg(test)]
            LentSocket::Simulated(socket) => socket.is_mistaken(),
        }
    }

    /// The present instant, by a clock of the calling thread's.
    pub fn now(&self, clock: &Clock) -> WrittenAt {
        match self {
            LentSocket::Descriptor(_) => WrittenAt {
                common_ns: process_ns(),
                unix_s: clock.now().unix_s,
            },
            #[cfg(test)]
            LentSocket::Simulated(socket) => socket.now(),
        }
    }
}
