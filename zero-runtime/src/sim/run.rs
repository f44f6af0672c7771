//! One run of one seed: builds the shard and its world, drives them to their end, and checks what
//! is left.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::app::{Place, SimMake, SimService, Tally};
use super::lent::{Does, Meanwhile};
use super::polls::Polls;
use super::ring::SimRing;
use super::rng::Rng;
use super::script::Talk;
use super::spawn::SimSpawn;
use super::world::{SECOND_NS, Seat, Shared, World};
use crate::bridge::arrivals::Neighbours;
use crate::bridge::crowd::Crowd;
use crate::bridge::inbox::Inbox;
use crate::bridge::link::{self, Link, ShardPort};
use crate::config::{Config, Conformance, Dispatch, Wakeup};
use crate::lifecycle::{Lifecycle, Phases, RuntimeRef};
use crate::limits::Limits;
use crate::overload::Change;
use crate::shard::{Flow, Shard, ShardSeed};
use crate::stats::{ShardCounters, Stats};
use crate::sys::EventFd;
use crate::waking::{Adaptive, Sleeping, Spinning, Waking};
use crate::worker::{self, Spawn};

/// What a run leaves behind, equal for equal seeds.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Report {
    pub(super) trace: u64,
    pub(super) now_ns: u64,
    pub(super) turns: u64,
    pub(super) answered: usize,
    pub(super) stats: Stats,
    /// Changes of the levels of overload: of what, and which.
    pub(super) overload_steps: BTreeSet<(&'static str, Change)>,
    /// Times a shard was woken that had announced sleep while a worker wrote, or before its tasks ran.
    pub(super) wakes: u64,
    /// Classes of requests that had been sent back from the shard, and were polled there again.
    pub(super) returns: u64,
}

/// One run: shards, their world, and what to check when all are over.
pub(super) struct Run {
    shards: Vec<Shard<SimRing, SimMake, SimSpawn>>,
    /// Which of them goes on next.
    order: Rng,
    world: Rc<RefCell<World>>,
    links: Vec<Arc<Link<SimService>>>,
    counters: Vec<Arc<ShardCounters>>,
    tally: Arc<Tally>,
    crowd: Arc<Crowd>,
    wakeup: Wakeup,
    /// When a lone shard announces sleep between two steps; `None` for never.
    dozes: Option<Rng>,
}

