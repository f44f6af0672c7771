//! Reads responses from the bytes of a connection as they come, and holds each against what is known of it.
//!
//! Does no IO. Most responses equal the one that was learned, but for the date: those cost two comparisons
//! of the head and one of a short body. Any other is parsed.

use std::fmt;
use std::ops::Range;

/// Bodies up to this length are compared in every response, longer ones in a connection's first.
const ALWAYS_COMPARED_BYTES: usize = 4096;
/// A head longer than this is an error.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A head with more fields than this is an error.
const FIELDS_MAX: usize = 100;

/// What is known of the answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    status: u16,
    /// The head as it came, to recognise it by; empty when every head is to be parsed.
    head: Vec<u8>,
    /// Where in the head the date's value stands, which is not compared.
    date: Range<usize>,
    /// Whether the head states the body's length, so that what follows it is the body as it is.
    has_length: bool,
    body: Body,
    /// Whether the request was a HEAD, whose answer has a length and no body.
    is_head: bool,
}

/// What is known of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Body {
    /// Every byte.
    Bytes(Vec<u8>),
    /// Its length: two answers to one request differed in the rest.
    Length(u64),
    /// Nothing: two answers differed in length too.
    Any,
}

/// A response that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mismatch {
    /// Another status; the expected and the found one.
    Status(u16, u16),
    /// Another length of the body, in bytes; the expected and the found one.
    Length(u64, u64),
    /// Another body, from this byte on.
    Body(u64),
    /// Not HTTP, or nothing that is understood here.
    Malformed(&'static str),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Status(expected, found) => write!(f, "status {found}, not {expected}"),
            Mismatch::Length(expected, found) => write!(f, "{found} bytes of body, not {expected}"),
            Mismatch::Body(at) => write!(f, "another body from byte {at} on"),
            Mismatch::Malformed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Mismatch {}

/// A response as a whole, as it came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// The status line and the fields, with the empty line that ends them.
    pub head: Vec<u8>,
    /// The body, any chunking taken off.
    pub body: Vec<u8>,
    /// The status.
    pub status: u16,
    /// Whether the head stated the length of the body.
    pub has_length: bool,
}

impl Reference {
    /// What two answers to the same request have in common.
    ///
    /// # Errors
    /// When their statuses differ.
    pub fn learn(first: Response, second: &Response, is_head: bool) -> Result<Self, Mismatch> {
        if first.status != second.status {
            return Err(Mismatch::Status(first.status, second.status));
        }
        let date = date_value(&first.head);
        let body = if first.body == second.body {
            Body::Bytes(first.body)
        } else if first.body.len() == second.body.len() {
            Body::Length(first.body.len() as u64)
        } else {
            Body::Any
        };
        let is_steady = matches!(body, Body::Bytes(_))
            && same_but(&first.head, &second.head, &date)
            && first.has_length;
        Ok(Reference {
            status: first.status,
            head: if is_steady { first.head } else { Vec::new() },
            date,
            has_length: first.has_length,
            body,
            is_head,
        })
    }

    /// The expected status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Length of the expected body in bytes, when it is known.
    pub fn body_bytes(&self) -> Option<u64> {
        match &self.body {
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Length(length) => Some(*length),
            Body::Any => None,
        }
    }

    fn recognises(&self, input: &[u8]) -> bool {
        !self.head.is_empty()
            && input.len() >= self.head.len()
            && same_but(&self.head, &input[..self.head.len()], &self.date)
    }

    fn check_part(&self, at: u64, part: &[u8]) -> Result<(), Mismatch> {
        let Body::Bytes(expected) = &self.body else {
            return Ok(());
        };
        let from = at as usize;
        match expected.get(from..from + part.len()) {
            None => Err(Mismatch::Length(
                expected.len() as u64,
                at + part.len() as u64,
            )),
            Some(expected) if expected == part => Ok(()),
            Some(expected) => {
                let same = expected.iter().zip(part).take_while(|(a, b)| a == b);
                Err(Mismatch::Body(at + same.count() as u64))
            }
        }
    }

    fn check_length(&self, found: u64) -> Result<(), Mismatch> {
        match self.body_bytes() {
            Some(expected) if expected != found => Err(Mismatch::Length(expected, found)),
            _ => Ok(()),
        }
    }

