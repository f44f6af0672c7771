//! What the standard refuses and hyper does not, over real sockets: refused by default, and answered
//! as axum does by hyper's rules.

use std::time::Duration;

use crate::app::app;
use crate::play::{App, Servers, Step, play};
use crate::requests::bytes;
use crate::support::Mode;

/// What a client that breaks a rule hears.
enum Answer {
    BadRequest,
    NotImplemented,
    /// Of a handler that reads the body and found it broken; nothing behind it is heard.
    Broken,
    /// Of a handler that reads the body: so much, and such trailers.
    Read(&'static str),
}

use Answer::{BadRequest, Broken, NotImplemented, Read};

/// A request, with [`BYE`](crate::requests::BYE)'s like behind it where there is a `~`.
const CASES: &[(&str, &str, Answer)] = &[
    ("no host", "GET / HTTP/1.1\r\n\r\n~", BadRequest),
    (
        "two hosts",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n~",
        BadRequest,
    ),
    (
        "host with a path",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n~",
        BadRequest,
    ),
    (
        "two hosts to 1.0",
        "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n",
        BadRequest,
    ),
    (
        "another host in the target",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n~",
        BadRequest,
    ),
    (
        "no slash",
        "GET foo HTTP/1.1\r\nhost: h\r\n\r\n~",
        BadRequest,
    ),
    (
        "fragment",
        "GET /info#frag HTTP/1.1\r\nhost: h\r\n\r\n~",
        BadRequest,
    ),
    (
        "asterisk for GET",
        "GET * HTTP/1.1\r\nhost: h\r\n\r\n~",
        BadRequest,
    ),
    (
        "connect without a port",
        "CONNECT a HTTP/1.1\r\nhost: a\r\n\r\n~",
        BadRequest,
    ),
    (
        "coding and length",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n~",
        BadRequest,
    ),
    (
        "length and coding",
        "POST /sum HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n~",
        BadRequest,
    ),
    (
        "two lines of coding",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n~",
        BadRequest,
    ),
    (
        "chunked twice",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n~",
        BadRequest,
    ),
    (
        "unknown coding",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n~",
        NotImplemented,
    ),
    (
        "blank behind a size",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n~",
        Broken,
    ),
    (
        "NUL in an extension",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3;\0\r\nabc\r\n0\r\n\r\n~",
        Broken,
    ),
    (
        "padded size",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n~",
        Broken,
    ),
    (
        "a request in the trailers",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\nGET / HTTP/1.1\r\n\r\n~",
        Broken,
    ),
    (
        "trailers that frame",
        "POST /sum HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
         content-length: 9\r\nhost: t\r\nx: y\r\n\r\n~",
        Read("3 bytes, Some({\"x\": \"y\"})"),
    ),
];

impl Answer {
    fn matches(&self, heard: &str) -> bool {
        let refusal = |status| {
            heard
                == format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: -\r\n\r\n"
                )
        };
        // One answer, and none to what may have been smuggled behind it.
        let is_alone = heard.matches("HTTP/1.1 ").count() == 1;
        match self {
            BadRequest => refusal("400 Bad Request"),
            NotImplemented => refusal("501 Not Implemented"),
            Broken => is_alone && heard.ends_with("broken"),
            Read(what) => heard.contains(what),
        }
    }
}

fn in_one_conformance_and_the_other(mode: Mode) {
    let strict = mode.serve(app());
    let by_hyper = Servers::start(mode, App::Plain);
    for (name, case, answer) in CASES {
        let steps = [Step::Send(bytes(case))];
        let heard = play(strict.addr, &steps, Duration::from_secs(5));
        let text = String::from_utf8_lossy(&heard.bytes);
        assert!(answer.matches(&text), "{name}: {heard:?}");
        let by_axum = play(by_hyper.axum, &steps, Duration::from_secs(5));
        assert_ne!(heard, by_axum, "{name}: then where is the difference?");
        if let Some(difference) = by_hyper.difference(&steps) {
            panic!("{name}, by hyper's rules:\n{difference}");
        }
    }
}

#[test]
fn io_uring_inline() {
    Mode::IoUringInline.run("strict", in_one_conformance_and_the_other);
}

#[test]
fn io_uring_workers() {
    Mode::IoUringWorkers.run("strict", in_one_conformance_and_the_other);
}
