//! [`ZeroResponse`]: a status, header lines encoded as they are set, and a body.

mod edit;

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use http::{Response, StatusCode, response};
use http_body::Body;

use super::{ResponseBody, SendBuffer};
use crate::error::BoxError;
use crate::pool::copies::{self, Copied};
use crate::pool::write_buf::COPY_BYTES_MAX;

/// A response for the server's own modes.
///
/// What it is made of is kept by each thread and used again: after warm-up a response allocates nothing, unless its body
/// streams, or is a [`text`](Self::text) or JSON of more than 4,096 bytes, whose memory is sent from where it is, and
/// leaves the pool with it. The server adds `content-length` or `transfer-encoding`, `connection` and `date`.
///
/// `json` is there with the crate's feature `json`, which is not on unless asked for:
/// `zero-runtime = { features = ["json"] }`. Without it, `bytes` or `text` take what another crate has written.
///
/// ```
/// use zero_runtime::{StatusCode, ZeroResponse};
///
/// let hello = ZeroResponse::ok().text("hello");
/// let made = ZeroResponse::status(StatusCode::CREATED).header("location", "/things/7");
/// assert_eq!(made.status_code(), 201);
/// # drop(hello);
/// ```
#[must_use = "a response does nothing until it is returned from a handler"]
pub struct ZeroResponse {
    /// By its pointer, whichever kind of head it has: a response is moved at every step of its way.
    head: Pooled,
    body: ResponseBody,
}

/// The head of a response, of either kind.
pub enum ResponseHead {
    /// `http`'s.
    Http(response::Parts),
    /// Encoded lines, and a small body that goes out behind them.
    Lines(Pooled),
}

impl ResponseHead {
    #[inline]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            ResponseHead::Http(parts) => parts.status,
            ResponseHead::Lines(lines) => lines.status,
        }
    }
}

/// What a response is encoded into.
pub struct Lines {
    pub(crate) status: StatusCode,
    /// Complete header lines; none of them frames the body or the connection.
    pub(crate) lines: Vec<u8>,
    /// There is a `date` among them.
    pub(crate) has_date: bool,
    /// The connection is to close behind the response.
    pub(crate) closes: bool,
    /// All of the body, if it is not empty.
    pub(crate) payload: Vec<u8>,
    has_content_type: bool,
    /// The line that says what the body is, if no header says so.
    default_type: &'static [u8],
    /// A head of `http`'s in place of all of this.
    http: Option<response::Parts>,
}

impl Lines {
    /// Says what the body is, if no header has.
    #[inline]
    fn settle_type(&mut self) {
        if !self.has_content_type {
            self.lines.extend_from_slice(self.default_type);
        }
    }
}

/// Responses that a thread keeps to use again.
const KEPT_MAX: usize = 64;
/// A response that grew beyond this is freed rather than kept.
const KEPT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    #[allow(clippy::vec_box, reason = "a response is handed on at every step of its way")]
    static KEPT: RefCell<Vec<Box<Lines>>> = const { RefCell::new(Vec::new()) };
}

/// Lines that go back to the thread that drops them.
pub struct Pooled(Option<Box<Lines>>);

impl Pooled {
    #[inline]
    fn new(status: StatusCode) -> Self {
        let mut lines = KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(blank);
        lines.status = status;
        Pooled(Some(lines))
    }

    /// An emptied one, if the thread has any, for another thread to keep: whoever sends what others have made
    /// comes to have all of them.
    #[inline]
    pub(crate) fn emptied() -> Self {
        Pooled(KEPT.with_borrow_mut(Vec::pop))
    }
}

#[cold]
fn blank() -> Box<Lines> {
    Box::new(Lines {
        status: StatusCode::OK,
        lines: Vec::with_capacity(256),
        has_date: false,
        closes: false,
        payload: Vec::new(),
        has_content_type: false,
        default_type: b"",
        http: None,
    })
}

impl Deref for Pooled {
    type Target = Lines;

