//! What a peer is going to do: requests and mischief, written down before it starts.

use std::collections::VecDeque;

use super::answers::Expect;
use super::plan::Class;
use super::request::{BODY_BYTES_MAX, RequestText};
use super::rng::{Rng, pattern};

/// One thing a peer does.
#[derive(Debug)]
pub(super) enum Act {
    /// Sends bytes; with an answer to expect once they are complete.
    Send(Vec<u8>, Option<Box<Expect>>),
    /// Waits until every request is answered.
    AwaitAnswers,
    /// Waits for `100 Continue`, an answer, or this long.
    AwaitContinue(u64),
    Pause(u64),
    /// Ends its side and goes on reading.
    Fin,
    /// Closes: reads no more.
    Close,
    Reset,
    /// Waits until the server ends the connection; with `must`, that is the server's duty.
    AwaitEnd {
        must: bool,
    },
    /// Goes without a word: neither reads nor answers any more.
    Vanish,
}

impl Act {
    pub(super) fn describe(&self) -> String {
        match self {
            Act::Send(bytes, expect) => {
                let head = &bytes[..bytes.len().min(60)];
                let expect = expect
                    .as_ref()
                    .map(|expect| (expect.status, expect.body.len()));
                format!(
                    "send {} {:?} for {expect:?}",
                    bytes.len(),
                    head.escape_ascii().to_string()
                )
            }
            act => format!("{act:?}"),
        }
    }
}

/// How a peer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    Eager,
    Slow { bytes: usize, every_ns: u64 },
    Never,
}

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Talk {
    Http,
    /// Whatever is sent comes back.
    Echo,
}

#[derive(Debug)]
pub(super) struct Script {
    pub(super) talk: Talk,
    pub(super) acts: VecDeque<Act>,
    /// Nothing it does excuses the server from answering in full.
    pub(super) strict: bool,
    pub(super) pace: Pace,
    /// Most bytes it sends at once.
    pub(super) piece_bytes_max: usize,
    loyal: bool,
}

/// What the world allows its peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mood {
    /// Peers may vanish and handlers may hang: somebody will cut what they leave.
    pub(super) vanishing: bool,
    /// The server's timeouts can be relied on.
    pub(super) punctual: bool,
    /// Peers make many requests on a connection.
    pub(super) loyal: bool,
}

pub(super) fn write(rng: &mut Rng, mood: Mood, talk: Talk) -> Script {
    let strict = rng.one_in(2);
    let mut script = Script {
        talk,
        acts: VecDeque::new(),
        strict,
        pace: Pace::Eager,
        piece_bytes_max: rng.pick(&[3, 200, 5000, usize::MAX, usize::MAX]),
        loyal: mood.loyal,
    };
    match (talk, strict) {
        (Talk::Http, true) => script.well_behaved(rng),
        (Talk::Http, false) => script.wild(rng, mood),
        (Talk::Echo, true) => script.stream(rng),
        (Talk::Echo, false) => script.wild_stream(rng, mood),
    }
    script
}

impl Script {
    /// Sends, and waits for all of it to come back.
    fn stream(&mut self, rng: &mut Rng) {
        for _ in 0..rng.range(1, 5) {
            let len = rng.skewed(BODY_BYTES_MAX).max(1);
            self.acts
                .push_back(Act::Send(pattern(rng.next(), len), None));
            match rng.below(3) {
                0 => self.acts.push_back(Act::AwaitAnswers),
                1 => self.acts.push_back(Act::Pause(rng.range(0, 300_000_000))),
                _ => {}
            }
        }
        match rng.one_in(2) {
            true => {
                self.acts.push_back(Act::AwaitAnswers);
                self.acts.push_back(Act::Close);
            }
            // What is under way comes back all the same.
            false => {
                self.acts.push_back(Act::Fin);
                self.acts.push_back(Act::AwaitEnd { must: true });
            }
        }
    }

    /// Reads slowly or not at all, and goes in the middle of it.
    fn wild_stream(&mut self, rng: &mut Rng, mood: Mood) {
        self.stream(rng);
        self.pace = match rng.below(4) {
            0 => Pace::Slow {
                bytes: rng.size(1, 2000),
                every_ns: rng.range(1, 300_000_000),
            },
            1 => Pace::Never,
            _ => Pace::Eager,
        };
        let kept = rng.size(0, self.acts.len());
        self.acts.truncate(kept);
        self.acts
            .retain(|act| !matches!(act, Act::AwaitAnswers | Act::AwaitEnd { .. }));
        match rng.below(5) {
            0 if mood.vanishing => self.acts.push_back(Act::Vanish),
            _ => self.goodbye(rng),
        }
    }

