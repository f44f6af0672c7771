//! The requests whose answers are compared: what a client writes, from ordinary to hostile.
//!
//! A case leads to the server closing, so most end with a request that says `connection: close`.

/// Ends a case that leaves the connection open.
pub(crate) const BYE: &str = "GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// Name and bytes, in Latin-1 so that they can be any; `~` at the end stands for [`BYE`].
pub(crate) const CASES: &[(&str, &str)] = &[
    ("hello", "GET / HTTP/1.1\r\nhost: h\r\n\r\n~"),
    (
        "close",
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    ),
    (
        "close among others",
        "GET / HTTP/1.1\r\nconnection: x, Close ,y\r\n\r\n",
    ),
    ("http/1.0", "GET / HTTP/1.0\r\n\r\n"),
    (
        "http/1.0 kept alive",
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    ),
    ("http/1.0 stream", "GET /stream HTTP/1.0\r\n\r\n"),
    (
        "http/1.0 stream kept alive",
        "GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    ),
    ("no host, odd method", "BREW /info HTTP/1.1\r\n\r\n~"),
    (
        "two hosts",
        "GET /info HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n~",
    ),
    (
        "absolute form",
        "GET http://a.b:1/info?x=1 HTTP/1.1\r\nhost: c\r\n\r\n~",
    ),
    ("asterisk form", "OPTIONS * HTTP/1.1\r\n\r\n~"),
    ("authority form", "CONNECT a.b:443 HTTP/1.1\r\n\r\n~"),
    ("no slash", "GET foo HTTP/1.1\r\n\r\n~"),
    ("fragment", "GET /info#frag HTTP/1.1\r\n\r\n~"),
    (
        "leading blank lines",
        "\r\n\r\n\nGET /info HTTP/1.1\r\n\r\n~",
    ),
    ("bare line feeds", "GET /info HTTP/1.1\na: 1\n\n~"),
    (
        "blanks around values",
        "GET /info HTTP/1.1\r\na:\t 1 \t\r\nb:\r\n\r\n~",
    ),
    (
        "not ASCII",
        "GET /info/\u{e9} HTTP/1.1\r\na: \u{fc}\r\n\r\n~",
    ),
    ("404", "GET /nowhere HTTP/1.1\r\n\r\n~"),
    ("405", "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n~"),
    ("HEAD", "HEAD / HTTP/1.1\r\n\r\n~"),
    ("HEAD stream", "HEAD /stream HTTP/1.1\r\n\r\n~"),
    ("HEAD of a 204", "HEAD /status/204 HTTP/1.1\r\n\r\n~"),
    ("204", "GET /status/204 HTTP/1.1\r\n\r\n~"),
    ("204 without a body", "GET /bare/204 HTTP/1.1\r\n\r\n~"),
    ("205", "GET /bare/205 HTTP/1.1\r\n\r\n~"),
    ("304", "GET /bare/304 HTTP/1.1\r\n\r\n~"),
    ("304 with a body", "GET /status/304 HTTP/1.1\r\n\r\n~"),
    ("1xx from a handler", "GET /bare/103 HTTP/1.1\r\n\r\n"),
    ("100 from a handler", "GET /bare/100 HTTP/1.1\r\n\r\n"),
    ("unknown status", "GET /status/599 HTTP/1.1\r\n\r\n~"),
    ("own reason", "GET /reason HTTP/1.1\r\n\r\n~"),
    ("response says 1.0", "GET /says/1.0 HTTP/1.1\r\n\r\n~"),
    ("response says 2", "GET /says/2 HTTP/1.1\r\n\r\n~"),
    ("many header lines", "GET /headers HTTP/1.1\r\n\r\n~"),
    ("own date and length", "GET /own HTTP/1.1\r\n\r\n~"),
    ("response closes", "GET /close HTTP/1.1\r\n\r\n"),
    ("response keeps alive", "GET /keep HTTP/1.1\r\n\r\n~"),
    ("stream", "GET /stream HTTP/1.1\r\n\r\n~"),
    ("empty stream", "GET /stream/empty HTTP/1.1\r\n\r\n~"),
    (
        "stream with trailers, unasked",
        "GET /trailers HTTP/1.1\r\n\r\n~",
    ),
    (
        "stream with trailers, asked",
        "GET /trailers HTTP/1.1\r\nte: trailers\r\n\r\n~",
    ),
    ("own transfer-encoding", "GET /gzip HTTP/1.1\r\n\r\n~"),
    ("longer than its length", "GET /long HTTP/1.1\r\n\r\n~"),
    ("shorter than its length", "GET /short HTTP/1.1\r\n\r\n"),
    (
        "upgrade refused",
        "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n~",
    ),
    (
        "pipelined",
        "GET /info HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET /stream HTTP/1.1\r\n\r\n~",
    ),
    (
        "post",
        "POST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "post chunked",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n~",
    ),
    (
        "post chunked in capitals",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\na: b\r\n\r\n~",
    ),
    ("post nothing", "POST /echo HTTP/1.1\r\n\r\n~"),
    (
        "post http/1.0",
        "POST /echo HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello",
    ),
    (
        "get with a body",
        "GET /info HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "expect",
        "POST /echo HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "expect on http/1.0",
        "POST /echo HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
    ),
    (
        "expect something else",
        "POST /echo HTTP/1.1\r\nexpect: 200-ok\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "two equal lengths",
        "POST /seen HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "length then chunked",
        "POST /seen HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked then length",
        "POST /seen HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "gzip, chunked",
        "POST /seen HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n~",
    ),
    (
        "unread body",
        "POST /ignore HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    ("malformed", "GARBAGE\r\n\r\n"),
    (
        "malformed after a good one",
        "GET / HTTP/1.1\r\n\r\nGARBAGE\r\n\r\n",
    ),
    ("space before colon", "GET / HTTP/1.1\r\na : 1\r\n\r\n"),
    ("folded", "GET / HTTP/1.1\r\na: 1\r\n 2\r\n\r\n"),
    ("http/1.2", "GET / HTTP/1.2\r\n\r\n"),
    (
        "two lengths",
        "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    ),
    (
        "signed length",
        "POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\nhello",
    ),
    (
        "list of lengths",
        "POST / HTTP/1.1\r\ncontent-length: 2, 2\r\n\r\nhi",
    ),
    (
        "empty length",
        "POST /seen HTTP/1.1\r\ncontent-length: \r\n\r\n",
    ),
    (
        "chunked is not last",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked, x\r\n\r\n",
    ),
    (
        "http/1.0 chunked",
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("options", "OPTIONS /info HTTP/1.1\r\nhost: h\r\n\r\n~"),
    ("lower-case method", "get /info HTTP/1.1\r\n\r\n~"),
    ("trace", "TRACE /info HTTP/1.1\r\n\r\n~"),
    ("query alone", "GET ?a=b HTTP/1.1\r\n\r\n~"),
    ("two slashes", "GET //info HTTP/1.1\r\n\r\n~"),
    ("absolute, no path", "GET http://a.b HTTP/1.1\r\n\r\n~"),
    (
        "absolute, query alone",
        "GET http://a.b?c HTTP/1.1\r\n\r\n~",
    ),
    (
        "absolute, userinfo",
        "GET http://u:p@a.b/info HTTP/1.1\r\n\r\n~",
    ),
    ("connect to a path", "CONNECT /info HTTP/1.1\r\n\r\n~"),
    ("asterisk for another method", "GET * HTTP/1.1\r\n\r\n~"),
    (
        "names in many cases",
        "GET /info HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nX-a: 3\r\n\r\n~",
    ),
    (
        "cookies",
        "GET /info HTTP/1.1\r\ncookie: a=b\r\ncookie: c=d\r\n\r\n~",
    ),
    (
        "close in a second line",
        "GET / HTTP/1.1\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n",
    ),
    (
        "http/1.0 keep-alive and close",
        "GET / HTTP/1.0\r\nconnection: keep-alive, close\r\n\r\n",
    ),
    (
        "http/1.0 then http/1.1",
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\n\r\n~",
    ),
    (
        "http/1.0 HEAD kept alive",
        "HEAD / HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    ),
    (
        "http/1.0 204 kept alive",
        "GET /bare/204 HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    ),
    (
        "http/1.0 post kept alive",
        "POST /echo HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
    ),
    (
        "http/1.0 upgrade",
        "GET /info HTTP/1.0\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ),
    (
        "http/1.0, response says 1.1 and keeps alive",
        "GET /keep HTTP/1.0\r\n\r\n",
    ),
    (
        "response says 1.0 to 1.0 kept alive",
        "GET /says/1.0 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n~",
    ),
    ("response says 3", "GET /says/3 HTTP/1.1\r\n\r\n"),
    ("HEAD with own length", "HEAD /own HTTP/1.1\r\n\r\n~"),
    ("HEAD of a 304", "HEAD /bare/304 HTTP/1.1\r\n\r\n~"),
    (
        "HEAD with trailers",
        "HEAD /trailers HTTP/1.1\r\nte: trailers\r\n\r\n~",
    ),
    ("HEAD of own coding", "HEAD /gzip HTTP/1.1\r\n\r\n~"),
    ("101 unasked", "GET /bare/101 HTTP/1.1\r\n\r\n"),
    (
        "1xx pipelined",
        "GET / HTTP/1.1\r\n\r\nGET /bare/103 HTTP/1.1\r\n\r\n~",
    ),
    ("418", "GET /bare/418 HTTP/1.1\r\n\r\n~"),
    ("own chunked", "GET /chunked HTTP/1.1\r\n\r\n~"),
    ("own chunked to 1.0", "GET /chunked HTTP/1.0\r\n\r\n"),
    ("own coding to 1.0", "GET /gzip HTTP/1.0\r\n\r\n"),
    ("own length and coding", "GET /both HTTP/1.1\r\n\r\n"),
    ("own length on a 204", "GET /204/own HTTP/1.1\r\n\r\n~"),
    (
        "own length of another",
        "GET /length/other HTTP/1.1\r\n\r\n",
    ),
    (
        "own length on nothing",
        "GET /length/nothing HTTP/1.1\r\n\r\n~",
    ),
    ("two dates", "GET /dates HTTP/1.1\r\n\r\n~"),
    (
        "connection of many values",
        "GET /connections HTTP/1.1\r\n\r\n~",
    ),
    (
        "connection of many values to 1.0",
        "GET /connections HTTP/1.0\r\nconnection: keep-alive\r\n\r\n~",
    ),
    ("set-cookie thrice", "GET /cookies HTTP/1.1\r\n\r\n~"),
    (
        "trailers not announced",
        "GET /trailers/secret HTTP/1.1\r\nte: trailers\r\n\r\n~",
    ),
    (
        "trailers that are forbidden",
        "GET /trailers/forbidden HTTP/1.1\r\nte: trailers\r\n\r\n~",
    ),
    (
        "trailers to 1.0",
        "GET /trailers HTTP/1.0\r\nte: trailers\r\n\r\n",
    ),
    (
        "trailers behind a length",
        "GET /trailers/length HTTP/1.1\r\nte: trailers\r\n\r\n~",
    ),
    (
        "te in a list",
        "GET /trailers HTTP/1.1\r\nte: deflate;q=0.5, trailers\r\n\r\n~",
    ),
    ("error before any data", "GET /err/0 HTTP/1.1\r\n\r\n"),
    ("error to 1.0", "GET /err/0 HTTP/1.0\r\n\r\n"),
    ("panic", "GET /panic HTTP/1.1\r\n\r\n"),
    (
        "panic behind another",
        "GET / HTTP/1.1\r\n\r\nGET /panic HTTP/1.1\r\n\r\n~",
    ),
    (
        "request trailers",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nhost: t\r\nContent-Length: 9\r\n\r\n~",
    ),
    (
        "request trailers, malformed",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx y: 1\r\n\r\n~",
    ),
    (
        "trailers that begin with a line feed",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\nGET / HTTP/1.1\r\n\r\n~",
    ),
    (
        "chunk size malformed",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\nabc\r\n0\r\n\r\n~",
    ),
    (
        "chunk without end",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n~",
    ),
    (
        "chunk size overflow",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\nabc\r\n~",
    ),
    (
        "chunk size in a bare line",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n~",
    ),
    (
        "chunk lines by hyper's rules",
        "POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0003 ;\0x\r\nabc\r\n00000000000000000000 \r\n\r\n~",
    ),
    (
        "body malformed and unread",
        "POST /ignore HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\n~",
    ),
    (
        "unread chunked body",
        "POST /ignore HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n~",
    ),
    (
        "expect and unread",
        "POST /ignore HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "expect in capitals",
        "POST /echo HTTP/1.1\r\nExpect: 100-CONTINUE\r\ncontent-length: 5\r\n\r\nhello~",
    ),
    (
        "expect without a body",
        "GET /info HTTP/1.1\r\nexpect: 100-continue\r\n\r\n~",
    ),
    (
        "expect, chunked",
        "POST /echo HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n~",
    ),
    (
        "length of zero",
        "POST /info HTTP/1.1\r\ncontent-length: 0\r\n\r\n~",
    ),
    (
        "length beyond 64 bits",
        "POST /info HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n",
    ),
    (
        "greatest length",
        "POST /ignore HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n",
    ),
    (
        "coding in two lines",
        "POST /seen HTTP/1.1\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n~",
    ),
    (
        "coding in two lines, chunked first",
        "POST /seen HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "tls",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ),
    (
        "chunk malformed before an extractor",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\n~",
    ),
    ("http/0.9", "GET /\r\n\r\n"),
    ("http/2.0", "GET / HTTP/2.0\r\n\r\n"),
    ("bare CR", "GET / HTTP/1.1\r\na: b\rc\r\n\r\n"),
    ("NUL", "GET / HTTP/1.1\r\na: b\0c\r\n\r\n"),
    ("NUL in the target", "GET /\0 HTTP/1.1\r\n\r\n"),
    ("no name", "GET / HTTP/1.1\r\n: b\r\n\r\n"),
    ("space behind the version", "GET / HTTP/1.1 \r\n\r\n"),
    ("two spaces", "GET  / HTTP/1.1\r\n\r\n"),
    ("tabs for spaces", "GET\t/\tHTTP/1.1\r\n\r\n"),
    (
        "malformed, to 1.0",
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGARBAGE\r\n\r\n",
    ),
    ("blank lines between", "GET / HTTP/1.1\r\n\r\n\r\n\r\n~"),
];

/// The bytes of a case.
pub(crate) fn bytes(case: &str) -> Vec<u8> {
    let whole = match case.strip_suffix('~') {
        Some(request) => format!("{request}{BYE}"),
        None => case.to_string(),
    };
    whole.chars().map(|c| c as u8).collect()
}
