//! Much more than fits into memory, both ways: what the server's process takes meanwhile stays within
//! a bound that has nothing to do with how much is moved. 128 MiB each way; `ZERO_STREAM_MIB` asks for
//! more.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;

use support::child::{self, ChildServer};
use support::{Mode, in_every_mode};

in_every_mode![
    a_long_download_takes_no_memory,
    a_long_upload_takes_no_memory,
    a_long_echo_takes_no_memory,
    a_download_nobody_reads_takes_no_memory,
];

const MIB: usize = 1 << 20;
/// Above what a server takes at rest: windows (256 KiB each way, a connection), buffers of the ring,
/// and what allocators and threads keep.
const MEMORY_BOUND: usize = 12 * MIB;
const PIECE: usize = 64 * 1024;

fn moved_bytes() -> usize {
    let asked = std::env::var("ZERO_STREAM_MIB").ok();
    MIB * asked.map_or(128, |asked| asked.parse().expect("a number of MiB"))
}

/// The byte at any place of any stream here: pieces that change places show.
fn byte(at: usize) -> u8 {
    (at / PIECE + at % 251) as u8
}

fn piece(number: usize) -> Bytes {
    let first = number * PIECE;
    (first..first + PIECE).map(byte).collect::<Vec<_>>().into()
}

fn app() -> Router {
    let download = |Path(pieces): Path<usize>| async move {
        let pieces = stream::iter(0..pieces).map(|n| Ok::<_, std::io::Error>(piece(n)));
        Body::from_stream(pieces)
    };
    let upload = |mut body: Body| async move {
        let mut at = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            let in_order = data.iter().enumerate().all(|(n, &b)| b == byte(at + n));
            assert!(in_order, "from {at} on");
            at += data.len();
        }
        at.to_string()
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/download/{pieces}", get(download))
        .route("/upload", post(upload))
        .route("/echo", post(|body: Body| async { body }))
}

#[test]
#[ignore = "the server of the tests above, in its own process"]
fn child_that_streams() {
    child::serve_as_told(|mode| {
        // Nobody is cut for being slow: these tests hold back on purpose.
        mode.serve_with(mode.config().write_timeout(None).body_timeout(None), app())
    });
}

/// A server whose memory is watched.
struct Watched {
    server: ChildServer,
    at_rest: usize,
    most: usize,
}

impl Watched {
    fn start(mode: Mode) -> Self {
        let server = ChildServer::start("child_that_streams", mode, &[]);
        // What is made once is made: a little of everything.
        for _ in 0..8 {
            let mut client = support::client::Client::connect(server.addr);
            assert_eq!(client.get("/").text(), "hello");
        }
        let at_rest = server.resident_bytes();
        Watched {
            server,
            at_rest,
            most: at_rest,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.addr).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stream.set_write_timeout(Some(support::PATIENCE)).unwrap();
        stream
    }

    fn look(&mut self) {
        let now = self.server.resident_bytes();
        self.most = self.most.max(now);
        assert!(
            now <= self.at_rest + MEMORY_BOUND,
            "{} MiB at rest, now {}",
            self.at_rest / MIB,
            now / MIB
        );
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        eprintln!(
            "resident KiB: {} at rest, {} at most",
            self.at_rest / 1024,
            self.most / 1024
        );
    }
}

/// Reads past the head of a response.
fn skip_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut next = [0];
        stream.read_exact(&mut next).unwrap();
        head.push(next[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads a chunked body to its end, and tells of every MiB.
fn read_chunked(stream: &mut TcpStream, mut each_mib: impl FnMut()) -> usize {
    let mut reader = std::io::BufReader::with_capacity(PIECE, stream);
    let (mut at, mut line, mut chunk) = (0, String::new(), Vec::new());
    loop {
        line.clear();
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).expect("a chunk's size");
        chunk.resize(size + 2, 0);
        reader.read_exact(&mut chunk).unwrap();
        if size == 0 {
            return at;
        }
        let data = &chunk[..size];
        let in_order = data.iter().enumerate().all(|(n, &b)| b == byte(at + n));
        assert!(in_order, "from {at} on");
        if (at + size) / MIB != at / MIB {
            each_mib();
        }
        at += size;
    }
}

fn a_long_download_takes_no_memory(mode: Mode) {
    let mut watched = Watched::start(mode);
    let (total, mut stream) = (moved_bytes(), watched.connect());
    let path = format!("/download/{}", total / PIECE);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    skip_head(&mut stream);
    assert_eq!(read_chunked(&mut stream, || watched.look()), total);
}

fn a_long_upload_takes_no_memory(mode: Mode) {
    let mut watched = Watched::start(mode);
    let (total, mut stream) = (moved_bytes(), watched.connect());
    write!(
        stream,
        "POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {total}\r\n\r\n"
    )
    .unwrap();
    for number in 0..total / PIECE {
        stream.write_all(&piece(number)).unwrap();
        if number % 16 == 0 {
            watched.look();
        }
    }
    let head = skip_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut text = vec![0; total.to_string().len()];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), total.to_string());
}

fn a_long_echo_takes_no_memory(mode: Mode) {
    let mut watched = Watched::start(mode);
    let (total, mut stream) = (moved_bytes(), watched.connect());
    write!(
        stream,
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    let mut sender = stream.try_clone().unwrap();
    let sends = std::thread::spawn(move || {
        for number in 0..total / PIECE {
            write!(sender, "{PIECE:x}\r\n").unwrap();
            sender.write_all(&piece(number)).unwrap();
            sender.write_all(b"\r\n").unwrap();
        }
        sender.write_all(b"0\r\n\r\n").unwrap();
    });
    skip_head(&mut stream);
    assert_eq!(read_chunked(&mut stream, || watched.look()), total);
    sends.join().unwrap();
}

fn a_download_nobody_reads_takes_no_memory(mode: Mode) {
    let mut watched = Watched::start(mode);
    // Together far more than the bound, if each were produced at once.
    let stalled: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = watched.connect();
            let path = format!("/download/{}", 64 * MIB / PIECE);
            write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            skip_head(&mut stream);
            stream
        })
        .collect();
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(50));
        watched.look();
    }
    drop(stalled);
}
