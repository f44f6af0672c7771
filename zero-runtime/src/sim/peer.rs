//! A simulated client: follows its script, reads at its pace, and judges every byte it gets.

use super::answers::{Answers, Stand};
use super::kernel::{End, Kernel, PeerRead};
use super::rng::Rng;
use super::script::{Act, Pace, Script, Talk};

/// What a peer may know of the world when it acts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) draining: bool,
    pub(super) terminating: bool,
    /// The server reads on for a while before it closes; else unread input may become a reset
    /// that destroys the last answer.
    pub(super) lingers: bool,
    /// It may be short of places, and let idle connections go.
    pub(super) sheds_idle: bool,
    pub(super) patience_ns: u64,
}

/// Longer than anything is on its way to a shard.
const WAY_NS_MAX: u64 = 10_000_000;

/// How long an ill-behaved peer hangs about.
const WILD_PATIENCE_NS: u64 = 60_000_000_000;

pub(super) struct Peer {
    pub(super) number: u64,
    pub(super) sock: Option<usize>,
    pub(super) done: bool,
    pub(super) script: Script,
    pub(super) answers: Answers,
    rng: Rng,
    writing: Vec<u8>,
    written: usize,
    pause_until_ns: Option<u64>,
    next_read_ns: u64,
    next_write_ns: u64,
    /// When it last sent something.
    wrote_ns: u64,
    give_up_ns: u64,
    /// It has ended its side, or worse.
    leaving: bool,
}

impl Peer {
    pub(super) fn new(number: u64, script: Script, rng: Rng) -> Self {
        Peer {
            number,
            sock: None,
            done: false,
            answers: match script.talk {
                Talk::Http => Answers::new(!script.strict),
                Talk::Echo => Answers::echoed(),
            },
            script,
            rng,
            writing: Vec::new(),
            written: 0,
            pause_until_ns: None,
            next_read_ns: 0,
            next_write_ns: 0,
            wrote_ns: 0,
            give_up_ns: u64::MAX,
            leaving: false,
        }
    }

    /// Does what is due now. Returns when it wants to be called again at the latest.
    pub(super) fn act(
        &mut self,
        kernel: &mut Kernel,
        moment: Moment,
    ) -> Result<Option<u64>, String> {
        if self.done {
            return Ok(None);
        }
        let Some(sock) = self.sock else {
            self.sock = kernel.connect(self.number, self.script.strict);
            // Refused: nobody listens any more.
            self.done = self.sock.is_none();
            if self.done && !moment.draining {
                return Err("refused while the server runs".into());
            }
            let patience_ns = match self.script.strict {
                true => moment.patience_ns,
                false => WILD_PATIENCE_NS,
            };
            self.give_up_ns = kernel.now_ns + patience_ns;
            return Ok((!self.done).then_some(kernel.now_ns));
        };
        self.read(kernel, sock, moment)?;
        while !self.done && self.follow(kernel, sock) {}
        if self.done {
            return Ok(None);
        }
        if kernel.now_ns >= self.give_up_ns {
            return self.give_up(kernel, sock);
        }
        Ok(Some(self.next_ns(kernel.now_ns)))
    }

    fn next_ns(&self, now_ns: u64) -> u64 {
        let mut next_ns = self.give_up_ns;
        next_ns = next_ns.min(self.pause_until_ns.unwrap_or(u64::MAX));
        if self.next_read_ns > now_ns {
            next_ns = next_ns.min(self.next_read_ns);
        }
        if self.next_write_ns > now_ns {
            next_ns = next_ns.min(self.next_write_ns);
        }
        next_ns
    }

    fn give_up(&mut self, kernel: &mut Kernel, sock: usize) -> Result<Option<u64>, String> {
        let must = matches!(self.script.acts.front(), Some(Act::AwaitEnd { must: true }));
        if self.script.strict || (must && !self.leaving) {
            return Err(format!(
                "waited in vain at {:?}; {}",
                self.script.acts.front().map(Act::describe),
                self.answers.describe()
            ));
        }
        kernel.peer_end(sock, End::Reset);
        self.done = true;
        Ok(None)
    }

    fn read(&mut self, kernel: &mut Kernel, sock: usize, moment: Moment) -> Result<(), String> {
        let bytes_max = match self.script.pace {
            Pace::Eager => usize::MAX,
            Pace::Slow { bytes, .. } if kernel.now_ns >= self.next_read_ns => bytes,
            Pace::Slow { .. } | Pace::Never => return Ok(()),
        };
        if let Pace::Slow { every_ns, .. } = self.script.pace {
            self.next_read_ns = kernel.now_ns + every_ns;
        }
        self.answers.may_be_late |= moment.draining;
        match kernel.peer_read(sock, bytes_max) {
            PeerRead::Nothing => Ok(()),
            PeerRead::Data(data) => {
                kernel
                    .trace
                    .note(&[self.number, data.len() as u64, u64::from(data[0])]);
                let now_ns = kernel.now_ns;
                kernel.trace.say(|| {
                    format!(
                        "{now_ns} peer {} on {sock} reads {}",
                        self.number,
                        data.len()
                    )
                });
                self.answers.feed(&data)?;
                self.read_more(kernel, sock, moment)
            }
            PeerRead::End(end) => self.handle_end(kernel, sock, end, moment),
        }
    }

