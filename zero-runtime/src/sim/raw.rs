//! Raw shards in the simulated world: an echo of streams, and HTTP/1.1 for an application that owns the loop
//! and answers by the same plans as a service does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::app::{Counted, Place, Tally};
use super::body::SimBody;
use super::plan::{Fault, Pause, Plan};
use super::polls::Polls;
use super::ring::SimRing;
use super::rng::Rng;
use super::run::{check_kernel, end_tasks, limits};
use super::script::Talk;
use super::spawn::SimSpawn;
use super::world::{Seat, Shared, World};
use super::{chosen_seed, replayable};
use crate::limits::Limits;
use crate::message::ZeroResponse;
use crate::protocol::{ConnId, Opening, ProtocolHandler, Step, Wire};
use crate::shard::raw::http::{HttpEvent, RawHttp, RespondError, request_in};
use crate::shard::raw::{Host, HostSeed};
use crate::stats::{ShardCounters, Stats};

/// What a run leaves behind, equal for equal seeds.
#[derive(PartialEq, Eq, Debug)]
struct Report {
    trace: u64,
    now_ns: u64,
    turns: u64,
    answered: usize,
    stats: Stats,
}

/// A raw shard and its world.
struct Run<P: ProtocolHandler> {
    host: Host<SimRing, P>,
    world: Rc<RefCell<World>>,
    spawn: SimSpawn,
    counters: Arc<ShardCounters>,
}

impl<P: ProtocolHandler> Run<P> {
    fn new(seed: u64, talk: Talk, handler: impl FnOnce(&Limits, &Arc<ShardCounters>) -> P) -> Self {
        let mut rng = Rng::new(seed);
        let limits = limits(&mut rng);
        let mut host = HostSeed::new(limits).expect("an eventfd can be had");
        host.local_addrs = vec![SocketAddr::from(([127, 0, 0, 1], 80)).into()];
        let waker = host.inbox.clone();
        host.lifecycle.on_change(move || waker.wakeup().wake());
        let spawn = SimSpawn::new(rng.fork(), Polls::of_no_time());
        let shared = Shared {
            spawn: spawn.clone(),
            seats: vec![Seat::new(host.inbox.clone(), host.bell.clone())],
            lifecycle: host.lifecycle.clone(),
        };
        let verbose = chosen_seed().is_some();
        let world = World::new(&mut rng, &host.limits, shared, talk, verbose);
        world.kernel.trace.say(|| format!("{:?}", host.limits));
        let world = Rc::new(RefCell::new(world));
        let ring = SimRing::new(world.clone(), spawn.clone(), 0);
        let counters = host.counters.clone();
        let handler = handler(&host.limits, &counters);
        Run {
            host: Host::new(ring, host, handler),
            world,
            spawn,
            counters,
        }
    }

    fn now_ns(&self) -> u64 {
        self.world.borrow().kernel.now_ns
    }

    /// Looks at what is left when the shard is gone.
    fn end(self) -> Report {
        let Run {
            host,
            world,
            spawn,
            counters,
        } = self;
        assert_eq!(host.states(), 0, "a connection's state outlives it");
        drop(host);
        let world = Rc::into_inner(world)
            .expect("the ring is gone")
            .into_inner();
        end_tasks(&spawn, world.kernel.now_ns);
        let stats = counters.snapshot();
        check_kernel(&world, &stats);
        let mut trace = world.kernel.trace;
        trace.note(&[spawn.trace()]);
        Report {
            trace: trace.hash,
            now_ns: world.kernel.now_ns,
            turns: world.turns,
            answered: world.peers.iter().map(|peer| peer.answers.answered).sum(),
            stats,
        }
    }
}

/// Sends back what it is sent.
struct Echo;

impl ProtocolHandler for Echo {
    type Conn = ();
    type Event = Infallible;
    type Order = Infallible;

    fn open(&mut self, _opening: &Opening, _wire: &mut Wire<'_>) {}

    fn handle_input(&mut self, (): &mut (), input: &[u8], wire: &mut Wire<'_>) -> Step<Infallible> {
        let taken = wire.write(input);
        match taken == input.len() {
            true => Step::more(taken),
            false => Step::later(taken),
        }
    }

    fn handle_room(&mut self, (): &mut (), wire: &mut Wire<'_>) -> Option<Infallible> {
        wire.look_again();
        None
    }
}

fn simulate_echo(seed: u64) -> Report {
    let test = "sim::raw::streams_are_echoed";
    replayable(seed, test, || {
        let mut run = Run::new(seed, Talk::Echo, |_, _| Echo);
        while !run.host.has_ended() {
            run.host.poll(None).expect("a simulated ring never fails");
            assert!(run.host.next().is_none(), "an echo has no events");
            run.spawn.interleave();
        }
        run.end()
    })
}

/// A request, as far as it has come, or its answer, as far as it is ready.
struct Asked {
    /// None for a path of no plan, which is not answered.
    plan: Option<Plan>,
    body: Vec<u8>,
}

/// The application: reads bodies to their end, then answers, sometimes after a pause.
struct App {
    run: Run<RawHttp>,
    asked: BTreeMap<Name, Asked>,
    /// Whole requests, by the time they are answered at.
    due: BTreeMap<(u64, Name), Asked>,
    tally: Arc<Tally>,
    responses: u64,
}

/// A connection's name, in an order that does not depend on memory.
type Name = (u32, u32);

fn name(ConnId(key): ConnId) -> Name {
    (key.index, key.generation)
}

fn conn((index, generation): Name) -> ConnId {
    ConnId(crate::slots::Key { index, generation })
}

impl App {
    fn run(mut self) -> Report {
        while !self.run.host.has_ended() {
            let now_ns = self.run.now_ns();
            let next = self.due.first_key_value().map(|((at_ns, _), _)| *at_ns);
            let timeout = next.map(|at_ns| Duration::from_nanos(at_ns.saturating_sub(now_ns)));
            let polled = self.run.host.poll(timeout);
            polled.expect("a simulated ring never fails");
            while self.take_event() {}
            self.answer_due();
            self.run.spawn.interleave();
        }
        let App {
            run,
            tally,
            responses,
            ..
        } = self;
        let report = run.end();
        let (alive, ever) = (
            tally.alive(Place::ResponseBody),
            tally.ever(Place::ResponseBody),
        );
        assert_eq!(alive, 0, "{ever} bodies were made");
        let stats = report.stats;
        let refusals = stats.parse_errors + stats.timeouts_head;
        assert!(report.answered as u64 <= stats.responses + refusals);
        assert_eq!(stats.responses, responses + stats.timeouts_request);
        report
    }

