//! HTTP/1.1 by events.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame};
use zero_runtime::raw::{ConnId, DetachError, DisconnectReason, Event, RespondError};
use zero_runtime::{BodyError, Config, RawShard, ZeroResponse};

use crate::support::*;

/// Answers each request with what was asked, and the length and sum of its body.
#[derive(Default)]
struct App {
    asked: std::collections::HashMap<ConnId, (String, usize, u64)>,
}

impl App {
    fn react(&mut self, shard: &mut RawShard, event: Step) {
        let conn = match event {
            Step::Begin(conn, what, body, is_whole) => {
                let sum = body.iter().map(|&byte| u64::from(byte)).sum();
                self.asked.insert(conn, (what, body.len(), sum));
                match is_whole {
                    true => conn,
                    false => return,
                }
            }
            Step::Part(conn, part) => {
                let (_, bytes, sum) = self.asked.get_mut(&conn).unwrap();
                *bytes += part.len();
                *sum += part.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                return;
            }
            Step::End(conn) => conn,
        };
        let (what, bytes, sum) = self.asked.remove(&conn).unwrap();
        let text = format!("{what} {bytes} {sum}");
        shard
            .http_respond(conn, ZeroResponse::ok().text(text))
            .unwrap();
    }
}

/// An event, owned.
enum Step {
    Begin(ConnId, String, Vec<u8>, bool),
    Part(ConnId, Vec<u8>),
    End(ConnId),
}

fn owned(event: Event<'_>) -> Option<Step> {
    match event {
        Event::Request {
            conn,
            request,
            is_whole,
        } => {
            let what = format!("{} {}", request.method(), request.path());
            Some(Step::Begin(conn, what, request.body().to_vec(), is_whole))
        }
        Event::Body { conn, data } => Some(Step::Part(conn, data.to_vec())),
        Event::BodyEnd { conn, .. } => Some(Step::End(conn)),
        _ => None,
    }
}

fn serve<T>(shard: &mut RawShard, client: JoinHandle<T>) -> T {
    let mut app = App::default();
    let give_up = Instant::now() + PATIENCE;
    while !client.is_finished() {
        assert!(Instant::now() < give_up, "the client does not end");
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        while let Some(event) = shard.next_event() {
            if let Some(step) = owned(event) {
                app.react(shard, step);
            }
        }
    }
    client.join().unwrap()
}

fn bodies(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8(answers.to_vec()).unwrap();
    let parts = text.split("HTTP/1.1 ").skip(1);
    parts
        .map(|part| {
            let (head, body) = part.split_once("\r\n\r\n").unwrap();
            format!("{} {body}", &head[..3])
        })
        .collect()
}

