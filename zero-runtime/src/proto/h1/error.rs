//! What can go wrong in HTTP/1.1, and what each error puts on the wire. Knows no bytes.

use std::fmt;

use http::StatusCode;

/// How a peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// The request line does not begin with a method.
    Method,
    /// The request target is no URI.
    Target,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// A name, a value or a line end is malformed.
    Header,
    /// `host` is missing, repeated or malformed, or is not the target's.
    Host,
    /// `content-length` is no number, or there are several that differ.
    ContentLength,
    /// `transfer-encoding` does not end in chunked, comes with HTTP/1.0, or, by the standard's rules,
    /// comes twice or with `content-length`.
    TransferEncoding,
    /// `transfer-encoding` names a coding other than chunked.
    TransferCoding,
    /// The head has too many bytes or lines, or announces more than fits in 64 bits.
    HeadTooLarge,
    /// The request target is too long.
    TargetTooLong,
    /// The peer opened with HTTP/2's preface.
    Http2,
    /// A chunk has no valid size line.
    ChunkSize,
    /// A chunk's size exceeds 64 bits.
    ChunkSizeOverflow,
    /// The extensions of the chunks grew too long.
    ChunkExtension,
    /// A chunk's data is not followed by an end of line.
    ChunkEnd,
    /// The trailer section is malformed.
    Trailer,
    /// The trailer section has too many bytes or lines.
    TrailersTooLarge,
}

impl ParseError {
    /// The status that answers it; `None` closes without a word.
    pub const fn status(self) -> Option<StatusCode> {
        match self {
            ParseError::Method
            | ParseError::Target
            | ParseError::Version
            | ParseError::Header
            | ParseError::Host
            | ParseError::ContentLength
            | ParseError::TransferEncoding => Some(StatusCode::BAD_REQUEST),
            ParseError::TransferCoding => Some(StatusCode::NOT_IMPLEMENTED),
            ParseError::HeadTooLarge => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            ParseError::TargetTooLong => Some(StatusCode::URI_TOO_LONG),
            ParseError::Http2
            | ParseError::ChunkSize
            | ParseError::ChunkSizeOverflow
            | ParseError::ChunkExtension
            | ParseError::ChunkEnd
            | ParseError::Trailer
            | ParseError::TrailersTooLarge => None,
        }
    }

    /// Whether it belongs to the reader of the request body: its head was in order.
    #[allow(dead_code, reason = "the machine's own surface; not every shard asks")]
    pub const fn is_body(self) -> bool {
        match self {
            ParseError::Method
            | ParseError::Target
            | ParseError::Version
            | ParseError::Header
            | ParseError::Host
            | ParseError::ContentLength
            | ParseError::TransferEncoding
            | ParseError::TransferCoding
            | ParseError::HeadTooLarge
            | ParseError::TargetTooLong
            | ParseError::Http2 => false,
            ParseError::ChunkSize
            | ParseError::ChunkSizeOverflow
            | ParseError::ChunkExtension
            | ParseError::ChunkEnd
            | ParseError::Trailer
            | ParseError::TrailersTooLarge => true,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseError::Method => "invalid method",
            ParseError::Target => "invalid request target",
            ParseError::Version => "unsupported HTTP version",
            ParseError::Header => "invalid header field",
            ParseError::Host => "missing or invalid host",
            ParseError::ContentLength => "invalid content-length",
            ParseError::TransferEncoding => "invalid transfer-encoding",
            ParseError::TransferCoding => "unknown transfer coding",
            ParseError::HeadTooLarge => "request head too large",
            ParseError::TargetTooLong => "request target too long",
            ParseError::Http2 => "HTTP/2 preface on an HTTP/1 connection",
            ParseError::ChunkSize => "invalid chunk size line",
            ParseError::ChunkSizeOverflow => "chunk size too large",
            ParseError::ChunkExtension => "chunk extensions too long or malformed",
            ParseError::ChunkEnd => "chunk data without its end of line",
            ParseError::Trailer => "invalid trailer section",
            ParseError::TrailersTooLarge => "trailer section too large",
        })
    }
}

impl std::error::Error for ParseError {}

/// Why a response head was not written as asked. The connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RespondError {
    /// A 1xx other than 101: a 500 was written in its place. Send it, then close.
    Informational,
    /// The application's framing fields contradict each other, or have no place in this response:
    /// nothing was written.
    Framing,
    /// The response has a version that HTTP/1 cannot carry: nothing was written.
    Version,
    /// No request waits for a head: nothing was written.
    OutOfTurn,
}

impl fmt::Display for RespondError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RespondError::Informational => "a 1xx status cannot be the response",
            RespondError::Framing => "content-length or transfer-encoding has no place here",
            RespondError::Version => "HTTP/1 cannot carry a response of this version",
            RespondError::OutOfTurn => "no request waits for a response",
        })
    }
}

impl std::error::Error for RespondError {}

/// A body ended before its `content-length`: the peer must see the connection cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortBody {
    /// How much was promised and has not come.
    pub missing_bytes: u64,
}

impl fmt::Display for ShortBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body ended {} bytes early", self.missing_bytes)
    }
}

impl std::error::Error for ShortBody {}