    fn well_behaved(&mut self, rng: &mut Rng) {
        match rng.below(16) {
            0..4 => self.pipelined(rng, Class::Gentle),
            4..8 => self.pipelined(rng, Class::Tidy),
            8 => self.uploads(rng),
            _ if self.loyal => self.sequence(rng, Class::Tidy),
            _ => self.sequence(rng, Class::Gentle),
        }
        self.leave(rng);
    }

    /// A last request that ends the connection, or an orderly close.
    fn leave(&mut self, rng: &mut Rng) {
        match rng.one_in(2) {
            true => self.acts.push_back(Act::Close),
            false => {
                let mut request = RequestText::new(rng, Class::Gentle);
                request.close = true;
                self.request(rng, request);
                self.acts.push_back(Act::AwaitAnswers);
                self.acts.push_back(Act::AwaitEnd { must: true });
            }
        }
    }

    fn sequence(&mut self, rng: &mut Rng, class: Class) {
        for _ in 0..rng.range(1, if self.loyal { 40 } else { 5 }) {
            let mut request = RequestText::new(rng, class);
            if self.loyal {
                (request.close, request.keep_alive) = (false, request.http_1_0);
            }
            self.request(rng, request);
            self.acts.push_back(Act::AwaitAnswers);
            if rng.one_in(3) {
                self.acts.push_back(Act::Pause(rng.range(0, 300_000_000)));
            }
        }
    }

    /// Large bodies of all kinds on one connection, with something small between them.
    fn uploads(&mut self, rng: &mut Rng) {
        for _ in 0..rng.range(2, 6) {
            let mut request = RequestText::new(rng, Class::Tidy);
            if request.body.is_some() {
                let len = rng.size(1, BODY_BYTES_MAX / 2);
                request.body = Some(pattern(rng.next(), len));
            }
            self.request(rng, request);
            if rng.one_in(2) {
                self.acts.push_back(Act::AwaitAnswers);
            }
        }
        self.acts.push_back(Act::AwaitAnswers);
    }

    fn pipelined(&mut self, rng: &mut Rng, class: Class) {
        let mut bytes = Vec::new();
        let mut expects = Vec::new();
        let requests_max = rng.pick(&[2, 3, 9]);
        for _ in 0..rng.range(2, requests_max) {
            let mut request = RequestText::new(rng, class);
            request.expect_continue = false;
            bytes.extend(request.head());
            bytes.extend(request.encoded_body(rng));
            expects.push(request.expect());
        }
        // Answers may come before the last byte is out: all of them are expected from the start.
        for expect in expects {
            self.acts
                .push_back(Act::Send(Vec::new(), Some(Box::new(expect))));
        }
        self.acts.push_back(Act::Send(bytes, None));
        self.acts.push_back(Act::AwaitAnswers);
    }

    fn request(&mut self, rng: &mut Rng, request: RequestText) {
        let expect = Some(Box::new(request.expect()));
        let body = request.encoded_body(rng);
        if request.expect_continue {
            self.acts.push_back(Act::Send(request.head(), expect));
            self.acts.push_back(Act::AwaitContinue(1_000_000_000));
            self.acts.push_back(Act::Send(body, None));
        } else {
            let mut bytes = request.head();
            bytes.extend(body);
            self.acts.push_back(Act::Send(bytes, expect));
        }
    }

    fn wild(&mut self, rng: &mut Rng, mood: Mood) {
        self.pace = match rng.below(6) {
            0 => Pace::Slow {
                bytes: rng.size(1, 2000),
                every_ns: rng.range(1, 300_000_000),
            },
            1 => Pace::Never,
            _ => Pace::Eager,
        };
        let class = if mood.vanishing {
            Class::Hung
        } else {
            Class::Wild
        };
        match rng.below(10) {
            0 => {}
            1 | 2 => self.pipelined(rng, class),
            _ => self.sequence(rng, class),
        }
        let reads = self.pace == Pace::Eager;
        match rng.below(10) {
            8 | 9 => self.burst(rng, class),
            0 => self.garbage(rng, reads && mood.punctual),
            1 => self.half_a_head(rng, reads && mood.punctual),
            2 => self.half_a_body(rng),
            3 => self.idle(reads && mood.punctual),
            4 => self.cut_short(rng),
            5 if mood.vanishing => {
                self.cut_short(rng);
                self.acts.pop_back();
                self.acts.push_back(Act::Vanish);
            }
            _ => self.goodbye(rng),
        }
    }

