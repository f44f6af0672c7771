//! Every stack of layers that can be measured is served on both servers, ours and tower-http's, and asked a
//! request or two: what it is for shows in the answer where it can, and both answer the same.
#![cfg(feature = "zero")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use zero_bench::child::ServerProcess;
use zero_bench::stacks::LAYERS;
use zero_runtime::{BackendChoice, Config, Io};

/// Longer than anything takes on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const ORIGIN: &str = "origin: https://example.com\r\n";
const TOKEN: &str = "authorization: Bearer secret\r\n";
const GZIP: &str = "accept-encoding: gzip\r\n";

/// A request's path and fields, and what the head of the answer has.
struct Ask {
    path: &'static str,
    fields: String,
    has: &'static [&'static str],
}

impl Ask {
    fn new(path: &'static str, fields: &[&str], has: &'static [&'static str]) -> Self {
        Ask {
            path,
            fields: fields.concat(),
            has,
        }
    }
}

/// What to ask a server with a layer, or with the full stack.
fn asks(layer: &str) -> Vec<Ask> {
    let one = |path, fields: &[&str], has| vec![Ask::new(path, fields, has)];
    match layer {
        "auth" => vec![
            Ask::new("/plaintext", &[TOKEN], &["200 OK"]),
            Ask::new("/plaintext", &[], &["401 Unauthorized"]),
        ],
        "compression" => one("/items", &[GZIP], &["200 OK", "content-encoding: gzip"]),
        "cors" => one(
            "/plaintext",
            &[ORIGIN],
            &["200 OK", "access-control-allow-origin: *"],
        ),
        "request-id" => one("/plaintext", &[], &["200 OK", "x-request-id: "]),
        // Nothing to be seen: within the router a path is not routed again; marks and traces stay there.
        "normalize-path" => one("/plaintext", &[], &["200 OK"]),
        "sensitive-headers" | "trace" => one("/plaintext", &[TOKEN], &["200 OK"]),
        "all of them" => vec![
            Ask::new(
                "/items",
                &[TOKEN, ORIGIN, GZIP],
                &[
                    "200 OK",
                    "content-encoding: gzip",
                    "access-control-allow-origin: *",
                    "x-request-id: ",
                ],
            ),
            Ask::new("/plaintext", &[], &["401 Unauthorized", "x-request-id: "]),
        ],
        other => panic!("nothing to ask of {other}"),
    }
}

/// Starts a server, asks it and ends it: the heads of the answers.
fn heads(backend: &str, stack: &str, asks: &[Ask]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["--end-with-parent", "--backend", backend, "--stack", stack]);
    let server = ServerProcess::spawn(command, None, PATIENCE)
        .unwrap_or_else(|error| panic!("{stack} on {backend}: {error}"));
    let head = |ask: &Ask| {
        let mut stream = TcpStream::connect(server.addr).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let Ask { path, fields, .. } = ask;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let (head, _) = text.split_once("\r\n\r\n").expect("a whole head");
        head.to_owned()
    };
    asks.iter().map(head).collect()
}

/// The names of a head's fields and the values of those that are not new each time, in order of the names.
fn comparable(head: &str) -> Vec<String> {
    let differs = ["date:", "x-request-id:", "www-authenticate:"];
    let line = |line: &str| match differs.iter().find(|name| line.starts_with(*name)) {
        // A refusal of ours says how to ask: DIFFERENCES.md.
        Some(&"www-authenticate:") => None,
        Some(name) => Some((*name).to_owned()),
        None => Some(line.to_owned()),
    };
    let mut lines: Vec<String> = head.split("\r\n").filter_map(line).collect();
    lines.sort();
    lines
}

fn served_alike(backend: &str) {
    let alone = LAYERS.map(|layer| (layer, format!(":{layer}")));
    for (layer, suffix) in alone.into_iter().chain([("all of them", String::new())]) {
        let asks = asks(layer);
        let ours = heads(backend, &format!("native{suffix}"), &asks);
        let theirs = heads(backend, &format!("tower-http{suffix}"), &asks);
        for ((ask, ours), theirs) in asks.iter().zip(&ours).zip(&theirs) {
            for wanted in ask.has {
                let wanted = wanted.to_ascii_lowercase();
                assert!(ours.contains(&wanted), "{layer} on {backend}: {ours}");
            }
            assert_eq!(comparable(ours), comparable(theirs), "{layer} on {backend}");
        }
    }
}

#[test]
fn layers_are_served_alike_by_axum() {
    served_alike("hyper");
}

#[test]
fn layers_are_served_alike_by_zero() {
    if let Err(error) = Io::new(Config::default().backend(BackendChoice::IoUring)) {
        eprintln!("SKIPPED: {error}");
        return;
    }
    served_alike("zero");
}
