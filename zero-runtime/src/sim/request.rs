//! A simulated client's request: its bytes, and the answer it must get.

use super::answers::Expect;
use super::plan::{Answer, Class, Plan, Read};
use super::rng::{Rng, pattern};

/// Longest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 200 * 1024;

/// A request, before it is bytes.
pub(super) struct RequestText {
    pub(super) method: &'static str,
    pub(super) class: Class,
    pub(super) plan: Plan,
    pub(super) http_1_0: bool,
    pub(super) keep_alive: bool,
    pub(super) close: bool,
    pub(super) expect_continue: bool,
    pub(super) chunked: bool,
    pub(super) body: Option<Vec<u8>>,
}

impl RequestText {
    pub(super) fn new(rng: &mut Rng, class: Class) -> Self {
        let method = rng.pick(&["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT"]);
        let has_body = matches!(method, "POST" | "PUT");
        let http_1_0 = rng.one_in(12);
        let body = has_body.then(|| {
            let len = rng.skewed(BODY_BYTES_MAX);
            pattern(rng.next(), len)
        });
        RequestText {
            method,
            class,
            plan: Plan::new(class, 0),
            http_1_0,
            keep_alive: http_1_0 && rng.one_in(2),
            close: rng.one_in(20),
            expect_continue: has_body && !http_1_0 && rng.one_in(8),
            chunked: !http_1_0 && rng.one_in(2),
            body,
        }
        .with_plan(rng.next())
    }

    fn with_plan(mut self, seed: u64) -> Self {
        self.plan = Plan::new(self.class, seed);
        self
    }

    pub(super) fn head(&self) -> Vec<u8> {
        use std::fmt::Write;
        let path = Plan::path(self.class, self.plan.seed);
        let version = if self.http_1_0 { "1.0" } else { "1.1" };
        let mut head = format!("{} {path} HTTP/{version}\r\nHost: sim\r\n", self.method);
        // Heads of many sizes.
        for field in 0..self.plan.seed % 9 {
            let value = self.plan.seed.rotate_left(field as u32);
            let _ = write!(head, "X-Filler-{field}: {value:x}\r\n");
        }
        match (self.close, self.keep_alive) {
            (true, _) => head.push_str("Connection: close\r\n"),
            (false, true) => head.push_str("Connection: keep-alive\r\n"),
            (false, false) => {}
        }
        if self.expect_continue {
            head.push_str("Expect: 100-continue\r\n");
        }
        match &self.body {
            Some(_) if self.chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Some(body) => {
                let _ = write!(head, "Content-Length: {}\r\n", body.len());
            }
            None => {}
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    pub(super) fn encoded_body(&self, rng: &mut Rng) -> Vec<u8> {
        let Some(body) = &self.body else {
            return Vec::new();
        };
        if !self.chunked {
            return body.clone();
        }
        let mut bytes = Vec::new();
        let mut rest = &body[..];
        while !rest.is_empty() {
            let most = rest
                .len()
                .min(rng.pick(&[10, 1000, 60_000]).max(body.len() / 50));
            let (chunk, after) = rest.split_at(rng.size(1, most));
            bytes.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
            rest = after;
        }
        bytes.extend(b"0\r\n");
        if rng.one_in(4) {
            bytes.extend(b"x-trailer: yes\r\n");
        }
        bytes.extend(b"\r\n");
        bytes
    }

    pub(super) fn expect(&self) -> Expect {
        let is_head = self.method == "HEAD";
        let bodyless = is_head || self.plan.is_bodyless();
        let request_body = self.body.as_deref().unwrap_or_default();
        let reads_all =
            self.plan.read == Read::All && !(bodyless && self.plan.answer == Answer::EchoStream);
        let unsized_answer = match self.plan.answer {
            Answer::Pieces { sized, .. } => !sized,
            Answer::EchoStream => true,
            _ => false,
        };
        let ends = match self.http_1_0 {
            true => self.close || !self.keep_alive || unsized_answer,
            false => self.close,
        };
        Expect {
            seed: self.plan.seed,
            status: self.plan.status,
            body: self.plan.body(request_body),
            head_only: is_head,
            fails: self.plan.fails(is_head),
            panics: self.plan.panics(is_head),
            may_close: ends || (self.body.is_some() && !reads_all),
            refusal: false,
        }
    }
}
