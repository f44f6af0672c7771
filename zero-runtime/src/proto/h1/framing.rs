//! What a request's head says of its body and its connection. Knows the fields that frame messages;
//! knows nothing of how their bytes are read.

use super::table::{HeadTable, Span};
use super::{BodyKind, ParseError, target};
use crate::config::Conformance;

/// A `content-length` beyond this is taken for an attack, as hyper does.
const CONTENT_LENGTH_MAX: u64 = u64::MAX - 2;

/// The methods whose responses are framed in their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MethodKind {
    Head,
    Connect,
    Other,
}

/// What the head means for the exchange.
#[derive(Debug)]
pub(super) struct Framing {
    pub(super) body: BodyKind,
    pub(super) method: MethodKind,
    pub(super) keep_alive: bool,
    /// HTTP/1.1, a body, and `expect: 100-continue`.
    pub(super) expect_continue: bool,
    pub(super) upgrade: bool,
    /// `te: trailers`: the client takes trailers.
    pub(super) takes_trailers: bool,
}

/// Field by field, in their order: the first fault is the one that is told.
#[derive(Debug)]
struct Seen {
    conformance: Conformance,
    /// Where the one `host` says what.
    host: Option<Span>,
    /// The length, and the line that gave it.
    content_length: Option<(u64, usize)>,
    has_content_length: bool,
    has_transfer_encoding: bool,
    /// Of the last `transfer-encoding` line.
    ends_in_chunked: bool,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
    upgrade: bool,
    takes_trailers: bool,
}

/// Reads the framing fields of the head that `table` describes, and hides those that are overruled.
#[inline]
pub(super) fn frame(
    conformance: Conformance,
    head: &[u8],
    table: &mut HeadTable,
) -> Result<Framing, ParseError> {
    let method = match table.method(head) {
        b"HEAD" => MethodKind::Head,
        b"CONNECT" => MethodKind::Connect,
        _ => MethodKind::Other,
    };
    let is_strict = conformance == Conformance::Strict;
    let mut seen = Seen {
        conformance,
        host: None,
        content_length: None,
        has_content_length: false,
        has_transfer_encoding: false,
        ends_in_chunked: false,
        close: false,
        keep_alive: table.is_http_11,
        expect_continue: false,
        upgrade: method == MethodKind::Connect,
        takes_trailers: false,
    };
    for at in 0..table.lines.len() {
        let line = table.lines[at];
        // Length and first letter: few other fields share both with one of these.
        let name = line.name(head);
        let first = name.first().map_or(0, |first| first | 0x20);
        let value = || line.value.of(head);
        match (line.name_bytes, first) {
            (17, b't') if spells(name, b"transfer-encoding") => {
                seen.transfer_encoding(value(), table)?;
            }
            (14, b'c') if spells(name, b"content-length") => {
                seen.content_length(value(), at, table)?;
            }
            (10, b'c') if spells(name, b"connection") => seen.connection(value()),
            (7, b'u') if spells(name, b"upgrade") => {
                //= https://www.rfc-editor.org/rfc/rfc9110#section-7.8
                //# A server MUST ignore an Upgrade header field that is received in an
                //# HTTP/1.0 request.
                seen.upgrade = table.is_http_11;
            }
            (6, b'e') if spells(name, b"expect") => {
                seen.expect_continue = value().eq_ignore_ascii_case(b"100-continue");
            }
            (4, b'h') if is_strict && spells(name, b"host") => {
                seen.host(head, line.value)?;
            }
            (2, b't') if spells(name, b"te") => {
                seen.takes_trailers |= list_has(value(), b"trailers");
            }
            _ => {}
        }
    }
    if is_strict {
        target::check(method, head, table, seen.host)?;
    }
    seen.conclude(method, table.is_http_11)
}

// Each out of line, so that what they need in registers is not made ready for every head.
impl Seen {
    #[inline(never)]
    fn host(&mut self, head: &[u8], span: Span) -> Result<(), ParseError> {
        match self.host.replace(span) {
            None if target::is_host_at(head, span) => Ok(()),
            _ => Err(ParseError::Host),
        }
    }

    #[inline(never)]
    fn transfer_encoding(&mut self, value: &[u8], table: &mut HeadTable) -> Result<(), ParseError> {
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
        //# A server or client that receives an HTTP/1.0 message containing a
        //# Transfer-Encoding header field MUST treat the message as if the
        //# framing is faulty
        if !table.is_http_11 {
            return Err(ParseError::TransferEncoding);
        }
        if self.conformance == Conformance::Strict {
            return self.only_chunked(value);
        }
        self.has_transfer_encoding = true;
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
        //# If a message is received with both a Transfer-Encoding and a
        //# Content-Length header field, the Transfer-Encoding overrides the
        //# Content-Length.
        if let Some((_, line)) = self.content_length.take() {
            table.lines[line].hidden = true;
        }
        self.ends_in_chunked = ends_in_chunked(value);
        Ok(())
    }

