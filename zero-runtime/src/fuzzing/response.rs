//! Responses of any application: what a client makes of the bytes is what the application gave, and
//! nothing else.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

use super::dice::Dice;
use crate::pool::write_buf::WriteBuf;
use crate::proto::date::DateCache;
use crate::proto::h1::{
    BodyLength, Conn, Event, H1Limits, HeadTable, Next, RespondError, SendBody, SendMore,
};
use crate::proto::step;

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nhost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    "HEAD / HTTP/1.1\r\nhost: h\r\n\r\n",
    "CONNECT h:1 HTTP/1.1\r\nhost: h\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
];

const NAMES: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "connection",
    "trailer",
    "date",
    "set-cookie",
    "x-a",
    "upgrade",
    "content-type",
    "x-b",
];

const VALUES: &[&str] = &[
    "0",
    "3",
    "6",
    "chunked",
    "gzip",
    "gzip, chunked",
    "close",
    "keep-alive",
    "x-sum",
    "content-length",
    "",
    "x",
];

const PIECES: &[&[u8]] = &[
    b"",
    b"abc",
    b"defghi",
    b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    &[b'x'; 5000],
];

/// Answers a request as the end of `input` says.
pub fn response(input: &[u8]) {
    let mut dice = Dice::new(input);
    let request = dice.pick(REQUESTS);
    let response = given(&mut dice);
    let pieces: Vec<&'static [u8]> = (0..dice.below(5)).map(|_| dice.pick(PIECES)).collect();
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    let length = match dice.below(3) {
        0 if total == 0 => BodyLength::Empty,
        0 | 1 => BodyLength::Known(total as u64),
        _ => BodyLength::Unknown,
    };
    let trailers = dice.below(2) == 1;

    let mut conn = asked(request);
    let mut out = WriteBuf::default();
    let (parts, ()) = response.into_parts();
    let date = DateCache::new();
    let sent = match conn.respond(&parts, length, &date, &mut out) {
        Ok(sent) => sent,
        Err(RespondError::Informational) => {
            assert!(bytes(&out).starts_with(b"HTTP/1.1 500 "));
            return;
        }
        Err(_) => return assert!(bytes(&out).is_empty(), "a refused response leaves nothing"),
    };
    let mut more = sent != SendBody::Nothing;
    for piece in &pieces {
        if more {
            more = conn.send_data(Bytes::from_static(piece), &mut out) == SendMore::More;
        }
    }
    let section = HeaderMap::from_iter([(
        HeaderName::from_static("x-sum"),
        HeaderValue::from_static("7"),
    )]);
    let is_whole = !more || conn.finish(trailers.then_some(&section), &mut out).is_ok();
    let next = conn.after_response();
    assert!(
        is_whole || next == Next::Close,
        "a short body costs the connection"
    );

    let wire = bytes(&out);
    let client = Client::read(request, &wire);
    assert_eq!(client.status, parts.status.as_u16());
    assert_fields(&client, &parts.headers);
    let lies = is_lie(&parts.headers, length, total);
    if is_whole && !lies {
        let body = pieces.concat();
        let expected = match sent {
            SendBody::Nothing => Vec::new(),
            SendBody::Length(bytes) => body[..body.len().min(bytes as usize)].to_vec(),
            SendBody::Chunked | SendBody::UntilClose => body,
        };
        assert_eq!(client.body, expected, "{}", wire.escape_ascii());
        assert!(
            next != Next::Keep || !client.until_close,
            "{}",
            wire.escape_ascii()
        );
    }
}

fn given(dice: &mut Dice<'_>) -> Response<()> {
    let mut response = Response::new(());
    let code = match dice.below(4) {
        0 => 100 + 4 * dice.byte() as u16 % 900,
        _ => dice.pick(&[200, 200, 204, 304, 101, 103, 404, 500, 999]),
    };
    *response.status_mut() = StatusCode::from_u16(code.clamp(100, 999)).expect("in range");
    *response.version_mut() = dice.pick(&[
        Version::HTTP_11,
        Version::HTTP_11,
        Version::HTTP_10,
        Version::HTTP_2,
        Version::HTTP_3,
        Version::HTTP_09,
    ]);
    for _ in 0..dice.below(6) {
        let name = HeaderName::from_static(dice.pick(NAMES));
        let value = match dice.below(4) {
            0 => HeaderValue::from_bytes(&[dice.byte(), dice.byte()])
                .unwrap_or(HeaderValue::from_static("y")),
            _ => HeaderValue::from_static(dice.pick(VALUES)),
        };
        response.headers_mut().append(name, value);
    }
    response
}

