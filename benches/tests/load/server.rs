//! A server of few words: it answers each request as a script says, and counts.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use zero_bench::load::response::{Reader, Reference, Step};
use zero_bench::load::{Exchange, Reply};

/// What a request is to the script.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Which connection it came on, in the order of accepting.
    pub conn: u64,
    /// Which request of that connection it is, from 0.
    pub nth: u64,
    /// Which request of all it is, from 0.
    pub of_all: u64,
    /// Its path.
    pub path: &'a str,
}

/// What the server does about a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Sends these bytes and closes.
    SayAndClose(Vec<u8>),
    /// Keeps the connection and sends nothing.
    Ignore,
}

/// What it has counted so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Requests that have come whole.
    pub requests: AtomicU64,
    /// The most requests that came on one connection.
    pub most_on_one: AtomicU64,
}

/// Where it listens. Its threads end with their connections and the test.
pub struct Scripted {
    pub addr: SocketAddrV4,
    pub counts: Arc<Counts>,
}

impl Scripted {
    pub fn start(script: impl Fn(Asked<'_>) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let Ok(SocketAddr::V4(addr)) = listener.local_addr() else {
            unreachable!("bound to an IPv4 address")
        };
        let counts = Arc::new(Counts::default());
        let (told, script) = (counts.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let conn = told.accepted.fetch_add(1, SeqCst);
                let (told, script) = (told.clone(), script.clone());
                // A peer that goes away ends the conversation, and nothing else.
                thread::spawn(move || drop(converse(stream, conn, &told, &*script)));
            }
        });
        Scripted { addr, counts }
    }
}

fn converse(
    mut stream: TcpStream,
    conn: u64,
    counts: &Counts,
    script: &dyn Fn(Asked<'_>) -> Act,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut buffer) = (Vec::new(), [0; 4096]);
    for nth in 0.. {
        let end = loop {
            if let Some(at) = input.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                n => input.extend_from_slice(&buffer[..n]),
            }
        };
        let head = String::from_utf8_lossy(&input[..end]).into_owned();
        input.drain(..end);
        counts.most_on_one.fetch_max(nth + 1, SeqCst);
        let asked = Asked {
            conn,
            nth,
            of_all: counts.requests.fetch_add(1, SeqCst),
            path: head.split(' ').nth(1).unwrap_or(""),
        };
        match script(asked) {
            Act::Say(bytes) => stream.write_all(&bytes)?,
            Act::SayAndClose(bytes) => return stream.write_all(&bytes),
            Act::Ignore => {}
        }
    }
    Ok(())
}

/// A server that stands still once: it starts with one request, and holds whatever comes meanwhile.
pub struct Stall {
    /// The request, of all, that starts it.
    from: u64,
    length: Duration,
    until: Mutex<Option<Instant>>,
}

impl Stall {
    pub fn new(from: u64, length: Duration) -> Self {
        let until = Mutex::new(None);
        Stall {
            from,
            length,
            until,
        }
    }

    /// Returns when the server moves again, or at once while it does.
    pub fn hold(&self, of_all: u64) {
        let until = {
            let mut until = self.until.lock().expect("nobody panics");
            if of_all == self.from {
                *until = Some(Instant::now() + self.length);
            }
            *until
        };
        if let Some(until) = until {
            thread::sleep(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// A response with this status and body.
pub fn response(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A request for `path` whose answer must be `expected`.
pub fn exchange(path: &str, expected: &[u8], weight: u32) -> Exchange {
    let mut reader = Reader::keeping(false);
    let read = reader.read(expected, None).expect("well-formed");
    assert_eq!(read, Step::Done(expected.len()));
    let response = reader.into_kept();
    let reference = Reference::learn(response.clone(), &response, false).expect("equal");
    Exchange {
        label: path.into(),
        request: format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes(),
        reply: Reply::Http(reference),
        weight,
    }
}
