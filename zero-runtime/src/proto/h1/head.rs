//! Makes an `http::Request` of a head, sharing the head's bytes. Knows `http`'s types; knows nothing
//! of connections.

use std::ops::Range;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, Uri};

use super::ParseError;
use super::names::NameTable;
use super::table::HeadTable;
use super::trusted;

/// Makes the request of the head that `table` describes; `head` is that head's bytes, all of them.
///
/// The target and the header values are slices of `head`, names come from `names`; nothing is copied,
/// and nothing allocated that `headers` has room for. `headers` is empty; its capacity is used.
///
/// # Errors
/// What `http` cannot express, notably a target that is no URI: to be answered with
/// [`Conn::respond_error`](super::Conn::respond_error).
#[inline]
pub fn build_request(
    head: Bytes,
    table: &HeadTable,
    headers: HeaderMap,
    names: &mut NameTable,
) -> Result<Request<()>, ParseError> {
    debug_assert_eq!(head.len(), table.head_bytes(), "exactly the head");
    debug_assert!(headers.is_empty());
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(table.method(&head)).map_err(|_| ParseError::Method)?;
    *request.version_mut() = table.version();
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers
        .try_reserve(table.lines.len())
        .map_err(|_| ParseError::HeadTooLarge)?;
    for line in table.shown() {
        let name = names.get(line.name(&head))?;
        let value =
            trusted::header_value(head.slice(line.value.range())).ok_or(ParseError::Header)?;
        headers
            .try_append(name, value)
            .map_err(|_| ParseError::HeadTooLarge)?;
    }
    // Last, so that the target takes over the handle the values were shared from.
    let target = narrow(head, table.target.range());
    *request.uri_mut() = Uri::from_maybe_shared(target).map_err(|_| ParseError::Target)?;
    Ok(request)
}

/// `bytes.slice(range)` without counting one more handle and one less.
#[inline]
fn narrow(mut bytes: Bytes, range: Range<usize>) -> Bytes {
    bytes.truncate(range.end);
    bytes.advance(range.start);
    bytes
}