    fn is_short(&self) -> bool {
        matches!(&self.body, Body::Bytes(bytes) if bytes.len() <= ALWAYS_COMPARED_BYTES)
    }
}

/// Where a reader is in its response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    /// So many bytes of the body are still to come.
    Length(u64),
    ChunkSize(u64),
    ChunkExtension(u64),
    ChunkData(u64),
    ChunkEnd,
    /// In the fields after the last chunk; whether the current line has anything in it.
    Trailer(bool),
    UntilEnd,
}

/// Reads one response after the other.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// What has come of a head that is not complete.
    head: Vec<u8>,
    /// Bytes of the body that have come.
    body_bytes: u64,
    /// Whether a whole response was read: from then on long bodies are not compared.
    is_warm: bool,
    /// Keeps what it reads, for whoever wants to learn it.
    kept: Option<Box<Response>>,
    /// Whether what is kept answers a HEAD.
    is_head: bool,
}

/// What a reader made of its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// All of it was used and the response goes on.
    More,
    /// The response ended after so many bytes of it.
    Done(usize),
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            state: State::Head,
            head: Vec::new(),
            body_bytes: 0,
            is_warm: false,
            kept: None,
            is_head: false,
        }
    }
}

impl Reader {
    /// A reader that keeps its next response, to a HEAD or another request; see
    /// [`into_kept`](Self::into_kept).
    pub fn keeping(is_head: bool) -> Self {
        Reader {
            kept: Some(Box::default()),
            is_head,
            ..Reader::default()
        }
    }

    /// The response that was read last.
    pub fn into_kept(self) -> Response {
        self.kept.map(|kept| *kept).unwrap_or_default()
    }

    /// Whether bytes of a response have come and others have not.
    pub fn is_within(&self) -> bool {
        self.state != State::Head || !self.head.is_empty()
    }

    /// How many bytes of the current response's body have come, any chunking taken off.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Reads on in a response that `reference` describes; without one nothing is compared.
    ///
    /// # Errors
    /// When the response is not what it should be. The reader is of no use after that.
    pub fn read(&mut self, input: &[u8], reference: Option<&Reference>) -> Result<Step, Mismatch> {
        let mut at = 0;
        if !self.is_within()
            && self.kept.is_none()
            && let Some(reference) = reference
            && reference.recognises(input)
        {
            at = reference.head.len();
            if reference.is_head {
                return Ok(self.done(at));
            }
            self.state = State::Length(reference.body_bytes().unwrap_or(0));
        }
        loop {
            if self.state == State::Length(0) {
                return self.finish(reference).map(|()| self.done(at));
            }
            let rest = &input[at..];
            if rest.is_empty() {
                return Ok(Step::More);
            }
            at += match self.state {
                State::Head => self.read_head(rest, reference)?,
                State::Length(left) => {
                    let n = self.take_body(rest, left, reference)?;
                    self.state = State::Length(left - n as u64);
                    n
                }
                State::UntilEnd => self.take_body(rest, u64::MAX, reference)?,
                _ => self.read_chunked(rest, reference)?,
            };
        }
    }

    /// Says that the peer sends no more: the end of a response that states no length.
    ///
    /// # Errors
    /// When a response was cut off by it, or is not what it should be.
    pub fn end(&mut self, reference: Option<&Reference>) -> Result<bool, Mismatch> {
        match self.state {
            State::UntilEnd => {
                self.finish(reference)?;
                self.done(0);
                Ok(true)
            }
            _ if self.is_within() => Err(Mismatch::Malformed("the connection ended in a response")),
            _ => Ok(false),
        }
    }

    fn done(&mut self, at: usize) -> Step {
        self.state = State::Head;
        self.body_bytes = 0;
        self.is_warm = true;
        Step::Done(at)
    }

    fn finish(&self, reference: Option<&Reference>) -> Result<(), Mismatch> {
        match reference {
            Some(reference) if !reference.is_head => reference.check_length(self.body_bytes),
            _ => Ok(()),
        }
    }

