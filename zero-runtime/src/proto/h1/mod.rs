//! HTTP/1.1 as a server speaks it: the machine, its events, its limits.
//!
//! Owns the protocol; knows no socket, clock, pool or service. `conn` is the machine; `plain`, `parse`,
//! `framing` and `decode` are its ear (`target`, `extension` and `trailer` hold them to the standard),
//! `encode` and `send` its voice; `table` is where a head lies after parsing, and `head` makes a request
//! of it; `late` says what becomes of a peer that was.
//!
//! A request: Head, then Body until its End, then Complete; a broken one is Closed. Its response: Due,
//! then Body, then Complete. When both are complete the connection is Idle again or at its end.

mod conn;
mod decode;
mod encode;
mod error;
mod extension;
mod framing;
mod head;
mod known;
mod late;
mod line;
mod names;
mod parse;
mod plain;
mod scan;
mod send;
mod shapes;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod trailer;
mod trusted;

use std::ops::Range;

use http::HeaderMap;

use crate::config::Conformance;

pub use conn::Conn;
pub use error::{ParseError, RespondError, ShortBody};
pub use head::{HeadMemory, blank_head, fill_head, lend_map};
pub use late::{Late, Overdue, is_too_slow};
pub use line::{Fields, RequestLine};
pub use table::HeadTable;

/// What a connection may ask of the machine; the defaults are the standard's rules and hyper's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct H1Limits {
    /// Whose rules requests are held to. Default: the standard's.
    pub conformance: Conformance,
    /// Bytes of a head, empty lines before it included. A head that is not complete by then is
    /// answered with 431. Default: 417,792.
    pub head_bytes_max: usize,
    /// Lines of a head, the request line not counted; one more is answered with 431. Default: 100.
    pub headers_max: usize,
    /// Bytes of the request target; one more is answered with 414. More than the default is not
    /// possible: `http::Uri` ends there. Default: 65,534.
    pub uri_bytes_max: usize,
    /// The extensions of one body's chunks stay below this many bytes in total. Default: 16 KiB.
    pub chunk_extension_bytes_max: usize,
    /// A trailer section stays below this many bytes. Default: 16 KiB.
    pub trailer_bytes_max: usize,
    /// Lines of a trailer section. Default: 100.
    pub trailers_max: usize,
}

impl Default for H1Limits {
    fn default() -> Self {
        H1Limits {
            conformance: Conformance::Strict,
            head_bytes_max: 8192 + 4096 * 100,
            headers_max: 100,
            uri_bytes_max: 65_534,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 16 * 1024,
            trailers_max: 100,
        }
    }
}

/// What [`Conn::handle_input`] made of the input: an event; [`more`](super::Step::more) if nothing can be made
/// of the rest until more is behind it; [`later`](super::Step::later) if a response is unfinished, or nothing
/// more is read from this peer: the rest is to be presented after [`Conn::after_response`].
pub type Step = super::Step<Event>;

/// What the peer has said. Ranges count from the start of the input given.
#[derive(Debug)]
pub enum Event {
    /// A request begins.
    Head(RequestHead),
    /// A part of its body, never empty.
    Data(Range<usize>),
    /// The body is complete, with trailers; no [`Event::End`] follows.
    Trailers(Box<HeaderMap>),
    /// The body is complete. Not said of a request with [`BodyKind::None`].
    End,
    /// The peer broke the protocol and will not be listened to any more. An error of the head wants
    /// [`Conn::respond_error`]; one of the body ([`ParseError::is_body`]) belongs to the body's
    /// reader, and the response may still be given.
    Error(ParseError),
    /// The peer has ended its side within a body, or behind a request that is not answered. Never said of
    /// input: it is what the protocol makes of [`Conn::handle_eof`].
    PeerEnded(Eof),
}

/// What the machine knows of a request; the rest is in the [`HeadTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Where the head lies, from the method's first byte through the empty line.
    pub range: Range<usize>,
    /// How its body is delimited.
    pub body: BodyKind,
    /// The client waits for `100 Continue`: [`Conn::poll_continue`] once the body is wanted.
    pub expect_continue: bool,
    /// An `Upgrade` field on HTTP/1.1, or the method CONNECT.
    pub upgrade: bool,
}

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// There is none, or its length is zero.
    None,
    /// By `content-length`; never zero.
    Length(u64),
    /// By the chunked coding.
    Chunked,
}

impl BodyKind {
    /// The announced length, in bytes.
    #[inline]
    pub fn length(self) -> Option<u64> {
        match self {
            BodyKind::Length(bytes) => Some(bytes),
            BodyKind::None | BodyKind::Chunked => None,
        }
    }
}

/// What the body of a response says of its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is nothing to send: the body had ended before its head was written.
    ///
    /// Unlike `Known(0)`, this overrules a `content-length` of the application, except to HEAD.
    Empty,
    /// This many bytes.
    Known(u64),
    /// The body's end will tell.
    Unknown,
}

/// How the body of a response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendBody {
    /// Not at all: the response is complete, its body is not to be polled.
    Nothing,
    /// Exactly this many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection closes.
    UntilClose,
}

/// Whether the response takes more data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendMore {
    /// It does, or [`Conn::finish`] ends it.
    More,
    /// It is complete; the body is not to be polled again.
    Complete,
}

/// Where the peer's end of stream fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eof {
    /// Between requests: a clean close.
    Idle,
    /// Within a head: close without a word.
    MidHead,
    /// Within a body: an error for its reader; the response may still be given.
    MidBody,
    /// Behind a complete request whose response is not done.
    AfterRequest,
}

/// How a connection goes on once its response is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// With the next request.
    Keep,
    /// The rest of the request body is in the way. Abandon it if it has no reader, present what has
    /// arrived, and ask again; or close. hyper tries once.
    Drain,
    /// It does not: close after the last byte is sent. See [`Conn::is_upgraded`].
    Close,
}
