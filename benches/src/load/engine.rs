//! Carries a plan out: one thread, one ring, all connections.
//!
//! What counts as when: a request was sent when its bytes are handed to the kernel, which happens at once
//! and not in batches; an answer came when its completion could first be seen, which is looked for after
//! every send. So the generator's own work on other connections is not part of anybody's latency.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use rustix::time::{ClockId, clock_gettime};

use super::conn::{Awaited, Conn, Phase};
use super::outcome::{Latencies, Outcome};
use super::plan::{Pace, Plan, Reply};
use super::response::{Mismatch, Step};
use crate::args::Failure;
use crate::ring::{self, Event, Filled, PayloadId, Ring};

/// Answers up to this length are received into small buffers, which stay in the cache.
const SHORT_ANSWER_BYTES: u64 = 2048;
/// A sleep that ends sooner than this is spun through: waking up takes about as long.
const SHORTEST_SLEEP_NS: u64 = 200_000;
/// How long answers are waited for after the end of a fixed rate.
const GRACE: Duration = Duration::from_secs(1);
/// Kinds of requests that are told apart, at most.
const LABELS_MAX: usize = 64;
/// A wait is ended after this, to look at the time.
const LOOK_UP: Duration = ring::BEAT;

/// A moment to read counters at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// What comes from now on counts.
    Start,
    /// What comes from now on does not count.
    End,
}

/// What is counted.
struct Tally {
    is_counting: bool,
    latencies: Vec<Latencies>,
    answers: u64,
    received_bytes: u64,
    connects: u64,
    failures: u64,
    first_failure: Option<String>,
}

/// A plan being carried out.
pub(super) struct Engine<'a> {
    plan: &'a Plan,
    ring: Ring,
    conns: Vec<Conn>,
    payloads: Vec<PayloadId>,
    opening: Option<PayloadId>,
    turns: Vec<usize>,
    turn: usize,
    base: Instant,
    /// What has happened, and when it could first be seen.
    inbox: VecDeque<(u64, Event)>,
    /// Connections without work, at a fixed rate.
    free: VecDeque<u32>,
    tally: Tally,
}

impl<'a> Engine<'a> {
    pub fn new(plan: &'a Plan) -> Result<Self, Failure> {
        if let Some(objection) = plan.objection() {
            return Err(objection.into());
        }
        let (count, bytes) = receive_buffers(plan);
        let mut ring = Ring::new(count, bytes).map_err(|error| {
            format!("the load generator cannot use io_uring ({error}); it needs Linux 6.1 and, in a container, leave to use it")
        })?;
        ring.set_peer(plan.server);
        let payloads = plan.exchanges.iter();
        let payloads = payloads.map(|e| ring.add_payload(e.request.repeat(plan.pipeline)));
        let payloads = payloads.collect();
        let opening = plan.opening.clone().map(|bytes| ring.add_payload(bytes));
        Ok(Engine {
            plan,
            ring,
            conns: (0..plan.connections).map(|_| Conn::closed()).collect(),
            payloads,
            opening,
            turns: plan.turns(),
            turn: 0,
            base: Instant::now(),
            inbox: VecDeque::new(),
            free: VecDeque::new(),
            tally: Tally {
                is_counting: false,
                latencies: plan.exchanges.iter().map(|_| Latencies::new()).collect(),
                answers: 0,
                received_bytes: 0,
                connects: 0,
                failures: 0,
                first_failure: None,
            },
        })
    }

    pub fn run(mut self, observe: &mut dyn FnMut(Moment)) -> Result<Outcome, Failure> {
        let idle = super::idle::open(self.plan)?;
        self.open_all()?;
        self.base = Instant::now();
        let warm_up_ns = ns(self.plan.warm_up);
        self.carry_on(0, warm_up_ns)?;
        observe(Moment::Start);
        let cpu = thread_cpu_seconds();
        self.tally.is_counting = true;
        let start_ns = self.now();
        let end_ns = start_ns + ns(self.plan.duration);
        self.carry_on(start_ns, end_ns)?;
        let counted_ns = self.now() - start_ns;
        let cpu = thread_cpu_seconds() - cpu;
        observe(Moment::End);
        let unanswered = match self.plan.pace {
            Pace::Closed => 0,
            Pace::Open(_) => self.wait_for_the_rest(end_ns)?,
        };
        drop(idle);
        Ok(self.outcome(counted_ns, cpu, unanswered))
    }

    fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    fn open_all(&mut self) -> Result<(), Failure> {
        for conn in 0..self.conns.len() as u32 {
            if self.plan.churn {
                self.connect_anew(conn)?;
                continue;
            }
            let stream = TcpStream::connect(self.plan.server)
                .map_err(|error| format!("connection {conn} was not accepted: {error}"))?;
            stream.set_nodelay(true)?;
            self.conns[conn as usize].reset(stream.into(), Phase::Opening);
            self.receive(conn);
            match self.opening {
                Some(opening) => self.send(conn, opening)?,
                None => self.opened(conn)?,
            }
        }
        Ok(())
    }

    /// The connection can carry exchanges.
    fn opened(&mut self, conn: u32) -> io::Result<()> {
        self.conns[conn as usize].phase = Phase::Open;
        match self.plan.pace {
            Pace::Closed => self.start(conn, self.now()),
            Pace::Open(_) => {
                self.free.push_back(conn);
                Ok(())
            }
        }
    }

    fn carry_on(&mut self, start_ns: u64, end_ns: u64) -> Result<(), Failure> {
        match self.plan.pace {
            Pace::Closed => self.carry_on_closed(end_ns),
            Pace::Open(rate) => self.carry_on_open(rate, start_ns, end_ns),
        }
    }

    fn carry_on_closed(&mut self, end_ns: u64) -> Result<(), Failure> {
        loop {
            while let Some((at_ns, event)) = self.inbox.pop_front() {
                self.handle(at_ns, event)?;
            }
            let left_ns = end_ns.saturating_sub(self.now());
            if left_ns == 0 {
                return Ok(());
            }
            self.check_alive()?;
            match self.plan.spin {
                true => self.look_for_work(left_ns.min(ns(LOOK_UP)))?,
                false if left_ns > ns(LOOK_UP) => self.ring.wait_for_beat()?,
                false => self.ring.wait(Duration::from_nanos(left_ns))?,
            }
            self.collect();
        }
    }

    /// Looks until something has happened, at most for so long.
    fn look_for_work(&mut self, limit_ns: u64) -> io::Result<()> {
        let end_ns = self.now() + limit_ns;
        while !self.ring.has_work() && self.now() < end_ns {
            std::hint::spin_loop();
        }
        self.ring.submit()
    }

    fn carry_on_open(&mut self, rate: f64, start_ns: u64, end_ns: u64) -> Result<(), Failure> {
        let step_ns = 1e9 / rate;
        let due_ns = |k: u64| start_ns + (k as f64 * step_ns) as u64;
        let mut next = 0;
        loop {
            let now_ns = self.now();
            if now_ns >= end_ns && due_ns(next) >= end_ns {
                return Ok(());
            }
            if due_ns(next) <= now_ns.min(end_ns - 1) {
                if let Some(conn) = self.free.pop_front() {
                    self.start(conn, due_ns(next))?;
                    next += 1;
                    continue;
                }
                if now_ns > end_ns + ns(GRACE) {
                    // Requests that were due and could not even be sent.
                    let unsent = ((end_ns - due_ns(next)) as f64 / step_ns) as u64;
                    self.tally.fail(format!(
                        "{unsent} requests were due and no connection was free"
                    ));
                    return Ok(());
                }
            }
            self.pass_time(due_ns(next).min(end_ns))?;
        }
    }