    fn goodbye(&mut self, rng: &mut Rng) {
        match rng.below(3) {
            0 => {
                self.acts.push_back(Act::Fin);
                self.acts.push_back(Act::AwaitEnd { must: false });
            }
            1 => self.acts.push_back(Act::Close),
            _ => self.acts.push_back(Act::Reset),
        }
    }

    /// Forgets some of what was planned, waiting included, and goes.
    fn cut_short(&mut self, rng: &mut Rng) {
        let kept = rng.size(0, self.acts.len());
        self.acts.truncate(kept);
        if rng.one_in(2) {
            self.acts.retain(|act| !matches!(act, Act::AwaitAnswers));
        }
        if let Some(Act::Send(bytes, _)) = self.acts.back_mut() {
            bytes.truncate(rng.size(0, bytes.len()));
        }
        if rng.one_in(2) {
            self.acts.push_back(Act::Pause(rng.range(0, 30_000_000)));
        }
        self.goodbye(rng);
        if matches!(self.acts.back(), Some(Act::AwaitEnd { .. })) {
            self.acts.push_back(Act::Close);
        }
    }

    fn garbage(&mut self, rng: &mut Rng, must: bool) {
        let samples: [&[u8]; 7] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"GET /g/1 HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
            b"GET /g/1 HTTP/1.1\r\nno colon here\r\n\r\n",
            b"POST /g/1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
            b"POST /g/1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
            b"GET /g/1 HTTP/9.9\r\nhost: a\r\n\r\n",
            b"POST /g/1 HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        ];
        let mut bytes = rng.pick(&samples).to_vec();
        bytes.extend(pattern(rng.next(), rng.skewed(50_000)));
        let expect = Expect {
            seed: 0,
            status: 400,
            body: Vec::new(),
            head_only: false,
            fails: false,
            panics: false,
            may_close: true,
            refusal: true,
        };
        self.acts
            .push_back(Act::Send(bytes, Some(Box::new(expect))));
        self.acts.push_back(Act::AwaitEnd { must });
    }

    /// Requests in one piece, the last one perhaps cut, and the end at their heels.
    fn burst(&mut self, rng: &mut Rng, class: Class) {
        let class = if rng.one_in(4) { class } else { Class::Prompt };
        self.pipelined(rng, class);
        self.acts.pop_back();
        if let Some(Act::Send(bytes, _)) = self.acts.back_mut() {
            bytes.truncate(rng.size(bytes.len() / 2, bytes.len()));
        }
        if rng.one_in(2) {
            self.piece_bytes_max = usize::MAX;
        }
        self.goodbye(rng);
    }

    fn half_a_head(&mut self, rng: &mut Rng, must: bool) {
        let mut request = RequestText::new(rng, Class::Wild);
        request.body = None;
        let mut head = request.head();
        head.truncate(rng.size(0, head.len() - 3));
        self.acts.push_back(Act::Send(head, None));
        self.acts.push_back(Act::AwaitEnd { must });
    }

    fn half_a_body(&mut self, rng: &mut Rng) {
        let mut request = RequestText::new(rng, Class::Wild);
        request.method = "POST";
        request.expect_continue = false;
        request.body = Some(pattern(rng.next(), rng.size(2, BODY_BYTES_MAX)));
        let mut bytes = request.head();
        let body = request.encoded_body(rng);
        bytes.extend(&body[..rng.size(0, body.len() - 1)]);
        // Whoever reads the whole body cannot answer; whoever does not may.
        self.acts
            .push_back(Act::Send(bytes, Some(Box::new(request.expect()))));
        self.acts.push_back(Act::Pause(rng.range(0, 2_000_000_000)));
        self.goodbye(rng);
    }

    fn idle(&mut self, must: bool) {
        self.acts.push_back(Act::AwaitEnd { must });
    }
}