impl Run {
    /// A run of one shard, or of several that may leave connections to each other.
    pub(super) fn new(seed: u64, shards: usize, verbose: bool) -> Run {
        let mut rng = Rng::new(seed);
        let mut limits = limits(&mut rng);
        // Apart from the other choices, so that seeds older than this one keep theirs.
        limits.conformance = Rng::new(seed ^ 3).pick(&[Conformance::Strict, Conformance::Hyper]);
        let crowd = Crowd::new(shards, 2, Rng::new(seed ^ 4).pick(&[1, 2, 4]));
        // Some have few buffers, and some places enough to be counted in percent, but not for all.
        limits.buffered_bytes_max = Rng::new(seed ^ 6).pick(&[20_000, 400_000, 1 << 30, 1 << 30]);
        if limits.connections_max == 1000 && Rng::new(seed ^ 7).one_in(4) {
            limits.connections_max = 20;
        }
        limits.wakeup = Rng::new(seed ^ 5).pick(&[Wakeup::Sleep, Wakeup::Adaptive, Wakeup::Spin]);
        if shards > 1 && limits.wakeup == Wakeup::Spin {
            // Who spins for ever lets nobody else go on.
            limits.wakeup = Wakeup::Adaptive;
        }
        // One third of the lone shards has handlers that take their time, most of them told apart by class.
        let is_lone = shards == 1 && !super::is_of_old(seed);
        let takes_time = is_lone && Rng::new(seed ^ 142).one_in(3);
        if takes_time {
            set_times(&mut limits, Rng::new(seed ^ 143));
        }
        let lifecycle = Lifecycle::new(Phases::new(), runtime(), None);
        let seat = |_| {
            let bell = Arc::new(EventFd::new().expect("an eventfd can be had"));
            let inbox = Inbox::new(limits.connections_max, bell.clone(), crowd.clone());
            let waker = inbox.clone();
            lifecycle.on_change(move || waker.wakeup().wake());
            (inbox, bell)
        };
        let seats: Vec<_> = (0..shards).map(seat).collect();
        let inboxes: Vec<_> = seats.iter().map(|(inbox, _)| inbox.clone()).collect();
        let wakeup = limits.wakeup;
        // Who spins for ever is never asleep.
        let may_doze = is_lone && wakeup != Wakeup::Spin;
        let dozes = (may_doze && Rng::new(seed ^ 240).one_in(3)).then(|| Rng::new(seed ^ 241));
        let is_adaptive = limits.dispatch == Dispatch::Adaptive;
        let account = match takes_time {
            true => Polls::of_time(seed, &limits, is_adaptive),
            false => Polls::of_no_time(),
        };
        let spawn = SimSpawn::new(rng.fork(), account);
        let tally = Arc::new(Tally::default());
        let make = SimMake::new(seed, spawn.clone(), tally.clone());
        let ports: Vec<_> = inboxes
            .iter()
            .map(|inbox| ports(&mut rng, &limits, inbox, &spawn))
            .collect();
        let all_ports = ports.iter().flatten();
        let links: Vec<_> = all_ports.map(|port| port.link.clone()).collect();
        if links.len() == 1 {
            spawn.set_one_link();
        }
        let shared = Shared {
            spawn: spawn.clone(),
            seats: seats
                .into_iter()
                .map(|(inbox, bell)| Seat::new(inbox, bell))
                .collect(),
            lifecycle: lifecycle.clone(),
        };
        let world = World::new(&mut rng, &limits, shared, Talk::Http, verbose);
        world.kernel.trace.say(|| format!("{limits:?}"));
        let world = Rc::new(RefCell::new(world));
        let mut counters = Vec::new();
        let neighbours = Neighbours::of(&inboxes);
        let parts = inboxes.into_iter().zip(ports).zip(neighbours);
        let shard = |(index, ((inbox, ports), neighbours))| {
            counters.push(Arc::new(ShardCounters::default()));
            let ring = SimRing::new(world.clone(), spawn.clone(), index);
            let seed = ShardSeed {
                limits: limits.clone(),
                local_addrs: vec![SocketAddr::from(([127, 0, 0, 1], 80)).into()],
                tap: None,
                make: make.clone(),
                spawn: spawn.clone(),
                ports,
                inbox,
                neighbours,
                lifecycle: lifecycle.clone(),
                peers: None,
                counters: counters[index].clone(),
            };
            Shard::new(ring, seed)
        };
        Run {
            shards: parts.enumerate().map(shard).collect(),
            order: Rng::new(seed ^ 8),
            world,
            links,
            counters,
            tally,
            crowd,
            wakeup,
            dozes,
        }
    }

    pub(super) fn run(self) -> Report {
        match self.wakeup {
            Wakeup::Sleep => self.run_with(|| Sleeping),
            Wakeup::Adaptive => self.run_with(Adaptive::new),
            Wakeup::Spin => self.run_with(|| Spinning),
        }
    }

    fn run_with<W: Waking + 'static>(mut self, waking: impl Fn() -> W) -> Report {
        let spawn = self.world.borrow().shared.spawn.clone();
        let shards = std::mem::take(&mut self.shards).into_iter().enumerate();
        let running: Vec<_> = shards
            .map(|(seat, shard)| (seat, shard, waking()))
            .collect();
        let running = Rc::new(RefCell::new(running));
        let lone = Rc::new(Lone {
            dozes: RefCell::new(self.dozes.take()),
            ..Lone::default()
        });
        let meanwhile = (running.borrow().len() == 1).then(|| {
            let (lone, running, spawn) = (lone.clone(), running.clone(), spawn.clone());
            Meanwhile::new(move |does| lone.go_on(does, &running, &spawn))
        });
        let mut ended = Vec::new();
        loop {
            lone.end_doze(&running);
            let mut all = running.borrow_mut();
            let at = match all.len() {
                0 => break,
                1 => 0,
                shards => self.order.below(shards as u64) as usize,
            };
            let (seat, shard, waking) = &mut all[at];
            let flow = shard.step(waking).expect("a simulated ring never fails");
            if flow == Flow::Ended {
                self.world.borrow_mut().end(*seat);
                ended.push(all.remove(at));
                continue;
            }
            drop(all);
            let is_late = self.world.borrow_mut().take_late();
            match is_late {
                true => {
                    lone.doze(&running);
                    spawn.run(2);
                }
                false => spawn.interleave(),
            }
            if let Some(panic) = lone.panic.take() {
                resume_unwind(panic);
            }
        }
        drop(meanwhile);
        let steps = ended
            .iter()
            .flat_map(|(_, shard, _)| shard.overload_steps());
        let overload_steps = steps.copied().collect();
        let Run {
            world,
            links,
            counters,
            tally,
            crowd,
            ..
        } = self;
        drop(ended);
        spawn.turned(world.borrow().kernel.now_ns);
        links.iter().for_each(|link| link.wake());
        let world = Rc::into_inner(world)
            .expect("the ring is gone")
            .into_inner();
        drop(links);
        end_tasks(&spawn, world.kernel.now_ns);
        let stats = Stats::sum(counters.iter().map(|counters| &**counters));
        check_end(&world, &tally, &stats);
        let returns = spawn.check_polls(&stats);
        assert!(crowd.is_empty(), "a handler was not counted out");
        let mut trace = world.kernel.trace;
        trace.note(&[spawn.trace()]);
        Report {
            trace: trace.hash,
            now_ns: world.kernel.now_ns,
            turns: world.turns,
            answered: world.peers.iter().map(|peer| peer.answers.answered).sum(),
            stats,
            overload_steps,
            wakes: lone.wakes.get(),
            returns,
        }
    }
}