    #[inline]
    fn deref(&self) -> &Lines {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Pooled {
    #[inline]
    fn deref_mut(&mut self) -> &mut Lines {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Pooled {
    #[inline]
    fn drop(&mut self) {
        let Some(mut lines) = self.0.take() else {
            return;
        };
        lines.http = None;
        if lines.lines.capacity().max(lines.payload.capacity()) > KEPT_BYTES_MAX {
            return;
        }
        lines.lines.clear();
        lines.payload.clear();
        lines.has_date = false;
        lines.closes = false;
        lines.has_content_type = false;
        lines.default_type = b"";
        // A thread that is ending keeps nothing more.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(lines);
            }
        });
    }
}

impl ZeroResponse {
    /// A 200 without a body.
    #[inline]
    pub fn ok() -> Self {
        ZeroResponse::status(StatusCode::OK)
    }

    /// A 404 without a body.
    #[inline]
    pub fn not_found() -> Self {
        ZeroResponse::status(StatusCode::NOT_FOUND)
    }

    /// A response of any status, without a body.
    ///
    /// An informational one (1xx) is not a response to a request: the server answers 500 in its place. Neither is
    /// 101: requests of this kind cannot be upgraded, and the connection of a CONNECT that is answered closes.
    #[inline]
    pub fn status(status: StatusCode) -> Self {
        ZeroResponse {
            head: Pooled::new(status),
            body: ResponseBody::EMPTY,
        }
    }

