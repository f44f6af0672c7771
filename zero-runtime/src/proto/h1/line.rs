//! A parsed head, read again where it lies: the request line's parts and its fields, without a table.
//!
//! Knows the syntax of a head that the machine has accepted; judges nothing but the target's bytes.

use http::Version;

use super::scan::Class;
use super::trusted;

/// Where the parts of a request line lie, counted from the head's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine {
    pub(super) method_bytes: u32,
    pub(super) target_start: u32,
    /// At most 65,534: `H1Limits::uri_bytes_max`.
    pub(super) target_bytes: u16,
    pub(super) is_http_11: bool,
    /// The target is known to have nothing in it but [`URI`].
    pub(super) is_uri: bool,
}

impl RequestLine {
    /// The line `METHOD TARGET VERSION`, with one space between.
    pub fn of(method_bytes: usize, target_bytes: u16, version: Version) -> Self {
        RequestLine {
            method_bytes: method_bytes as u32,
            target_start: method_bytes as u32 + 1,
            target_bytes,
            is_http_11: version != Version::HTTP_10,
            is_uri: false,
        }
    }

    /// The method, as it was sent.
    #[inline]
    pub fn method(self, head: &[u8]) -> &str {
        match &head[..self.method_bytes as usize] {
            b"GET" => "GET",
            b"POST" => "POST",
            method => text(method),
        }
    }

    /// Whether the method is HEAD.
    #[inline]
    pub fn is_head(self, head: &[u8]) -> bool {
        head[..self.method_bytes as usize] == *b"HEAD"
    }

    /// The request target, as it was sent.
    #[inline]
    pub fn target(self, head: &[u8]) -> &[u8] {
        let start = self.target_start as usize;
        &head[start..start + usize::from(self.target_bytes)]
    }

    /// The target's path: `*` of the asterisk form, nothing of CONNECT's authority.
    #[inline]
    pub fn path(self, head: &[u8]) -> &str {
        let start = self.target_start as usize;
        let range = start..start + usize::from(self.target_bytes);
        match trusted::path(head, range) {
            Some(path) if path.starts_with('/') => path,
            _ => self.other_path(head),
        }
    }

    #[inline(never)]
    fn other_path(self, head: &[u8]) -> &str {
        let target = text(self.target(head));
        match target.as_bytes().first() {
            Some(b'/') => &target[..path_end(target)],
            _ => self.odd_path(target),
        }
    }

    #[cold]
    fn odd_path(self, target: &str) -> &str {
        match (target, origin(target)) {
            ("*", _) => "*",
            // Neither a path nor a URI: the authority of a CONNECT.
            (_, None) => "",
            (_, Some(origin)) => match &origin[..path_end(origin)] {
                "" => "/",
                path => path,
            },
        }
    }

    /// What follows the target's question mark, if there is one.
    #[inline]
    pub fn query(self, head: &[u8]) -> Option<&str> {
        let target = text(self.target(head));
        let end = path_end(target);
        target.get(end + 1..)
    }

    /// The version of the request.
    #[inline]
    pub fn version(self) -> Version {
        match self.is_http_11 {
            true => Version::HTTP_11,
            false => Version::HTTP_10,
        }
    }
}

/// What the machine has accepted as a method or a target is ASCII, or was refused as UTF-8.
#[inline]
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

/// A target has no fragment: a path ends at its question mark or with the target.
#[inline]
fn path_end(target: &str) -> usize {
    memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len())
}

/// What follows `scheme://authority`.
fn origin(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(&rest[end..])
}

/// What `http` takes in a path and in a query; a path ends at its `?`.
pub(super) const URI: Class = Class {
    has_letters: true,
    ranges: [(b'$', b';'), (b'=', b'='), (b'?', b'_')],
};

impl RequestLine {
    /// Whether `http::Uri` takes the target for a path and a query.
    ///
    /// Wider than the standard's grammar, as `http` is: requests of either kind are refused alike.
    #[inline]
    pub fn has_valid_target(self, head: &[u8]) -> bool {
        self.is_uri || is_valid_target(self.target(head))
    }
}

fn is_valid_target(target: &[u8]) -> bool {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => target.split_at(at),
        None => (target, &[][..]),
    };
    let is_ascii = path
        .iter()
        .all(|&byte| CLASSES[usize::from(byte)] & IN_PATH != 0)
        && query
            .iter()
            .all(|&byte| CLASSES[usize::from(byte)] & IN_QUERY != 0);
    is_ascii || is_valid_text(path, query)
}

#[cold]
fn is_valid_text(path: &[u8], query: &[u8]) -> bool {
    let is_in = |bytes: &[u8], class: u8| {
        let is_valid = |&byte: &u8| byte >= 0x80 || CLASSES[usize::from(byte)] & class != 0;
        bytes.iter().all(is_valid) && str::from_utf8(bytes).is_ok()
    };
    is_in(path, IN_PATH) && is_in(query, IN_QUERY)
}

const IN_PATH: u8 = 1;
const IN_QUERY: u8 = 2;

