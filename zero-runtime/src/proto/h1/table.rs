//! Where the parts of one head lie. Owns offsets; borrows the bytes only to answer a question.

use http::Version;

use super::line::RequestLine;

/// A part of a head, counted from the head's first byte.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) bytes: u32,
}

impl Span {
    #[inline]
    pub(super) fn of(self, head: &[u8]) -> &[u8] {
        &head[self.range()]
    }

    #[inline]
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.bytes as usize
    }
}

/// One header line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) name_start: u32,
    /// A name is at most 65,535 bytes long: `http` knows no longer ones.
    pub(super) name_bytes: u16,
    /// Not for the application: overruled by another line, or its duplicate.
    pub(super) hidden: bool,
    pub(super) value: Span,
}

impl Line {
    #[inline]
    pub(super) fn name(self, head: &[u8]) -> &[u8] {
        &head[self.name_start as usize..self.name_start as usize + usize::from(self.name_bytes)]
    }
}

/// The offsets of one head, reused for every head of a shard; nothing is allocated after it is made.
///
/// It describes the head of the last [`Event::Head`](super::Event::Head) until the next input is
/// handled, and shows the lines that an application is to see: without a `content-length` that
/// `transfer-encoding` overrules, and without its equal duplicates.
#[derive(Debug)]
pub struct HeadTable {
    pub(super) method_bytes: u32,
    pub(super) target: Span,
    /// Nothing is in the target but what `http::Uri` takes in a path and in a query. If false, it is
    /// still to be looked at.
    pub(super) is_uri: bool,
    /// There is a `#` in the target.
    pub(super) has_fragment: bool,
    pub(super) is_http_11: bool,
    pub(super) head_bytes: u32,
    /// At most `lines_max`, which is also its capacity.
    pub(super) lines: Vec<Line>,
    pub(super) lines_max: usize,
}

impl HeadTable {
    /// Makes a table for heads of at most `headers_max` lines.
    pub fn new(headers_max: usize) -> Self {
        HeadTable {
            method_bytes: 0,
            target: Span::default(),
            is_uri: false,
            has_fragment: false,
            is_http_11: false,
            head_bytes: 0,
            lines: Vec::with_capacity(headers_max),
            lines_max: headers_max,
        }
    }

    /// The head's length, its empty line included.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes as usize
    }

    /// The method, out of the head's bytes.
    pub fn method<'h>(&self, head: &'h [u8]) -> &'h [u8] {
        &head[..self.method_bytes as usize]
    }

    /// The request target as it was sent, out of the head's bytes.
    #[allow(dead_code, reason = "for requests that borrow from their head")]
    pub fn target<'h>(&self, head: &'h [u8]) -> &'h [u8] {
        self.target.of(head)
    }

    /// Where the parts of the request line lie.
    #[inline]
    pub fn line(&self) -> RequestLine {
        RequestLine {
            method_bytes: self.method_bytes,
            target_start: self.target.start,
            target_bytes: self.target.bytes as u16,
            is_http_11: self.is_http_11,
            is_uri: self.is_uri,
        }
    }

    /// The version of the request.
    pub fn version(&self) -> Version {
        if self.is_http_11 {
            Version::HTTP_11
        } else {
            Version::HTTP_10
        }
    }

    /// The header lines in their order: names as they were sent, and values.
    #[allow(dead_code, reason = "for requests that borrow from their head")]
    pub fn headers<'h>(&self, head: &'h [u8]) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
        self.shown()
            .map(move |line| (line.name(head), line.value.of(head)))
    }

    /// The first value of a header; `name` in any case.
    #[allow(dead_code, reason = "for requests that borrow from their head")]
    pub fn header<'h>(&self, head: &'h [u8], name: &str) -> Option<&'h [u8]> {
        self.shown()
            .find(|line| {
                usize::from(line.name_bytes) == name.len()
                    && line.name(head).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|line| line.value.of(head))
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = Line> {
        self.lines.iter().copied().filter(|line| !line.hidden)
    }
}
