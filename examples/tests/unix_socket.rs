//! The example `unix_socket`, killed and started again.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

fn start(path: &Path) -> Child {
    let program = env!("CARGO_BIN_EXE_unix_socket");
    Command::new(program).arg(path).spawn().unwrap()
}

/// Asks who we are as soon as somebody answers.
fn ask(path: &Path) -> String {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        match try_to_ask(path) {
            Ok(answer) if !answer.is_empty() => return answer,
            failed => assert!(Instant::now() < give_up, "{failed:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn try_to_ask(path: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_killed_server_is_replaced_at_once() {
    let path = std::env::temp_dir().join(format!("zero-example-{}", std::process::id()));
    for _ in 0..4 {
        let mut server = start(&path);
        let answer = ask(&path);
        let us = format!("process {}\n", std::process::id());
        assert!(answer.ends_with(&us), "{answer}");
        assert!(server.try_wait().unwrap().is_none(), "it refused to start");
        server.kill().unwrap();
        server.wait().unwrap();
    }
    std::fs::remove_file(path).unwrap();
}
