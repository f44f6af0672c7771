//! Noise: nothing a peer sends makes the machine panic, or depends on how it is cut.

use super::pair::*;
use crate::config::Conformance;
use crate::proto::h1::H1Limits;

/// A small generator; a seed replays its run.
pub(super) struct XorShift(pub(super) u64);

impl XorShift {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 7\r\n\r\n1234567",
    b"POST / HTTP/1.1\r\ncontent-length: 2\r\nContent-Length: 2\r\n\r\n12",
    b"PUT /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\n\r\n",
    b"PUT /b HTTP/1.1\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: gzip, chunked\r\ncontent-length: 3\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    b"\r\n\nGET / HTTP/1.1\nconnection: close\n\n",
];

/// What breaks things, when put anywhere.
const BITS: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"1",
    b"F",
    b"G",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"chunked",
    b"close",
    b"content-length: 1\r\n",
    b"transfer-encoding: chunked\r\n",
    b"HTTP/1.1",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
];

fn limits(conformance: Conformance) -> H1Limits {
    H1Limits {
        conformance,
        head_bytes_max: 160,
        headers_max: 4,
        uri_bytes_max: 24,
        chunk_extension_bytes_max: 8,
        trailer_bytes_max: 24,
        trailers_max: 2,
    }
}

fn mutated(random: &mut XorShift) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..=random.below(3) {
        input.extend_from_slice(random.pick(REQUESTS));
    }
    for _ in 0..random.below(4) {
        let at = random.below(input.len());
        match random.below(4) {
            0 => input[at] = random.next() as u8,
            1 => drop(input.remove(at)),
            2 => input.truncate(at + 1),
            _ => drop(input.splice(at..at, random.pick(BITS).iter().copied())),
        }
    }
    input
}

#[test]
fn mutated_requests_mean_the_same_at_every_cut() {
    let mut random = XorShift(0x5eed_0001);
    for _ in 0..1500 {
        let input = mutated(&mut random);
        for limits in [H1Limits::default(), hyper()] {
            hear_with(&limits, &input);
        }
        for conformance in [Conformance::Strict, Conformance::Hyper] {
            hear_with(&limits(conformance), &input);
        }
    }
}

#[test]
fn noise_means_the_same_at_every_cut() {
    let mut random = XorShift(0x5eed_0002);
    for _ in 0..3000 {
        let mut input = Vec::new();
        for _ in 0..random.below(24) {
            match random.below(3) {
                0 => input.push(random.next() as u8),
                1 => input.extend_from_slice(random.pick(BITS)),
                _ => input.extend_from_slice(b"GET / HTTP/1.1\r\n"),
            }
        }
        for conformance in [Conformance::Strict, Conformance::Hyper] {
            hear_with(&limits(conformance), &input);
        }
    }
}

/// Two requests, one machine: cuts at random places, and not one byte lost.
#[test]
fn bodies_arrive_whole_however_they_are_cut() {
    let mut random = XorShift(0x5eed_0003);
    for _ in 0..300 {
        let mut body = Vec::new();
        let mut input = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..1 + random.below(20) {
            let chunk: Vec<u8> = (0..1 + random.below(300))
                .map(|_| random.next() as u8)
                .collect();
            input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(&chunk);
            input.extend_from_slice(b"\r\n");
            body.extend_from_slice(&chunk);
        }
        input.extend_from_slice(b"0\r\n\r\n");
        let mut pieces = Vec::new();
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(1 + random.below(rest.len().min(64)));
            pieces.push(piece);
            rest = others;
        }
        let (said, _) = hear_pieces(&hyper(), &pieces);
        assert_eq!(said[1..], [Said::Data(body), Said::End]);
    }
}