    /// Handles what has happened, or lets time pass, at most until `until_ns`.
    fn pass_time(&mut self, until_ns: u64) -> Result<(), Failure> {
        if let Some((at_ns, event)) = self.inbox.pop_front() {
            return self.handle(at_ns, event);
        }
        self.check_alive()?;
        let left_ns = until_ns.saturating_sub(self.now());
        if left_ns > SHORTEST_SLEEP_NS {
            let sleep_ns = left_ns - SHORTEST_SLEEP_NS / 2;
            self.ring.wait(Duration::from_nanos(sleep_ns))?;
            self.collect();
        } else if self.ring.has_work() {
            self.ring.submit()?;
            self.collect();
        } else {
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Waits for the answers to what was due before `end_ns`; how many did not come in time.
    fn wait_for_the_rest(&mut self, end_ns: u64) -> Result<u64, Failure> {
        let give_up_ns = end_ns + ns(GRACE);
        let waiting = |conns: &[Conn]| conns.iter().map(|c| c.awaited.len() as u64).sum();
        while waiting(&self.conns) > 0_u64 && self.now() < give_up_ns {
            self.ring.wait(LOOK_UP)?;
            self.collect();
            while let Some((at_ns, event)) = self.inbox.pop_front() {
                self.handle(at_ns, event)?;
            }
        }
        Ok(waiting(&self.conns))
    }

    /// Stamps what can be seen by now.
    fn collect(&mut self) {
        let Some(first) = self.ring.next_event() else {
            return;
        };
        let now_ns = self.now();
        self.inbox.push_back((now_ns, first));
        while let Some(event) = self.ring.next_event() {
            self.inbox.push_back((now_ns, event));
        }
    }

    fn check_alive(&self) -> Result<(), Failure> {
        if self.conns.iter().any(|conn| conn.phase != Phase::Closed) {
            return Ok(());
        }
        let why = self
            .tally
            .first_failure
            .as_deref()
            .unwrap_or("no reason known");
        Err(format!("no connection is left; the first failed so: {why}").into())
    }

    fn receive(&mut self, conn: u32) {
        let state = &mut self.conns[conn as usize];
        if let Some(socket) = state.socket() {
            self.ring.recv(conn, socket);
            state.is_receiving = true;
        }
    }

    /// Sends the next exchange, or with churn connects for it. Its latency counts from `since_ns`.
    fn start(&mut self, conn: u32, since_ns: u64) -> io::Result<()> {
        let exchange = self.turns[self.turn];
        self.turn = (self.turn + 1) % self.turns.len();
        let awaited = Awaited { exchange, since_ns };
        let state = &mut self.conns[conn as usize];
        for _ in 0..self.plan.pipeline {
            state.awaited.push_back(awaited);
        }
        self.send(conn, self.payloads[exchange])
    }

    fn send(&mut self, conn: u32, payload: PayloadId) -> io::Result<()> {
        self.conns[conn as usize].sending = Some((payload, 0));
        self.send_on(conn)
    }

    /// Hands the unsent rest to the kernel, at once, or with the wait that comes next.
    fn send_on(&mut self, conn: u32) -> io::Result<()> {
        let state = &self.conns[conn as usize];
        let (Some(socket), Some((payload, at))) = (state.socket(), state.sending) else {
            return Ok(());
        };
        let end = self.ring.payload_bytes(payload);
        self.ring.send(conn, socket, payload, at..end);
        if !self.inbox.is_empty() || matches!(self.plan.pace, Pace::Open(_)) {
            self.ring.submit()?;
            self.collect();
        }
        Ok(())
    }

    /// Opens a connection for one exchange, which counts from now.
    fn connect_anew(&mut self, conn: u32) -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            flags,
            Some(ipproto::TCP),
        )?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        let exchange = self.turns[self.turn];
        self.turn = (self.turn + 1) % self.turns.len();
        let since_ns = self.now();
        let state = &mut self.conns[conn as usize];
        state.reset(socket, Phase::Connecting);
        state.awaited.clear();
        state.awaited.push_back(Awaited { exchange, since_ns });
        if let Some(socket) = state.socket() {
            self.ring.connect(conn, socket);
        }
        self.ring.submit()?;
        self.collect();
        Ok(())
    }

