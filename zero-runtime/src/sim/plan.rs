//! What a request asks of the simulated application: a pure function of its path, so that the
//! handler and the peer that checks the answer agree without talking to each other.

use super::rng::{Rng, pattern};

/// What the handler does with the request's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// Drops it at once.
    Never,
    /// Keeps it unread until the answer is made.
    Hold,
    /// Reads some frames, with pauses, and drops it.
    Some(u64),
    /// Reads it to its end, with pauses.
    All,
}

/// The response's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// So many bytes derived from the seed, in one piece.
    Whole(usize),
    /// The same in pieces, with pauses; `sized` when the length is declared.
    Pieces {
        len: usize,
        piece: usize,
        sized: bool,
    },
    /// The request's body, once it was read.
    Echo,
    /// The request's body, while it is read.
    EchoStream,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    /// `call` resolves to an error.
    Error,
    PanicInCall,
    PanicInPoll,
    /// The response's body fails after so many bytes.
    Body(usize),
    /// The response's body panics after so many bytes.
    BodyPanic(usize),
    /// The response's body ends after so many bytes, fewer than declared.
    Short(usize),
    /// The handler never answers; only its peer's going ends it.
    Never,
}

/// A handler's wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pause {
    /// Wakes itself.
    Yield,
    Sleep(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) status: u16,
    pub(super) read: Read,
    pub(super) answer: Answer,
    pub(super) pauses: Vec<Pause>,
    pub(super) fault: Fault,
}

/// How wild the plans behind a path are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Every request is answered in full.
    Gentle,
    /// As gentle, but bodies are always read: no answer costs its connection.
    Tidy,
    /// As tidy, and answered as soon as the request's body is there.
    Prompt,
    /// Anything that ends by itself.
    Wild,
    /// Anything.
    Hung,
}

const BODY_BYTES_MAX: usize = 200 * 1024;

impl Plan {
    pub(super) fn new(class: Class, seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let status = rng.pick(&[200, 200, 200, 200, 201, 404, 500, 204, 304]);
        let read = match (class, rng.below(6)) {
            (Class::Tidy | Class::Prompt, _) => Read::All,
            (_, 0) => Read::Never,
            (_, 1) => Read::Hold,
            (_, 2) => Read::Some(rng.range(0, 3)),
            _ => Read::All,
        };
        let answer = match class {
            Class::Prompt => Answer::Echo,
            _ => Self::answer(&mut rng, read),
        };
        let pauses_max = match class {
            Class::Prompt => 0,
            _ => rng.pick(&[0, 0, 0, 1, 1, 2, 5]),
        };
        let pauses = (0..pauses_max).map(|_| Self::pause(&mut rng)).collect();
        let fault = match class {
            Class::Wild | Class::Hung if rng.one_in(2) => match Self::fault(&mut rng, answer) {
                Fault::Never if class == Class::Wild => Fault::None,
                fault => fault,
            },
            _ => Fault::None,
        };
        Plan {
            seed,
            status,
            read,
            answer,
            pauses,
            fault,
        }
    }

    fn answer(rng: &mut Rng, read: Read) -> Answer {
        let len = rng.skewed(BODY_BYTES_MAX);
        match rng.below(8) {
            0 | 1 if read == Read::All => Answer::Echo,
            2 if read == Read::All => Answer::EchoStream,
            3 | 4 => {
                let piece = rng.size(1, 5000).max(len / 50);
                let sized = rng.one_in(2);
                Answer::Pieces { len, piece, sized }
            }
            _ => Answer::Whole(len),
        }
    }

    fn pause(rng: &mut Rng) -> Pause {
        match rng.below(3) {
            0 => Pause::Yield,
            1 => Pause::Sleep(rng.range(1, 100_000)),
            _ => Pause::Sleep(rng.range(1, 50_000_000)),
        }
    }

    fn fault(rng: &mut Rng, answer: Answer) -> Fault {
        let len = match answer {
            Answer::Whole(len) | Answer::Pieces { len, .. } => len,
            Answer::Echo | Answer::EchoStream => 0,
        };
        let kind = rng.below(8);
        match (kind, answer) {
            (0, _) => Fault::Error,
            (1, _) => Fault::PanicInCall,
            (2, _) => Fault::PanicInPoll,
            (3, _) => Fault::Never,
            (4 | 5, Answer::Pieces { .. }) if len > 0 => Fault::Body(rng.size(0, len - 1)),
            (6, Answer::Pieces { .. }) if len > 0 => Fault::BodyPanic(rng.size(0, len - 1)),
            (_, Answer::Pieces { sized: true, .. }) if len > 0 => {
                Fault::Short(rng.size(0, len - 1))
            }
            _ => Fault::None,
        }
    }

    /// The answer's bytes, for a request that carried `request_body`.
    pub(super) fn body(&self, request_body: &[u8]) -> Vec<u8> {
        match self.answer {
            Answer::Whole(len) | Answer::Pieces { len, .. } => pattern(self.seed, len),
            Answer::Echo | Answer::EchoStream => request_body.to_vec(),
        }
    }

    /// Whether the status forbids a body.
    pub(super) fn is_bodyless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    /// Whether a request with a method that `is_head`, or not, is bound not to be answered in full.
    pub(super) fn fails(&self, is_head: bool) -> bool {
        match self.fault {
            Fault::None => false,
            Fault::Error | Fault::PanicInCall | Fault::PanicInPoll | Fault::Never => true,
            Fault::Body(_) | Fault::BodyPanic(_) | Fault::Short(_) => {
                !is_head && !self.is_bodyless()
            }
        }
    }

    /// Whether it fails by a panic.
    pub(super) fn panics(&self, is_head: bool) -> bool {
        let is_panic = matches!(
            self.fault,
            Fault::PanicInCall | Fault::PanicInPoll | Fault::BodyPanic(_)
        );
        is_panic && self.fails(is_head)
    }

    pub(super) fn path(class: Class, seed: u64) -> String {
        let class = match class {
            Class::Gentle => 'g',
            Class::Tidy => 't',
            Class::Prompt => 'p',
            Class::Wild => 'w',
            Class::Hung => 'h',
        };
        format!("/{class}/{seed:x}")
    }

    /// The plan a path names.
    pub(super) fn of_path(path: &str) -> Option<Plan> {
        let (class, seed) = path.strip_prefix('/')?.split_once('/')?;
        let class = match class {
            "g" => Class::Gentle,
            "t" => Class::Tidy,
            "p" => Class::Prompt,
            "w" => Class::Wild,
            "h" => Class::Hung,
            _ => return None,
        };
        Some(Plan::new(class, u64::from_str_radix(seed, 16).ok()?))
    }
}
