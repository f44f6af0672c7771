//! Makes an `http::Request` of a head, sharing the head's bytes. Knows `http`'s types; knows nothing
//! of connections.

use std::ops::Range;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Uri, request};

use super::ParseError;
use super::names::NameTable;
use super::table::HeadTable;
use super::trusted;

/// A request's head with nothing in it, to be filled.
#[inline]
pub fn blank_head() -> request::Parts {
    Request::new(()).into_parts().0
}

/// Fills `parts` with the head that `table` describes; `head` is that head's bytes, all of them.
///
/// The target and the header values are slices of `head`, but for values that everybody sends, which
/// are static; names come from `names`. Nothing is copied, and nothing allocated that `parts.headers`
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
    names: &mut NameTable,
    parts: &mut request::Parts,
) -> Result<(), ParseError> {
    debug_assert_eq!(head.len(), table.head_bytes(), "exactly the head");
    debug_assert!(parts.headers.is_empty());
    parts.method = method(table.method(&head)).ok_or(ParseError::Method)?;
    parts.version = table.version();
    let headers = &mut parts.headers;
    if headers.capacity() < table.lines.len() {
        headers
            .try_reserve(table.lines.len())
            .map_err(|_| ParseError::HeadTooLarge)?;
    }
    for line in table.shown() {
        let (name, known) = names.get(line.name(&head))?;
        let value = match known.value(line.value.of(&head)) {
            Some(value) => value,
            None => trusted::header_value(&head, line.value.range()).ok_or(ParseError::Header)?,
        };
        headers
            .try_append(name, value)
            .map_err(|_| ParseError::HeadTooLarge)?;
    }
    // Last, so that the target takes over the handle the values were shared from.
    let target = narrow(head, table.target.range());
    match Uri::from_maybe_shared(target) {
        Ok(uri) => put_in_blank(&mut parts.uri, uri),
        Err(_) => return Err(ParseError::Target),
    }
    Ok(())
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