    fn handle(&mut self, at_ns: u64, event: Event) -> Result<(), Failure> {
        match event {
            Event::Received { conn, filled, more } => self.received(at_ns, conn, filled, more)?,
            Event::Sent(conn, result) => self.sent(conn, result)?,
            Event::Connected(conn, result) => self.connected(conn, result)?,
            Event::ReceiveEnded(conn, result) => self.receive_ended(at_ns, conn, result)?,
            Event::Accepted(_) => {}
        }
        Ok(())
    }

    fn connected(&mut self, conn: u32, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = result {
            self.fail(conn, &format!("connecting: {error}"));
            return Ok(());
        }
        self.tally.connects += u64::from(self.tally.is_counting);
        let state = &mut self.conns[conn as usize];
        state.phase = Phase::Open;
        let Some(awaited) = state.awaited.front() else {
            return Ok(());
        };
        let payload = self.payloads[awaited.exchange];
        self.receive(conn);
        self.send(conn, payload)
    }

    fn sent(&mut self, conn: u32, result: io::Result<usize>) -> io::Result<()> {
        let state = &mut self.conns[conn as usize];
        match (result, state.sending) {
            (_, None) => Ok(()),
            (Err(error), _) => {
                self.fail(conn, &format!("sending: {error}"));
                Ok(())
            }
            (Ok(sent), Some((payload, at))) => {
                let at = at + sent;
                let is_whole = at >= self.ring.payload_bytes(payload);
                state.sending = (!is_whole).then_some((payload, at));
                if !is_whole {
                    return self.send_on(conn);
                }
                match self.conns[conn as usize].awaited.is_empty() {
                    true => self.go_on(conn),
                    false => Ok(()),
                }
            }
        }
    }

    fn received(&mut self, at_ns: u64, conn: u32, filled: Filled, more: bool) -> io::Result<()> {
        let read = self.read(at_ns, conn, &filled);
        self.ring.give_back(filled);
        if !more {
            self.conns[conn as usize].is_receiving = false;
            self.receive(conn);
        }
        match read {
            Err(mismatch) => {
                self.fail(conn, &mismatch.to_string());
                Ok(())
            }
            Ok(()) => self.go_on(conn),
        }
    }

    /// Reads the answers in a buffer and counts them.
    fn read(&mut self, at_ns: u64, conn: u32, filled: &Filled) -> Result<(), Mismatch> {
        let mut input = self.ring.bytes(filled);
        let state = &mut self.conns[conn as usize];
        if self.tally.is_counting {
            self.tally.received_bytes += input.len() as u64;
        }
        if state.phase == Phase::Opening {
            let Step::Done(used) = state.read_opening(input)? else {
                return Ok(());
            };
            state.phase = Phase::Open;
            input = &input[used..];
        }
        while !input.is_empty() {
            let Some(&awaited) = state.awaited.front() else {
                return match state.phase {
                    Phase::Closed => Ok(()),
                    _ => Err(Mismatch::Malformed("bytes that nobody asked for")),
                };
            };
            let reply = &self.plan.exchanges[awaited.exchange].reply;
            match state.read(input, reply)? {
                Step::More => {
                    if let Reply::Messages(bytes) = reply {
                        self.tally.messages(state.new_messages(*bytes));
                    }
                    return Ok(());
                }
                Step::Done(used) => {
                    input = &input[used..];
                    state.awaited.pop_front();
                    self.tally.answer(awaited, at_ns);
                }
            }
        }
        Ok(())
    }

    /// Everything that was asked on the connection may have been answered: asks the next.
    fn go_on(&mut self, conn: u32) -> io::Result<()> {
        let state = &mut self.conns[conn as usize];
        // An answer may come before its request was taken whole: the next waits for that.
        if !state.awaited.is_empty() || state.phase != Phase::Open || state.sending.is_some() {
            return Ok(());
        }
        if self.plan.churn {
            state.phase = Phase::Finishing;
            return Ok(());
        }
        self.opened(conn)
    }

