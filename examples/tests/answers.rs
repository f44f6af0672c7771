//! Every example is started and asked something that its first comment says to ask. Those of the modes are asked for
//! most of it in `modes`.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use support::Server;

/// An example, a line of request with fields, and what is in the answer.
struct Story {
    program: &'static str,
    name: &'static str,
    request: &'static str,
    answer: &'static str,
}

macro_rules! stories {
    ($($name:ident: $request:literal => $answer:literal,)*) => {
        [$(Story {
            program: env!(concat!("CARGO_BIN_EXE_", stringify!($name))),
            name: stringify!($name),
            request: $request,
            answer: $answer,
        },)*]
    };
}

fn stories() -> impl Iterator<Item = Story> {
    #[cfg(feature = "sqlite")]
    let with_sqlite = stories![
        async_db: "POST /todos HTTP/1.1\r\ncontent-length: 4\r\n\r\nfeed" => "201 Created",
    ];
    #[cfg(not(feature = "sqlite"))]
    let with_sqlite = [];
    let all = stories![
        connect_info: "GET / HTTP/1.1\r\n\r\n" => "you are 127.0.0.1:",
        drop_in: "GET /users/7 HTTP/1.1\r\n\r\n" => "200 OK",
        graceful_shutdown: "GET /slow HTTP/1.1\r\n\r\n" => "200 OK",
        grpc: "GET / HTTP/1.1\r\n\r\n" => "hello, over HTTP/1.1",
        hello: "GET / HTTP/1.1\r\n\r\n" => "hello, ",
        layers_without_axum: "GET / HTTP/1.1\r\nx-request-id: mine\r\n\r\n" => "x-request-id: mine",
        per_core_counter: "GET / HTTP/1.1\r\n\r\n" => "200 OK",
        raw_http: "GET / HTTP/1.1\r\n\r\n" => "Hello, World!",
        raw_echo: "GET / HTTP/1.1\r\n\r\n" => "GET / HTTP/1.1",
        state: "POST /words/rust HTTP/1.1\r\ncontent-length: 0\r\n\r\n" => "200 OK",
        streaming: "GET /download/1 HTTP/1.1\r\n\r\n" => "200 OK",
        sync_kv: "GET /nothing HTTP/1.1\r\n\r\n" => "404 Not Found",
        tower_perf: "GET /users/seven HTTP/1.1\r\n\r\n" => "seven",
        websocket: "GET / HTTP/1.1\r\n\r\n" => "new WebSocket",
    ];
    all.into_iter().chain(with_sqlite)
}

/// Those that have tests of their own, or listen elsewhere.
const TOLD_ELSEWHERE: [&str; 3] = ["inherited", "layers", "unix_socket"];

#[test]
fn every_example_answers() {
    for story in stories() {
        let (_server, answer) = Server::start(story.program, |server| ask(server, &story));
        assert!(answer.contains(story.answer), "{}: {answer}", story.name);
    }
}

/// Asks, and reads until the answer is there, or nothing more comes.
fn ask(server: &Server, story: &Story) -> io::Result<String> {
    let mut stream = server.connect()?;
    let request = story.request.replacen("\r\n", "\r\nhost: test\r\n", 1);
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let so_far = String::from_utf8_lossy(&answer).into_owned();
        if so_far.contains(story.answer) || so_far.contains("\r\n\r\n") && so_far.len() > 2048 {
            return Ok(so_far);
        }
        match stream.read(&mut piece)? {
            0 if so_far.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => return Ok(so_far),
            bytes => answer.extend_from_slice(&piece[..bytes]),
        }
    }
}

#[test]
fn examples_are_short_tell_how_to_run_them_and_are_all_tested() {
    let told: BTreeSet<_> = stories()
        .map(|story| story.name)
        .chain(TOLD_ELSEWHERE)
        .collect();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    for entry in fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() < 100, "{name} is long");
        for says in ["//! Run:  ", "//! See:  "] {
            assert!(text.contains(says), "{name} lacks {says}");
        }
        let is_built = name != "async_db" || cfg!(feature = "sqlite");
        assert!(
            !is_built || told.contains(name.as_str()),
            "{name} is not tested"
        );
    }
}
