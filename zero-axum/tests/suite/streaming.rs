//! Response bodies that take their time, and the pressure that slow peers put back.

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt, stream};
use socket2::{Domain, Socket, Type};
use tokio::sync::{Semaphore, mpsc};

use crate::support::client::{Client, is_timeout, pattern};
use crate::support::{Mode, Server, eventually, in_every_mode, loopback};

in_every_mode![
    each_chunk_arrives_before_the_next_is_made,
    each_event_arrives_before_the_next_is_made,
    a_body_of_known_length_streams_without_chunks,
    http10_gets_an_unframed_stream,
    a_big_download_arrives_whole,
    big_buffers_arrive_whole,
    a_slow_reader_holds_the_producer_back,
    an_unread_upload_holds_the_sender_back,
    stalled_uploads_do_not_starve_others,
    stalled_downloads_do_not_starve_others,
    a_body_that_fails_cuts_the_connection,
    a_body_that_panics_cuts_its_connection_only,
];

const MIB: usize = 1024 * 1024;
/// More than the windows and the buffers of small sockets, less than the transfers below.
const HELD_BYTES_MAX: usize = 4 * MIB;

type Sent = Result<Bytes, &'static str>;

/// A route whose body is what the test sends, once; and the test's end of it.
fn fed_route() -> (Router, mpsc::UnboundedSender<Sent>) {
    let (tx, rx) = mpsc::unbounded_channel();
    let rx = Arc::new(Mutex::new(Some(rx)));
    let app = Router::new().route("/", get(|| async { "hello" })).route(
        "/fed",
        get(move || async move {
            let rx = rx.lock().unwrap().take().expect("asked once");
            Body::from_stream(received(rx))
        }),
    );
    (app, tx)
}

fn received<T>(mut rx: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> {
    stream::poll_fn(move |cx| rx.poll_recv(cx))
}

/// A listener whose connections have small kernel buffers that do not grow.
fn small_listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.set_send_buffer_size(64 * 1024).unwrap();
    socket.bind(&loopback().into()).unwrap();
    socket.listen(1024).unwrap();
    socket.into()
}

/// A client with small kernel buffers.
fn small_client(server: &Server) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.set_send_buffer_size(64 * 1024).unwrap();
    socket.connect(&server.addr.into()).unwrap();
    Client::over(socket.into())
}

fn serve_small(mode: Mode, app: Router) -> Server {
    let mut io = mode.io();
    io.http_adopt(small_listener()).unwrap();
    mode.serve_io(io, app)
}

fn each_chunk_arrives_before_the_next_is_made(mode: Mode) {
    let (app, feed) = fed_route();
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/fed");
    let head = client.head();
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    for n in 0..20 {
        feed.send(Ok(format!("chunk {n}").into())).unwrap();
        assert_eq!(client.chunk().unwrap(), format!("chunk {n}").as_bytes());
    }
    drop(feed);
    assert_eq!(client.chunk(), None);
    assert_eq!(client.get("/").text(), "hello");
}

fn each_event_arrives_before_the_next_is_made(mode: Mode) {
    let (tx, rx) = mpsc::unbounded_channel::<u32>();
    let rx = Arc::new(Mutex::new(Some(rx)));
    let events = move || async move {
        let rx = rx.lock().unwrap().take().expect("asked once");
        Sse::new(received(rx).map(|n| Ok::<_, Infallible>(Event::default().data(n.to_string()))))
    };
    let server = mode.serve(Router::new().route("/events", get(events)));
    let mut client = server.connect();
    client.send_get("/events");
    let head = client.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    for n in 0..20 {
        tx.send(n).unwrap();
        let event = format!("data: {n}\n\n");
        assert_eq!(client.chunk().unwrap(), event.as_bytes());
    }
}

fn a_body_of_known_length_streams_without_chunks(mode: Mode) {
    let (app, feed) = fed_route();
    let app = app.layer(axum::middleware::map_response(
        |mut response: axum::response::Response| async {
            response.headers_mut().insert("content-length", 10.into());
            response
        },
    ));
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/fed");
    assert_eq!(client.head().header("transfer-encoding"), None);
    for piece in ["01234", "56789"] {
        feed.send(Ok(piece.into())).unwrap();
        assert_eq!(client.exactly(5), piece.as_bytes());
    }
    drop(feed);
    assert!(
        client.is_silent_for(Duration::from_millis(100)),
        "kept open"
    );
}

