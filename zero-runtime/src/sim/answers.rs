//! Reads what a server sends to one peer and holds it against what was asked: an HTTP/1.1
//! response parser that shares nothing with the one under test.

use std::collections::VecDeque;

use super::kernel::End;

/// The answer a request must get.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    /// What the handler puts into `x-seed`.
    pub(super) seed: u64,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// No body, whatever the head says.
    pub(super) head_only: bool,
    /// The handler fails: the answer must not look whole.
    pub(super) fails: bool,
    /// The handler or its body panics: a bare 500 that closes may stand for the answer.
    pub(super) panics: bool,
    /// The connection may end behind this answer.
    pub(super) may_close: bool,
    /// Not a request: any error status will do, and the connection ends.
    pub(super) refusal: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    Sized { left: u64 },
    ChunkSize,
    Chunk { left: u64 },
    ChunkEnd,
    Trailers,
    UntilClose,
}

/// Where the stream of answers stood when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stand {
    /// Between two answers.
    Between,
    /// Inside of one.
    Within,
}

/// The answers of one connection, as they come.
pub(super) struct Answers {
    buf: Vec<u8>,
    state: State,
    /// Body bytes of the present answer so far.
    at: usize,
    expected: VecDeque<Expect>,
    pub(super) answered: usize,
    /// An answer said `connection: close`.
    pub(super) said_close: bool,
    /// The last whole answer's request allowed the connection to end.
    pub(super) may_close: bool,
    pub(super) continues: usize,
    /// May be told that its head came too late: it leaves half of one, or the server drains.
    pub(super) may_be_late: bool,
    /// Bytes that were sent and are to come back, where that is all there is to it.
    echo: Option<VecDeque<u8>>,
}

impl Answers {
    pub(super) fn new(may_be_late: bool) -> Self {
        Answers {
            buf: Vec::new(),
            state: State::Head,
            at: 0,
            expected: VecDeque::new(),
            answered: 0,
            said_close: false,
            may_close: false,
            continues: 0,
            may_be_late,
            echo: None,
        }
    }

    /// Of a server that sends back what it is sent.
    pub(super) fn echoed() -> Self {
        Answers {
            echo: Some(VecDeque::new()),
            ..Answers::new(false)
        }
    }

    pub(super) fn are_echoed(&self) -> bool {
        self.echo.is_some()
    }

    /// These bytes are about to be sent.
    pub(super) fn expect_echo(&mut self, bytes: &[u8]) {
        if let Some(echo) = &mut self.echo {
            echo.extend(bytes);
        }
    }

    pub(super) fn expect(&mut self, expect: Expect) {
        self.expected.push_back(expect);
    }

    /// Whether every answer has come.
    pub(super) fn are_complete(&self) -> bool {
        self.expected.is_empty() && self.echo.as_ref().is_none_or(VecDeque::is_empty)
    }

    /// Whether the connection may end behind the last answer or one to come.
    pub(super) fn may_close_soon(&self) -> bool {
        self.may_close || self.expected.iter().any(|expect| expect.may_close)
    }

