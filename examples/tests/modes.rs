//! The examples of the modes and of raw shards keep what their first comments promise.

mod support;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use support::{PATIENCE, Server};

/// An example that accepts connections.
macro_rules! start {
    ($name:ident) => {{
        let program = env!(concat!("CARGO_BIN_EXE_", stringify!($name)));
        Server::start(program, Server::connect).0
    }};
}

/// A connection that is kept from request to request.
struct Conn(BufReader<TcpStream>);

#[derive(PartialEq, Eq, Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn told(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

impl Conn {
    fn to(server: &Server) -> Self {
        Conn(BufReader::new(server.connect().unwrap()))
    }

    fn send(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Sends a request without a body.
    fn request(&mut self, line: &str) {
        self.send(&format!("{line} HTTP/1.1\r\nhost: test\r\n\r\n"));
    }

    fn ask(&mut self, line: &str) -> Answer {
        self.request(line);
        self.answer()
    }

    fn ask_with(&mut self, line: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(&format!(
            "{line} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        self.answer()
    }

    /// Whether some of the next response has come.
    fn has_answer(&mut self) -> bool {
        let stream = self.0.get_ref();
        stream.set_nonblocking(true).unwrap();
        let has_come = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).unwrap();
        has_come
    }

    /// The next response, whose length is told, or is none.
    fn answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let bytes = self.0.read_line(&mut head).unwrap();
            assert!(bytes > 0, "it ended within {head:?}");
        }
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body: String::from_utf8(body).unwrap(),
        }
    }
}