fn ask(addr: SocketAddr, pieces: Vec<Vec<u8>>) -> JoinHandle<Vec<u8>> {
    client(addr, move |mut stream| {
        for piece in pieces {
            stream.write_all(&piece).unwrap();
            // So that it comes alone, mostly.
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    })
}

const SCRIPT: &str = "GET /first HTTP/1.1\r\nhost: h\r\n\r\n\
    POST /second HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nabcde\
    HEAD /third HTTP/1.1\r\nhost: h\r\n\r\n\
    PUT /fourth HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n\
    GET /last HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

const ANSWERS: [&str; 5] = [
    "200 GET /first 0 0",
    "200 POST /second 5 495",
    "200 ",
    "200 PUT /fourth 5 495",
    "200 GET /last 0 0",
];

#[test]
fn requests_are_answered_in_order_however_they_are_cut() {
    let (mut shard, addr) = http(Config::default());
    let whole = serve(&mut shard, ask(addr, vec![SCRIPT.into()]));
    assert_eq!(bodies(&whole), ANSWERS);
    for cut in (1..SCRIPT.len()).step_by(7) {
        let (head, tail) = SCRIPT.as_bytes().split_at(cut);
        let answers = serve(&mut shard, ask(addr, vec![head.into(), tail.into()]));
        assert_eq!(bodies(&answers), ANSWERS, "cut at {cut}");
    }
    let bytes = SCRIPT.bytes().map(|byte| vec![byte]).collect();
    assert_eq!(bodies(&serve(&mut shard, ask(addr, bytes))), ANSWERS);
    assert_eq!(shard.stats().connections_open, 0);
}

#[test]
fn a_large_body_comes_in_parts_and_is_held_back_by_not_polling() {
    let (mut shard, addr) = http(Config::default());
    let length = 3_000_000;
    let mut request = format!(
        "POST /large HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.resize(request.len() + length, 1);
    let answers = serve(&mut shard, ask(addr, vec![request]));
    assert_eq!(
        bodies(&answers),
        [format!("200 POST /large {length} {length}")]
    );
}

#[test]
fn a_client_that_waits_for_100_gets_it_unless_it_is_answered_at_once() {
    let head = "POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    let (mut shard, addr) = http(Config::default());
    let client = client(addr, move |mut stream| {
        stream.write_all(head.as_bytes()).unwrap();
        let mut buffer = [0; 25];
        stream.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hi").unwrap();
        // What the answer begins with.
        let mut buffer = [0; 12];
        stream.read_exact(&mut buffer).unwrap();
        String::from_utf8(buffer.to_vec()).unwrap()
    });
    assert_eq!(serve(&mut shard, client), "HTTP/1.1 200");

    let client = ask(addr, vec![head.into()]);
    let conn = until(&mut shard, |event| match event {
        Event::Request { conn, is_whole, .. } => (!is_whole).then_some(conn),
        _ => None,
    });
    let large = ZeroResponse::status(zero_runtime::StatusCode::PAYLOAD_TOO_LARGE);
    shard.http_respond(conn, large).unwrap();
    let answer = while_runs(&mut shard, client, |_, _| {});
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[test]
fn what_cannot_be_understood_is_refused_and_nobody_is_told() {
    let (mut shard, addr) = http(Config::default());
    for (sent, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"),
        (
            "GET / HTTP/1.1\r\nhost: h\r\nhost: i\r\n\r\n",
            "HTTP/1.1 400",
        ),
        ("nonsense\r\n\r\n", "HTTP/1.1 400"),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 400",
        ),
        ("GET /\u{1} HTTP/1.1\r\nhost: h\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let answer = serve(&mut shard, ask(addr, vec![sent.into()]));
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(status), "{sent:?}: {answer:?}");
    }
    let long = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n",
        "y".repeat(500_000)
    );
    let answer = serve(&mut shard, ask(addr, vec![long.into_bytes()]));
    assert!(answer.starts_with(b"HTTP/1.1 431"));
    let stats = shard.stats();
    assert_eq!((stats.parse_errors, stats.heads_too_large), (6, 1));
    assert_eq!((stats.requests, stats.responses), (0, 0));
}

#[test]
fn a_body_that_breaks_off_or_is_malformed_is_told_and_may_be_answered() {
    let (mut shard, addr) = http(Config::default());
    for (sent, expected) in [
        ("content-length: 9\r\n\r\nabc", BodyError::Incomplete),
        (
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n",
            BodyError::Invalid,
        ),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: h\r\n{sent}");
        let client = client(addr, move |mut stream| {
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let (conn, error) = until(&mut shard, |event| match event {
            Event::BodyFailed { conn, error } => Some((conn, error)),
            _ => None,
        });
        assert_eq!(error, expected);
        let bad = ZeroResponse::status(zero_runtime::StatusCode::BAD_REQUEST);
        shard.http_respond(conn, bad).unwrap();
        let answer = while_runs(&mut shard, client, |_, _| {});
        assert!(answer.starts_with(b"HTTP/1.1 400"));
    }
}

#[test]
fn a_request_that_is_cut_off_with_its_answer_due_is_answered_all_the_same() {
    let (mut shard, addr) = http(Config::default());
    let client = client(addr, |mut stream| {
        stream
            .write_all(b"GET /a HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\n\r\n")
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let answers = serve(&mut shard, client);
    assert_eq!(bodies(&answers), ["200 GET /a 0 0", "200 GET /b 0 0"]);
}

#[test]
fn nothing_is_answered_out_of_turn() {
    let (mut shard, addr) = http(Config::default());
    let mut peer = TcpStream::connect(addr).unwrap();
    let conn = opened(&mut shard);
    let answer = || ZeroResponse::ok().text("x");
    assert_eq!(
        shard.http_respond(conn, answer()),
        Err(RespondError::OutOfTurn)
    );
    peer.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n").unwrap();
    shard.poll(Some(Duration::from_millis(50))).unwrap();
    assert!(shard.next_event().is_none());
    assert_eq!(
        shard.http_respond(conn, answer()),
        Err(RespondError::OutOfTurn)
    );
    peer.write_all(b"\r\n").unwrap();
    until(&mut shard, |event| {
        matches!(event, Event::Request { .. }).then_some(())
    });
    assert_eq!(shard.http_respond(conn, answer()), Ok(()));
    assert_eq!(
        shard.http_respond(conn, answer()),
        Err(RespondError::OutOfTurn)
    );
    assert!(shard.stream_write(conn, b"raw").is_err(), "it is no stream");
    shard.close(conn);
    assert_eq!(
        shard.http_respond(conn, answer()),
        Err(RespondError::NotOpen)
    );
}

#[test]
fn a_client_that_ends_its_side_while_it_waits_is_told_and_still_answered() {
    let (mut shard, addr) = http(Config::default());
    let client = client(addr, |mut stream| {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let conn = until(&mut shard, |event| match event {
        Event::HalfClosed { conn } => Some(conn),
        _ => None,
    });
    let response = ZeroResponse::ok().text("still");
    shard.http_respond(conn, response).unwrap();
    let (answer, whys) = while_runs_and_ends(&mut shard, client, 1);
    assert_eq!(bodies(&answer), ["200 still"]);
    assert_eq!(whys, [DisconnectReason::Ended]);
}

/// Pieces that another thread sends.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    waker: mpsc::Sender<std::task::Waker>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.pieces.try_recv() {
            Ok(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Err(mpsc::TryRecvError::Disconnected) => Poll::Ready(None),
            Err(mpsc::TryRecvError::Empty) => {
                let _ = self.waker.send(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Breaks behind a piece of it.
struct Broken(bool);

impl Body for Broken {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(Some(match std::mem::replace(&mut self.0, true) {
            false => Ok(Frame::data(Bytes::from_static(b"a piece"))),
            true => Err("broken"),
        }))
    }
}

#[test]
fn a_response_that_breaks_before_any_of_it_is_sent_is_taken_back() {
    let (mut shard, addr) = http(Config::default());
    let asked = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(2);
    let client = client(addr, move |stream| talk(stream, &asked));
    for response in [
        ZeroResponse::ok().text("whole"),
        ZeroResponse::ok().stream(Broken(false)),
    ] {
        let conn = until(&mut shard, |event| match event {
            Event::Request { conn, .. } => Some(conn),
            _ => None,
        });
        shard.http_respond(conn, response).unwrap();
    }
    let answer = while_runs(&mut shard, client, |_, _| {});
    assert_eq!(bodies(&answer), ["200 whole"]);
    assert_eq!(shard.stats().bodies_failed, 1);
}

#[test]
fn a_connection_has_so_many_requests_and_no_more() {
    let (mut shard, addr) = http(Config::default().requests_per_connection_max(2));
    let asked = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(3);
    let client = client(addr, move |stream| talk(stream, &asked));
    for text in ["first", "last"] {
        let conn = until(&mut shard, |event| match event {
            Event::Request { conn, .. } => Some(conn),
            _ => None,
        });
        let response = ZeroResponse::ok().text(text);
        shard.http_respond(conn, response).unwrap();
    }
    let answer = while_runs(&mut shard, client, |_, _| {});
    assert_eq!(bodies(&answer), ["200 first", "200 last"]);
    let stats = shard.stats();
    assert_eq!((stats.requests, stats.connections_used_up), (2, 1));
}

#[test]
fn a_request_is_taken_out_with_its_body() {
    let (mut shard, addr) = http(Config::default());
    let client = client(addr, |stream| {
        let asked =
            b"POST /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
        talk(stream, asked)
    });
    let conn = until(&mut shard, |event| match event {
        Event::Request { conn, is_whole, .. } => {
            assert!(is_whole);
            Some(conn)
        }
        _ => None,
    });
    let taken = shard.detach_http_request().unwrap();
    assert_eq!(taken.header("content-length"), Some("4"));
    let response = ZeroResponse::ok().bytes(taken.body().to_vec());
    shard.http_respond(conn, response).unwrap();
    let answer = while_runs(&mut shard, client, |_, _| {});
    assert_eq!(bodies(&answer), ["200 body"]);
}

#[test]
fn a_response_streams_as_its_pieces_come_and_no_faster_than_it_is_read() {
    let (mut shard, addr) = http(Config::default().response_window_bytes(64 * 1024));
    let client = ask(
        addr,
        vec![b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".to_vec()],
    );
    let conn = until(&mut shard, |event| match event {
        Event::Request { conn, .. } => Some(conn),
        _ => None,
    });
    let (send, pieces) = mpsc::channel();
    let (waker, wakers) = mpsc::channel::<std::task::Waker>();
    shard
        .http_respond(conn, ZeroResponse::ok().stream(Pieces { pieces, waker }))
        .unwrap();
    let producer = std::thread::spawn(move || {
        for _ in 0..200 {
            send.send(Bytes::from(vec![b'x'; 10_000])).unwrap();
            wakers.try_iter().for_each(std::task::Waker::wake);
        }
        drop(send);
        // Until there is no body any more.
        loop {
            match wakers.recv_timeout(PATIENCE) {
                Ok(waker) => waker.wake(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the body is still there"),
            }
        }
    });
    let answer = while_runs(&mut shard, client, |_, _| {});
    producer.join().unwrap();
    let data = answer.iter().filter(|byte| **byte == b'x').count();
    assert_eq!(data, 2_000_000);
    assert!(answer.ends_with(b"0\r\n\r\n"));
}

#[test]
fn who_asks_without_reading_is_not_heard_further() {
    // Answers that wait for room, and such as are so small that they do not.
    for answer_bytes in [10_000, 200] {
        ask_without_reading(answer_bytes);
    }
}

fn ask_without_reading(answer_bytes: usize) {
    let config = Config::default()
        .response_window_bytes(20_000)
        .recv_buffers(16);
    let (mut shard, addr) = http(config);
    let _silent = client(addr, |mut stream| {
        stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        let requests = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n".repeat(1000);
        while stream.write_all(&requests).is_ok() {}
    });
    let body = "y".repeat(answer_bytes);
    let conn = opened(&mut shard);
    let mut unsent_max = 0;
    let mut kept_max = 0;
    let give_up = Instant::now() + PATIENCE;
    let mut polls = 0;
    while unsent_max == 0 || polls < 300 {
        assert!(Instant::now() < give_up, "nobody asks");
        polls += 1;
        shard.poll(Some(Duration::from_millis(5))).unwrap();
        while let Some(event) = shard.next_event() {
            if let Event::Request { conn, .. } = event {
                shard
                    .http_respond(conn, ZeroResponse::ok().text(&body))
                    .unwrap();
            }
        }
        if let Some(stats) = shard.conn_stats(conn) {
            unsent_max = unsent_max.max(stats.unsent_bytes);
            kept_max = kept_max.max(stats.kept_bytes);
        }
    }
    assert!(unsent_max < 40_000, "{unsent_max} unsent");
    assert!(kept_max < 1_000_000, "{kept_max} kept");
}

#[test]
fn times_are_kept() {
    at_any_pace(|unit| {
        let config = Config::default()
            .head_timeout(unit / 2)
            .keep_alive_timeout(unit / 2)
            .linger_timeout(Duration::ZERO);
        let (mut shard, addr) = http(config);
        let late = ask(addr, vec![b"GET / HTTP/1.1\r\n".to_vec()]);
        let (late, whys) = while_runs_and_ends(&mut shard, late, 1);
        assert_eq!(whys, [DisconnectReason::TimedOut]);
        assert!(late.starts_with(b"HTTP/1.1 408"), "{late:?}");
        let silent = while_runs_and_ends(&mut shard, ask(addr, Vec::new()), 1);
        assert_eq!(silent, (Vec::new(), vec![DisconnectReason::TimedOut]));
        assert_eq!(shard.stats().timeouts_head, 2);
        let idle = serve(
            &mut shard,
            ask(addr, vec![b"GET / HTTP/1.1\r\nhost: h\r\n\r\n".to_vec()]),
        );
        assert_eq!(bodies(&idle), ["200 GET / 0 0"]);
        let stats = shard.stats();
        let counted = (stats.requests, stats.responses, stats.timeouts_keep_alive);
        assert_eq!(counted, (1, 1, 1), "{stats:?}");
    });
}

#[test]
fn a_body_that_comes_too_slowly_is_told_and_counted_and_ends_its_connection() {
    let config = Config::default()
        .body_timeout(Duration::from_millis(60))
        .linger_timeout(Duration::ZERO);
    let (mut shard, addr) = http(config);
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhalf")
        .unwrap();
    let conn = until(&mut shard, |event| match event {
        Event::BodyFailed { conn, error } => {
            assert_eq!(error, BodyError::TooSlow);
            Some(conn)
        }
        _ => None,
    });
    assert_eq!(shard.stats().timeouts_body, 1);
    told_no_more_of_the_body(&mut shard, &mut peer, b"other");
    shard.http_respond(conn, ZeroResponse::ok()).unwrap();
    let why = until(&mut shard, |event| match event {
        Event::Closed { why, .. } => Some(why),
        _ => None,
    });
    assert_eq!(why, DisconnectReason::TimedOut);
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_body_that_cannot_be_understood_fails_once() {
    let (mut shard, addr) = http(Config::default());
    let mut peer = TcpStream::connect(addr).unwrap();
    peer.write_all(
        b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nx",
    )
    .unwrap();
    let error = until(&mut shard, |event| match event {
        Event::BodyFailed { error, .. } => Some(error),
        _ => None,
    });
    assert_eq!(error, BodyError::Invalid);
    told_no_more_of_the_body(&mut shard, &mut peer, b"5\r\nagain\r\n0\r\n\r\n");
}

/// Whatever the peer still sends of a body that has failed, and that it ends its side.
fn told_no_more_of_the_body(shard: &mut RawShard, peer: &mut TcpStream, rest: &[u8]) {
    peer.write_all(rest).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    until(shard, |event| match event {
        Event::HalfClosed { .. } => Some(()),
        Event::Body { .. } | Event::BodyEnd { .. } | Event::BodyFailed { .. } => {
            panic!("it has failed already")
        }
        _ => None,
    });
}

#[test]
fn a_request_that_is_not_answered_in_time_is_answered_for() {
    let config = Config::default()
        .request_timeout(Duration::from_millis(60))
        .linger_timeout(Duration::ZERO);
    let (mut shard, addr) = http(config);
    let asking = ask(addr, vec![b"GET / HTTP/1.1\r\nhost: h\r\n\r\n".to_vec()]);
    let conn = until(&mut shard, |event| match event {
        Event::Request { conn, .. } => Some(conn),
        _ => None,
    });
    let why = until(&mut shard, |event| match event {
        Event::Closed { why, .. } => Some(why),
        _ => None,
    });
    // Not the peer was late.
    assert_eq!(why, DisconnectReason::Closed);
    let answer = asking.join().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{answer:?}");
    let stats = shard.stats();
    assert_eq!((stats.timeouts_request, stats.responses), (1, 1));
    let late = shard.http_respond(conn, ZeroResponse::ok());
    assert_eq!(late, Err(RespondError::NotOpen));
}

#[test]
fn the_time_of_a_request_ends_with_the_beginning_of_its_answer() {
    at_any_pace(|unit| {
        let config = Config::default()
            .request_timeout(unit / 3)
            .keep_alive_timeout(unit)
            .linger_timeout(Duration::ZERO);
        let (mut shard, addr) = http(config);
        let began = Instant::now();
        let asking = ask(addr, vec![b"GET / HTTP/1.1\r\nhost: h\r\n\r\n".to_vec()]);
        let answer = serve(&mut shard, asking);
        assert_eq!(bodies(&answer), ["200 GET / 0 0"]);
        // It was the keep-alive's time that ended the connection, as far as can be told from outside.
        assert!(began.elapsed() >= unit);
    });
}

/// The body's own time goes on behind it, and the sooner of the two is kept.
#[test]
fn a_body_that_comes_late_does_not_stop_the_time_of_its_request() {
    let config = Config::default()
        .request_timeout(Duration::from_millis(60))
        .body_timeout(Duration::from_secs(60))
        .linger_timeout(Duration::ZERO);
    let (mut shard, addr) = http(config);
    let head = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhalf".to_vec();
    let answer = serve(&mut shard, ask(addr, vec![head]));
    assert!(answer.starts_with(b"HTTP/1.1 503"), "{answer:?}");
}

#[test]
fn a_connection_is_not_handed_over() {
    let (mut shard, addr) = http(Config::default());
    let head = "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let asking = ask(addr, vec![head.into()]);
    let conn = until(&mut shard, |event| match event {
        Event::Request { conn, .. } => Some(conn),
        _ => None,
    });
    let switch = ZeroResponse::status(zero_runtime::StatusCode::SWITCHING_PROTOCOLS);
    shard.http_respond(conn, switch).unwrap();
    until(&mut shard, |event| {
        matches!(event, Event::Closed { .. }).then_some(())
    });
    let answer = asking.join().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 500"), "{answer:?}");
}

/// A connection, and its request whose body is still to come.
fn begun(shard: &mut RawShard) -> ConnId {
    until(shard, |event| match event {
        Event::Request { conn, is_whole, .. } => {
            assert!(!is_whole);
            Some(conn)
        }
        _ => None,
    })
}

#[test]
fn http_is_spoken_at_a_unix_socket_as_well() {
    let dir = std::env::temp_dir().join(format!("zero-raw-http-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("http.sock");
    let mut shard = RawShard::new(Config::default()).unwrap();
    shard.http_listen_unix(&path).unwrap();
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let client = std::thread::spawn(move || {
        let request = b"GET /unix HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(bodies(&serve(&mut shard, client)), ["200 GET /unix 0 0"]);
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn what_is_sent_behind_a_body_is_told_with_its_end() {
    let (mut shard, addr) = http(Config::default());
    let mut peer = TcpStream::connect(addr).unwrap();
    for (trailer, expected) in [("x-sum: 7\r\n", Some("7")), ("", None)] {
        let head = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        peer.write_all(head.as_bytes()).unwrap();
        let conn = begun(&mut shard);
        write!(peer, "2\r\nhi\r\n0\r\n{trailer}\r\n").unwrap();
        let trailers = until(&mut shard, |event| match event {
            Event::BodyEnd { trailers, .. } => Some(trailers),
            _ => None,
        });
        let sum = trailers.as_ref().and_then(|trailers| trailers.get("x-sum"));
        assert_eq!(sum.map(|sum| sum.to_str().unwrap()), expected);
        shard.http_respond(conn, ZeroResponse::ok()).unwrap();
    }
}

#[test]
fn a_request_is_taken_out_without_the_body_that_is_still_to_come() {
    let (mut shard, addr) = http(Config::default());
    let mut peer = TcpStream::connect(addr).unwrap();
    let head = b"POST /part HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n";
    peer.write_all(head).unwrap();
    let conn = begun(&mut shard);
    let mut request = shard.detach_http_request().unwrap();
    assert_eq!((request.path(), request.body()), ("/part", &b""[..]));
    assert!(request.body_stream().is_none());
    // It is told of, and taken out, as it comes.
    peer.write_all(b"body").unwrap();
    let mut body = Vec::new();
    while body.len() < 4 {
        until(&mut shard, |event| {
            matches!(event, Event::Body { .. }).then_some(())
        });
        body.extend_from_slice(&shard.detach_event_data().unwrap());
    }
    assert_eq!(body, b"body");
    shard.http_respond(conn, ZeroResponse::ok()).unwrap();
}

#[test]
fn a_piece_that_is_longer_than_a_slot_is_not_taken_out() {
    let (mut shard, addr) = http(Config::default().recv_buffer_bytes(64));
    let mut peer = TcpStream::connect(addr).unwrap();
    let first = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    peer.write_all(first.as_bytes()).unwrap();
    let conn = until(&mut shard, |event| match event {
        Event::Request { conn, .. } => Some(conn),
        _ => None,
    });
    // What comes behind a request that is not answered waits in one piece.
    let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n";
    let second = head.to_owned() + &"x".repeat(500);
    peer.write_all(second.as_bytes()).unwrap();
    let come = (first.len() + second.len()) as u64;
    until_true(&mut shard, |shard| {
        shard.conn_stats(conn).unwrap().bytes_in == come
    });
    shard.http_respond(conn, ZeroResponse::ok()).unwrap();
    let bytes = until(&mut shard, |event| match event {
        Event::Body { data, .. } => Some(data.len()),
        _ => None,
    });
    assert_eq!(bytes, 500);
    assert_eq!(shard.detach_event_data().unwrap_err(), DetachError::TooLong);
    assert_eq!(shard.pool_stats().slots_free, shard.pool_stats().slots);
}
