//! A client over a blocking socket that reads HTTP/1 strictly and gives up in the end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::PATIENCE;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// Received, not yet asked for.
    ahead: Vec<u8>,
}

/// A response, taken apart no further than tests need.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and fields, as received, with the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body")
    }
}

/// The first field called `name`.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("the server accepts");
        Client::over(stream)
    }

    pub(crate) fn connect_unix(path: impl AsRef<Path>) -> Client {
        Client::over_unix(UnixStream::connect(path).expect("the server accepts"))
    }

    pub(crate) fn over_unix(stream: UnixStream) -> Client {
        // Reading, writing and timeouts are the same system calls for either kind.
        Client::over_either(OwnedFd::from(stream).into())
    }

    /// The same connection, for another thread to send on.
    pub(crate) fn try_clone(&self) -> Client {
        Client::over_either(self.stream.try_clone().unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        Client::over_either(stream)
    }

    fn over_either(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            ahead: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("can send");
        self
    }

    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).expect("can close");
        self
    }

    pub(crate) fn send_get(&mut self, path: &str) -> &mut Self {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send_get(path).response()
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Response {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
        // In one piece: whether a body that nobody reads has arrived must not depend on time.
        self.send([head.as_bytes(), body].concat()).response()
    }

    /// Reads one whole response to anything but HEAD.
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.head();
        let no_body = matches!(response.status, 100..=199 | 204 | 304);
        if no_body {
            return response;
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().expect("a length");
            response.body = self.exactly(length);
        } else if response.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                response.body.extend_from_slice(&chunk);
            }
        } else {
            response.body = self.rest();
        }
        response
    }

    /// Reads a response's head.
    pub(crate) fn head(&mut self) -> Response {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at + 4;
            }
            let got = self.receive().expect("can read a head");
            let so_far = String::from_utf8_lossy(&self.ahead);
            assert!(got > 0, "closed within a response's head: {so_far:?}");
        };
        let head: Vec<u8> = self.ahead.drain(..end).collect();
        let head = String::from_utf8(head).expect("an ASCII head");
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        Response {
            status: status.unwrap_or_else(|| panic!("no status line: {head:?}")),
            head,
            body: Vec::new(),
        }
    }

    /// Reads one chunk; `None` is the last one, trailers are skipped.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.line();
        let length = usize::from_str_radix(&line, 16).expect("a chunk's size");
        if length == 0 {
            while !self.line().is_empty() {}
            return None;
        }
        let mut chunk = self.exactly(length + 2);
        assert_eq!(chunk.split_off(length), b"\r\n");
        Some(chunk)
    }

    pub(crate) fn line(&mut self) -> String {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n") {
                break at;
            }
            assert!(self.receive().expect("can read a line") > 0, "closed");
        };
        let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
        String::from_utf8(line[..end].to_vec()).expect("an ASCII line")
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            let got = self.receive().expect("can read a body");
            assert!(got > 0, "closed {} short", length - self.ahead.len());
        }
        self.ahead.drain(..length).collect()
    }

    /// Reads until the server closes. A reset is an end, too: what came before it counts.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let (rest, closed) = self.rest_if_closed();
        let so_far = String::from_utf8_lossy(&rest);
        assert!(closed, "the server did not close; it said {so_far:?}");
        rest
    }

    /// Reads until the server closes, and tells whether it did.
    pub(crate) fn rest_if_closed(&mut self) -> (Vec<u8>, bool) {
        let closed = loop {
            match self.receive() {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if is_gone(&error) => break true,
                Err(error) if is_timeout(&error) => break false,
                Err(error) => panic!("cannot read: {error}"),
            }
        };
        (std::mem::take(&mut self.ahead), closed)
    }

    /// The server closes without another byte.
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.rest();
        let rest = String::from_utf8_lossy(&rest);
        assert_eq!(rest, "", "expected nothing more");
    }

    /// Whether the server has sent nothing within `time`, nor closed.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent =
            self.ahead.is_empty() && matches!(self.receive(), Err(error) if is_timeout(&error));
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Resets the connection, as a client that crashed.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let got = loop {
            match self.stream.read(&mut buffer) {
                // A process that was stopped, and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                got => break got?,
            }
        };
        self.ahead.extend_from_slice(&buffer[..got]);
        Ok(got)
    }
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// `body` as the chunks of a chunked body, `size` bytes each, with the last one.
pub(crate) fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut encoded = Vec::new();
    for chunk in body.chunks(size) {
        write!(encoded, "{:x}\r\n", chunk.len()).expect("a Vec takes all");
        encoded.extend_from_slice(chunk);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded.extend_from_slice(b"0\r\n\r\n");
    encoded
}

/// Bytes that show when some are lost, doubled or swapped.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8)
        .collect()
}