    fn take_event(&mut self) -> bool {
        let Some(told) = self.run.host.next() else {
            return false;
        };
        let (at, input) = (name(told.conn), told.input);
        match told.event {
            HttpEvent::Request {
                head,
                line,
                body,
                is_whole,
                peer_addr,
            } => {
                let request = request_in(input, head, line, body, peer_addr);
                let plan = Plan::of_path(request.path());
                let body = request.body().to_vec();
                self.asked.insert(at, Asked { plan, body });
                if is_whole {
                    self.request_is_whole(at);
                }
            }
            HttpEvent::Body(range) => {
                let piece = &input[range];
                let asked = self
                    .asked
                    .get_mut(&at)
                    .expect("a body belongs to a request");
                asked.body.extend_from_slice(piece);
            }
            HttpEvent::BodyEnd(_) => self.request_is_whole(at),
            HttpEvent::BodyFailed(_) => {
                self.asked.remove(&at);
                self.run
                    .host
                    .with(conn(at).0, |_, _, wire| wire.close_graceful());
            }
            HttpEvent::HalfClosed => {}
        }
        true
    }

    fn request_is_whole(&mut self, at: Name) {
        let asked = self.asked.remove(&at).expect("an end belongs to a request");
        let wait_ns = asked
            .plan
            .iter()
            .flat_map(|plan| &plan.pauses)
            .map(|pause| match pause {
                Pause::Yield => 0,
                Pause::Sleep(ns) => *ns,
            });
        let due_ns = self.run.now_ns() + wait_ns.sum::<u64>();
        self.due.insert((due_ns, at), asked);
    }

    fn answer_due(&mut self) {
        let now_ns = self.run.now_ns();
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now_ns
        {
            let at = entry.key().1;
            let asked = entry.remove();
            self.answer(at, asked);
        }
    }

    fn answer(&mut self, at: Name, Asked { plan, body }: Asked) {
        let Some(plan) = plan else {
            return self.close(at);
        };
        match plan.fault {
            // A panic here would be the loop's own.
            Fault::Error | Fault::PanicInCall | Fault::PanicInPoll | Fault::BodyPanic(_) => {
                return self.close(at);
            }
            Fault::Never => return,
            Fault::None | Fault::Body(_) | Fault::Short(_) => {}
        }
        let counted = Counted::new(&self.tally, Place::Handler);
        let bytes = plan.body(&body);
        let body = SimBody::new(&plan, bytes, None, self.run.spawn.clone(), &counted);
        let status = StatusCode::from_u16(plan.status).expect("plans have real ones");
        let response = ZeroResponse::status(status)
            .header("x-seed", format!("{:x}", plan.seed))
            .stream(body);
        let respond = |handler: &mut RawHttp, state: &mut _, wire: &mut Wire<'_>| {
            handler.respond(state, response, wire)
        };
        match self.run.host.with(conn(at).0, respond) {
            Some(Ok(())) => self.responses += 1,
            // It is gone, or closing.
            None => {}
            Some(Err(RespondError::OutOfTurn)) => panic!("the request was whole"),
            Some(Err(RespondError::NotOpen)) => panic!("it speaks HTTP"),
        }
    }

    fn close(&mut self, at: Name) {
        self.run
            .host
            .with(conn(at).0, |_, _, wire| wire.close_graceful());
    }
}

fn simulate_http(seed: u64) -> Report {
    let test = "sim::raw::requests_are_answered_by_who_owns_the_loop";
    replayable(seed, test, || {
        let run = Run::new(seed, Talk::Http, RawHttp::new);
        let tally = Arc::new(Tally::default());
        let (asked, due) = (BTreeMap::new(), BTreeMap::new());
        App {
            run,
            asked,
            due,
            tally,
            responses: 0,
        }
        .run()
    })
}

/// One seed of each protocol.
pub(super) fn simulate_both(seed: u64) {
    simulate_echo(seed);
    simulate_http(seed);
}

fn simulate_seeds(simulate: fn(u64) -> Report) -> usize {
    if let Some(seed) = chosen_seed() {
        println!("{:?}", simulate(seed));
        return usize::MAX;
    }
    (0..100).map(|seed| simulate(seed).answered).sum()
}

#[test]
fn streams_are_echoed() {
    let pieces = simulate_seeds(simulate_echo);
    assert!(pieces > 1000, "hardly anything comes back: {pieces} pieces");
}

#[test]
fn requests_are_answered_by_who_owns_the_loop() {
    let answered = simulate_seeds(simulate_http);
    assert!(
        answered > 500,
        "hardly anything is served: {answered} answers"
    );
}

#[test]
fn raw_replays_are_identical() {
    for seed in 500..510 {
        assert_eq!(simulate_echo(seed), simulate_echo(seed), "seed {seed}");
        assert_eq!(simulate_http(seed), simulate_http(seed), "seed {seed}");
    }
}