    fn read_more(
        &mut self,
        kernel: &mut Kernel,
        sock: usize,
        moment: Moment,
    ) -> Result<(), String> {
        match self.script.pace {
            Pace::Eager => self.read(kernel, sock, moment),
            _ => Ok(()),
        }
    }

    fn handle_end(
        &mut self,
        kernel: &mut Kernel,
        sock: usize,
        end: End,
        moment: Moment,
    ) -> Result<(), String> {
        self.done = true;
        kernel.trace.note(&[self.number, end as u64]);
        let now_ns = kernel.now_ns;
        kernel
            .trace
            .say(|| format!("{now_ns} peer {} reads {end:?}", self.number));
        kernel.peer_close(sock);
        let stand = self.answers.end(end)?;
        let closed_ns = kernel.socks[sock].closed_ns;
        if self.script.strict && !(moment.sheds_idle && self.was_idle(closed_ns)) {
            self.judge_end(end, stand, moment)?;
        }
        Ok(())
    }

    /// Whether it asked nothing as the server closed the connection, or the question was on its way.
    fn was_idle(&self, closed_ns: u64) -> bool {
        let wrote_after_ns = self.wrote_ns.saturating_add(WAY_NS_MAX);
        self.answers.are_complete() || closed_ns <= wrote_after_ns
    }

    /// Whether the server may end the connection of somebody well-behaved like this.
    fn judge_end(&self, end: End, stand: Stand, moment: Moment) -> Result<(), String> {
        if moment.terminating || (moment.draining && end == End::Reset) {
            return Ok(());
        }
        // Of a stream nobody can tell where it may be cut.
        if moment.draining && self.answers.are_echoed() {
            return Ok(());
        }
        if end == End::Reset && !moment.lingers && self.answers.may_close_soon() {
            return Ok(());
        }
        let answers = self.answers.describe();
        if stand == Stand::Within {
            return Err(format!(
                "the connection ended within an answer ({end:?}); {answers}"
            ));
        }
        if end == End::Reset {
            return Err(format!("the connection was reset; {answers}"));
        }
        if !self.answers.may_close && !moment.draining {
            return Err(format!("the connection ended for no reason; {answers}"));
        }
        Ok(())
    }

    /// Goes on with the script; returns whether it may go on at once.
    fn follow(&mut self, kernel: &mut Kernel, sock: usize) -> bool {
        if self.written < self.writing.len() {
            return self.write(kernel, sock);
        }
        let now_ns = kernel.now_ns;
        let Some(act) = self.script.acts.pop_front() else {
            kernel.peer_close(sock);
            self.done = true;
            return false;
        };
        kernel.trace.say(|| {
            format!(
                "{now_ns} peer {} on {sock}: {}",
                self.number,
                act.describe()
            )
        });
        match act {
            Act::Send(bytes, expect) => {
                if let Some(expect) = expect {
                    self.answers.expect(*expect);
                }
                self.answers.expect_echo(&bytes);
                self.writing = bytes;
                self.written = 0;
                return true;
            }
            Act::AwaitAnswers if self.answers.are_complete() => return true,
            Act::AwaitContinue(_) if self.answers.continues > 0 || self.answers.are_complete() => {
                self.answers.continues = 0;
                self.pause_until_ns = None;
                return true;
            }
            Act::Pause(ns) | Act::AwaitContinue(ns) => {
                match self.pause_until_ns {
                    Some(until_ns) if until_ns <= now_ns => {
                        self.pause_until_ns = None;
                        return true;
                    }
                    Some(_) => {}
                    None => self.pause_until_ns = Some(now_ns + ns),
                }
                self.script.acts.push_front(act);
            }
            Act::Fin => {
                self.leaving = true;
                self.answers.may_close |= self.answers.are_echoed();
                kernel.peer_end(sock, End::Fin);
                return true;
            }
            Act::Close | Act::Reset => {
                match act {
                    Act::Close => kernel.peer_close(sock),
                    _ => kernel.peer_end(sock, End::Reset),
                }
                self.done = true;
            }
            Act::Vanish => self.done = true,
            Act::AwaitAnswers | Act::AwaitEnd { .. } => self.script.acts.push_front(act),
        }
        false
    }

    /// Sends the next piece.
    fn write(&mut self, kernel: &mut Kernel, sock: usize) -> bool {
        let now_ns = kernel.now_ns;
        if now_ns < self.next_write_ns {
            return false;
        }
        let rest = &self.writing[self.written..];
        // Large bodies are not worth being cut into crumbs.
        let most = rest
            .len()
            .min(self.script.piece_bytes_max.max(self.writing.len() / 64));
        let count = match self.rng.one_in(2) {
            true => most,
            false => self.rng.size(1, most),
        };
        let before = self.written;
        match kernel.peer_write(sock, &rest[..count]) {
            // Its end will be read.
            None => self.written = self.writing.len(),
            Some(count) => {
                self.written += count;
                self.wrote_ns = now_ns;
            }
        }
        if self.written == before || self.rng.one_in(3) {
            self.next_write_ns = now_ns + self.rng.range(1, 1_000_000);
        } else if self.written < self.writing.len() {
            self.next_write_ns = now_ns + 1_000;
        }
        true
    }
}
