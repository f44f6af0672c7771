//! Writes the head of a response. Knows status lines, fields and what frames a body; knows nothing
//! of connections or of body bytes.

mod plain;

pub(super) use plain::put_whole;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Version};

use super::framing::{MethodKind, digits, ends_in_chunked, list_has};
use super::send::Framer;
use super::{BodyLength, RespondError};
use crate::proto::date::DateCache;

/// What the encoder must know of the request and the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) method: MethodKind,
    /// The peer speaks HTTP/1.0.
    pub(super) is_http_10: bool,
    pub(super) keep_alive: bool,
    pub(super) takes_trailers: bool,
}

/// A response's head as the application gave it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) reason: Option<&'a [u8]>,
    pub(super) headers: Option<&'a HeaderMap>,
    /// Lines that are encoded already, none of which frames the message or the connection.
    pub(super) lines: &'a [u8],
    /// There is a `date` among `lines`.
    pub(super) has_date: bool,
    pub(super) body: BodyLength,
}

/// What the head that was written has promised.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Promised {
    pub(super) framer: Framer,
    pub(super) keep_alive: bool,
}

/// Writes a head behind what `out` holds; takes it back again on an error. The trailers it announces
/// go to `announced`, if the peer takes any.
#[inline]
pub(super) fn encode(
    head: Head<'_>,
    asked: Asked,
    date: &DateCache,
    announced: &mut Vec<HeaderName>,
    out: &mut Vec<u8>,
) -> Result<Promised, RespondError> {
    let before = out.len();
    if let Some(promised) = plain::encode(head, asked, date, out) {
        return Ok(promised);
    }
    out.truncate(before);
    let encoded = encode_any(head, asked, date, announced, out);
    if encoded.is_err() {
        out.truncate(before);
    }
    encoded
}

/// Writes whatever is not [`plain`].
#[inline(never)]
fn encode_any(
    head: Head<'_>,
    asked: Asked,
    date: &DateCache,
    announced: &mut Vec<HeaderName>,
    out: &mut Vec<u8>,
) -> Result<Promised, RespondError> {
    Encoder::start(head, asked, announced, out)?.encode(date)
}

struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    head: Head<'a>,
    asked: Asked,
    version: Version,
    keep_alive: bool,
    /// Joined to the `connection` line, or a line of its own.
    connection: Option<&'static [u8]>,
    /// A field that frames the body is written, or must not be.
    wrote_length: bool,
    wrote_date: bool,
    framer: Framer,
    /// The line that is written and may still get another value.
    open: Open,
    announced: &'a mut Vec<HeaderName>,
}

/// The line at the end of the output, if its end is not written yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    No,
    Connection,
    /// The codings so far do not end in chunked.
    Codings,
    Other,
}

impl<'a> Encoder<'a> {
    #[inline]
    fn start(
        head: Head<'a>,
        asked: Asked,
        announced: &'a mut Vec<HeaderName>,
        out: &'a mut Vec<u8>,
    ) -> Result<Self, RespondError> {
        let mut encoder = Encoder {
            out,
            head,
            asked,
            version: match head.version {
                Version::HTTP_10 => Version::HTTP_10,
                Version::HTTP_11 | Version::HTTP_2 => Version::HTTP_11,
                _ => return Err(RespondError::Version),
            },
            keep_alive: asked.keep_alive,
            connection: None,
            wrote_length: false,
            wrote_date: head.has_date,
            framer: Framer::Length(0),
            open: Open::No,
            announced,
        };
        if asked.is_http_10 || !asked.keep_alive {
            encoder.negotiate();
        }
        let is_tunnel = encoder.is_tunnel();
        if is_tunnel || head.status == StatusCode::SWITCHING_PROTOCOLS {
            encoder.keep_alive = false;
            encoder.wrote_length = is_tunnel;
        }
        Ok(encoder)
    }

    /// Settles with a peer that speaks HTTP/1.0 or will not be kept.
    #[cold]
    fn negotiate(&mut self) {
        let says = |token: &[u8]| {
            let headers = self.head.headers.into_iter();
            let mut lines = headers.flat_map(|headers| headers.get_all(header::CONNECTION));
            lines.any(|line| list_has(line.as_bytes(), token))
        };
        if !self.asked.is_http_10 {
            //= https://www.rfc-editor.org/rfc/rfc9112#section-9.6
            //# A server that receives a "close" connection option MUST initiate
            //# closure of the connection (see below) after it sends the final
            //# response to the request that contained the "close" connection
            //# option. The server SHOULD send a "close" connection option in
            //# its final response on that connection.
            self.connection = (!says(b"close")).then_some(b"close");
            return;
        }
        if !says(b"keep-alive") {
            match self.head.version {
                Version::HTTP_10 => self.keep_alive = false,
                Version::HTTP_11 if self.keep_alive => self.connection = Some(b"keep-alive"),
                _ => {}
            }
        }
        self.version = Version::HTTP_10;
    }

