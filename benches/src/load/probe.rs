//! Asks a server once, blocking: to learn what it answers.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use super::response::{Mismatch, Reader, Reference, Response, Step};
use crate::args::Failure;

/// Longest any step may take before it is an error.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A request of this size goes into any socket's buffer whole.
const SMALL_BYTES: usize = 4 << 10;
const BUFFER_BYTES: usize = 256 << 10;

/// Connects as a probe does: no delays, and no waiting for ever.
///
/// # Errors
/// When the server does not accept.
pub fn connect(server: SocketAddrV4) -> Result<TcpStream, Failure> {
    let stream = retry(|| TcpStream::connect_timeout(&server.into(), TIMEOUT))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// A signal that stops and continues a process interrupts a call that has a time limit.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Sends one request and reads its response whole.
///
/// # Errors
/// When the server does not answer in time, or not in HTTP.
pub fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    is_head: bool,
) -> Result<Response, Failure> {
    if request.len() <= SMALL_BYTES {
        stream.write_all(request)?;
        return read_one(stream, is_head);
    }
    // A server may answer a large body while it is still being sent: somebody has to take the answer.
    let mut sender = stream.try_clone()?;
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || sender.write_all(request));
        let response = read_one(stream, is_head)?;
        sending.join().expect("sending does not panic")?;
        Ok(response)
    })
}

/// As [`exchange`], then waits for the server to close the connection, as the request must ask.
///
/// # Errors
/// As `exchange`; and when the server does not close.
pub fn exchange_and_end(stream: &mut TcpStream, request: &[u8]) -> Result<Response, Failure> {
    let response = exchange(stream, request, false)?;
    match retry(|| stream.read(&mut [0])) {
        Ok(0) => Ok(response),
        Ok(_) => Err(Mismatch::Malformed("more than one response").into()),
        Err(error) => Err(format!("the server does not close the connection: {error}").into()),
    }
}

/// Sends a request whose response has no end, and reads the head and so many bytes of the body.
///
/// # Errors
/// When they do not come, or the response ends.
pub fn start_of_stream(
    stream: &mut TcpStream,
    request: &[u8],
    body_bytes: usize,
) -> Result<Response, Failure> {
    stream.write_all(request)?;
    let mut reader = Reader::keeping(false);
    let mut byte = [0];
    while reader.body_bytes() < body_bytes as u64 {
        if retry(|| stream.read(&mut byte))? == 0 || reader.read(&byte, None)? != Step::More {
            return Err("a stream without end ended".into());
        }
    }
    Ok(reader.into_kept())
}

fn read_one(stream: &mut TcpStream, is_head: bool) -> Result<Response, Failure> {
    let mut reader = Reader::keeping(is_head);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n = retry(|| stream.read(&mut buffer))?;
        if n == 0 {
            return match reader.end(None)? {
                true => Ok(reader.into_kept()),
                false => Err("the server closed the connection without an answer".into()),
            };
        }
        let done = match reader.read(&buffer[..n], None)? {
            Step::More => None,
            Step::Done(used) => Some(used),
        };
        match done {
            None => {}
            Some(used) if used == n => return Ok(reader.into_kept()),
            Some(_) => return Err(Mismatch::Malformed("more than one response").into()),
        }
    }
}

/// Learns what a server answers to a request, by asking twice.
///
/// # Errors
/// When it does not answer, or the two answers differ in status.
pub fn learn(server: SocketAddrV4, request: &[u8]) -> Result<Reference, Failure> {
    let is_head = request.starts_with(b"HEAD ");
    let ask = || exchange(&mut connect(server)?, request, is_head);
    let first = ask()?;
    Ok(Reference::learn(first, &ask()?, is_head)?)
}
