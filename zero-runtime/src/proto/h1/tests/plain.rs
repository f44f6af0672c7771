//! The short way through a head comes out where the long one does, or is not taken.

use super::random::XorShift;
use crate::proto::h1::parse::{self, Found};
use crate::proto::h1::table::HeadTable;
use crate::proto::h1::{H1Limits, plain};

const PLAIN: &[&str] = &[
    "GET / HTTP/1.1\r\n\r\n",
    "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
    "POST /a/b?c=d%20e&f HTTP/1.0\r\nHost:a\r\nX_y.z-1: \t spaces around  \r\nempty:\r\nblank: \t\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nhost: a\r\naccept: */*\r\nx: h\u{e9}\r\n\r\n",
    "DELETE http://a:80/ HTTP/1.1\r\nHost: a:80\r\n\r\nGET /next HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\nSec-WebSocket-Extensions-And-More: a value of more than thirty-two bytes\r\n\r\n",
];

/// What others write, and what nobody should.
const ODD: &[&str] = &[
    "GET / HTTP/1.1\n\n",
    "GET / HTTP/1.1\r\na: b\tc\t\r\n\r\n",
    "GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n",
    "get / HTTP/1.1\r\n\r\n",
    "M-SEARCH * HTTP/1.1\r\n\r\n",
    "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nx!#$%&'*+^`|~: 1\r\n\r\n",
    "GET  / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.2\r\n\r\n",
    "GET / HTTP/1.1\r\na : b\r\n\r\n",
    "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n",
    "GET / HTTP/1.1\r\n: b\r\n\r\n",
    "GET / HTTP/1.1\r\na: b\rc\r\n\r\n",
    "GET / HTTP/1.1\r\na\r\n\r\n",
    "GET HTTP/1.1\r\n\r\n",
    " GET / HTTP/1.1\r\n\r\n",
    "G / HTTP/1.1\n\n",
];

/// All that a table says of a head.
fn told(table: &HeadTable, input: &[u8]) -> String {
    let head = &input[..table.head_bytes()];
    let lines: Vec<_> = table
        .headers(head)
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        .collect();
    format!(
        "{} {} {:?} {} {} {lines:?}",
        table.method(head).escape_ascii(),
        table.target(head).escape_ascii(),
        table.version(),
        table.has_fragment,
        table.head_bytes(),
    )
}

/// Whether the short way was taken; it then leads where the long one does.
fn is_taken(limits: &H1Limits, input: &[u8]) -> bool {
    let mut short = HeadTable::new(limits.headers_max);
    if !plain::read(limits, input, &mut short) {
        return false;
    }
    let mut long = HeadTable::new(limits.headers_max);
    let found = parse::judge(limits, input, false, &mut long);
    let text = input.escape_ascii();
    assert_eq!(found, Ok(Found::Head), "{text}");
    assert_eq!(told(&short, input), told(&long, input), "{text}");
    true
}

#[test]
fn plain_heads_take_the_short_way() {
    for head in PLAIN {
        assert!(is_taken(&H1Limits::default(), head.as_bytes()), "{head}");
    }
}

#[test]
fn a_head_cut_anywhere_does_not() {
    for head in PLAIN {
        let whole = head.find("\r\n\r\n").unwrap() + 4;
        for cut in 0..whole {
            let input = &head.as_bytes()[..cut];
            assert!(!is_taken(&H1Limits::default(), input), "{cut} of {head}");
        }
    }
}

#[test]
fn every_byte_at_every_place_leads_the_same_way() {
    let limits = H1Limits::default();
    for head in PLAIN.iter().chain(ODD) {
        for at in 0..head.len() {
            for byte in 0..=255 {
                let mut input = head.as_bytes().to_vec();
                input[at] = byte;
                is_taken(&limits, &input);
                input.insert(at, head.as_bytes()[at]);
                is_taken(&limits, &input);
            }
        }
    }
}

#[test]
fn noise_leads_the_same_way() {
    let limits = H1Limits {
        headers_max: 3,
        uri_bytes_max: 8,
        ..H1Limits::default()
    };
    let mut random = XorShift(0x5eed_0004);
    let pieces: Vec<&[u8]> = PLAIN
        .iter()
        .chain(ODD)
        .map(|head| head.as_bytes())
        .collect();
    let mut taken = 0;
    for _ in 0..60_000 {
        // The beginning of one and the end of another, and a byte or two changed.
        let (one, other) = (random.pick(&pieces), random.pick(&pieces));
        let mut input = one[..random.below(one.len() + 1)].to_vec();
        input.extend_from_slice(&other[random.below(other.len())..]);
        for _ in 0..random.below(3) {
            let at = random.below(input.len());
            input[at] = random.pick(&[b"\r", b"\n", b" ", b"\t", b":", b"a", b"\0", b"\x7f"])[0];
        }
        taken += usize::from(is_taken(&limits, &input));
    }
    assert!(taken > 1000, "{taken} of them were plain");
}

#[test]
fn limits_are_kept_to_the_byte() {
    let head = b"GET /seven7 HTTP/1.1\r\na: 1\r\nb: 2\r\n\r\n";
    let limits = |headers_max, uri_bytes_max| H1Limits {
        headers_max,
        uri_bytes_max,
        ..H1Limits::default()
    };
    assert!(is_taken(&limits(2, 7), head));
    assert!(!is_taken(&limits(1, 7), head));
    assert!(!is_taken(&limits(2, 6), head));
    let long = [b"GET / HTTP/1.1\r\n", &[b'n'; 65_536][..], b": v\r\n\r\n"].concat();
    assert!(!is_taken(&H1Limits::default(), &long));
    assert!(is_taken(
        &H1Limits::default(),
        &[&long[..16], &long[17..]].concat()
    ));
}