    /// Takes bytes from the server.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(echo) = &mut self.echo {
            let is_next =
                echo.len() >= bytes.len() && echo.drain(..bytes.len()).eq(bytes.iter().copied());
            self.answered += 1;
            return is_next
                .then_some(())
                .ok_or_else(|| "not what was sent".into());
        }
        self.buf.extend_from_slice(bytes);
        let buf = std::mem::take(&mut self.buf);
        let mut rest = &buf[..];
        loop {
            let before = (rest.len(), self.state);
            rest = self.step(rest)?;
            if (rest.len(), self.state) == before {
                break;
            }
        }
        self.buf = rest.to_vec();
        Ok(())
    }

    fn step<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], String> {
        match self.state {
            State::Head if rest.is_empty() => Ok(rest),
            State::Head => self.head(rest),
            State::Sized { left } => {
                let count = rest.len().min(left as usize);
                self.state = State::Sized {
                    left: left - count as u64,
                };
                self.body(&rest[..count])?;
                if left == count as u64 {
                    self.complete()?;
                }
                Ok(&rest[count..])
            }
            State::ChunkSize => {
                let Some((line, rest)) = split_at(rest, b"\r\n") else {
                    return Ok(rest);
                };
                let line = std::str::from_utf8(line).map_err(|_| "chunk size is not text")?;
                let left =
                    u64::from_str_radix(line, 16).map_err(|_| format!("chunk size {line:?}"))?;
                self.state = match left {
                    0 => State::Trailers,
                    left => State::Chunk { left },
                };
                Ok(rest)
            }
            State::Chunk { left } => {
                let count = rest.len().min(left as usize);
                self.state = match left - count as u64 {
                    0 => State::ChunkEnd,
                    left => State::Chunk { left },
                };
                self.body(&rest[..count])?;
                Ok(&rest[count..])
            }
            State::ChunkEnd if rest.len() < 2 => Ok(rest),
            State::ChunkEnd => {
                self.state = State::ChunkSize;
                rest.strip_prefix(b"\r\n")
                    .ok_or("a chunk has no end".into())
            }
            State::Trailers => {
                let Some((line, rest)) = split_at(rest, b"\r\n") else {
                    return Ok(rest);
                };
                if line.is_empty() {
                    self.complete()?;
                }
                Ok(rest)
            }
            State::UntilClose => {
                self.body(rest)?;
                Ok(&[])
            }
        }
    }

    fn head<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], String> {
        let Some((head, rest_after)) = split_at(rest, b"\r\n\r\n") else {
            return Ok(rest);
        };
        let head = std::str::from_utf8(head).map_err(|_| "a head is not text")?;
        if self.may_be_late && head.get(8..13) == Some(" 408 ") {
            // What had come of its last request was half a head, whatever was to become of it.
            self.expected.clear();
            self.said_close = true;
            self.may_close = true;
            return Ok(rest_after);
        }
        let Some(expect) = self.expected.front() else {
            return Err(format!("an answer nobody asked for: {head:?}"));
        };
        if self.said_close {
            return Err(format!("an answer behind connection: close: {head:?}"));
        }
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        let status = status
            .strip_prefix("HTTP/1.")
            .ok_or_else(|| format!("status line {status:?}"))?;
        let status: u16 = status
            .get(2..5)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| format!("status line {status:?}"))?;
        if status == 100 {
            self.continues += 1;
            return Ok(rest_after);
        }
        let mut length = None;
        let mut chunked = false;
        let mut seed = None;
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| format!("field {line:?}"))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" if length.is_some() => return Err("two lengths".into()),
                "content-length" => length = value.parse::<u64>().ok(),
                "transfer-encoding" => chunked = value == "chunked",
                "connection" if value.eq_ignore_ascii_case("close") => self.said_close = true,
                "x-seed" => seed = u64::from_str_radix(value, 16).ok(),
                _ => {}
            }
        }
        let is_apology = expect.panics && status == 500 && seed.is_none();
        if is_apology {
            // To HTTP/1.0 it goes without saying.
            self.said_close |= head.starts_with("HTTP/1.0");
            if !self.said_close || length.is_some_and(|length| length > 0) || chunked {
                return Err(format!("a panic was answered: {head:?}"));
            }
            self.expected.pop_front();
            self.answered += 1;
            self.may_close = true;
            return Ok(rest_after);
        }
        if expect.refusal {
            if !(400..=599).contains(&status) || seed.is_some() {
                return Err(format!("garbage was answered: {head:?}"));
            }
        } else if status != expect.status || seed != Some(expect.seed) {
            return Err(format!(
                "expected {} of {:x}, got {status} of {seed:x?}: {head:?}",
                expect.status, expect.seed
            ));
        }
        self.at = 0;
        if expect.head_only || matches!(status, 204 | 304) {
            self.complete()?;
            return Ok(rest_after);
        }
        self.state = match (chunked, length) {
            (true, Some(_)) => return Err("both a length and chunks".into()),
            (true, None) => State::ChunkSize,
            (false, Some(0)) => {
                self.complete()?;
                return Ok(rest_after);
            }
            (false, Some(left)) => State::Sized { left },
            (false, None) => State::UntilClose,
        };
        Ok(rest_after)
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), String> {
        let expect = self.expected.front().expect("a body belongs to an answer");
        if !expect.refusal {
            let end = self.at + bytes.len();
            if expect.body.get(self.at..end) != Some(bytes) {
                return Err(format!(
                    "wrong bytes at {}..{end} of {} in the body of {:x}",
                    self.at,
                    expect.body.len(),
                    expect.seed
                ));
            }
        }
        self.at += bytes.len();
        Ok(())
    }

    fn complete(&mut self) -> Result<(), String> {
        let expect = self.expected.pop_front().expect("an answer was expected");
        let bodyless = expect.head_only || matches!(expect.status, 204 | 304);
        if expect.fails {
            return Err(format!("the failed answer {:x} looks whole", expect.seed));
        }
        if !bodyless && !expect.refusal && self.at != expect.body.len() {
            return Err(format!(
                "the answer {:x} ended after {} of {} bytes",
                expect.seed,
                self.at,
                expect.body.len()
            ));
        }
        self.state = State::Head;
        self.answered += 1;
        self.may_close = expect.may_close || expect.refusal;
        Ok(())
    }

    /// The server's stream has ended.
    pub(super) fn end(&mut self, end: End) -> Result<Stand, String> {
        if self.state == State::UntilClose && end == End::Fin {
            let expect = self.expected.front().expect("an answer was expected");
            let whole = self.at == expect.body.len() || expect.refusal;
            // Nobody can tell a body cut short from one that ended: that is HTTP/1.0.
            if whole && !expect.fails {
                self.complete()?;
            }
        }
        let is_whole = match self.echo.is_some() {
            true => self.are_complete(),
            false => self.state == State::Head && self.buf.is_empty(),
        };
        match is_whole {
            true => Ok(Stand::Between),
            false => Ok(Stand::Within),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} answered, {} to come (next {:x?}), {:?} at {}, {} bytes unparsed",
            self.answered,
            self.expected.len(),
            self.expected
                .front()
                .map(|expect| (expect.seed, expect.status, expect.body.len())),
            self.state,
            self.at,
            self.buf.len()
        )
    }
}

fn split_at<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes
        .windows(mark.len())
        .position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}