fn http10_gets_an_unframed_stream(mode: Mode) {
    let (app, feed) = fed_route();
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send("GET /fed HTTP/1.0\r\n\r\n");
    let head = client.head();
    assert_eq!(head.header("transfer-encoding"), None);
    assert_eq!(head.header("content-length"), None);
    feed.send(Ok("to the ".into())).unwrap();
    assert_eq!(client.exactly(7), b"to the ");
    feed.send(Ok("end".into())).unwrap();
    drop(feed);
    assert_eq!(client.rest(), b"end");
}

fn a_big_download_arrives_whole(mode: Mode) {
    let body = Bytes::from(pattern(8 * MIB));
    let pieces = body.clone();
    let app = Router::new().route(
        "/",
        get(|| async move {
            let pieces = (0..pieces.len()).step_by(60_000).map(move |at| {
                let end = pieces.len().min(at + 60_000);
                Ok::<_, Infallible>(pieces.slice(at..end))
            });
            Body::from_stream(stream::iter(pieces))
        }),
    );
    let server = mode.serve(app);
    let mut client = server.connect();
    for _ in 0..2 {
        assert!(client.get("/").body == body);
    }
}

fn big_buffers_arrive_whole(mode: Mode) {
    let body = Bytes::from(pattern(8 * MIB));
    let sent = body.clone();
    let server = mode.serve(Router::new().route("/", get(|| async { sent })));
    let mut client = server.connect();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.header("content-length"), Some("8388608"));
        assert!(response.body == body);
    }
}

/// A route that makes 64 MiB in pieces of 64 KiB, and the count of bytes made so far.
fn counted_download() -> (Router, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let download = move || async move {
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        Body::from_stream(stream::iter(0..1024).map(move |_| {
            counter.fetch_add(piece.len(), Ordering::Relaxed);
            Ok::<_, Infallible>(piece.clone())
        }))
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/download", get(download));
    (app, made)
}

/// Waits until `count` has stood still for a while.
fn settled(count: &AtomicUsize) -> usize {
    let mut before = usize::MAX;
    eventually("the transfer is held back", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = count.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now
    });
    before
}

fn a_slow_reader_holds_the_producer_back(mode: Mode) {
    let (app, made) = counted_download();
    let server = serve_small(mode, app);
    let mut client = small_client(&server);
    client.send_get("/download");
    assert_eq!(client.head().status, 200);
    let held = settled(&made);
    assert!(
        held <= HELD_BYTES_MAX,
        "the producer ran {held} bytes ahead"
    );
    server.assert_serves("/");

    let mut got = 0;
    while let Some(chunk) = client.chunk() {
        got += chunk.len();
    }
    assert_eq!(got, 64 * MIB);
    assert_eq!(made.load(Ordering::Relaxed), 64 * MIB);
}

