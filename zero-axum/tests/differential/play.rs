//! A client that plays a script against a server and notes everything that comes back. Knows bytes and
//! time; knows nothing of HTTP but what a date looks like.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::Router;
use zero_axum::Conformance;

use super::app::{app, reading_app};
use crate::support::client::{is_gone, is_timeout};
use crate::support::{Mode, PATIENCE, Server};

/// What a client does, in this order.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// For the server to see what was sent as a piece of its own.
    Pause(Duration),
    /// Waits until these bytes have come, if they ever do.
    Await(&'static str),
    HalfClose,
    Reset,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Send(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Step::Pause(time) => write!(f, "{time:?}"),
            Step::Await(what) => write!(f, "await {what:?}"),
            Step::HalfClose => f.write_str("half-close"),
            Step::Reset => f.write_str("reset"),
        }
    }
}

/// Everything a client hears.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Dates are masked.
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
}

/// How a connection stands once the server has nothing more to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Fin,
    Reset,
    /// Quiet for as long as the client cared to wait.
    Open,
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" {:?}", self.bytes.escape_ascii(), self.end)
    }
}

/// The answer to a broken head, and to one behind a request of HTTP/1.0.
const BAD_REQUEST: [&[u8]; 2] = [
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: -\r\n\r\n",
    b"HTTP/1.0 400 Bad Request\r\ncontent-length: 0\r\ndate: -\r\n\r\n",
];

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Heard {
    /// Whether this, heard from us, is as good as what was heard from axum.
    ///
    /// Where axum closes a socket that still has input, the kernel resets the connection, and may
    /// lose what was sent last; we linger, and it arrives. And where hyper waits for the end of a head
    /// that is broken already, we do not. A client that does not wait for its 100 gets none from us.
    pub(crate) fn is_as_good_as(&self, axum: &Heard) -> bool {
        if let Some(at) = first_unequal(&self.bytes, &axum.bytes)
            && let Some(without) = without_continue_around(&axum.bytes, at)
        {
            let bytes = without;
            return self.is_as_good_as(&Heard { bytes, ..*axum });
        }
        let rest = self.bytes.strip_prefix(&axum.bytes[..]);
        match (axum.end, self.end) {
            (End::Reset, End::Fin | End::Reset) => rest.is_some(),
            (End::Open, End::Fin) => rest.is_some_and(|rest| BAD_REQUEST.contains(&rest)),
            _ => self == axum,
        }
    }
}

/// Where `a` first has another byte than `b`, or none, though `b` goes on.
fn first_unequal(a: &[u8], b: &[u8]) -> Option<usize> {
    (0..b.len()).find(|&at| a.get(at) != Some(&b[at]))
}

/// `bytes` without the 100 that lies around `at`.
fn without_continue_around(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let starts = at.saturating_sub(CONTINUE.len() - 1)..=at;
    let start = starts
        .rev()
        .find(|&start| bytes[start..].starts_with(CONTINUE))?;
    Some([&bytes[..start], &bytes[start + CONTINUE.len()..]].concat())
}

/// Plays `steps`; a connection on which nothing comes for `quiet` counts as open.
pub(crate) fn play(addr: SocketAddr, steps: &[Step], quiet: Duration) -> Heard {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("the server accepts");
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut player = Player {
        stream: Some(stream),
        heard: Vec::new(),
        end: None,
        was_reset: false,
    };
    for step in steps {
        player.step(step);
    }
    player.listen(quiet, |_| false);
    Heard {
        bytes: mask_dates(&player.heard),
        end: player.end.unwrap_or(End::Open),
    }
}

struct Player {
    /// `None` once reset.
    stream: Option<TcpStream>,
    heard: Vec<u8>,
    end: Option<End>,
    was_reset: bool,
}

impl Player {
    fn step(&mut self, step: &Step) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        match step {
            // A server that has closed does not take more; what it said before counts. A reset is
            // told once: here, or to who reads.
            Step::Send(bytes) => self.was_reset |= stream.write_all(bytes).is_err(),
            Step::Pause(time) => std::thread::sleep(*time),
            Step::Await(what) => self.listen(PATIENCE, |heard| {
                heard.windows(what.len()).any(|at| at == what.as_bytes())
            }),
            Step::HalfClose => drop(stream.shutdown(Shutdown::Write)),
            Step::Reset => {
                let socket = socket2::SockRef::from(&*stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                self.stream = None;
                self.end = Some(End::Reset);
            }
        }
    }

