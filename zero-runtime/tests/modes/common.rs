//! What every mode does alike.

use zero_runtime::{BackendChoice, Config, HttpRequest, ShutdownHandle, StatusCode, ZeroResponse};

use crate::client::Client;
use crate::listening;

/// The application, asked with a request whose body is whole.
pub fn app(request: HttpRequest<'_>) -> ZeroResponse {
    match (request.method(), request.path()) {
        ("GET" | "HEAD", "/") => ZeroResponse::ok().text("hello"),
        ("POST", "/echo") => ZeroResponse::ok().bytes(request.body().to_vec()),
        ("GET", "/who") => ZeroResponse::ok().text(request.peer_addr().ip().to_string()),
        ("GET", "/large") => ZeroResponse::ok().bytes(vec![7; 1 << 20]),
        ("GET", "/long-text") => ZeroResponse::ok().text("x".repeat(10_000)),
        ("GET", "/header") => match request.header("X-Asked") {
            Some(value) => ZeroResponse::ok().header("x-told", value),
            None => ZeroResponse::status(StatusCode::BAD_REQUEST),
        },
        ("GET", "/query") => ZeroResponse::ok().text(request.query().unwrap_or("none")),
        ("GET", "/panic") => panic!("as asked"),
        ("GET", "/close") => ZeroResponse::ok().text("bye").close(),
        ("GET", "/stream") => {
            let pieces = ["one", "two"].map(bytes::Bytes::from);
            ZeroResponse::ok().stream(Pieces(pieces.into_iter().collect()))
        }
        ("GET", "/switch") => ZeroResponse::status(StatusCode::SWITCHING_PROTOCOLS),
        ("GET", "/early") => ZeroResponse::status(StatusCode::CONTINUE),
        _ => ZeroResponse::not_found(),
    }
}

/// A body of pieces, of a length it does not tell.
pub struct Pieces(pub std::collections::VecDeque<bytes::Bytes>);

impl http_body::Body for Pieces {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        std::task::Poll::Ready(
            self.0
                .pop_front()
                .map(|data| Ok(http_body::Frame::data(data))),
        )
    }
}

/// Each mode with the same application, on one backend.
fn modes(backend: BackendChoice) -> Vec<(&'static str, ShutdownHandle, Client)> {
    let config = || Config::default().backend(backend);
    let (sync, at_sync) = listening(config());
    let (per_core, at_per_core) = listening(config());
    let (workers, at_workers) = listening(config());
    let (tower, at_tower) = listening(config());
    // The owned modes read whatever body there is first.
    async fn owned(mut request: zero_runtime::HttpOwnedRequest) -> ZeroResponse {
        match request.collect_body(1 << 20).await {
            Ok(body) => app(request.as_request().with(&body)),
            Err(_) => ZeroResponse::status(StatusCode::PAYLOAD_TOO_LARGE).close(),
        }
    }
    let service = ::tower::service_fn(async |request| {
        Ok::<_, std::convert::Infallible>(owned(request).await)
    });
    vec![
        (
            "run_sync",
            sync.body_bytes_max(1 << 20).run_sync(app).unwrap(),
            at_sync,
        ),
        (
            "run_per_core",
            per_core.run_per_core(|| owned).unwrap(),
            at_per_core,
        ),
        ("run_async", workers.run_async(owned).unwrap(), at_workers),
        ("run_tower", tower.run_tower(service).unwrap(), at_tower),
    ]
}

/// On shards, and through hyper.
fn in_every_mode(test: impl Fn(Client)) {
    on(BackendChoice::IoUring, &test);
    on(BackendChoice::Hyper, &test);
}

/// For what hyper does otherwise.
fn on_shards(test: impl Fn(Client)) {
    on(BackendChoice::IoUring, test);
}

fn on(backend: BackendChoice, test: impl Fn(Client)) {
    for (name, handle, client) in modes(backend) {
        eprintln!("{name}, {backend:?}");
        test(client);
        handle.shutdown();
        handle.wait().unwrap();
    }
}