/// A route that reads its body when told to, and answers with its length.
fn patient_upload() -> (Router, Arc<Semaphore>) {
    let go = Arc::new(Semaphore::new(0));
    let told = go.clone();
    let upload = move |body: Body| {
        let told = told.clone();
        async move {
            told.acquire().await.unwrap().forget();
            let mut data = body.into_data_stream();
            let mut bytes = 0;
            while let Some(piece) = data.next().await {
                bytes += piece.unwrap().len();
            }
            bytes.to_string()
        }
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/upload", post(upload));
    (app, go)
}

/// Sends until nothing more is taken for a while, or `length` is sent.
fn send_until_blocked(client: &mut Client, length: usize) -> usize {
    let piece = [b'u'; 64 * 1024];
    let mut sent = 0;
    let patience = Duration::from_millis(500);
    client.stream.set_write_timeout(Some(patience)).unwrap();
    while sent < length {
        match client
            .stream
            .write(&piece[..piece.len().min(length - sent)])
        {
            Ok(bytes) => sent += bytes,
            Err(error) if is_timeout(&error) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("the upload failed: {error}"),
        }
    }
    let patience = crate::support::PATIENCE;
    client.stream.set_write_timeout(Some(patience)).unwrap();
    sent
}

fn an_unread_upload_holds_the_sender_back(mode: Mode) {
    const LENGTH: usize = 32 * MIB;
    let (app, go) = patient_upload();
    let server = serve_small(mode, app);
    let mut client = small_client(&server);
    client.send(format!(
        "POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: {LENGTH}\r\n\r\n"
    ));
    let sent = send_until_blocked(&mut client, LENGTH);
    assert!(sent <= HELD_BYTES_MAX, "{sent} bytes went to nobody");
    server.assert_serves("/");

    go.add_permits(1);
    client.send(vec![b'u'; LENGTH - sent]);
    assert_eq!(client.response().text(), LENGTH.to_string());
    assert_eq!(client.get("/").text(), "hello");
}

/// The buffers that all connections of a shard share must not end with those who stall.
fn stalled_uploads_do_not_starve_others(mode: Mode) {
    const LENGTH: usize = 4 * MIB;
    let (app, go) = patient_upload();
    let config = mode.config().shards(1).recv_buffers(16);
    let mut io = zero_axum::Io::new(config).unwrap();
    io.http_adopt(small_listener()).unwrap();
    let server = mode.serve_io(io, app);
    let mut stalled: Vec<(Client, usize)> = (0..32)
        .map(|_| {
            let mut client = small_client(&server);
            client.send(format!(
                "POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: {LENGTH}\r\n\r\n"
            ));
            // Enough to fill every window; not all that would be taken, so as not to wait.
            let first = 512 * 1024;
            client.stream.set_nonblocking(true).unwrap();
            let sent = client.stream.write(&vec![b'u'; first]).unwrap_or(0);
            client.stream.set_nonblocking(false).unwrap();
            (client, sent)
        })
        .collect();
    server.assert_serves("/");
    server.assert_serves("/");

    go.add_permits(stalled.len());
    for (client, sent) in &mut stalled {
        client.send(vec![b'u'; LENGTH - *sent]);
        assert_eq!(client.response().text(), LENGTH.to_string());
    }
}

fn stalled_downloads_do_not_starve_others(mode: Mode) {
    let (app, _made) = counted_download();
    let config = mode.config().shards(1);
    let mut io = zero_axum::Io::new(config).unwrap();
    io.http_adopt(small_listener()).unwrap();
    let server = mode.serve_io(io, app);
    let mut stalled: Vec<Client> = (0..32).map(|_| small_client(&server)).collect();
    for client in &mut stalled {
        client.send_get("/download");
        assert_eq!(client.head().status, 200);
    }
    server.assert_serves("/");
    let one = &mut stalled[0];
    let mut got = 0;
    while let Some(chunk) = one.chunk() {
        got += chunk.len();
    }
    assert_eq!(got, 64 * MIB);
}

fn a_body_that_fails_cuts_the_connection(mode: Mode) {
    let (app, feed) = fed_route();
    let server = mode.serve(app);
    let mut client = server.connect();
    client.send_get("/fed");
    client.head();
    feed.send(Ok("so far".into())).unwrap();
    assert_eq!(client.chunk().unwrap(), b"so far");
    feed.send(Err("and no further")).unwrap();
    // No last chunk: the client must be able to tell.
    client.assert_closed();
    assert_eq!(server.connect().get("/").text(), "hello");
}

fn a_body_that_panics_cuts_its_connection_only(mode: Mode) {
    let (tx, rx) = mpsc::unbounded_channel::<u32>();
    let rx = Arc::new(Mutex::new(Some(rx)));
    let app = Router::new().route("/", get(|| async { "hello" })).route(
        "/panics",
        get(move || async move {
            let rx = rx.lock().unwrap().take().expect("asked once");
            let body = received(rx).map(|n| {
                assert_eq!(n, 0, "this panic belongs to the test");
                Ok::<_, Infallible>("zero")
            });
            Body::from_stream(body)
        }),
    );
    let server = mode.serve(app);
    let mut other = server.connect();
    assert_eq!(other.get("/").status, 200);
    let mut client = server.connect();
    client.send_get("/panics");
    client.head();
    tx.send(0).unwrap();
    assert_eq!(client.chunk().unwrap(), b"zero");
    tx.send(1).unwrap();
    client.assert_closed();
    assert_eq!(other.get("/").text(), "hello");
    server.assert_serves("/");
}
