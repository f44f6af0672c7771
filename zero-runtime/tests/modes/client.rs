//! A plain client: bytes out, one response in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::patience::PATIENCE;

#[derive(Clone, Copy)]
pub struct Client {
    addr: SocketAddr,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Self {
        Client { addr }
    }

    pub fn connect(self) -> Conn {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Conn(BufReader::new(stream))
    }

    /// One request on a connection of its own.
    pub fn ask(self, request: &str) -> Answer {
        let mut conn = self.connect();
        conn.send(request);
        conn.answer()
    }
}

pub struct Conn(BufReader<TcpStream>);

/// A response with its body decoded.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lines as they were sent, without `date`.
    pub head: Vec<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self
            .head
            .iter()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

impl Conn {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next response, to a request other than HEAD.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer
            .header("content-length")
            .map(|length| length.parse().unwrap());
        match length {
            Some(length) => {
                answer.body.resize(length, 0);
                self.0.read_exact(&mut answer.body).unwrap();
            }
            None if answer.header("transfer-encoding") == Some("chunked") => {
                while let Some(mut chunk) = self.chunk() {
                    answer.body.append(&mut chunk);
                }
            }
            None => {}
        }
        answer
    }

    /// The next response's head alone.
    pub fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            if !line.to_ascii_lowercase().starts_with("date:") {
                head.push(line);
            }
        }
        Answer {
            status: head[0].split(' ').nth(1).unwrap().parse().unwrap(),
            head,
            body: Vec::new(),
        }
    }

    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let bytes = usize::from_str_radix(&self.line(), 16).unwrap();
        let mut chunk = vec![0; bytes];
        self.0.read_exact(&mut chunk).unwrap();
        assert_eq!(self.line(), "");
        (bytes > 0).then_some(chunk)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        line.truncate(line.len() - 2);
        line
    }

    /// Everything until the server closes.
    pub fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        rest
    }

    pub fn half_close(&self) {
        self.0
            .get_ref()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }
}
