//! Why something could not be done on a raw shard: told to the owner of the loop, who can act on it.

use std::error::Error;
use std::fmt;
use std::io;

use bytes::Bytes;

/// Why nothing was written to a stream.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamError {
    /// The connection is gone, is closing or not connected yet, or is no stream.
    NotOpen,
    /// Its write side has ended.
    Ended,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StreamError::NotOpen => "the connection is not an open stream",
            StreamError::Ended => "the stream's write side has ended",
        })
    }
}

impl Error for StreamError {}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::NotOpen => io::ErrorKind::NotConnected,
            StreamError::Ended => io::ErrorKind::BrokenPipe,
        };
        io::Error::new(kind, error)
    }
}

/// Why bytes were not sent, and the bytes.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The peer has not taken what was sent before.
    NoRoom(Bytes),
    /// Nothing can be sent.
    Stream(StreamError, Bytes),
}

impl SendError {
    /// The bytes.
    pub fn into_bytes(self) -> Bytes {
        match self {
            SendError::NoRoom(bytes) | SendError::Stream(_, bytes) => bytes,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::NoRoom(_) => f.write_str("the peer has not taken what was sent before"),
            SendError::Stream(why, _) => why.fmt(f),
        }
    }
}

impl Error for SendError {}

/// Why an event's bytes were not taken out. They are where they were.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DetachError {
    /// The last event had none, or they were let go.
    NoData,
    /// They are more than a slot holds: `Config::recv_buffer_bytes`.
    TooLong,
    /// All slots are out: there are `Config::recv_buffers`.
    Exhausted,
}

impl fmt::Display for DetachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DetachError::NoData => "the last event has no data, or it was let go",
            DetachError::TooLong => {
                "the event's data is longer than a slot; raise Config::recv_buffer_bytes"
            }
            DetachError::Exhausted => {
                "all slots are in use; drop some, or raise Config::recv_buffers"
            }
        })
    }
}

impl Error for DetachError {}

impl From<DetachError> for io::Error {
    fn from(error: DetachError) -> Self {
        let kind = match error {
            DetachError::NoData => io::ErrorKind::NotFound,
            DetachError::TooLong => io::ErrorKind::InvalidInput,
            DetachError::Exhausted => io::ErrorKind::OutOfMemory,
        };
        io::Error::new(kind, error)
    }
}