fn asked(request: &str) -> Conn {
    let limits = H1Limits::default();
    let mut conn = Conn::new();
    let mut table = HeadTable::new(limits.headers_max);
    let step = conn.handle_input(&limits, request.as_bytes(), &mut table);
    assert!(matches!(step.next, step::Next::Event(Event::Head(_))));
    conn
}

fn bytes(out: &WriteBuf) -> Vec<u8> {
    out.slices(usize::MAX).flatten().copied().collect()
}

/// An application that knows its body's length and says another is taken at its word, as by hyper.
fn is_lie(headers: &HeaderMap, length: BodyLength, total: usize) -> bool {
    let says_other = |value: &HeaderValue| value.as_bytes() != total.to_string().as_bytes();
    length != BodyLength::Unknown && headers.get_all("content-length").iter().any(says_other)
}

/// Every field on the wire is one that was given, or one of the machine's own.
fn assert_fields(client: &Client, given: &HeaderMap) {
    for (name, value) in &client.fields {
        let own = [
            "content-length",
            "transfer-encoding",
            "connection",
            "date",
            "trailer",
        ];
        let was_given = given
            .get_all(name)
            .iter()
            .any(|given| given.as_bytes().trim_ascii() == &value[..]);
        assert!(
            was_given || own.contains(&name.as_str()),
            "{name}: {}",
            value.escape_ascii()
        );
    }
}

/// What a client understands.
struct Client {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    until_close: bool,
}

impl Client {
    /// Reads a response to `request`, and all of `wire`.
    fn read(request: &str, wire: &[u8]) -> Client {
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut lines);
        let head = parsed.parse(wire);
        let Ok(httparse::Status::Complete(head)) = head else {
            panic!("{head:?}: {}", wire.escape_ascii())
        };
        let field = |line: &httparse::Header<'_>| (line.name.to_owned(), line.value.to_vec());
        let mut client = Client {
            status: parsed.code.expect("a status"),
            fields: parsed.headers.iter().map(field).collect(),
            body: wire[head..].to_vec(),
            until_close: false,
        };
        let is_tunnel = request.starts_with("CONNECT") && client.status / 100 == 2;
        let has_no_body = request.starts_with("HEAD")
            || is_tunnel
            || client.status < 200
            || matches!(client.status, 204 | 304);
        let lengths = client.all("content-length");
        let codings = client.all("transfer-encoding");
        assert!(
            lengths.len() <= 1 && codings.len() <= 1,
            "{}",
            wire.escape_ascii()
        );
        if has_no_body {
            assert!(client.body.is_empty(), "{}", wire.escape_ascii());
            return client;
        }
        assert!(
            lengths.is_empty() || codings.is_empty(),
            "{}",
            wire.escape_ascii()
        );
        if codings.iter().any(|coding| ends_in_chunked(coding)) {
            client.body = unchunk(&client.body);
        } else if lengths.is_empty() {
            client.until_close = true;
        }
        client
    }

    fn all(&self, name: &str) -> Vec<Vec<u8>> {
        let fields = self.fields.iter().filter(|(field, _)| field == name);
        fields.map(|(_, value)| value.clone()).collect()
    }
}

fn ends_in_chunked(coding: &[u8]) -> bool {
    let last = coding
        .rsplit(|&byte| byte == b',')
        .next()
        .unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// As much of a chunked body as is there.
fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let size = str::from_utf8(&rest[..end]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is a number");
        rest = &rest[end + 2..];
        if size == 0 {
            assert!(
                matches!(rest, b"\r\n" | b"x-sum: 7\r\n\r\n"),
                "{}",
                rest.escape_ascii()
            );
            return body;
        }
        let (chunk, behind) = rest.split_at(size);
        body.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n").expect("an end of a chunk");
    }
    body
}
