//! The example `layers` answers all that its first comment says, outside its router and inside.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with its test.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts the example at a port that was free a moment ago; where it is not any more, at another.
    fn start(argument: &str) -> Self {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let addr = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            let addr = addr.unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_layers"));
            command
                .args([addr.port().to_string().as_str(), argument])
                .env("NO_COLOR", "1")
                .env_remove("RUST_LOG")
                .stdout(Stdio::piped());
            let child = command.spawn().unwrap();
            let mut server = Server { child, addr };
            while server.child.try_wait().unwrap().is_none() {
                if server.ask("GET /health", "").is_ok() {
                    return server;
                }
                assert!(Instant::now() < give_up, "it does not answer");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// The head of the answer, in lower case, and the body.
    fn ask(&self, line: &str, fields: &str) -> io::Result<(String, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request =
            format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = answer.split_off(end.ok_or(io::ErrorKind::UnexpectedEof)? + 4);
        Ok((String::from_utf8_lossy(&answer).to_ascii_lowercase(), body))
    }

    /// Ends it, and reads what it has logged.
    fn logged(mut self) -> String {
        self.child.kill().unwrap();
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TOKEN: &str = "authorization: Bearer secret\r\n";
const BROWSER: &str = "accept-encoding: gzip\r\norigin: https://example.com\r\n";

#[test]
fn every_layer_shows_outside_the_router_and_inside() {
    for argument in ["outside", "inside"] {
        let server = Server::start(argument);
        let ask = |line: &str, fields: &str| server.ask(line, fields).unwrap();
        let has = |head: &str, wanted: &[&str]| {
            for wanted in wanted {
                assert!(head.contains(wanted), "{argument}: no {wanted:?} in {head}");
            }
        };

        let (head, body) = ask("GET /page/", &format!("{TOKEN}{BROWSER}"));
        has(
            &head,
            &[
                "200 ok",
                "content-encoding: gzip",
                "x-request-id: ",
                "access-control-allow-origin: *",
            ],
        );
        assert!(
            body.windows(3).any(|three| three == [0x1f, 0x8b, 8]),
            "{argument}: gzip begins otherwise"
        );

        let (head, _) = ask("GET /page", "x-request-id: mine\r\n");
        has(
            &head,
            &[
                "401 unauthorized",
                "www-authenticate: bearer",
                "x-request-id: mine",
            ],
        );
        let (head, _) = ask("OPTIONS /page", BROWSER);
        has(&head, &["200 ok", "access-control-allow-methods: *"]);
        let (head, body) = ask("GET /health", "");
        has(&head, &["200 ok"]);
        assert_eq!(body, b"fine\n", "{argument}");

        let log = server.logged();
        has(&log, &["uri=/page ", "status=200", "Sensitive"]);
        assert!(!log.contains("Bearer"), "{argument}: a secret in {log}");
    }
}
