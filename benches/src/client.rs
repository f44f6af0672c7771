//! A blocking HTTP/1.1 client for one connection. It allocates nothing once its buffer has grown to
//! the size of the responses, so that `allocs` counts the server alone.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest any step may take before it is an error.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the buffer starts with; it doubles as needed.
const BUFFER_BYTES: usize = 4096;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes received; `buffer[..filled]` holds them. At least `answered`.
    filled: usize,
    /// Length of the response handed out last, which starts the buffer.
    answered: usize,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the server does not accept within five seconds.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Client {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            filled: 0,
            answered: 0,
        })
    }

    /// Sends the bytes of one or more requests.
    ///
    /// # Errors
    /// When they are not taken within five seconds.
    pub fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.stream.write_all(requests)
    }

    /// Receives one whole response: head and body.
    ///
    /// # Errors
    /// When the connection ends or stalls for five seconds, or the response has no
    /// `Content-Length`, the only framing known here.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        self.buffer.copy_within(self.answered..self.filled, 0);
        self.filled -= self.answered;
        self.answered = 0;
        let length = loop {
            match response_bytes(&self.buffer[..self.filled])? {
                Some(length) => break length,
                None => self.fill()?,
            }
        };
        while self.filled < length {
            self.fill()?;
        }
        self.answered = length;
        Ok(&self.buffer[..length])
    }

    /// Sends `batch`, which is `pipeline` requests, until there were `count` of them, and receives the
    /// responses of each before the next.
    ///
    /// # Errors
    /// As of [`send`](Self::send) and [`receive`](Self::receive).
    pub fn exchange_batches(
        &mut self,
        batch: &[u8],
        pipeline: usize,
        count: usize,
    ) -> io::Result<()> {
        for _ in 0..count / pipeline {
            self.send(batch)?;
            for _ in 0..pipeline {
                self.receive()?;
            }
        }
        Ok(())
    }

    /// Sends one request and receives its response.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`receive`](Self::receive).
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        self.send(request)?;
        self.receive()
    }

    /// Gives up the connection and keeps the socket alone, open and idle.
    pub fn into_socket(self) -> TcpStream {
        self.stream
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0);
        }
        match self.stream.read(&mut self.buffer[self.filled..]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.filled += n;
                Ok(())
            }
            // A process that was stopped and continued; whoever needs more asks again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Length of the response that starts `input`, once its head is whole.
fn response_bytes(input: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Ok(None);
    };
    let length = field(&input[..end + 2], b"content-length")
        .and_then(|value| str::from_utf8(value).ok()?.parse::<usize>().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no valid Content-Length"))?;
    Ok(Some(end + 4 + length))
}

/// The value of a header field of `head`, trimmed.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// Overwrites the value of a response's `Date` with `#`, its length kept: the one part in which two
/// right answers differ.
pub fn mask_date(response: &mut [u8]) {
    let head_bytes = response
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or(response.len());
    let mut lines = response[..head_bytes].split_mut(|&byte| byte == b'\n');
    let date = lines.find(|line| line.len() > 5 && line[..5].eq_ignore_ascii_case(b"date:"));
    if let Some(line) = date {
        let end = line.trim_ascii_end().len();
        line[6..end].fill(b'#');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\ndate: Sat, 21 Nov 2026 05:17:33 GMT\r\n\r\nabc";

    #[test]
    fn a_response_ends_where_its_length_says() {
        let total = RESPONSE.len();
        for split in 0..total - 3 {
            assert_eq!(response_bytes(&RESPONSE[..split]).expect("no error"), None);
        }
        let found = response_bytes(&RESPONSE[..total - 1]).expect("no error");
        assert_eq!(found, Some(total));
    }

    #[test]
    fn a_response_without_length_is_refused() {
        assert!(response_bytes(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn masking_hides_the_date_and_nothing_else() {
        let mut masked = RESPONSE.to_vec();
        mask_date(&mut masked);
        let expected = RESPONSE.to_vec();
        let text = String::from_utf8(expected).expect("ASCII");
        let text = text.replace("Sat, 21 Nov 2026 05:17:33 GMT", &"#".repeat(29));
        assert_eq!(masked, text.as_bytes());
    }
}