    fn take_body(
        &mut self,
        rest: &[u8],
        left: u64,
        reference: Option<&Reference>,
    ) -> Result<usize, Mismatch> {
        let part = &rest[..rest.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        if let Some(reference) = reference
            && (!self.is_warm || reference.is_short())
        {
            reference.check_part(self.body_bytes, part)?;
        }
        if let Some(kept) = &mut self.kept {
            kept.body.extend_from_slice(part);
        }
        self.body_bytes += part.len() as u64;
        Ok(part.len())
    }

    /// Reads on in a head; how many bytes of `rest` belong to it.
    fn read_head(&mut self, rest: &[u8], reference: Option<&Reference>) -> Result<usize, Mismatch> {
        let before = self.head.len();
        self.head.extend_from_slice(rest);
        let from = before.saturating_sub(3);
        let end = self.head[from..].windows(4).position(|w| w == b"\r\n\r\n");
        let Some(end) = end else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(Mismatch::Malformed("a head without end"));
            }
            return Ok(rest.len());
        };
        self.head.truncate(from + end + 4);
        let used = self.head.len() - before;
        let head = std::mem::take(&mut self.head);
        self.enter_body(&head, reference)?;
        Ok(used)
    }

    fn enter_body(&mut self, head: &[u8], reference: Option<&Reference>) -> Result<(), Mismatch> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed
            .parse(head)
            .map_err(|_| Mismatch::Malformed("a malformed head"))?;
        let status = parsed.code.unwrap_or(0);
        if let Some(reference) = reference
            && reference.status != status
        {
            return Err(Mismatch::Status(reference.status, status));
        }
        let field = |name: &str| {
            let found = parsed.headers.iter();
            let found = found.filter(|field| field.name.eq_ignore_ascii_case(name));
            found.map(|field| field.value).next()
        };
        let length = field("content-length").map(|value| {
            str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim().parse().ok())
        });
        let is_chunked = field("transfer-encoding")
            .is_some_and(|value| value.to_ascii_lowercase().ends_with(b"chunked"));
        let is_bodiless = matches!(status, 100..200 | 204 | 304)
            || self.is_head
            || reference.is_some_and(|reference| reference.is_head);
        self.state = match length {
            _ if is_bodiless => State::Length(0),
            _ if is_chunked => State::ChunkSize(0),
            Some(Some(length)) => State::Length(length),
            Some(None) => return Err(Mismatch::Malformed("an invalid Content-Length")),
            None => State::UntilEnd,
        };
        if let Some(kept) = &mut self.kept {
            kept.status = status;
            kept.has_length = matches!(length, Some(Some(_))) && !is_chunked;
            kept.head = head.to_vec();
            kept.body.clear();
        }
        Ok(())
    }

    /// Reads on in a chunked body; how many bytes of `rest` were used.
    fn read_chunked(
        &mut self,
        rest: &[u8],
        reference: Option<&Reference>,
    ) -> Result<usize, Mismatch> {
        let byte = rest[0];
        self.state = match (self.state, byte) {
            (State::ChunkData(left), _) => {
                let n = self.take_body(rest, left, reference)?;
                self.state = match left - n as u64 {
                    0 => State::ChunkEnd,
                    left => State::ChunkData(left),
                };
                return Ok(n);
            }
            (State::ChunkSize(size), _) if byte.is_ascii_hexdigit() && size >> 56 == 0 => {
                let digit = (byte as char).to_digit(16).expect("checked");
                State::ChunkSize(size << 4 | u64::from(digit))
            }
            (State::ChunkSize(0) | State::ChunkExtension(0), b'\n') => State::Trailer(false),
            (State::ChunkSize(size) | State::ChunkExtension(size), b'\n') => State::ChunkData(size),
            (State::ChunkSize(size) | State::ChunkExtension(size), _) => {
                State::ChunkExtension(size)
            }
            (State::ChunkEnd, b'\r') => State::ChunkEnd,
            (State::ChunkEnd, b'\n') => State::ChunkSize(0),
            (State::Trailer(false), b'\n') => State::Length(0),
            (State::Trailer(true), b'\n') => State::Trailer(false),
            (State::Trailer(any), b'\r') => State::Trailer(any),
            (State::Trailer(_), _) => State::Trailer(true),
            _ => return Err(Mismatch::Malformed("malformed chunks")),
        };
        Ok(1)
    }
}

/// Whether two heads are equal outside of `date`.
fn same_but(known: &[u8], found: &[u8], date: &Range<usize>) -> bool {
    known.len() == found.len()
        && known[..date.start] == found[..date.start]
        && known[date.end..] == found[date.end..]
}