type Running<W> = RefCell<Vec<(usize, Shard<SimRing, SimMake, SimSpawn>, W)>>;

/// What befalls the one shard there is between two of its steps, or two instructions of a worker that writes
/// to one of its connections.
#[derive(Default)]
struct Lone {
    dozes: RefCell<Option<Rng>>,
    is_dozing: Cell<bool>,
    wakes: Cell<u64>,
    /// What went wrong in the middle of a task, where it would be taken for the application's.
    panic: RefCell<Option<Box<dyn Any + Send>>>,
}

impl Lone {
    /// Goes on while a worker writes; not if it is in the middle of a step itself.
    fn go_on<W: Waking>(&self, does: Does, running: &Running<W>, spawn: &SimSpawn) {
        if self.panic.borrow().is_some() || running.try_borrow_mut().is_err() {
            return;
        }
        let gone_on = catch_unwind(AssertUnwindSafe(|| match does {
            Does::Step => self.step(running, spawn),
            Does::Doze => self.doze(running),
        }));
        if let Err(panic) = gone_on {
            self.panic.replace(Some(panic));
        }
    }

    fn step<W: Waking>(&self, running: &Running<W>, spawn: &SimSpawn) {
        self.end_doze(running);
        if let Some((_, shard, waking)) = running.borrow_mut().first_mut() {
            let flow = spawn.as_shard(|| shard.step(waking));
            let flow = flow.expect("a simulated ring never fails");
            assert_eq!(flow, Flow::Continue, "it waits for who writes");
        }
    }

    /// Perhaps announces the shard's sleep.
    fn doze<W: Waking>(&self, running: &Running<W>) {
        let mut dozes = self.dozes.borrow_mut();
        let is_time = dozes.as_mut().is_some_and(|dozes| dozes.one_in(2));
        if is_time
            && !self.is_dozing.get()
            && let Some((_, shard, _)) = running.borrow_mut().first_mut()
        {
            self.is_dozing.set(shard.doze());
        }
    }

    /// Ends it before a step.
    fn end_doze<W: Waking>(&self, running: &Running<W>) {
        if self.is_dozing.take()
            && let Some((_, shard, _)) = running.borrow_mut().first_mut()
        {
            let was_woken = shard.end_doze();
            self.wakes.set(self.wakes.get() + u64::from(was_woken));
        }
    }
}

/// Lets every task that is left end by itself.
pub(super) fn end_tasks(spawn: &SimSpawn, mut now_ns: u64) {
    let until_ns = now_ns + 60 * SECOND_NS;
    while let Some(next_ns) = spawn.next_ns() {
        now_ns = now_ns.max(next_ns);
        assert!(now_ns < until_ns, "tasks outlive the shard");
        spawn.advance(now_ns);
        while spawn.run(1) > 0 {}
    }
    assert_eq!(spawn.alive(), 0, "a task waits though its shard is gone");
}

