//! hyper without axum and without its router: what is left of a server when the application costs nothing.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::Running;

/// Binds, then serves from a thread of its own.
pub(super) fn start(threads: usize, addr: SocketAddr) -> io::Result<Running> {
    let runtime = super::hyper::runtime(threads)?;
    let listener = runtime.block_on(TcpListener::bind(addr))?;
    let addr = listener.local_addr()?;
    thread::Builder::new()
        .name("hyper-alone".into())
        .spawn(move || runtime.block_on(serve(listener)))?;
    Ok(Running { addr, stats: None })
}

async fn serve(listener: TcpListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                eprintln!("hyper ended: {error}");
                return;
            }
        };
        // A connection that is already gone is the connection's own affair.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new());
            let served = connection.serve_connection(TokioIo::new(stream), service_fn(answer));
            // Peers that vanish are no concern of a benchmark's server.
            let _ = served.await;
        });
    }
}

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers a few of the application's paths as the application does.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let (kind, body) = match path {
        "/plaintext" => (PLAIN, Bytes::from_static(b"Hello, World!")),
        "/json" => (JSON, Bytes::from_static(br#"{"message":"Hello, World!"}"#)),
        "/echo" => match request.into_body().collect().await {
            Ok(body) => (BYTES, body.to_bytes()),
            Err(_) => (PLAIN, Bytes::new()),
        },
        _ => match path.strip_prefix("/users/") {
            Some(id) => (PLAIN, Bytes::copy_from_slice(id.as_bytes())),
            None => return Ok(not_found()),
        },
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
