//! The example `inherited` under a service manager: this test, which keeps the sockets.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Passes the sockets on as descriptors 3 and 4.
const PASS_ON: &str = "exec 3<&0 4<&1 </dev/null >&2; \
                       export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\"";

fn start(tcp: &TcpListener, unix: &UnixListener) -> Child {
    let sockets = [
        OwnedFd::from(tcp.try_clone().unwrap()),
        OwnedFd::from(unix.try_clone().unwrap()),
    ];
    let [tcp, unix] = sockets.map(Stdio::from);
    Command::new("sh")
        .args(["-c", PASS_ON, env!("CARGO_BIN_EXE_inherited")])
        .stdin(tcp)
        .stdout(unix)
        .spawn()
        .unwrap()
}

/// Ends the server as a service manager does.
fn stop(mut server: Child) {
    let killed = Command::new("sh")
        .args(["-c", "kill -TERM \"$0\"", &server.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert!(server.wait().unwrap().success());
}

fn ask(mut stream: impl Read + Write) {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with("hello\n"), "{answer}");
}

#[test]
fn inherited_sockets_outlive_the_server() {
    let path = std::env::temp_dir().join(format!("zero-inherited-{}", std::process::id()));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let addr = tcp.local_addr().unwrap();
    let connect_tcp = || {
        let stream = std::net::TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    };
    let connect_unix = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    };
    for _ in 0..2 {
        // These wait for the server to start, or to start again.
        let (early_tcp, early_unix) = (connect_tcp(), connect_unix());
        let server = start(&tcp, &unix);
        ask(early_tcp);
        ask(early_unix);
        for _ in 0..4 {
            ask(connect_tcp());
            ask(connect_unix());
        }
        stop(server);
    }
    std::fs::remove_file(path).unwrap();
}