    /// Adds a header; one of the same name stays.
    ///
    /// # Panics
    /// If [`try_header`](Self::try_header) would fail: for names and values that are the program's own.
    #[inline]
    #[track_caller]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        match self.try_header(name, value) {
            Ok(response) => response,
            Err(error) => panic!("header {name:?}: {error}"),
        }
    }

    /// Adds a header that may not be valid, such as one with a part of the request in it.
    ///
    /// # Errors
    /// The name is no token, the value has a control character, or the field is the server's to set:
    /// `content-length`, `transfer-encoding`, `connection`, `keep-alive`, `upgrade`, `te`, `trailer`.
    #[inline]
    pub fn try_header(
        mut self,
        name: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<Self, InvalidHeader> {
        let value = value.as_ref();
        if !is_token(name) {
            return Err(InvalidHeader::Name);
        }
        if !is_value(value) {
            return Err(InvalidHeader::Value);
        }
        if is_servers(name) {
            return Err(InvalidHeader::Framing);
        }
        self.put(name, value)?;
        Ok(self)
    }

    fn put(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidHeader> {
        let lines = &mut *self.head;
        if let Some(parts) = &mut lines.http {
            return append(parts, name, value);
        }
        match name.len() {
            4 => lines.has_date |= name.eq_ignore_ascii_case("date"),
            12 => lines.has_content_type |= name.eq_ignore_ascii_case("content-type"),
            _ => {}
        }
        put_line(&mut lines.lines, name.as_bytes(), value);
        Ok(())
    }

    /// Closes the connection behind the response, and says so in a `connection` field.
    pub fn close(mut self) -> Self {
        let lines = &mut *self.head;
        match &mut lines.http {
            None => lines.closes = true,
            Some(parts) => {
                let close = http::HeaderValue::from_static("close");
                parts.headers.insert(http::header::CONNECTION, close);
            }
        }
        self
    }

    /// A text as the body; `text/plain; charset=utf-8` unless a header says otherwise.
    ///
    /// It is copied: into memory that is used again, up to 4,096 bytes of it; a longer one into memory of its own. A
    /// large text that is a `String` or `Bytes` already is better sent by [`bytes`](Self::bytes), without a copy.
    #[inline]
    pub fn text(self, text: impl AsRef<str>) -> Self {
        let content_type = b"content-type: text/plain; charset=utf-8\r\n";
        self.payload(content_type, text.as_ref().as_bytes())
    }

    /// `value` as JSON; `application/json` unless a header says otherwise.
    ///
    /// It is written to memory as a [`text`](Self::text)'s. A value that cannot be serialised is traced as an error and
    /// answered with 500.
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    pub fn json(mut self, value: &(impl serde::Serialize + ?Sized)) -> Self {
        let lines = self.lines_mut();
        lines.payload.clear();
        if let Err(error) = serde_json::to_writer(&mut lines.payload, value) {
            tracing::error!(%error, "a response could not be serialised");
            return ZeroResponse::status(StatusCode::INTERNAL_SERVER_ERROR);
        }
        lines.default_type = b"content-type: application/json\r\n";
        self.body = ResponseBody::EMPTY;
        self
    }

    /// Bytes as the body, sent from where they are if there are more than 4,096 of them;
    /// `application/octet-stream` unless a header says otherwise.
    pub fn bytes(mut self, bytes: impl Into<Bytes>) -> Self {
        let lines = self.lines_mut();
        lines.payload.clear();
        lines.default_type = b"content-type: application/octet-stream\r\n";
        self.body = ResponseBody::bytes(bytes.into());
        self
    }

    /// What was written to `buffer` as the body; as [`bytes`](Self::bytes).
    pub fn buffer(self, buffer: SendBuffer) -> Self {
        self.bytes(buffer.freeze())
    }

    /// A body that streams: each piece is sent when it comes, and the next asked for when there is
    /// room. Its length is sent if its size hint is exact, else it goes in chunks.
    ///
    /// # What allocates
    /// One box, for `body`. Pieces are sent as they are.
    pub fn stream<B>(mut self, body: B) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.lines_mut().payload.clear();
        self.body = ResponseBody::stream(body);
        self
    }

    /// The status code.
    pub fn status_code(&self) -> StatusCode {
        self.head.status
    }

    #[inline]
    fn payload(mut self, content_type: &'static [u8], payload: &[u8]) -> Self {
        let lines = self.lines_mut();
        lines.payload.clear();
        copies::append(Copied::Text, payload, &mut lines.payload);
        lines.default_type = content_type;
        self.body = ResponseBody::EMPTY;
        self
    }

    /// The lines; a head of `http`'s is encoded first.
    #[inline]
    fn lines_mut(&mut self) -> &mut Lines {
        if self.head.http.is_some() {
            self.encode();
        }
        &mut self.head
    }

    #[cold]
    fn encode(&mut self) {
        let mut encoded = ZeroResponse::status(self.head.status);
        if let Some(parts) = &self.head.http {
            for (name, value) in &parts.headers {
                if !is_servers(name.as_str()) {
                    // Into lines: nothing can be refused that `http` took.
                    let _ = encoded.put(name.as_str(), value.as_bytes());
                }
            }
        }
        std::mem::swap(&mut self.head, &mut encoded.head);
    }

    /// The lines, with all of the body in them if there is one: of a response that is no more than that.
    #[inline]
    pub(crate) fn into_whole(mut self) -> Result<Pooled, Self> {
        let lines = &mut *self.head;
        let is_more =
            lines.http.is_some() || lines.payload.len() > COPY_BYTES_MAX || !self.body.is_empty();
        if is_more {
            return Err(self);
        }
        lines.settle_type();
        Ok(self.head)
    }

    /// The parts that a shard sends.
    #[inline]
    pub(crate) fn into_parts(self) -> (ResponseHead, ResponseBody) {
        let ZeroResponse { mut head, mut body } = self;
        let lines = &mut *head;
        if let Some(parts) = lines.http.take() {
            return (ResponseHead::Http(parts), body);
        }
        lines.settle_type();
        if lines.payload.len() > COPY_BYTES_MAX {
            body = ResponseBody::bytes(std::mem::take(&mut lines.payload).into());
        }
        (ResponseHead::Lines(head), body)
    }
}

