//! Two floors: the least that a server on io_uring, or on epoll, does for a request.
//!
//! Neither parses: an empty line ends a request, and each is answered with the same bytes. No server can
//! cost less; what one costs more is its own doing.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::Running;
use crate::ring::{Event, Ring};

/// What axum answers to `/plaintext`, on some day.
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 13\r\n\
                      date: Sat, 21 Nov 2026 05:17:33 GMT\r\n\r\nHello, World!";
/// Answers that one send can carry.
const ANSWERS_MAX: usize = 256;
const BUFFER_BYTES: usize = 16 << 10;

/// Serves plaintext from a ring.
pub(super) fn start_uring(addr: SocketAddr) -> io::Result<Running> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    start("uring-floor", addr, move || serve_uring(&listener))
}

/// Serves plaintext from epoll.
pub(super) fn start_epoll(addr: SocketAddr) -> io::Result<Running> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    start("epoll-floor", addr, move || serve_epoll(&listener))
}

fn start(
    name: &'static str,
    addr: SocketAddr,
    serve: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<Running> {
    thread::Builder::new().name(name.into()).spawn(move || {
        if let Err(error) = serve() {
            eprintln!("{name} ended: {error}");
        }
    })?;
    Ok(Running { addr, stats: None })
}

fn serve_uring(listener: &TcpListener) -> io::Result<()> {
    let mut ring = Ring::new(256, 4096)?;
    let answers = ring.add_payload(ANSWER.repeat(ANSWERS_MAX).into_bytes());
    let mut conns: Vec<Option<(OwnedFd, Empty)>> = Vec::new();
    ring.accept(listener.as_fd());
    loop {
        ring.wait(Duration::from_secs(1))?;
        while let Some(event) = ring.next_event() {
            match event {
                Event::Accepted(Ok(socket)) => {
                    rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
                    let free = conns.iter().position(Option::is_none);
                    let index = free.unwrap_or(conns.len());
                    conns.resize_with(conns.len().max(index + 1), || None);
                    ring.recv(index as u32, socket.as_fd());
                    conns[index] = Some((socket, Empty::default()));
                }
                Event::Received { conn, filled, more } => {
                    let Some((socket, empty)) = &mut conns[conn as usize] else {
                        ring.give_back(filled);
                        continue;
                    };
                    let requests = empty.lines_in(ring.bytes(&filled)).min(ANSWERS_MAX);
                    ring.give_back(filled);
                    if requests > 0 {
                        ring.send(conn, socket.as_fd(), answers, 0..requests * ANSWER.len());
                    }
                    if !more {
                        ring.recv(conn, socket.as_fd());
                    }
                }
                Event::ReceiveEnded(conn, Err(error))
                    if error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    if let Some((socket, _)) = &conns[conn as usize] {
                        ring.recv(conn, socket.as_fd());
                    }
                }
                Event::ReceiveEnded(conn, _) => conns[conn as usize] = None,
                Event::Accepted(Err(error)) => return Err(error),
                Event::Sent(..) | Event::Connected(..) => {}
            }
        }
    }
}

fn serve_epoll(listener: &TcpListener) -> io::Result<()> {
    const LISTENER: u64 = u64::MAX;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let readable = epoll::EventFlags::IN;
    epoll::add(
        &poll,
        listener,
        epoll::EventData::new_u64(LISTENER),
        readable,
    )?;
    let answers = ANSWER.repeat(ANSWERS_MAX);
    let mut conns: HashMap<u64, (TcpStream, Empty)> = HashMap::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut events = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&poll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let name = event.data.u64();
            if name == LISTENER {
                let Ok((stream, _)) = listener.accept() else {
                    continue;
                };
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let name = stream.as_raw_fd() as u64;
                let flags = readable | epoll::EventFlags::ET;
                epoll::add(&poll, &stream, epoll::EventData::new_u64(name), flags)?;
                conns.insert(name, (stream, Empty::default()));
                continue;
            }
            let Some((stream, empty)) = conns.get_mut(&name) else {
                continue;
            };
            // One read: what fills the buffer whole would be left, and no scenario sends as much.
            let is_open = match stream.read(&mut buffer) {
                Ok(0) => false,
                Ok(n) => {
                    let requests = empty.lines_in(&buffer[..n]).min(ANSWERS_MAX);
                    stream
                        .write_all(&answers.as_bytes()[..requests * ANSWER.len()])
                        .is_ok()
                }
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
            if !is_open {
                conns.remove(&name);
            }
        }
    }
}

/// Finds empty lines, also those that come in two pieces.
#[derive(Default)]
struct Empty {
    /// How much of an empty line and the end of the one before has come.
    matched: usize,
}

impl Empty {
    fn lines_in(&mut self, input: &[u8]) -> usize {
        const END: &[u8; 4] = b"\r\n\r\n";
        let mut found = 0;
        for &byte in input {
            self.matched = match byte {
                _ if byte == END[self.matched] => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.matched == END.len() {
                self.matched = 0;
                found += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Empty;

    #[test]
    fn empty_lines_are_found_however_they_are_cut() {
        let requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        for piece in 1..requests.len() {
            let mut empty = Empty::default();
            let found: usize = requests
                .chunks(piece)
                .map(|part| empty.lines_in(part))
                .sum();
            assert_eq!(found, 2, "in pieces of {piece}");
        }
    }
}