    /// One line that says chunked, and nothing beside it that could frame the body.
    //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
    //# A server that receives a request message with a transfer coding it does
    //# not understand SHOULD respond with 501 (Not Implemented).
    fn only_chunked(&mut self, value: &[u8]) -> Result<(), ParseError> {
        if self.has_transfer_encoding || self.has_content_length {
            return Err(ParseError::TransferEncoding);
        }
        self.has_transfer_encoding = true;
        self.ends_in_chunked = true;
        match value.eq_ignore_ascii_case(b"chunked") {
            true => Ok(()),
            false if is_coding_before_chunked(value) => Err(ParseError::TransferCoding),
            false => Err(ParseError::TransferEncoding),
        }
    }

    #[inline(never)]
    fn content_length(
        &mut self,
        value: &[u8],
        line: usize,
        table: &mut HeadTable,
    ) -> Result<(), ParseError> {
        self.has_content_length = true;
        if self.has_transfer_encoding {
            //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
            //# A server MAY reject a request that contains both Content-Length and
            //# Transfer-Encoding
            if self.conformance == Conformance::Strict {
                return Err(ParseError::TransferEncoding);
            }
            table.lines[line].hidden = true;
            return Ok(());
        }
        let length = digits(value).ok_or(ParseError::ContentLength)?;
        match self.content_length {
            //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
            //# If a message is received without Transfer-Encoding and with an
            //# invalid Content-Length header field, then the message framing is
            //# invalid and the recipient MUST treat it as an unrecoverable error
            Some((first, _)) if first != length => Err(ParseError::ContentLength),
            Some(_) => {
                table.lines[line].hidden = true;
                Ok(())
            }
            None if length > CONTENT_LENGTH_MAX => Err(ParseError::HeadTooLarge),
            None => {
                self.content_length = Some((length, line));
                Ok(())
            }
        }
    }

    #[inline(never)]
    fn connection(&mut self, value: &[u8]) {
        if self.close || list_has(value, b"close") {
            self.close = true;
        } else if !self.keep_alive {
            self.keep_alive = list_has(value, b"keep-alive");
        }
    }

    #[inline]
    fn conclude(self, method: MethodKind, is_http_11: bool) -> Result<Framing, ParseError> {
        let body = if self.has_transfer_encoding {
            //= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
            //# If a Transfer-Encoding header field is present in a request and
            //# the chunked transfer coding is not the final encoding, the message
            //# body length cannot be determined reliably; the server MUST respond
            //# with the 400 (Bad Request) status code and then close the
            //# connection.
            if !self.ends_in_chunked {
                return Err(ParseError::TransferEncoding);
            }
            BodyKind::Chunked
        } else {
            match self.content_length {
                None | Some((0, _)) => BodyKind::None,
                Some((length, _)) => BodyKind::Length(length),
            }
        };
        //= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
        //# Regardless, the server MUST close the connection after responding to
        //# such a request to avoid the potential attacks.
        let is_ambiguous = self.has_transfer_encoding && self.has_content_length;
        Ok(Framing {
            body,
            method,
            keep_alive: self.keep_alive && !self.close && !is_ambiguous,
            //= https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
            //# A server that receives a 100-continue expectation in an HTTP/1.0
            //# request MUST ignore that expectation.
            expect_continue: self.expect_continue && is_http_11 && body != BodyKind::None,
            upgrade: self.upgrade,
            takes_trailers: self.takes_trailers,
        })
    }
}

/// Whether a field's name is `lower`, letters and hyphens in lower case. The bit that tells cases apart
/// makes a letter or a hyphen of nothing else that may be in a name.
#[inline]
fn spells<const BYTES: usize>(name: &[u8], lower: &[u8; BYTES]) -> bool {
    let Ok(name) = <&[u8; BYTES]>::try_from(name) else {
        return false;
    };
    let differs = |(byte, lower): (&u8, &u8)| (byte | 0x20) ^ lower;
    name.iter()
        .zip(lower)
        .map(differs)
        .fold(0, |all, one| all | one)
        == 0
}

/// Whether a comma-separated list has `token`, in any case. A list with a byte that is not printable
/// ASCII has nothing.
#[inline(never)]
pub(super) fn list_has(list: &[u8], token: &[u8]) -> bool {
    is_text(list)
        && list
            .split(|&byte| byte == b',')
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// Whether the last coding of a list is chunked.
pub(super) fn ends_in_chunked(list: &[u8]) -> bool {
    is_text(list)
        && list
            .rsplit(|&byte| byte == b',')
            .next()
            .is_some_and(|item| item.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Whether a list names other codings, and then chunked: understood as far as it goes, and not served.
fn is_coding_before_chunked(list: &[u8]) -> bool {
    let is_token = |item: &[u8]| {
        let is_token_byte =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !item.is_empty() && item.iter().all(is_token_byte)
    };
    let mut items = list.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |item: &[u8]| item.eq_ignore_ascii_case(b"chunked");
    items.next().is_some_and(is_chunked) && items.all(|item| is_token(item) && !is_chunked(item))
}

fn is_text(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| matches!(byte, b'\t' | b' '..=b'~'))
}

/// Digits and nothing else: no sign, no space, no list.
//= https://www.rfc-editor.org/rfc/rfc9110#section-8.6
//# a recipient MUST anticipate potentially large decimal numerals and
//# prevent parsing errors due to integer conversion overflows or precision
//# loss due to integer conversion
pub(super) fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