    fn receive_ended(&mut self, at_ns: u64, conn: u32, result: io::Result<()>) -> io::Result<()> {
        let state = &mut self.conns[conn as usize];
        state.is_receiving = false;
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.receive(conn);
                Ok(())
            }
            _ if state.phase == Phase::Closed => Ok(()),
            Err(error) if state.phase != Phase::Finishing => {
                self.fail(conn, &format!("receiving: {error}"));
                Ok(())
            }
            _ if self.plan.churn => self.ended_as_planned(at_ns, conn),
            _ => {
                self.fail(conn, "the server closed the connection");
                Ok(())
            }
        }
    }

    /// The server closed a connection that was for one exchange.
    fn ended_as_planned(&mut self, at_ns: u64, conn: u32) -> io::Result<()> {
        let state = &mut self.conns[conn as usize];
        if let Some(&awaited) = state.awaited.front() {
            let reply = &self.plan.exchanges[awaited.exchange].reply;
            match state.end(Some(reply)) {
                Ok(true) => self.tally.answer(awaited, at_ns),
                Ok(false) => {
                    self.fail(conn, "the server closed the connection without an answer");
                    return Ok(());
                }
                Err(mismatch) => {
                    self.fail(conn, &mismatch.to_string());
                    return Ok(());
                }
            }
        }
        self.conns[conn as usize].close();
        self.connect_anew(conn)
    }

    /// Gives a connection up. It stays closed: a load with failures is worth nothing anyway.
    fn fail(&mut self, conn: u32, why: &str) {
        let state = &mut self.conns[conn as usize];
        let exchange = state.awaited.front().map(|awaited| awaited.exchange);
        self.tally.fail(match exchange {
            Some(i) => format!("{}: {why}", self.plan.exchanges[i].label),
            None => why.into(),
        });
        if let Some(socket) = state.socket() {
            // A peer that is gone already needs no word.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
        state.awaited.clear();
        state.sending = None;
        state.close();
    }

    fn outcome(self, counted_ns: u64, generator_cpu_seconds: f64, unanswered: u64) -> Outcome {
        let tally = self.tally;
        let mut all = Latencies::new();
        for latencies in &tally.latencies {
            all.add(latencies);
        }
        let labels = self.plan.exchanges.iter().zip(&tally.latencies);
        let labels = labels.map(|(e, latencies)| (e.label.clone(), latencies.summary()));
        let by_label = match self.plan.exchanges.len() {
            2..=LABELS_MAX => labels.collect(),
            _ => Vec::new(),
        };
        Outcome {
            seconds: counted_ns as f64 / 1e9,
            answers: tally.answers,
            received_bytes: tally.received_bytes,
            connects: tally.connects,
            failures: tally.failures,
            first_failure: tally.first_failure,
            unanswered,
            latency: all.summary(),
            by_label,
            generator_cpu_seconds,
        }
    }
}

impl Tally {
    fn answer(&mut self, awaited: Awaited, at_ns: u64) {
        if self.is_counting {
            self.answers += 1;
            self.latencies[awaited.exchange].record(at_ns.saturating_sub(awaited.since_ns));
        }
    }

    fn messages(&mut self, count: u64) {
        if self.is_counting {
            self.answers += count;
        }
    }

    fn fail(&mut self, why: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(why);
    }
}

/// Few and small buffers where answers are short, so that they stay in the cache.
fn receive_buffers(plan: &Plan) -> (u16, u32) {
    let is_short = |reply: &Reply| match reply {
        Reply::Http(reference) => reference
            .body_bytes()
            .is_some_and(|n| n <= SHORT_ANSWER_BYTES),
        Reply::Bytes(bytes) => bytes.len() as u64 <= SHORT_ANSWER_BYTES,
        Reply::Messages(_) => true,
    };
    match plan.exchanges.iter().all(|e| is_short(&e.reply)) {
        true if plan.pipeline == 1 => (256, 4096),
        true => (256, 16 << 10),
        false => (64, 64 << 10),
    }
}

fn ns(time: Duration) -> u64 {
    time.as_nanos() as u64
}

fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
