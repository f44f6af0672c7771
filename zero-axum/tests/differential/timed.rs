//! Scripts in which the order of what is sent and what is heard matters: clients that wait, half-close,
//! reset, or are answered before they are done.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::app::told;
use crate::play::{App, Differences, Servers, Step, play};
use crate::support::{Mode, at_any_pace, eventually, in_every_mode};

in_every_mode![
    scripts_are_answered_alike,
    a_client_that_goes_is_noticed_alike,
    a_client_that_resets_within_a_body_is_gone,
];

/// For both servers to come to rest.
fn rest(pace: u32) -> Step {
    Step::Pause(pace * Duration::from_millis(60))
}

fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

fn post(path: &str, lines: &str) -> Step {
    send(format!("POST {path} HTTP/1.1\r\nhost: h\r\n{lines}\r\n"))
}

fn get(path: &str) -> Step {
    send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"))
}

/// Answered while who has sent it [`rest`]s no longer.
fn get_slow(pace: u32) -> Step {
    get(&format!("/slow/{}", pace * 100))
}

/// At a pace so many times as slow: what is to come in the middle of something else does at each.
fn scripts(pace: u32) -> Vec<(&'static str, Vec<Step>)> {
    const EXPECT: &str = "expect: 100-continue\r\ncontent-length: 5\r\n";
    const SWITCH: &str =
        "GET /switch HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    const CHUNKED: &str = "transfer-encoding: chunked\r\n";
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let bye = || send(crate::requests::BYE);
    vec![
        ("an idle connection", vec![]),
        ("a kept connection", vec![get("/")]),
        (
            "kept, and closed by the client",
            vec![get("/"), Step::Await("hello"), Step::HalfClose],
        ),
        (
            "expect, and wait",
            vec![
                post("/echo", EXPECT),
                Step::Await(CONTINUE),
                send("hello"),
                bye(),
            ],
        ),
        (
            "expect, and never send",
            vec![
                post("/echo", EXPECT),
                Step::Await(CONTINUE),
                Step::HalfClose,
            ],
        ),
        (
            "expect, and the handler does not care",
            vec![post("/ignore", EXPECT)],
        ),
        (
            "expect, and the handler answers late",
            vec![post("/ignore/later", EXPECT)],
        ),
        (
            "expect, and there is no such handler",
            vec![post("/nowhere", EXPECT)],
        ),
        (
            "a chunk for a chunk",
            vec![
                post("/echo/stream", CHUNKED),
                send("3\r\none\r\n"),
                Step::Await("one"),
                send("3\r\ntwo\r\n"),
                Step::Await("two"),
                send("0\r\n\r\n"),
                bye(),
            ],
        ),
        (
            "too large by its length",
            vec![
                post("/echo", "content-length: 3000000\r\n"),
                Step::Send(vec![b'x'; 2_097_153]),
            ],
        ),
        (
            "too large by its chunks",
            vec![
                post("/echo", CHUNKED),
                send("300000\r\n"),
                Step::Send(vec![b'x'; 2_097_153]),
            ],
        ),
        (
            "a large echo",
            vec![
                post("/echo", "content-length: 1000000\r\n"),
                Step::Send(vec![b'x'; 1_000_000]),
                bye(),
            ],
        ),
        (
            "a large echo of a stream",
            vec![
                post("/echo/stream", "content-length: 1000000\r\n"),
                Step::Send(vec![b'x'; 1_000_000]),
                bye(),
            ],
        ),
        (
            "unread, and never sent",
            vec![post("/ignore", "content-length: 5\r\n")],
        ),
        (
            "unread, and sent in part",
            vec![post("/ignore", "content-length: 100000\r\n"), send("x")],
        ),
        (
            "unread, and sent behind the answer",
            vec![
                post("/ignore", "content-length: 5\r\n"),
                Step::Await("ignored"),
                rest(pace),
                send("hello"),
            ],
        ),
        (
            "an upgrade nobody takes",
            vec![send(SWITCH), Step::Await("\r\n\r\n")],
        ),
        (
            "an upgrade nobody takes, bytes behind the request",
            vec![send(format!("{SWITCH}and more"))],
        ),
        (
            "an upgrade nobody takes, many bytes behind the request",
            vec![send(format!("{SWITCH}{}", "x".repeat(300_000)))],
        ),
        (
            "an upgrade nobody takes, and who goes on",
            vec![
                send(SWITCH),
                Step::Await("\r\n\r\n"),
                send("and more"),
                rest(pace),
                send("and more"),
            ],
        ),
        (
            "an upgrade nobody takes, and who half-closes",
            vec![send(SWITCH), Step::Await("\r\n\r\n"), Step::HalfClose],
        ),
        (
            "half-closed within a head",
            vec![send("GET / HTTP/1.1\r\nho"), Step::HalfClose],
        ),
        (
            "half-closed within blank lines",
            vec![send("\r\n"), Step::HalfClose],
        ),
        ("half-closed at once", vec![Step::HalfClose]),
        (
            "half-closed within a body",
            vec![
                post("/sum", "content-length: 5\r\n"),
                send("hel"),
                rest(pace),
                Step::HalfClose,
            ],
        ),
        (
            "half-closed within a chunk",
            vec![
                post("/sum", CHUNKED),
                send("5\r\nhel"),
                rest(pace),
                Step::HalfClose,
            ],
        ),
        (
            "half-closed within trailers",
            vec![
                post("/sum", CHUNKED),
                send("0\r\nx-a: "),
                rest(pace),
                Step::HalfClose,
            ],
        ),
        (
            "half-closed while the handler waits",
            vec![get_slow(pace), rest(pace), Step::HalfClose],
        ),
        (
            "half-closed within a body that nobody reads",
            vec![
                post("/ignore/later", "content-length: 5\r\n"),
                send("hel"),
                Step::HalfClose,
            ],
        ),
        (
            "half-closed while the answer streams",
            vec![get("/err/later"), Step::Await("piece"), Step::HalfClose],
        ),
        ("an error after a piece was sent", vec![get("/err/later")]),
        (
            "pipelined behind a slow one",
            vec![get_slow(pace), get("/"), bye()],
        ),
        (
            "garbage behind a slow one",
            vec![get_slow(pace), send("GARBAGE\r\n\r\n")],
        ),
        (
            "a request within a slow one",
            vec![get_slow(pace), rest(pace), get("/"), bye()],
        ),
        ("reset within a head", vec![send("GET / HT"), Step::Reset]),
        (
            "reset within a body",
            vec![
                post("/sum", CHUNKED),
                send("5\r\nhel"),
                rest(pace),
                Step::Reset,
            ],
        ),
    ]
}