/// Adds a header to a head of `http`'s.
#[cold]
fn append(parts: &mut response::Parts, name: &str, value: &[u8]) -> Result<(), InvalidHeader> {
    let name = http::HeaderName::from_bytes(name.as_bytes());
    let value = http::HeaderValue::from_bytes(value);
    let (Ok(name), Ok(value)) = (name, value) else {
        return Err(InvalidHeader::Value);
    };
    let added = parts.headers.try_append(name, value);
    added.map(drop).map_err(|_| InvalidHeader::Name)
}

/// Of any body whose pieces are `Bytes`.
impl<B> From<Response<B>> for ZeroResponse
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn from(response: Response<B>) -> Self {
        let (parts, body) = response.into_parts();
        let mut head = Pooled::new(parts.status);
        head.http = Some(parts);
        ZeroResponse {
            head,
            body: match body.is_end_stream() {
                true => ResponseBody::EMPTY,
                false => ResponseBody::stream(body),
            },
        }
    }
}

/// In `http`'s types, for layers that want them.
impl From<ZeroResponse> for Response<ResponseBody> {
    fn from(response: ZeroResponse) -> Self {
        let (head, body) = response.into_parts();
        let mut lines = match head {
            ResponseHead::Http(parts) => return Response::from_parts(parts, body),
            ResponseHead::Lines(lines) => lines,
        };
        let mut response = Response::new(match lines.payload.is_empty() {
            true => body,
            false => ResponseBody::bytes(std::mem::take(&mut lines.payload).into()),
        });
        *response.status_mut() = lines.status;
        let headers = response.headers_mut();
        for line in lines.lines.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                continue;
            };
            let name = http::HeaderName::from_bytes(&line[..colon]);
            let value = http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        if lines.closes {
            let close = http::HeaderValue::from_static("close");
            headers.insert(http::header::CONNECTION, close);
        }
        response
    }
}

impl fmt::Debug for ZeroResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZeroResponse")
            .field("status", &self.status_code())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHeader {
    /// The name is no token ([RFC 9110 §5.1](https://www.rfc-editor.org/rfc/rfc9110#section-5.1)).
    Name,
    /// The value has a control character: it could end the line and begin another.
    Value,
    /// The field frames the message or the connection, and is the server's to set.
    Framing,
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidHeader::Name => "the name is not a token",
            InvalidHeader::Value => "the value has a control character",
            InvalidHeader::Framing => "the server sets this field itself",
        })
    }
}

impl std::error::Error for InvalidHeader {}

#[inline]
fn put_line(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.reserve(name.len() + value.len() + 4);
    lines.extend_from_slice(name);
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
}

#[inline]
fn is_token(name: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token_byte)
}

#[inline]
fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| (byte >= b' ' && byte != 0x7f) || byte == b'\t')
}