/// Where the value of `Date` stands in a head; an empty range at its end when there is none.
pub fn date_value(head: &[u8]) -> Range<usize> {
    let mut at = 0;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        if line.len() > 5 && line[..5].eq_ignore_ascii_case(b"date:") {
            let from = at + 5 + line[5..].iter().take_while(|&&byte| byte == b' ').count();
            return from..(at + line.trim_ascii_end().len()).max(from);
        }
        at += line.len();
    }
    head.len()..head.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\ndate: Sat, 21 Nov 2026 05:17:33 GMT\r\n\r\nabc";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nt: v\r\n\r\n";

    fn read_all(
        text: &str,
        piece: usize,
        reference: Option<&Reference>,
    ) -> Result<Response, Mismatch> {
        let mut reader = match reference {
            None => Reader::keeping(false),
            Some(_) => Reader::default(),
        };
        let mut done = false;
        for part in text.as_bytes().chunks(piece) {
            assert!(!done, "ended before its end");
            match reader.read(part, reference)? {
                Step::More => {}
                Step::Done(used) => {
                    assert_eq!(used, part.len());
                    done = true;
                }
            }
        }
        if !done {
            assert!(reader.end(reference)?);
        }
        Ok(reader.into_kept())
    }

    fn learn(text: &str) -> Reference {
        let response = read_all(text, text.len(), None).expect("well-formed");
        Reference::learn(response.clone(), &response, false).expect("equal")
    }

    #[test]
    fn a_response_is_read_however_it_is_cut() {
        let until_end = "HTTP/1.0 200 OK\r\n\r\nabc";
        for text in [PLAIN, CHUNKED, until_end] {
            for piece in 1..=text.len() {
                let response = read_all(text, piece, None).expect("well-formed");
                assert_eq!(response.body, b"abc", "{text:?} in pieces of {piece}");
                read_all(text, piece, Some(&learn(text))).expect("as learned");
            }
        }
    }

    #[test]
    fn responses_behind_one_another_are_told_apart() {
        let two = PLAIN.repeat(2);
        let reference = learn(PLAIN);
        let mut reader = Reader::default();
        let first = reader.read(two.as_bytes(), Some(&reference));
        assert_eq!(first, Ok(Step::Done(PLAIN.len())));
        let second = reader.read(&two.as_bytes()[PLAIN.len()..], Some(&reference));
        assert_eq!(second, Ok(Step::Done(PLAIN.len())));
    }

    #[test]
    fn another_date_is_no_difference_and_all_else_is() {
        let reference = learn(PLAIN);
        let later = PLAIN.replace("33 GMT", "34 GMT");
        assert!(reference.recognises(later.as_bytes()));
        let cases = [
            (PLAIN.replace("200", "500"), Mismatch::Status(200, 500)),
            (PLAIN.replace("abc", "abX"), Mismatch::Body(2)),
            (
                PLAIN.replace("3\r\n", "2\r\n").replace("abc", "ab"),
                Mismatch::Length(3, 2),
            ),
        ];
        for (text, expected) in cases {
            for piece in [1, text.len()] {
                let found = read_all(&text, piece, Some(&reference));
                assert_eq!(found, Err(expected.clone()), "{text:?}");
            }
        }
    }

    #[test]
    fn what_differs_between_two_answers_is_not_held_against_a_third() {
        let first = read_all(PLAIN, 99, None).expect("well-formed");
        let second = read_all(&PLAIN.replace("abc", "abd"), 99, None).expect("well-formed");
        let reference = Reference::learn(first, &second, false).expect("same status");
        read_all(&PLAIN.replace("abc", "xyz"), 99, Some(&reference)).expect("the length is right");
        let longer = PLAIN.replace("3\r\n", "4\r\n").replace("abc", "abcd");
        assert_eq!(
            read_all(&longer, 99, Some(&reference)),
            Err(Mismatch::Length(3, 4))
        );
    }

    #[test]
    fn a_response_that_is_cut_off_is_an_error() {
        let mut reader = Reader::default();
        assert_eq!(reader.read(&PLAIN.as_bytes()[..40], None), Ok(Step::More));
        assert!(reader.end(None).is_err());
    }
}