    fn listen(&mut self, quiet: Duration, is_enough: impl Fn(&[u8]) -> bool) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        stream.set_read_timeout(Some(quiet)).unwrap();
        let mut buffer = [0; 64 * 1024];
        while self.end.is_none() && !is_enough(&self.heard) {
            assert!(Instant::now() < deadline, "a response without end");
            match stream.read(&mut buffer) {
                Ok(0) if self.was_reset => self.end = Some(End::Reset),
                Ok(0) => self.end = Some(End::Fin),
                Ok(got) => self.heard.extend_from_slice(&buffer[..got]),
                Err(error) if is_gone(&error) => self.end = Some(End::Reset),
                Err(error) if is_timeout(&error) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("cannot read: {error}"),
            }
        }
    }
}

/// `date: Sun, 06 Nov 1994 08:49:37 GMT` becomes `date: -`.
fn mask_dates(bytes: &[u8]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match line.starts_with(b"date: ") && line.ends_with(b" GMT\r\n") {
            true => masked.extend_from_slice(b"date: -\r\n"),
            false => masked.extend_from_slice(line),
        }
    }
    masked
}

/// Which application is served.
#[derive(Clone, Copy)]
pub(crate) enum App {
    Plain,
    /// Its handlers find their bodies read.
    Reading,
}

impl App {
    fn router(self) -> Router {
        match self {
            App::Plain => app(),
            App::Reading => reading_app(),
        }
    }
}

/// The same application on both sides.
pub(crate) struct Servers {
    pub(crate) axum: SocketAddr,
    pub(crate) zero: Server,
    mode: Mode,
}

impl Servers {
    /// axum::serve, and us by hyper's rules.
    pub(crate) fn start(mode: Mode, app: App) -> Self {
        let config = mode.config().conformance(Conformance::Hyper);
        Servers {
            axum: axum_serve(app),
            zero: mode.serve_with(config, app.router()),
            mode,
        }
    }

    /// Plays the same to both, until they agree or are known not to. Returns what differs.
    pub(crate) fn difference(&self, steps: &[Step]) -> Option<Difference> {
        self.difference_at(|_| steps.to_vec())
    }

    /// As [`difference`](Self::difference), for steps that may take so many times as long.
    ///
    /// A busy machine, or one that stands still for a second, may make one of both look silent, or hear
    /// two pieces as one: what differs is played four times, the last two at a pace that such a machine
    /// keeps.
    pub(crate) fn difference_at(&self, steps: impl Fn(u32) -> Vec<Step>) -> Option<Difference> {
        let mut seen = None;
        for pace in [1, 5, 25, 25] {
            let (steps, quiet) = (steps(pace), pace * Duration::from_millis(60));
            let axum = play(self.axum, &steps, quiet);
            let zero = play(self.zero.addr, &steps, quiet);
            // Where both are hyper, either may be the one that resets a client that goes on sending.
            let is_luck = self.mode == Mode::Hyper && axum.is_as_good_as(&zero);
            if is_luck || zero.is_as_good_as(&axum) {
                return None;
            }
            seen = Some(Difference { axum, zero });
        }
        seen
    }
}

/// What was heard from one and from the other.
pub(crate) struct Difference {
    axum: Heard,
    zero: Heard,
}

impl Difference {
    /// Whether it is that axum closed without a word where we said one: hyper does not always say why,
    /// when what is no request comes in pieces behind a response, and what it had not flushed when a
    /// response failed, an interim one included, is lost.
    pub(crate) fn is_in_manners_only(&self) -> bool {
        let rest = self.zero.bytes.strip_prefix(&self.axum.bytes[..]);
        let is_word = |rest| BAD_REQUEST.contains(&rest) || rest == CONTINUE;
        rest.is_some_and(is_word) && self.axum.end == End::Fin && self.zero.end == End::Fin
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "  axum: {:?}\n  zero: {:?}", self.axum, self.zero)
    }
}

/// Real `axum::serve`s, one of each application for all tests of this process.
fn axum_serve(app: App) -> SocketAddr {
    static ADDRS: [OnceLock<SocketAddr>; 2] = [OnceLock::new(), OnceLock::new()];
    *ADDRS[app as usize].get_or_init(|| {
        let (tx, rx) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tx.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, app.router()).await.unwrap();
            });
        });
        rx.recv().unwrap()
    })
}

/// Collects differences, to tell of all at once.
#[derive(Default)]
pub(crate) struct Differences(String);

impl Differences {
    pub(crate) fn look(&mut self, name: &str, servers: &Servers, steps: &[Step]) {
        self.look_at(name, servers, |_| steps.to_vec());
    }

    /// As [`look`](Self::look), for steps that may take so many times as long.
    pub(crate) fn look_at(
        &mut self,
        name: &str,
        servers: &Servers,
        steps: impl Fn(u32) -> Vec<Step>,
    ) {
        if let Some(difference) = servers.difference_at(steps) {
            self.0 += &format!("\n{name}\n{difference}\n");
        }
    }

    #[track_caller]
    pub(crate) fn assert_none(self) {
        assert!(self.0.is_empty(), "answers differ:\n{}", self.0);
    }
}