fn check_end(world: &World, tally: &Tally, stats: &Stats) {
    check_kernel(world, stats);
    for place in [
        Place::Service,
        Place::Handler,
        Place::ResponseBody,
        Place::Maker,
    ] {
        assert_eq!(tally.alive(place), 0, "{place:?} alive at the end");
    }
    let rises = stats.overload_warnings + stats.overload_criticals + stats.overload_drains;
    assert!(stats.overload_recoveries <= rises);
    assert!(stats.responses <= stats.requests);
    let answered: usize = world.peers.iter().map(|peer| peer.answers.answered).sum();
    // A peer may have a whole answer, and be gone, before its handler is known to have ended.
    let answers_max = stats.responses + stats.parse_errors + stats.handlers_cancelled;
    assert!(
        answered as u64 <= answers_max,
        "{answered} answers: {stats:?}"
    );
    assert!(tally.ever(Place::Handler) as u64 <= stats.requests);
}

/// Every socket, buffer and place is home, whatever was spoken.
pub(super) fn check_kernel(world: &World, stats: &Stats) {
    let kernel = &world.kernel;
    assert!(
        kernel.is_quiet(),
        "something is in flight or open: {}",
        world.describe()
    );
    assert_eq!(
        kernel.buffers_free.get(),
        kernel.buffers,
        "a lease was lost"
    );
    assert!(kernel.listeners.iter().all(|listener| listener.closed));
    assert_eq!(stats.connections_open, 0);
    assert_eq!(stats.buffered_bytes, 0);
    // What is accepted while terminating is closed uncounted.
    assert!(stats.connections_accepted <= kernel.accepted);
    assert_eq!(stats.bytes_in, kernel.bytes_in);
    assert!(stats.bytes_out <= kernel.bytes_out);
}

/// Only the timer of a graceful shutdown would use it, and there is none here.
fn runtime() -> Arc<RuntimeRef> {
    static RUNTIME: OnceLock<Arc<RuntimeRef>> = OnceLock::new();
    let make = || RuntimeRef::current_or_new(1).expect("a runtime can be had");
    RUNTIME.get_or_init(make).clone()
}

pub(super) fn limits(rng: &mut Rng) -> Limits {
    let mut time = |low_ms, high_ms| Duration::from_millis(rng.range(low_ms, high_ms));
    let config = Config::default()
        .shards(1)
        .head_timeout(time(2_000, 6_000))
        .keep_alive_timeout(time(1_000, 4_000))
        .write_timeout(time(1_000, 5_000))
        .linger_timeout(time(200, 2_000));
    let config = match rng.one_in(6) {
        true => config.linger_timeout(Duration::ZERO),
        false => config,
    };
    let config = config
        .connections_max(rng.pick(&[1, 3, 10, 1000, 1000]))
        .request_window_bytes(rng.pick(&[64, 1000, 20_000, 256 * 1024]))
        .response_window_bytes(rng.pick(&[1, 1000, 20_000, 256 * 1024]))
        .write_buffer_bytes(rng.pick(&[64, 16 * 1024]))
        // Polls take no time, unless `set_times` says so.
        .inline_poll_max(Duration::from_secs(3600))
        .inline_streak(rng.pick(&[1, 2, 5]))
        .dispatch(rng.pick(&[Dispatch::Inline, Dispatch::Workers, Dispatch::Adaptive]));
    config.into_limits().expect("these limits are valid")
}

/// What polls that take time may take.
fn set_times(limits: &mut Limits, mut rng: Rng) {
    limits.dispatch = rng.pick(&[Dispatch::Adaptive, Dispatch::Adaptive, limits.dispatch]);
    limits.inline_streak = rng.pick(&[1, 1, 2, 5]);
    limits.inline_poll_max_ns = rng.pick(&[200_000, 1_000_000]);
    limits.stall_min_ns = rng.pick(&[Some(10_000_000), Some(10_000_000), Some(150_000), None]);
}

fn ports(
    rng: &mut Rng,
    limits: &Limits,
    inbox: &Arc<Inbox>,
    spawn: &SimSpawn,
) -> Vec<ShardPort<SimService>> {
    let workers = match limits.dispatch {
        Dispatch::Inline => 0,
        _ => rng.range(1, 3),
    };
    let start = |_| {
        let port = link::link(inbox.clone());
        let window = limits.response_window_bytes;
        let spin = worker::Spin::Never;
        let short_ns = limits.inline_poll_max_ns / 2;
        let task = worker::run(port.link.clone(), 0, spawn.clone(), window, short_ns, spin);
        spawn.spawn(task);
        port
    };
    (0..workers).map(start).collect()
}