    #[inline]
    fn encode(mut self, date: &DateCache) -> Result<Promised, RespondError> {
        self.out
            .reserve(plain::guess_bytes(self.head.headers) + self.head.lines.len());
        self.put_status_line();
        self.put_headers()?;
        self.put(&[self.head.lines]);
        if let Some(option) = self.connection {
            self.put(&[b"connection: ", option, b"\r\n"]);
        }
        if !self.wrote_length {
            self.put_length();
        }
        if !self.may_have_body() {
            self.framer = Framer::Length(0);
        }
        if self.wrote_date {
            self.put(&[b"\r\n"]);
        } else {
            self.put(&[date.last_line()]);
        }
        Ok(Promised {
            framer: self.framer,
            keep_alive: self.keep_alive,
        })
    }

    #[inline]
    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }

    #[inline]
    fn put_status_line(&mut self) {
        let known = match self.version {
            Version::HTTP_11 if self.head.reason.is_none() => status_line(self.head.status),
            _ => None,
        };
        match known {
            Some(line) => self.put(&[line]),
            None => self.put_odd_status_line(),
        }
    }

    #[cold]
    fn put_odd_status_line(&mut self) {
        let version: &[u8] = match self.version {
            Version::HTTP_10 => b"HTTP/1.0 ",
            _ => b"HTTP/1.1 ",
        };
        let status = self.head.status;
        let reason = self.head.reason.unwrap_or_else(|| {
            let canonical = status.canonical_reason();
            canonical.unwrap_or("<none>").as_bytes()
        });
        self.put(&[version, status.as_str().as_bytes(), b" ", reason, b"\r\n"]);
    }

    #[inline]
    fn put_headers(&mut self) -> Result<(), RespondError> {
        let mut last: Option<&HeaderName> = None;
        for (name, value) in self.head.headers.into_iter().flatten() {
            // The values of one name follow each other and share it.
            if !last.is_some_and(|last| std::ptr::eq(last, name)) {
                self.end_line();
            }
            last = Some(name);
            match *name {
                header::CONTENT_LENGTH => self.put_content_length(value)?,
                header::TRANSFER_ENCODING => self.put_transfer_encoding(value)?,
                header::CONNECTION => self.put_connection(value),
                header::TRAILER => self.put_trailer(value),
                header::DATE => {
                    self.wrote_date = true;
                    self.put_line(name, value);
                }
                _ => self.put_line(name, value),
            }
        }
        self.end_line();
        Ok(())
    }

    #[inline]
    fn put_line(&mut self, name: &HeaderName, value: &HeaderValue) {
        let name = name.as_str().as_bytes();
        self.put(&[name, b": ", value.as_bytes(), b"\r\n"]);
    }

    /// Begins a line, or joins a value to the one that is open.
    fn put_joined(&mut self, name: &[u8], value: &HeaderValue, open: Open) {
        if self.open == Open::No {
            self.put(&[name, b": ", value.as_bytes()]);
        } else {
            self.put(&[b", ", value.as_bytes()]);
        }
        self.open = open;
    }

    #[inline]
    fn end_line(&mut self) {
        if self.open != Open::No {
            self.end_open_line();
        }
    }

    fn end_open_line(&mut self) {
        match self.open {
            Open::Codings => self.put(&[b", chunked"]),
            Open::Connection => {
                if let Some(option) = self.connection.take() {
                    self.put(&[b", ", option]);
                }
            }
            Open::No | Open::Other => {}
        }
        self.put(&[b"\r\n"]);
        self.open = Open::No;
    }

    fn put_connection(&mut self, value: &HeaderValue) {
        if self.keep_alive && list_has(value.as_bytes(), b"close") {
            self.keep_alive = false;
        }
        self.put_joined(b"connection", value, Open::Connection);
    }

    /// An explicit length wins over the body's, and is trusted where the body knows its own.
    fn put_content_length(&mut self, value: &HeaderValue) -> Result<(), RespondError> {
        if self.wrote_length && self.open == Open::No {
            return Err(RespondError::Framing);
        }
        match self.head.body {
            BodyLength::Known(bytes) => {
                if self.open == Open::No {
                    self.framer = Framer::Length(bytes);
                    self.put_joined(b"content-length", value, Open::Other);
                }
            }
            BodyLength::Unknown => {
                let bytes = digits(value.as_bytes()).ok_or(RespondError::Framing)?;
                if self.open == Open::No {
                    self.framer = Framer::Length(bytes);
                    self.put_joined(b"content-length", value, Open::Other);
                } else if self.framer != Framer::Length(bytes) {
                    return Err(RespondError::Framing);
                }
            }
            BodyLength::Empty if self.asked.method == MethodKind::Head => {
                self.put(&[b"content-length: ", value.as_bytes(), b"\r\n"]);
            }
            // Without a body the length is not the application's to say.
            BodyLength::Empty => return Ok(()),
        }
        self.wrote_length = true;
        Ok(())
    }

    fn put_transfer_encoding(&mut self, value: &HeaderValue) -> Result<(), RespondError> {
        if self.wrote_length && self.open == Open::No {
            return Err(RespondError::Framing);
        }
        if !self.may_be_chunked() {
            return Ok(());
        }
        self.wrote_length = true;
        self.framer = Framer::Chunked;
        let open = match ends_in_chunked(value.as_bytes()) {
            true => Open::Other,
            false => Open::Codings,
        };
        self.put_joined(b"transfer-encoding", value, open);
        Ok(())
    }

    fn put_trailer(&mut self, value: &HeaderValue) {
        if !self.may_be_chunked() {
            return;
        }
        self.put_joined(b"trailer", value, Open::Other);
        if self.asked.takes_trailers
            && let Ok(list) = value.to_str()
        {
            let names = list
                .split(',')
                .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok());
            self.announced.extend(names);
        }
    }

    /// What frames the body, where the application has not said it.
    #[inline]
    fn put_length(&mut self) {
        self.framer = match self.head.body {
            BodyLength::Unknown if self.may_be_chunked() => {
                self.put(&[b"transfer-encoding: chunked\r\n"]);
                Framer::Chunked
            }
            BodyLength::Unknown => Framer::UntilClose,
            BodyLength::Empty | BodyLength::Known(0) => {
                if self.may_have_length() && self.asked.method != MethodKind::Head {
                    plain::put_length(0, self.out);
                }
                Framer::Length(0)
            }
            BodyLength::Known(bytes) if self.may_have_length() => {
                plain::put_length(bytes, self.out);
                Framer::Length(bytes)
            }
            BodyLength::Known(_) => Framer::Length(0),
        };
    }

    /// The answer to CONNECT that opens the tunnel.
    #[inline]
    fn is_tunnel(&self) -> bool {
        self.asked.method == MethodKind::Connect && self.head.status.is_success()
    }

    #[inline]
    fn may_have_length(&self) -> bool {
        !self.is_tunnel() && may_have_length(self.head.status)
    }

    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
    //# Any response to a HEAD request and any response with a 1xx
    //# (Informational), 204 (No Content), or 304 (Not Modified) status code is
    //# always terminated by the first empty line after the header fields
    #[inline]
    fn may_have_body(&self) -> bool {
        self.asked.method != MethodKind::Head && self.may_have_length()
    }

    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //# A server MUST NOT send a response containing Transfer-Encoding unless
    //# the corresponding request indicates HTTP/1.1 (or later minor revisions).
    #[inline]
    fn may_be_chunked(&self) -> bool {
        self.version != Version::HTTP_10 && self.may_have_body()
    }
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-8.6
//# A server MUST NOT send a Content-Length header field in any response
//# with a status code of 1xx (Informational) or 204 (No Content).
#[inline]
fn may_have_length(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// The status line, if it is written often and says that there may be a body.
#[inline]
pub(super) fn status_line_of_body(status: StatusCode) -> Option<&'static [u8]> {
    match status {
        // Nearly always.
        StatusCode::OK => Some(OK_LINE),
        _ if may_have_length(status) => status_line(status),
        _ => None,
    }
}

