//! Makes an `http::Request` of a head, sharing the head's bytes. Knows `http`'s types; knows nothing
//! of connections.

use std::ops::Range;

use bytes::{Buf, Bytes};
use http::uri::{InvalidUri, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, request};

use super::ParseError;
use super::known::Known;
use super::names::NameTable;
use super::shapes::Shapes;
use super::table::{HeadTable, Line};
use super::trusted;

/// A request's head with nothing in it, to be filled.
#[inline]
pub fn blank_head() -> request::Parts {
    Request::new(()).into_parts().0
}

/// What earlier heads have taught a shard: names, and the orders they come in. Bounded.
#[derive(Debug)]
pub struct HeadMemory {
    names: NameTable,
    shapes: Shapes,
}

impl HeadMemory {
    /// Remembers nothing yet.
    pub fn new() -> Self {
        HeadMemory {
            names: NameTable::new(),
            shapes: Shapes::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn shapes(&self) -> &Shapes {
        &self.shapes
    }
}

impl Default for HeadMemory {
    fn default() -> Self {
        HeadMemory::new()
    }
}

/// Fills `parts` with the head that `table` describes; `head` is that head's bytes, all of them.
///
/// The target and the header values are slices of `head`, but for values that everybody sends, which
/// are static; names come from `memory`. Nothing is copied, and nothing allocated that `parts.headers`
/// has room for. `parts` is blank; the capacity of its
/// header map is used. It is filled where it lies, because a head is large and moving it is dear.
///
/// # Errors
/// What `http` cannot express, notably a target that is no URI: to be answered with
/// [`Conn::respond_error`](super::Conn::respond_error).
#[inline(never)]
pub fn fill_head(
    head: Bytes,
    table: &HeadTable,
    memory: &mut HeadMemory,
    parts: &mut request::Parts,
) -> Result<(), ParseError> {
    debug_assert_eq!(head.len(), table.head_bytes(), "exactly the head");
    debug_assert!(parts.headers.is_empty());
    parts.method = method(table.method(&head)).ok_or(ParseError::Method)?;
    parts.version = table.version();
    fill_map(&head, table, memory, &mut parts.headers)?;
    // Last, so that the target takes over the handle the values were shared from.
    let target = narrow(head, table.target.range());
    put_target(&mut parts.uri, target).map_err(|_| ParseError::Target)
}

/// Gives a blank head its target: what `Uri::from_maybe_shared` makes of it, without asking of a path
/// whether it is anything else.
#[inline(always)]
fn put_target(place: &mut Uri, target: Bytes) -> Result<(), InvalidUri> {
    match target[..] {
        // It has this one.
        [b'/'] => debug_assert_eq!(place, "/"),
        [b'/', ..] => put_in_blank(place, PathAndQuery::from_maybe_shared(target)?.into()),
        _ => put_in_blank(place, Uri::from_maybe_shared(target)?),
    }
    Ok(())
}

/// A map that has room is filled field by field. One that has not would have to grow: in its place comes
/// the clone of one that was made for such a head before.
#[inline]
fn fill_map(
    head: &Bytes,
    table: &HeadTable,
    memory: &mut HeadMemory,
    map: &mut HeaderMap,
) -> Result<(), ParseError> {
    let HeadMemory { names, shapes } = memory;
    let has_room = map.capacity() >= table.lines.len();
    if !has_room {
        if let Some(filled) = shapes.map(head, table) {
            *map = filled;
            return Ok(());
        }
        map.try_reserve(table.lines.len())
            .map_err(|_| ParseError::HeadTooLarge)?;
    }
    for line in table.shown() {
        let (name, known) = names.get(line.name(head))?;
        let value = match known.value(line.value.of(head)) {
            Some(value) => value.clone(),
            None => trusted::header_value(head, line.value.range()).ok_or(ParseError::Header)?,
        };
        map.try_append(name, value)
            .map_err(|_| ParseError::HeadTooLarge)?;
    }
    if !has_room {
        shapes.learn(head, table, names, map);
    }
    Ok(())
}

/// Gives a line's value its place, in which is nothing yet: one that everybody sends, or a slice of the head.
/// `None` if there can be no such value.
///
/// Each is made where it is to be: a value whose last byte has just been written is slow to move.
#[inline(always)]
pub(super) fn put_value(
    place: &mut HeaderValue,
    head: &Bytes,
    line: Line,
    known: &Known,
) -> Option<()> {
    match known.value(line.value.of(head)) {
        Some(value) => put_in_blank(place, value.clone()),
        None => put_in_blank(place, trusted::header_value(head, line.value.range())?),
    }
    Some(())
}

/// Gives a blank head a map to fill: an empty one, for its capacity.
#[inline]
pub fn lend_map(parts: &mut request::Parts, map: HeaderMap) {
    debug_assert!(map.is_empty() && parts.headers.capacity() == 0);
    put_in_blank(&mut parts.headers, map);
}

/// Puts `value` where something blank is, which owns nothing: dropping it would only be a way to find
/// that out.
#[inline]
fn put_in_blank<T>(place: &mut T, value: T) {
    std::mem::forget(std::mem::replace(place, value));
}

/// The methods that are used most, told without a call.
#[inline]
fn method(bytes: &[u8]) -> Option<Method> {
    match bytes {
        b"GET" => Some(Method::GET),
        b"POST" => Some(Method::POST),
        _ => Method::from_bytes(bytes).ok(),
    }
}

/// `bytes.slice(range)` without counting one more handle and one less.
#[inline]
fn narrow(mut bytes: Bytes, range: Range<usize>) -> Bytes {
    bytes.truncate(range.end);
    bytes.advance(range.start);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_what_uri_makes_of_them() {
        let texts = [
            "/",
            "/a",
            "//",
            "/?",
            "/a?b=c",
            "/?a",
            "*",
            "a",
            "a:1",
            "http://h",
            "http://h/a?b",
            "/\u{e9}",
            "/ ",
            "/<",
            "/a#b",
            "",
            "h:x",
            "/\"",
        ];
        for text in texts {
            let mut parts = blank_head();
            let put = put_target(&mut parts.uri, Bytes::from_static(text.as_bytes()));
            let uri = Uri::from_maybe_shared(Bytes::from_static(text.as_bytes()));
            assert_eq!(put.is_ok(), uri.is_ok(), "{text}");
            if let Ok(uri) = uri {
                assert_eq!(parts.uri, uri);
                assert_eq!(parts.uri.query(), uri.query(), "{text}");
            }
        }
    }
}
