//! A build without the feature `hyper` serves from io_uring, and says so where it cannot.
#![cfg(not(feature = "hyper"))]

use std::io::{self, Read, Write};
use std::net::TcpStream;

use zero_runtime::{BackendChoice, Config, Io, ShutdownHandle, ZeroResponse, ZeroRuntime};

fn serve(choice: BackendChoice) -> io::Result<ShutdownHandle> {
    let mut io = Io::new(Config::default().backend(choice))?;
    io.http_listen(([127, 0, 0, 1], 0).into())?;
    ZeroRuntime::new(io).run_sync(|_| ZeroResponse::ok().text("alone"))
}

#[test]
fn asking_for_hyper_is_refused_with_the_cause() {
    let error = serve(BackendChoice::Hyper).expect_err("it is not there");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("built without its feature `hyper`"), "{text}");
}

#[test]
fn the_ring_serves_alone() {
    let server = serve(BackendChoice::Auto).unwrap();
    let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("alone"), "{answer}");
    server.shutdown();
    server.wait().unwrap();
}