const OK_LINE: &[u8; 17] = b"HTTP/1.1 200 OK\r\n";

/// The status lines that are written often.
#[inline]
fn status_line(status: StatusCode) -> Option<&'static [u8]> {
    Some(match status.as_u16() {
        200 => OK_LINE,
        101 => b"HTTP/1.1 101 Switching Protocols\r\n",
        201 => b"HTTP/1.1 201 Created\r\n",
        202 => b"HTTP/1.1 202 Accepted\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        303 => b"HTTP/1.1 303 See Other\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        307 => b"HTTP/1.1 307 Temporary Redirect\r\n",
        308 => b"HTTP/1.1 308 Permanent Redirect\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\n",
        409 => b"HTTP/1.1 409 Conflict\r\n",
        422 => b"HTTP/1.1 422 Unprocessable Entity\r\n",
        429 => b"HTTP/1.1 429 Too Many Requests\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        502 => b"HTTP/1.1 502 Bad Gateway\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        504 => b"HTTP/1.1 504 Gateway Timeout\r\n",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_status_lines_are_the_canonical_ones() {
        for code in 100..1000 {
            let status = StatusCode::from_u16(code).unwrap();
            if let Some(line) = status_line(status) {
                let reason = status.canonical_reason().unwrap();
                assert_eq!(line, format!("HTTP/1.1 {code} {reason}\r\n").as_bytes());
            }
        }
    }

    const ASKED: Asked = Asked {
        method: MethodKind::Other,
        is_http_10: false,
        keep_alive: true,
        takes_trailers: false,
    };

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        fields
            .iter()
            .map(line)
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    /// Whether the short way was taken; it then leads where the long one does.
    fn is_plain(head: Head<'_>, asked: Asked) -> bool {
        let date = DateCache::new();
        let (mut short, mut long) = (b"before".to_vec(), b"before".to_vec());
        let Some(promised) = plain::encode(head, asked, &date, &mut short) else {
            return false;
        };
        let announced = &mut Vec::new();
        let expected = encode_any(head, asked, &date, announced, &mut long);
        assert_eq!(
            short.escape_ascii().to_string(),
            long.escape_ascii().to_string()
        );
        assert_eq!(Ok(promised), expected, "{head:?}");
        assert!(announced.is_empty());
        true
    }

    #[test]
    fn plain_heads_are_written_as_any_others() {
        let fields: &[&[(&str, &str)]] = &[
            &[],
            &[("content-type", "text/plain"), ("content-length", "13")],
            &[
                ("content-length", "5"),
                ("x-a", "1"),
                ("x-a", "2"),
                ("content-type", ""),
            ],
            &[
                ("set-cookie", "a"),
                ("set-cookie", "b"),
                ("upgrade", "c"),
                ("te", "trailers"),
            ],
            &[("content-length", "13"), ("content-length", "13")],
            &[("content-length", "not a number")],
            &[("transfer-encoding", "chunked")],
            &[("connection", "close")],
            &[("date", "now")],
            &[("trailer", "x-a")],
        ];
        let bodies = [
            BodyLength::Empty,
            BodyLength::Known(0),
            BodyLength::Known(13),
            BodyLength::Known(u64::MAX),
            BodyLength::Unknown,
        ];
        let versions = [
            Version::HTTP_10,
            Version::HTTP_11,
            Version::HTTP_2,
            Version::HTTP_3,
        ];
        let mut taken = 0;
        for code in (100..600).chain([999]) {
            for fields in fields {
                let headers = &headers(fields);
                for body in bodies {
                    for version in versions {
                        let status = StatusCode::from_u16(code).unwrap();
                        let head = Head {
                            status,
                            version,
                            reason: None,
                            headers: Some(headers),
                            lines: b"x-line: 1\r\n",
                            has_date: false,
                            body,
                        };
                        taken += usize::from(is_plain(head, ASKED));
                    }
                }
            }
        }
        // Of each of 21 known status codes that frame bodies: two versions of five bodies with two
        // sets of fields without a length, and of three with as many that have one and its like.
        assert_eq!(taken, 21 * 2 * (2 * 5 + 3 * 3));
    }

    #[test]
    fn what_is_to_be_settled_is_not_plain() {
        let map = &headers(&[("content-type", "text/plain")]);
        let head = Head {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            reason: None,
            headers: Some(map),
            lines: &[],
            has_date: false,
            body: BodyLength::Known(1),
        };
        assert!(is_plain(head, ASKED));
        let dated = Head {
            has_date: true,
            ..head
        };
        assert!(!is_plain(dated, ASKED));
        let asked = |method| Asked { method, ..ASKED };
        assert!(!is_plain(head, asked(MethodKind::Head)));
        assert!(!is_plain(head, asked(MethodKind::Connect)));
        assert!(!is_plain(
            head,
            Asked {
                keep_alive: false,
                ..ASKED
            }
        ));
        assert!(!is_plain(
            head,
            Asked {
                is_http_10: true,
                ..ASKED
            }
        ));
        let reason = Some(&b"Fine"[..]);
        assert!(!is_plain(Head { reason, ..head }, ASKED));
    }
}
