//! Makes up what a client might send: requests from parts that are mostly right, then damage, then
//! cuts. A pure function of a seed.
//!
//! Left out is what is not the same twice under hyper, or need not be: a response that fails behind its
//! first pieces (all, some or none of them may be sent), and tunnels, whose bytes are nobody's.

use std::time::Duration;

use crate::play::Step;
use crate::requests::BYE;
use crate::rng::Rng;

const METHODS: &[&str] = &[
    "GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "PUT", "OPTIONS", "BREW", "get",
];

const TARGETS: &[&str] = &[
    "/",
    "/info",
    "/info",
    "/info/a/b",
    "/info?q=1",
    "/seen",
    "/sum",
    "/sum",
    "/echo",
    "/echo",
    "/stream",
    "/trailers",
    "/headers",
    "/close",
    "/keep",
    "/own",
    "/long",
    "/status/204",
    "/status/304",
    "/bare/205",
    "/reason",
    "/says/1.0",
    "/nowhere",
    "/chunked",
    "http://h/info",
    "*",
    "foo",
    "/info#f",
    "//",
    "h:80",
    "/\u{e9}",
    "/a b",
    "http:///",
    "",
];

const VERSIONS: &[&str] = &[
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/1.2",
    "HTTP/2.0",
    "http/1.1",
    "HTTP/1.1 ",
    "",
];

const FIELDS: &[&str] = &[
    "Host: h",
    "Host: h",
    "host: a:80",
    "Connection: keep-alive",
    "Connection: keep-alive",
    "connection: close",
    "connection: x, Keep-Alive",
    "Connection: close, keep-alive",
    "TE: trailers",
    "te: gzip;q=1, trailers",
    "Expect: 100-continue",
    "Expect: else",
    "upgrade: x",
    "X-Empty:",
    "x-spaced: \t  v \t",
    "x-latin: \u{e9}",
    "Cookie: a=b",
    "x-long: vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv",
    "x bad: 1",
    "x-bad : 1",
    ": 1",
    " folded: 1",
    "x-nul: \0",
    "nothing",
];

const LENGTHS: &[&str] = &[
    "0",
    "3",
    "5",
    "05",
    "+5",
    "5, 5",
    "",
    "-1",
    "99999999999999999999",
    "x",
];

const CODINGS: &[&str] = &[
    "chunked",
    "chunked",
    "chunked",
    "Chunked",
    "gzip, chunked",
    "chunked, gzip",
    "identity",
    "",
    "chunked,",
    "x chunked",
];

const SIZES: &[&str] = &[
    "3", "3", "3", "03", "3;a=b", "3 ", "3 ;x", "0x3", "+3", "3\n", "4", "F", "",
];

const TRAILERS: &[&str] = &[
    "",
    "",
    "",
    "",
    "X-Sum: 7\r\n",
    "host: t\r\n",
    "a b: c\r\n",
    "\n",
    "x: \0\r\n",
];

/// What breaks things, wherever it is put.
const BITS: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "0",
    "1",
    "F",
    "\u{7f}",
    "\u{80}",
    "\u{ff}",
    "chunked",
    "close",
    "content-length: 1\r\n",
    "transfer-encoding: chunked\r\n",
    "HTTP/1.1",
    "0\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "ffffffffffffffff",
];

/// What a client of this seed sends, and how.
pub(crate) fn steps(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut text = String::new();
    for _ in 0..=rng.below(3) {
        text += &request(&mut rng);
    }
    if rng.one_in(3) {
        for _ in 0..=rng.below(3) {
            damage(&mut rng, &mut text);
        }
    }
    if !rng.one_in(4) {
        text += BYE;
    }
    // Latin-1.
    let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
    cut(&mut rng, &bytes)
}

fn request(rng: &mut Rng) -> String {
    let end = match rng.one_in(12) {
        true => "\n",
        false => "\r\n",
    };
    let mut text = String::new();
    if rng.one_in(12) {
        text += rng.pick(&["\r\n", "\n", "\r\n\r\n", "\r"]);
    }
    let (method, target, version) = (rng.pick(METHODS), rng.pick(TARGETS), rng.pick(VERSIONS));
    // Most oddities would end the exchange: so they come seldom.
    let (target, version) = match rng.one_in(4) {
        true => (target, version),
        false => (rng.pick(&TARGETS[..24]), rng.pick(&VERSIONS[..8])),
    };
    text += &format!("{method} {target} {version}{end}");
    let fields_max = match rng.one_in(4) {
        true => FIELDS.len(),
        false => FIELDS.len() - 6,
    };
    for _ in 0..rng.below(5) {
        text += rng.pick(&FIELDS[..fields_max]);
        text += end;
    }
    text + &framed(rng, end)
}

/// The fields that frame a body, and the body.
fn framed(rng: &mut Rng, end: &str) -> String {
    let length = |rng: &mut Rng| match rng.one_in(3) {
        true => rng.pick(LENGTHS),
        false => "5",
    };
    let coding = |rng: &mut Rng| match rng.one_in(3) {
        true => rng.pick(CODINGS),
        false => "chunked",
    };
    match rng.below(10) {
        0..=3 => end.to_owned(),
        4..=6 => format!("Content-Length: {}{end}{end}hello", length(rng)),
        7..=8 => format!(
            "Transfer-Encoding: {}{end}{end}{}",
            coding(rng),
            chunked(rng)
        ),
        _ => {
            let fields = [
                format!("content-length: {}{end}", length(rng)),
                format!("transfer-encoding: {}{end}", coding(rng)),
                format!("content-length: {}{end}", length(rng)),
            ];
            let from = rng.below(2);
            let fields = fields[from..=from + 1 + rng.below(2 - from)].concat();
            format!("{fields}{end}{}", chunked(rng))
        }
    }
}

fn chunked(rng: &mut Rng) -> String {
    let mut body = String::new();
    for _ in 0..rng.below(4) {
        let size = match rng.one_in(8) {
            true => rng.pick(SIZES),
            false => "3",
        };
        body += &format!("{size}\r\nabc\r\n");
    }
    body + "0\r\n" + rng.pick(TRAILERS) + "\r\n"
}

fn damage(rng: &mut Rng, text: &mut String) {
    let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
    let at = rng.pick(&places);
    match rng.below(4) {
        0 => drop(text.remove(at)),
        1 => text.truncate(at),
        2 => text.insert_str(at, rng.pick(BITS)),
        _ => {
            text.remove(at);
            text.insert(at, char::from(rng.next() as u8));
        }
    }
    if text.is_empty() {
        text.push('\r');
    }
}

fn cut(rng: &mut Rng, bytes: &[u8]) -> Vec<Step> {
    if rng.one_in(2) {
        return vec![Step::Send(bytes.to_vec())];
    }
    let most = rng.pick(&[1, 7, 40, 400]);
    let mut steps = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + rng.below(most)).min(rest.len()));
        steps.push(Step::Send(piece.to_vec()));
        if rng.one_in(16) {
            steps.push(Step::Pause(Duration::from_micros(300)));
        }
        rest = after;
    }
    steps
}
