//! Finds a head in the input and notes where its parts lie. Knows syntax; knows nothing of meaning.

use std::mem::MaybeUninit;

use super::table::{HeadTable, Line, Span};
use super::{H1Limits, ParseError, plain};

/// Up to here an incomplete head is parsed again whenever more of it has come, so that an error shows
/// at once; beyond, only when its end may have come, so that a dripping client costs no more.
const REPARSE_BYTES_MAX: usize = 4096;

/// Heads of up to this many lines need no memory beside the stack.
const STACK_LINES: usize = 128;

/// `http` knows no longer names.
const NAME_BYTES_MAX: usize = u16::MAX as usize;

/// HTTP/2 opens with this; as a request line it is a bad version.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Scratch<'b> = MaybeUninit<httparse::Header<'b>>;

/// What became of the search for a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The table describes it.
    Head,
    /// There is more to come.
    Partial,
}

/// How much of `input` is empty lines before a head.
//= https://www.rfc-editor.org/rfc/rfc9112#section-2.2
//# In the interest of robustness, a server that is expecting to receive
//# and parse a request-line SHOULD ignore at least one empty line (CRLF)
//# received prior to the request-line.
#[inline]
pub(super) fn empty_lines(input: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match input[at..] {
            [b'\n', ..] => at += 1,
            [b'\r', b'\n', ..] => at += 2,
            _ => return at,
        }
    }
}

/// Looks for a head at the start of `input`, of which the first `seen` bytes hold no complete one.
///
/// `input` ends at the limit of a head's size, if `at_limit`.
#[inline]
pub(super) fn find_head(
    limits: &H1Limits,
    input: &[u8],
    seen: usize,
    at_limit: bool,
    table: &mut HeadTable,
) -> Result<Found, ParseError> {
    if seen > 0 && input.len() > REPARSE_BYTES_MAX && !at_limit && !may_end(input, seen) {
        return Ok(Found::Partial);
    }
    if plain::read(limits, input, table) {
        return Ok(Found::Head);
    }
    judge(limits, input, at_limit, table)
}

/// Has the last word on what is not [`plain`], or not whole.
#[inline(never)]
pub(super) fn judge(
    limits: &H1Limits,
    input: &[u8],
    at_limit: bool,
    table: &mut HeadTable,
) -> Result<Found, ParseError> {
    match parse(limits, input, table) {
        Ok(Found::Head) => Ok(Found::Head),
        Ok(Found::Partial) if at_limit => Err(ParseError::HeadTooLarge),
        Ok(Found::Partial) => Ok(Found::Partial),
        Err(error) => refine(error, input),
    }
}

/// Whether a head may end behind the first `seen` bytes: a line feed, and an empty line behind it.
fn may_end(input: &[u8], seen: usize) -> bool {
    // The line feed before the empty line may have been seen.
    let from = seen.saturating_sub(2);
    input[from..].windows(2).enumerate().any(|(at, pair)| {
        pair == b"\n\n" || (pair == b"\n\r" && input.get(from + at + 2) == Some(&b'\n'))
    })
}

/// HTTP/2's preface is told from other bad versions, once all of it has come.
#[cold]
fn refine(error: ParseError, input: &[u8]) -> Result<Found, ParseError> {
    if input.starts_with(HTTP2_PREFACE) {
        return Err(ParseError::Http2);
    }
    if HTTP2_PREFACE.starts_with(input) {
        return Ok(Found::Partial);
    }
    Err(error)
}

fn parse(limits: &H1Limits, input: &[u8], table: &mut HeadTable) -> Result<Found, ParseError> {
    let lines_max = limits.headers_max.min(table.lines_max);
    if lines_max <= STACK_LINES {
        let mut scratch: [Scratch<'_>; STACK_LINES] =
            [const { MaybeUninit::uninit() }; STACK_LINES];
        parse_into(limits, input, &mut scratch[..lines_max], table)
    } else {
        let mut scratch: Vec<Scratch<'_>> = Vec::new();
        scratch.resize_with(lines_max, MaybeUninit::uninit);
        parse_into(limits, input, &mut scratch, table)
    }
}

fn parse_into<'b>(
    limits: &H1Limits,
    input: &'b [u8],
    scratch: &mut [Scratch<'b>],
    table: &mut HeadTable,
) -> Result<Found, ParseError> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(input, scratch) {
        Ok(httparse::Status::Complete(head_bytes)) => {
            note(limits, input, head_bytes, &request, table)?;
            Ok(Found::Head)
        }
        Ok(httparse::Status::Partial) => Ok(Found::Partial),
        Err(error) => Err(classify(error, request.method.is_some())),
    }
}

/// Notes where the parts of a complete head lie.
fn note(
    limits: &H1Limits,
    input: &[u8],
    head_bytes: usize,
    request: &httparse::Request<'_, '_>,
    table: &mut HeadTable,
) -> Result<(), ParseError> {
    let method = request.method.unwrap_or_default();
    let target = request.path.unwrap_or_default();
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3
    //# A server that receives a request-target longer than any URI it wishes
    //# to parse MUST respond with a 414 (URI Too Long) status code.
    if target.len() > limits.uri_bytes_max {
        return Err(ParseError::TargetTooLong);
    }
    let span = |part: &[u8]| Span {
        start: offset(input, part),
        bytes: part.len() as u32,
    };
    debug_assert_eq!(offset(input, method.as_bytes()), 0);
    table.method_bytes = method.len() as u32;
    table.target = span(target.as_bytes());
    table.is_uri = false;
    table.has_fragment = target.contains('#');
    table.is_http_11 = request.version == Some(1);
    table.head_bytes = head_bytes as u32;
    table.lines.clear();
    for header in request.headers.iter() {
        if header.name.len() > NAME_BYTES_MAX {
            return Err(ParseError::HeadTooLarge);
        }
        table.lines.push(Line {
            name_start: offset(input, header.name.as_bytes()),
            name_bytes: header.name.len() as u16,
            hidden: false,
            value: span(header.value),
        });
    }
    Ok(())
}

/// Where `part`, a slice of `input`, begins in it. Heads are shorter than 4 GiB.
fn offset(input: &[u8], part: &[u8]) -> u32 {
    if part.is_empty() {
        // It may lie anywhere.
        return 0;
    }
    let offset = part.as_ptr().addr() - input.as_ptr().addr();
    debug_assert!(offset + part.len() <= input.len());
    offset as u32
}

#[cold]
fn classify(error: httparse::Error, has_method: bool) -> ParseError {
    match error {
        httparse::Error::Token if !has_method => ParseError::Method,
        httparse::Error::Token => ParseError::Target,
        httparse::Error::Version => ParseError::Version,
        //= https://www.rfc-editor.org/rfc/rfc6585#section-5
        //# The 431 status code indicates that the server is unwilling to process
        //# the request because its header fields are too large.
        httparse::Error::TooManyHeaders => ParseError::HeadTooLarge,
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Status => ParseError::Header,
    }
}