#[test]
fn sync_kv_keeps_what_it_is_given() {
    let server = start!(sync_kv);
    let (mut one, mut other) = (Conn::to(&server), Conn::to(&server));
    assert_eq!(one.ask("GET /kv/sky").status, 404);
    assert_eq!(one.ask("GET /keys").told(), (200, "[]"));
    assert_eq!(one.ask_with("PUT /kv/sky", "blue").status, 201);
    // Of another connection, which may be another shard's.
    assert_eq!(other.ask("GET /kv/sky").told(), (200, "blue"));
    assert_eq!(other.ask_with("PUT /kv/sky", "grey").status, 204);
    assert_eq!(other.ask_with("PUT /kv/grass", "green").status, 201);
    assert_eq!(one.ask("GET /kv/sky").told(), (200, "grey"));
    assert_eq!(one.ask("GET /keys").told(), (200, r#"["grass","sky"]"#));
    assert_eq!(one.ask("DELETE /kv/sky").status, 204);
    assert_eq!(other.ask("DELETE /kv/sky").status, 404);
    assert_eq!(other.ask("GET /kv/sky").status, 404);
    assert_eq!(other.ask("GET /keys").told(), (200, r#"["grass"]"#));
    assert_eq!(one.ask("GET /nothing").status, 404);
    assert_eq!(one.ask_with("POST /kv/sky", "").status, 405);
    let large = "x".repeat(64 * 1024 + 1);
    assert_eq!(one.ask_with("PUT /kv/large", &large).status, 413);
    assert_eq!(other.ask("GET /keys").told(), (200, r#"["grass"]"#));
}

#[test]
fn per_core_counter_counts_what_each_core_has_answered() {
    let server = start!(per_core_counter);
    // What a shard has told last, by its name: connections are anybody's.
    let mut counts = std::collections::BTreeMap::new();
    let mut conns: Vec<_> = (0..8).map(|_| Conn::to(&server)).collect();
    let mut note = |answer: Answer| {
        assert_eq!(answer.status, 200);
        let (core, rest) = answer.body.split_once(" has answered ").unwrap();
        let count = rest.strip_suffix(" requests\n").unwrap();
        let count: u64 = count.parse().unwrap();
        let before = counts.insert(core.to_owned(), count).unwrap_or(0);
        assert_eq!(count, before + 1, "{core}");
    };
    for _ in 0..4 {
        conns.iter_mut().for_each(|conn| note(conn.ask("GET /")));
    }
    // One that waits is counted, too, and so is who comes after it.
    note(conns[0].ask("GET /slow"));
    note(conns[0].ask("GET /"));
    let (total, cores) = (counts.values().sum::<u64>(), counts.len());
    assert_eq!(total, 34);
    assert!(cores <= thread::available_parallelism().unwrap().get());
}

#[cfg(feature = "sqlite")]
#[test]
fn async_db_inserts_and_selects() {
    let server = start!(async_db);
    let (mut one, mut other) = (Conn::to(&server), Conn::to(&server));
    assert_eq!(one.ask("GET /todos").told(), (200, ""));
    assert_eq!(
        one.ask_with("POST /todos", "feed the cat").told(),
        (201, "1\n")
    );
    let quoted = "it's ?); DROP TABLE todos";
    assert_eq!(other.ask_with("POST /todos", quoted).told(), (201, "2\n"));
    let all = format!("1 feed the cat\n2 {quoted}\n");
    assert_eq!(one.ask("GET /todos").told(), (200, all.as_str()));
    let large = "x".repeat(16 * 1024 + 1);
    assert_eq!(other.ask_with("POST /todos", &large).status, 413);
    assert_eq!(one.ask("GET /todos").told(), (200, all.as_str()));
    assert_eq!(one.ask("GET /").status, 404);
}

#[test]
fn tower_perf_answers_in_time_or_says_what_is_in_the_way() {
    let server = start!(tower_perf);
    let mut conn = Conn::to(&server);
    let answer = conn.ask("GET /users/seven");
    assert_eq!(answer.told(), (200, "seven"));
    let field = |name: &str| {
        let mut lines = answer.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    assert_eq!(field("x-served-by"), Some("zero"));
    assert_eq!(field("x-request-id").map(str::len), Some(36));
    assert_eq!(conn.ask("GET /slow").told(), (503, "too late\n"));

    // More at once than it takes; again where the machine stood still for so long that they were not at once.
    let give_up = Instant::now() + PATIENCE;
    let mut conns: Vec<_> = (0..120).map(|_| Conn::to(&server)).collect();
    loop {
        conns.iter_mut().for_each(|conn| conn.request("GET /slow"));
        let answers: Vec<_> = conns.iter_mut().map(Conn::answer).collect();
        let said = |text| {
            let said = answers.iter().filter(|answer| answer.told() == (503, text));
            said.count()
        };
        let (late, shed) = (said("too late\n"), said("too many at once\n"));
        assert_eq!(late + shed, conns.len(), "{answers:?}");
        assert!(late >= 100, "{shed} were turned away with {late} under way");
        if shed > 0 {
            break;
        }
        assert!(Instant::now() < give_up, "nobody was turned away");
    }
    // They have made room.
    assert_eq!(conn.ask("GET /users/seven").told(), (200, "seven"));
}

#[test]
fn raw_echo_sends_back_what_comes_at_both_ends() {
    let server = start!(raw_echo);
    let mut tcp = server.connect().unwrap();
    let give_up = Instant::now() + PATIENCE;
    let mut unix = loop {
        match UnixStream::connect(&server.socket) {
            Ok(unix) => break unix,
            Err(error) => assert!(Instant::now() < give_up, "{error}"),
        }
        thread::yield_now();
    };
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.set_write_timeout(Some(PATIENCE)).unwrap();
    for line in ["hello\n", "and again\n"] {
        echoes(&mut tcp, line.as_bytes());
        echoes(&mut unix, line.as_bytes());
    }
    let some: Vec<_> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for piece in some.chunks(30_000) {
        echoes(&mut tcp, piece);
        echoes(&mut unix, piece);
    }
    // Half closed behind what it sent, each gets all of it, then the end.
    tcp.write_all(&some[..20_000]).unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut tcp), some[..20_000]);
    // More than the sockets' buffers hold.
    let much = some.repeat(30);
    let mut sender = unix.try_clone().unwrap();
    let sent = much.clone();
    let sending = thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    assert!(rest(&mut unix) == much, "it came back changed");
    sending.join().unwrap();
}

fn echoes(stream: &mut (impl Read + Write), bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "it came back changed");
}

fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    let read: io::Result<_> = stream.read_to_end(&mut rest);
    read.unwrap();
    rest
}

#[test]
fn raw_http_answers_at_once_later_and_what_it_counted() {
    let server = start!(raw_http);
    let (mut conn, mut other) = (Conn::to(&server), Conn::to(&server));
    assert_eq!(conn.ask("GET /").told(), (200, "Hello, World!\n"));
    assert_eq!(conn.ask("GET /nothing").status, 404);
    // It keeps nobody else waiting; again where the machine stood still for so long that it was over by then.
    let give_up = Instant::now() + PATIENCE;
    loop {
        conn.request("GET /slow");
        assert_eq!(other.ask("GET /").told(), (200, "Hello, World!\n"));
        let is_waiting = !conn.has_answer();
        assert_eq!(conn.answer().told(), (200, "at last: /slow\n"));
        if is_waiting {
            break;
        }
        assert!(Instant::now() < give_up, "others wait for who is slow");
    }

    assert_eq!(
        conn.ask_with("PUT /count", "12345").told(),
        (200, "5 bytes\n")
    );
    assert_eq!(conn.ask_with("POST /count", "").told(), (200, "0 bytes\n"));
    let large = "x".repeat(1_000_000);
    let counted = conn.ask_with("PUT /count", &large);
    assert_eq!(counted.told(), (200, "1000000 bytes\n"));
    // Two bodies that come by turns, in pieces.
    let head = "PUT /count HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    conn.send(head);
    other.send(head);
    for piece in ["3\r\nabc\r\n", "a\r\n0123456789\r\n"] {
        conn.send(piece);
        other.send(piece);
        other.send(piece);
    }
    conn.send("0\r\n\r\n");
    other.send("0\r\n\r\n");
    assert_eq!(conn.answer().told(), (200, "13 bytes\n"));
    assert_eq!(other.answer().told(), (200, "26 bytes\n"));
    // One that is broken, and who goes within one.
    other.send(head);
    other.send("nonsense\r\n");
    assert_eq!(other.answer().status, 400);
    let mut leaving = Conn::to(&server);
    leaving.send(head);
    drop(leaving);
    assert_eq!(conn.ask("GET /").told(), (200, "Hello, World!\n"));
}
