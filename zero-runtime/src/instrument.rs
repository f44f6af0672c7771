//! What a benchmark may ask of the parts: each alone, on the caller's thread, without a shard or a socket.
//!
//! No public API: there for `benches/`, which times these beside their rivals and counts their
//! instructions, behind the feature `instrument`.
#![allow(missing_docs, reason = "no public API")]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Response, request, response};

use crate::body::RequestBody;
use crate::bridge::crowd::Crowd;
use crate::bridge::inbox::{ConnSignal, Inbox};
use crate::bridge::link::{Answer, Call, Complete, Outcome, ShardPort, Taken, link};
use crate::dispatch::{Classes, Thresholds};
use crate::driver::{Driver, Sink};
use crate::message::{
    HttpOwnedRequest, OwnedHead, Pooled, ResponseBody, ResponseHead, ZeroResponse,
};
use crate::pool::arena::Arena;
use crate::pool::write_buf::WriteBuf;
use crate::proto::date::DateCache;
use crate::proto::h1::{BodyLength, Conn, Event, H1Limits, HeadMemory, HeadTable};
use crate::proto::step;
use crate::service::sealed::Fill;
use crate::service::{HttpService, Source, Tower};
use crate::slots::Key;
use crate::sys::EventFd;
use crate::timer::Wheel;

const KEY: Key = Key {
    index: 0,
    generation: 1,
};

/// Parses heads, as a shard does for each request.
pub struct Parser {
    limits: H1Limits,
    table: HeadTable,
}

impl Parser {
    pub fn new() -> Self {
        let limits = H1Limits::default();
        let table = HeadTable::new(limits.headers_max);
        Parser { limits, table }
    }

    /// The connection of a request that is to be answered.
    ///
    /// # Panics
    /// If `head` is not one whole head that is accepted.
    pub fn parse(&mut self, head: &[u8]) -> Asked {
        let mut conn = Conn::new();
        let step = conn.handle_input(&self.limits, head, &mut self.table);
        assert!(
            matches!(step.next, step::Next::Event(Event::Head(_))),
            "{step:?}"
        );
        Asked(conn)
    }
}

impl Default for Parser {
    fn default() -> Self {
        Parser::new()
    }
}

/// A connection whose request awaits its response.
pub struct Asked(Conn);

/// Parses heads and makes requests of them, of either kind.
pub struct Reader {
    parser: Parser,
    arena: Arena,
    memory: HeadMemory,
    maps: Vec<HeaderMap>,
}

impl Reader {
    pub fn new() -> Self {
        Reader {
            parser: Parser::new(),
            arena: Arena::new(),
            memory: HeadMemory::new(),
            maps: Vec::new(),
        }
    }

    /// In `http`'s types. The header map is one that was given back, if there is one.
    pub fn read(&mut self, head: &[u8]) -> request::Parts {
        self.fill(head)
    }

    /// In the server's own types.
    pub fn read_owned(&mut self, head: &[u8]) -> HttpOwnedRequest {
        let head: OwnedHead = self.fill(head);
        HttpOwnedRequest::new(head, RequestBody::empty(), ([127, 0, 0, 1], 1).into())
    }

    /// Takes a header map to use again.
    pub fn give_back(&mut self, mut map: HeaderMap) {
        map.clear();
        self.maps.push(map);
    }

    fn fill<H: Fill>(&mut self, head: &[u8]) -> H {
        self.parser.parse(head);
        let mut place = None;
        let source = Source {
            bytes: head,
            table: &self.parser.table,
            arena: &mut self.arena,
            memory: &mut self.memory,
            maps: &mut self.maps,
        };
        let filled = H::fill(&mut place, source);
        assert!(filled.is_ok(), "a head that `http` can express");
        place.expect("filled")
    }
}

impl Default for Reader {
    fn default() -> Self {
        Reader::new()
    }
}

/// Encodes responses, as a shard does.
pub struct Encoder {
    date: DateCache,
    out: WriteBuf,
}

impl Encoder {
    pub fn new() -> Self {
        Encoder {
            date: DateCache::new(),
            out: WriteBuf::with_capacity(64 * 1024),
        }
    }

    /// Encodes head and body; returns how many bytes they take.
    pub fn encode(&mut self, asked: &mut Asked, head: &response::Parts, body: Bytes) -> usize {
        self.out.clear();
        let length = BodyLength::Known(body.len() as u64);
        let conn = &mut asked.0;
        let sent = conn.respond(head, length, &self.date, &mut self.out);
        assert!(sent.is_ok(), "a head that may be sent");
        conn.send_data(body, &mut self.out);
        self.out.len()
    }

    /// The same of a response of the server's own kind, whose body is small.
    pub fn encode_own(&mut self, asked: &mut Asked, response: ZeroResponse) -> usize {
        self.out.clear();
        let (ResponseHead::Lines(head), _) = response.into_parts() else {
            panic!("made of lines");
        };
        let length = BodyLength::Known(head.payload.len() as u64);
        let conn = &mut asked.0;
        let sent = conn.respond_lines(
            head.status,
            &head.lines,
            head.has_date,
            length,
            &self.date,
            &mut self.out,
        );
        assert!(sent.is_ok(), "a head that may be sent");
        conn.send_slice(&head.payload, &mut self.out);
        self.out.len()
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder::new()
    }
}