#[test]
fn a_request_is_answered() {
    in_every_mode(|client| {
        let answer = client.ask("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        let expected = [
            "HTTP/1.1 200 OK",
            "content-type: text/plain; charset=utf-8",
            "content-length: 5",
        ];
        assert_eq!(answer.head, expected);
        assert_eq!(answer.text(), "hello");
        let answer = client.ask("GET /nothing HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (404, Some("0"))
        );
        let answer = client.ask("GET /who HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(answer.text(), "127.0.0.1");
        let answer = client.ask("GET /header HTTP/1.1\r\nhost: h\r\nx-asked: a b\r\n\r\n");
        assert_eq!(answer.header("x-told"), Some("a b"));
        let answer = client.ask("GET /query?a=%20b HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(answer.text(), "a=%20b");
    });
}

#[test]
fn head_has_the_length_and_not_the_body() {
    in_every_mode(|client| {
        let mut conn = client.connect();
        conn.send("HEAD / HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(conn.head().header("content-length"), Some("5"));
        assert_eq!(conn.answer().text(), "hello");
    });
}

#[test]
fn bodies_come_whole_or_in_any_pieces() {
    let body = "0123456789".repeat(200);
    let plain = format!("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 2000\r\n\r\n{body}");
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n{}\r\n3e8\r\n{}\r\n0\r\n\r\n",
        &body[..1000],
        &body[1000..],
    );
    in_every_mode(|client| {
        for request in [&plain, &chunked] {
            assert_eq!(client.ask(request).text(), body);
            for cut in [10, 50, 70, 90, 500, request.len() - 1] {
                let mut conn = client.connect();
                conn.send(&request[..cut]);
                std::thread::sleep(std::time::Duration::from_millis(3));
                conn.send(&request[cut..]);
                assert_eq!(conn.answer().text(), body, "cut at {cut}");
                conn.send(request);
                assert_eq!(conn.answer().text(), body, "after a cut at {cut}");
            }
        }
    });
}

#[test]
fn large_bodies_pass_both_ways() {
    let body = "0123456789abcdef".repeat(50_000);
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    in_every_mode(|client| {
        assert_eq!(client.ask(&(head.clone() + &body)).text(), body);
        let answer = client.ask("GET /large HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(answer.body, vec![7; 1 << 20]);
        let answer = client.ask("GET /long-text HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(answer.text(), "x".repeat(10_000));
    });
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    in_every_mode(|client| {
        let mut conn = client.connect();
        conn.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 2000000\r\n\r\n");
        let answer = conn.answer();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (413, Some("close"))
        );
    });
}

#[test]
fn the_client_is_told_to_go_on_when_its_body_is_wanted() {
    in_every_mode(|client| {
        let mut conn = client.connect();
        conn.send(
            "POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        );
        assert_eq!(conn.head().status, 100);
        conn.send("hi");
        assert_eq!(conn.answer().text(), "hi");
    });
}

#[test]
fn requests_of_a_pipeline_are_answered_in_their_order() {
    in_every_mode(|client| {
        let mut conn = client.connect();
        let mut batch = String::new();
        for n in 0..500 {
            batch += &format!("GET /query?{n} HTTP/1.1\r\nhost: h\r\n\r\n");
            batch += &format!("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n{n:03}");
        }
        conn.send(&batch);
        for n in 0..500 {
            assert_eq!(conn.answer().text(), n.to_string());
            assert_eq!(conn.answer().text(), format!("{n:03}"));
        }
    });
}

#[test]
fn a_handler_that_panics_costs_its_own_connection() {
    on_shards(|client| {
        let mut other = client.connect();
        other.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(other.answer().status, 200);
        let mut conn = client.connect();
        conn.send("GET /panic HTTP/1.1\r\nhost: h\r\n\r\n");
        let answer = conn.answer();
        assert_eq!(
            (answer.status, answer.header("connection")),
            (500, Some("close"))
        );
        assert_eq!(conn.rest(), b"");
        other.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(other.answer().status, 200);
    });
}

#[test]
fn a_response_closes_when_it_says_so() {
    in_every_mode(|client| {
        let mut conn = client.connect();
        conn.send("GET /close HTTP/1.1\r\nhost: h\r\n\r\n");
        let answer = conn.answer();
        assert_eq!(
            (answer.text(), answer.header("connection")),
            ("bye", Some("close"))
        );
        assert_eq!(conn.rest(), b"");
        let mut conn = client.connect();
        conn.send("GET / HTTP/1.0\r\n\r\n");
        let answer = conn.answer();
        assert_eq!(
            (answer.text(), answer.header("connection")),
            ("hello", None)
        );
        assert_eq!(conn.rest(), b"");
    });
}

#[test]
fn a_stream_goes_in_chunks_and_the_connection_goes_on() {
    in_every_mode(|client| {
        let mut conn = client.connect();
        for _ in 0..2 {
            conn.send("GET /stream HTTP/1.1\r\nhost: h\r\n\r\n");
            let answer = conn.answer();
            assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
            assert_eq!(answer.text(), "onetwo");
        }
    });
}

#[test]
fn an_informational_status_is_no_response() {
    in_every_mode(|client| {
        let answer = client.ask("GET /early HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(answer.status, 500);
    });
}

/// Nobody would take the connection over.
#[test]
fn protocols_are_not_switched() {
    in_every_mode(|client| {
        let head = "HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        let mut conn = client.connect();
        conn.send(format!("GET / {head}"));
        assert_eq!(conn.answer().text(), "hello");
        conn.send(format!("GET /switch {head}"));
        assert_eq!(conn.answer().status, 500);
        assert_eq!(conn.rest(), b"");
    });
}

#[test]
fn a_bad_target_is_refused() {
    in_every_mode(|client| {
        for target in ["/a<b", "/\u{7f}", "/a?\""] {
            let answer = client.ask(&format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n"));
            assert_eq!(answer.status, 400, "{target:?}");
        }
        let answer = client.ask("GET /\u{e9} HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(answer.status, 404);
    });
}

#[test]
fn a_client_that_half_closes_behind_its_request_is_answered() {
    on_shards(|client| {
        let mut conn = client.connect();
        conn.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        conn.half_close();
        assert_eq!(conn.answer().text(), "hello");
        assert_eq!(conn.rest(), b"");
    });
}
