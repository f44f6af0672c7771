//! Makes an `http::Request` of a head, sharing the head's bytes. Knows `http`'s types; knows nothing
//! of connections.

use std::ops::Range;

use bytes::{Buf, Bytes};
use http::{Method, Request, Uri, request};

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
/// The target and the header values are slices of `head`, names come from `names`; nothing is copied,
/// and nothing allocated that `parts.headers` has room for. `parts` is blank; the capacity of its
/// header map is used. It is filled where it lies, because a head is large and moving it is dear.
///
/// # Errors
/// What `http` cannot express, notably a target that is no URI: to be answered with
/// [`Conn::respond_error`](super::Conn::respond_error).
#[inline]
pub fn fill_head(
    head: Bytes,
    table: &HeadTable,
    names: &mut NameTable,
    parts: &mut request::Parts,
) -> Result<(), ParseError> {
    debug_assert_eq!(head.len(), table.head_bytes(), "exactly the head");
    debug_assert!(parts.headers.is_empty());
    parts.method = Method::from_bytes(table.method(&head)).map_err(|_| ParseError::Method)?;
    parts.version = table.version();
    let headers = &mut parts.headers;
    headers
        .try_reserve(table.lines.len())
        .map_err(|_| ParseError::HeadTooLarge)?;
    for line in table.shown() {
        let name = names.get(line.name(&head))?;
        let value = trusted::header_value(&head, line.value.range()).ok_or(ParseError::Header)?;
        headers
            .try_append(name, value)
            .map_err(|_| ParseError::HeadTooLarge)?;
    }
    // Last, so that the target takes over the handle the values were shared from.
    let target = narrow(head, table.target.range());
    parts.uri = Uri::from_maybe_shared(target).map_err(|_| ParseError::Target)?;
    Ok(())
}

/// `bytes.slice(range)` without counting one more handle and one less.
#[inline]
fn narrow(mut bytes: Bytes, range: Range<usize>) -> Bytes {
    bytes.truncate(range.end);
    bytes.advance(range.start);
    bytes
}