fn scripts_are_answered_alike(mode: Mode) {
    let servers = Servers::start(mode, App::Plain);
    let mut differences = Differences::default();
    for (at, (name, _)) in scripts(1).into_iter().enumerate() {
        differences.look_at(name, &servers, |pace| scripts(pace).swap_remove(at).1);
    }
    differences.assert_none();
}

/// What handlers see of it: the same on both, in the same order.
fn a_client_that_goes_is_noticed_alike(mode: Mode) {
    let servers = Servers::start(mode, App::Plain);
    let scripts = [
        (
            "half-closed behind a body",
            "hello",
            Step::HalfClose,
            "dropped",
        ),
        ("reset behind a body", "hello", Step::Reset, "dropped"),
        // The error is for the handler to see: it goes on.
        (
            "half-closed within a body",
            "hel",
            Step::HalfClose,
            "read Err(())",
        ),
    ];
    for (name, body, end, last) in scripts {
        at_any_pace(|unit| {
            let [by_axum, by_zero] = [servers.axum, servers.zero.addr].map(|addr| {
                let id = watch(addr, body, end.clone(), unit);
                eventually(name, || told(&id).iter().any(|told| told == last));
                told(&id)
            });
            assert_eq!(by_axum, by_zero, "{name}");
        });
    }
}

/// Nobody is left to be answered: the handler ends. Under hyper it sees the error and goes on.
fn a_client_that_resets_within_a_body_is_gone(mode: Mode) {
    let servers = Servers::start(mode, App::Plain);
    let last = match mode.is_io_uring() {
        true => "dropped",
        false => "read Err(())",
    };
    at_any_pace(|unit| {
        let id = watch(servers.zero.addr, "hel", Step::Reset, unit);
        eventually(last, || told(&id).last().is_some_and(|told| told == last));
    });
}

/// Sends so much of a body of five bytes to a handler that tells what becomes of it, by the name that is
/// returned; ends when that handler has had time to read it.
fn watch(addr: SocketAddr, body: &str, end: Step, unit: Duration) -> String {
    static WATCHED: AtomicUsize = AtomicUsize::new(0);
    let id = WATCHED.fetch_add(1, Ordering::Relaxed).to_string();
    let path = format!("/watched/{id}");
    let head = post(&path, "content-length: 5\r\n");
    let steps = [head, send(body), Step::Pause(unit * 3 / 10), end];
    play(addr, &steps, Duration::from_millis(20));
    id
}