/// The ASCII bytes that `http` takes in a path, and in a query.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        classes[byte] = match byte as u8 {
            b'#' | b'<' | b'>' => 0,
            b'"' => IN_PATH,
            b'?' | b'`' => IN_QUERY,
            _ => IN_PATH | IN_QUERY,
        };
        byte += 1;
    }
    classes
};

/// The fields of a head, in their order, as they were sent.
#[derive(Debug, Clone)]
pub struct Fields<'h> {
    rest: &'h [u8],
}

impl<'h> Fields<'h> {
    /// Of a whole head, its request line and its empty line included.
    #[inline]
    pub fn of(head: &'h [u8]) -> Self {
        let end = memchr::memchr(b'\n', head).map_or(head.len(), |at| at + 1);
        Fields { rest: &head[end..] }
    }

    /// The first value of the field `name`, in any case.
    #[inline]
    pub fn get(self, name: &str) -> Option<&'h [u8]> {
        let mut rest = self.rest;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            if line.len() > name.len()
                && line[name.len()] == b':'
                && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
            {
                return Some(trim(&line[name.len() + 1..]));
            }
            rest = &rest[end + 1..];
        }
        None
    }
}

impl<'h> Iterator for Fields<'h> {
    type Item = (&'h str, &'h [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at(end);
        let colon = memchr::memchr(b':', line)?;
        self.rest = &rest[1..];
        Some((text(&line[..colon]), trim(&line[colon + 1..])))
    }
}

//= https://www.rfc-editor.org/rfc/rfc9112#section-5.1
//# A field line value might be preceded and/or followed by optional whitespace
#[inline]
fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let start = value.iter().position(|byte| !is_blank(byte));
    let end = value.iter().rposition(|byte| !is_blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => &value[start..=end],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::super::{Conn, Event, H1Limits, HeadTable};
    use super::*;
    use crate::proto::step;

    fn line(head: &str) -> RequestLine {
        let mut table = HeadTable::new(100);
        let step = Conn::new().handle_input(&H1Limits::default(), head.as_bytes(), &mut table);
        assert!(
            matches!(step.next, step::Next::Event(Event::Head(_))),
            "{head:?}: {step:?}"
        );
        table.line()
    }

    #[test]
    fn path_and_query_are_as_uri_has_them() {
        for target in [
            "/",
            "/a/b",
            "/a?b=c",
            "/?",
            "/a?b?c",
            "*",
            "http://h/a?b",
            "http://h",
            "http://h?q",
            "http://h:80/",
        ] {
            let method = if target == "*" { "OPTIONS" } else { "GET" };
            let host = if target.contains(":80") { "h:80" } else { "h" };
            let head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            let line = line(&head);
            let uri: Uri = target.parse().unwrap();
            assert_eq!(line.method(head.as_bytes()), method);
            assert_eq!(line.path(head.as_bytes()), uri.path(), "{target}");
            assert_eq!(line.query(head.as_bytes()), uri.query(), "{target}");
        }
    }

    #[test]
    fn the_target_of_connect_has_no_path() {
        let head = "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n";
        assert_eq!(line(head).path(head.as_bytes()), "");
        assert_eq!(line(head).target(head.as_bytes()), b"h:1");
    }

    #[test]
    fn targets_are_judged_as_uri_judges_them() {
        for before in ["/", "/a", "/a?", "/a?b"] {
            for byte in (0x21..=0xff).filter(|&byte| byte != b'#') {
                for behind in ["", "c"] {
                    let target = [before.as_bytes(), &[byte], behind.as_bytes()].concat();
                    let uri = Uri::try_from(&target[..]);
                    let shown = String::from_utf8_lossy(&target);
                    assert_eq!(is_valid_target(&target), uri.is_ok(), "{shown} {byte:x}");
                    let line = RequestLine::of(3, target.len() as u16, Version::HTTP_11);
                    let head = [b"GET ", &target[..], b" HTTP/1.1\r\n\r\n"].concat();
                    assert_eq!(
                        line.has_valid_target(&head),
                        uri.is_ok(),
                        "{shown} {byte:x}"
                    );
                }
            }
        }
        for text in ["/\u{e9}", "/a?\u{1f980}", "/\u{e9}?\u{e9}/"] {
            assert!(is_valid_target(text.as_bytes()));
            assert!(Uri::try_from(text).is_ok());
        }
    }

    #[test]
    fn fields_are_found_in_any_case_and_trimmed() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nX-A:\t 1 2 \r\nx-a: 3\r\nempty:\r\n\r\n";
        let fields = Fields::of(head);
        assert_eq!(fields.clone().get("x-A"), Some(&b"1 2"[..]));
        assert_eq!(fields.clone().get("HOST"), Some(&b"h"[..]));
        assert_eq!(fields.clone().get("empty"), Some(&b""[..]));
        assert_eq!(fields.clone().get("x"), None);
        assert_eq!(fields.clone().get(""), None);
        let all: Vec<_> = fields.collect();
        let expected: [(&str, &[u8]); 4] = [
            ("Host", b"h"),
            ("X-A", b"1 2"),
            ("x-a", b"3"),
            ("empty", b""),
        ];
        assert_eq!(all, expected);
    }
}