/// Calls services as a shard does that polls inline: a driver, and a sink that takes what comes.
pub struct Inline<S: HttpService> {
    driver: Pin<Box<Driver<S>>>,
    classes: Classes,
    taken: Everything,
}

impl<S: HttpService<Head = request::Parts>> Inline<S> {
    pub fn new() -> Self {
        let thresholds = Thresholds {
            long_ns: u64::MAX,
            short_ns: u64::MAX,
            streak: 1,
        };
        Inline {
            driver: Box::pin(Driver::idle()),
            classes: Classes::new(thresholds),
            taken: Everything::default(),
        }
    }

    /// Finds the class of a request and calls a service that answers at once; returns how many bytes
    /// its body had.
    pub fn call(&mut self, service: S, head: request::Parts) -> usize {
        let (class, _) = self.classes.classify(head.method.as_str(), head.uri.path());
        let mut cx = Context::from_waker(Waker::noop());
        let body = RequestBody::empty();
        let driver = self.driver.as_mut();
        let ended = driver.start_now(service, &mut Some(head), body, &mut cx, &mut self.taken);
        assert!(ended.is_ready(), "a service that answers at once");
        self.classes.polled_on_shard(class, 1, 1);
        std::mem::take(&mut self.taken.body_bytes)
    }
}

impl<S: HttpService<Head = request::Parts>> Default for Inline<S> {
    fn default() -> Self {
        Inline::new()
    }
}

/// A sink that is never full and keeps nothing.
#[derive(Default)]
struct Everything {
    body_bytes: usize,
}

impl Sink for Everything {
    fn head(&mut self, head: ResponseHead, _: BodyLength) -> Result<bool, ()> {
        drop(head);
        Ok(true)
    }

    fn has_room(&mut self) -> bool {
        true
    }

    fn data(&mut self, data: Bytes) -> bool {
        self.body_bytes += data.len();
        true
    }

    fn end(&mut self, _: Option<HeaderMap>) {}
}

/// A link between a shard and a worker, both of them the caller.
pub struct Link {
    port: ShardPort<Tower<Unasked>>,
    signal: Arc<ConnSignal>,
    head: Option<request::Parts>,
}

impl Link {
    /// Bytes that go there with each call, by value.
    pub const CALL_BYTES: usize = size_of::<Call<Tower<Unasked>>>();
    /// Bytes that come back with its answer.
    pub const ANSWER_BYTES: usize = size_of::<Answer>();

    /// # Panics
    /// If the kernel has no eventfd for it.
    pub fn new() -> Self {
        let bell = Arc::new(EventFd::new().expect("an eventfd"));
        let inbox = Inbox::new(1, bell, Crowd::new(1, 1, 1));
        Link {
            signal: ConnSignal::new(KEY, inbox.clone()),
            port: link(inbox),
            head: Some(crate::proto::h1::blank_head()),
        }
    }

    /// One call there, and its answer back.
    pub fn round(&mut self) {
        let head = self.head.take().expect("it comes back");
        let sent = self.port.send(Call {
            conn: KEY,
            service: Tower(Unasked),
            head,
            body: RequestBody::empty(),
            signal: self.signal.clone(),
            class: None,
            emptied: Pooled::emptied(),
        });
        assert!(sent.is_none(), "an empty link has room");
        self.port.announce();
        let Taken::Call(call) = self.port.link.take(0) else {
            panic!("a call was sent");
        };
        self.head = Some(call.head);
        self.port.link.answer(Answer {
            conn: call.conn,
            outcome: Outcome::Complete(Complete {
                head: ResponseHead::Http(Response::new(()).into_parts().0),
                length: BodyLength::Empty,
                data: None,
                trailers: None,
            }),
            polled: None,
        });
        self.port.link.announce();
        let answer = self.port.next_answer();
        assert!(answer.is_some(), "an answer was sent");
    }
}

impl Default for Link {
    fn default() -> Self {
        Link::new()
    }
}

/// A service that calls are sent for and that is never called.
#[derive(Clone)]
pub struct Unasked;

impl tower_service::Service<http::Request<RequestBody>> for Unasked {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Response<ResponseBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<RequestBody>) -> Self::Future {
        std::future::pending()
    }
}

/// The deadlines of many connections.
pub struct Deadlines {
    wheel: Wheel,
    due: Vec<Key>,
}

impl Deadlines {
    pub fn new() -> Self {
        Deadlines {
            wheel: Wheel::new(),
            due: Vec::new(),
        }
    }

    /// Sets the deadline of a connection, or moves it.
    pub fn set(&mut self, connection: u32, deadline_ns: u64) {
        let key = Key {
            index: connection,
            generation: 1,
        };
        self.wheel.insert(key, deadline_ns);
    }

    /// How many have passed; they are forgotten.
    pub fn pass(&mut self, now_ns: u64) -> usize {
        self.due.clear();
        self.wheel.poll(now_ns, &mut self.due);
        self.due.len()
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines::new()
    }
}