#[inline]
fn is_servers(name: &str) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case("te"),
        7 => name.eq_ignore_ascii_case("upgrade") || name.eq_ignore_ascii_case("trailer"),
        10 => name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive"),
        14 => name.eq_ignore_ascii_case("content-length"),
        17 => name.eq_ignore_ascii_case("transfer-encoding"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(response: ZeroResponse) -> String {
        match response.into_parts().0 {
            ResponseHead::Lines(lines) => String::from_utf8(lines.lines.clone()).unwrap(),
            ResponseHead::Http(parts) => panic!("{parts:?}"),
        }
    }

    #[test]
    fn a_body_brings_its_type_unless_a_header_says_it() {
        let text = ZeroResponse::ok().text("hi");
        assert_eq!(lines(text), "content-type: text/plain; charset=utf-8\r\n");
        let html = ZeroResponse::ok()
            .text("hi")
            .header("Content-Type", "text/html");
        assert_eq!(lines(html), "Content-Type: text/html\r\n");
        assert_eq!(lines(ZeroResponse::not_found()), "");
        let bytes = ZeroResponse::ok().text("hi").bytes(&b"hi"[..]);
        assert_eq!(lines(bytes), "content-type: application/octet-stream\r\n");
    }

    #[test]
    fn nothing_of_one_response_is_seen_in_the_next() {
        let first = ZeroResponse::ok()
            .text("secret")
            .header("date", "now")
            .close();
        drop(first);
        let (ResponseHead::Lines(next), _) = ZeroResponse::ok().into_parts() else {
            panic!("not lines");
        };
        assert!(next.lines.is_empty() && next.payload.is_empty());
        assert!(!next.has_date && !next.closes && !next.has_content_type);
    }

    #[test]
    fn an_emptied_response_is_used_again_by_the_thread_that_is_given_it() {
        // In threads of its own, whose pools nobody else has a share in.
        let made_and_used = std::thread::spawn(|| {
            assert!(Pooled::emptied().0.is_none());
            let made = ZeroResponse::ok().text("hi").close();
            let at = |response: &ZeroResponse| std::ptr::from_ref(&*response.head).addr();
            let made_at = at(&made);
            drop(made);
            let emptied = Pooled::emptied();
            let other = std::thread::spawn(move || {
                drop(emptied);
                let used = ZeroResponse::ok();
                assert!(used.head.payload.is_empty() && !used.head.closes);
                at(&used)
            });
            (made_at, other.join().unwrap())
        });
        let (made, used) = made_and_used.join().unwrap();
        assert_eq!(made, used);
    }

    #[test]
    fn headers_cannot_split_a_response_or_frame_it() {
        let refused =
            |name: &str, value: &str| ZeroResponse::ok().try_header(name, value).unwrap_err();
        assert_eq!(refused("a b", "c"), InvalidHeader::Name);
        assert_eq!(refused("", "c"), InvalidHeader::Name);
        assert_eq!(refused("a:", "c"), InvalidHeader::Name);
        assert_eq!(refused("a", "b\r\nc: d"), InvalidHeader::Value);
        assert_eq!(refused("a", "\0"), InvalidHeader::Value);
        for name in [
            "Content-Length",
            "transfer-encoding",
            "connection",
            "Upgrade",
            "trailer",
        ] {
            assert_eq!(refused(name, "1"), InvalidHeader::Framing, "{name}");
        }
        assert_eq!(
            lines(ZeroResponse::ok().header("a", "\u{e9}\t")),
            "a: \u{e9}\t\r\n"
        );
    }

    #[test]
    #[should_panic(expected = "the value has a control character")]
    fn a_header_of_the_programs_own_is_to_be_valid() {
        let _ = ZeroResponse::ok().header("a", "\n");
    }

    #[test]
    fn it_goes_to_http_and_back() {
        let made = ZeroResponse::status(StatusCode::CREATED)
            .text("hi")
            .header("x-a", "1");
        let http: Response<ResponseBody> = made.close().into();
        assert_eq!(http.status(), 201);
        assert_eq!(http.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(
            (&http.headers()["x-a"], &http.headers()["connection"]),
            (
                &http::HeaderValue::from_static("1"),
                &http::HeaderValue::from_static("close"),
            )
        );
        assert_eq!(http.body().size_hint().exact(), Some(2));
        let back = ZeroResponse::from(http).header("x-b", "2");
        assert_eq!(back.status_code(), 201);
        let shown = lines(back.text("other"));
        assert!(
            shown.contains("x-a: 1\r\n") && shown.contains("x-b: 2\r\n"),
            "{shown}"
        );
        assert!(!shown.contains("connection"), "{shown}");
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_is_serialised_in_place() {
        let (head, _) = ZeroResponse::ok().json(&[1, 2]).into_parts();
        let ResponseHead::Lines(lines) = head else {
            panic!("not lines");
        };
        assert_eq!(lines.payload, b"[1,2]");
        let bad = std::collections::HashMap::from([((1, 2), 3)]);
        assert_eq!(ZeroResponse::ok().json(&bad).status_code(), 500);
    }
}
