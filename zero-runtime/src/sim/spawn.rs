//! Tasks without threads: a list polled in seeded order, and the virtual timers they sleep by.
//!
//! Stands for the tokio workers. A task that was woken becomes ready after a seeded delay, as if
//! its worker had been busy; tasks may also be polled in the middle of whatever the shard does, as
//! if they ran on another core. Nothing is locked while a task is polled.
//!
//! Polls of handlers may take time ([`Polls`]): a worker's runs while the shard's stands still, and keeps its
//! task from being polled again before it is over; the shard's is the world's.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::polls::{Polls, Took};
use super::rng::{Rng, Trace};
use crate::preemption::Preemption;
use crate::stats::Stats;
use crate::worker::Spawn;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Entry {
    /// Absent while it is polled.
    task: Option<Task>,
    /// When it may be polled; `None` while it waits.
    ready_ns: Option<u64>,
    /// When its last poll is over.
    busy_until_ns: u64,
    /// It takes calls from a link; in which of the shard's turns that last woke it.
    is_worker: bool,
    woken_in: Option<u64>,
}

/// A task that is being polled.
#[derive(Default)]
struct Polled {
    began_ns: u64,
    /// What handlers have taken in it.
    ahead_ns: u64,
    /// Of that, without a core, and what the task knows of it.
    waited_ns: u64,
    preemption: Preemption,
    /// It asks for the time, as workers do.
    is_worker: bool,
    /// Class and time of the first poll that is under way, and after how many arrivals on the shard its
    /// call was made. Of interest for workers only.
    first: Option<(String, Took, u64)>,
}

struct Inner {
    rng: Rng,
    now_ns: u64,
    next_task: u64,
    tasks: BTreeMap<u64, Entry>,
    next_timer: u64,
    timers: BTreeMap<(u64, u64), Waker>,
    /// How often tasks have been polled.
    polls: u64,
    /// How deep tasks are being polled within tasks.
    depth: usize,
    /// What is being polled within what; `None` stands for the shard, which also is behind them all.
    polled: Vec<Option<Polled>>,
    account: Polls,
    /// The shard's time, and what it has waited for its core.
    shard_ns: u64,
    shard_waited_ns: u64,
    /// Where workers' time begins.
    origin: Instant,
    /// Longest time a woken task waits for its worker.
    delay_ns_max: u64,
    trace: Trace,
}

/// The simulated runtime.
#[derive(Clone)]
pub(super) struct SimSpawn(Arc<Mutex<Inner>>);

struct TaskWaker {
    id: u64,
    spawn: SimSpawn,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.spawn.make_ready(self.id);
    }
}

impl SimSpawn {
    pub(super) fn new(mut rng: Rng, account: Polls) -> Self {
        let delay_ns_max = rng.pick(&[0, 1_000, 50_000, 5_000_000]);
        SimSpawn(Arc::new(Mutex::new(Inner {
            rng,
            now_ns: 0,
            next_task: 0,
            tasks: BTreeMap::new(),
            next_timer: 0,
            timers: BTreeMap::new(),
            polls: 0,
            depth: 0,
            polled: Vec::new(),
            account,
            shard_ns: 0,
            shard_waited_ns: 0,
            origin: Instant::now(),
            delay_ns_max,
            trace: Trace::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0
            .lock()
            .expect("nothing panics while it holds the list")
    }

    fn make_ready(&self, id: u64) {
        let mut inner = self.lock();
        let delay_ns = inner.delay();
        let ready_ns = inner.now_ns + delay_ns;
        inner.note_wake(id);
        if let Some(entry) = inner.tasks.get_mut(&id) {
            let ready_ns = ready_ns.max(entry.busy_until_ns);
            entry.ready_ns.get_or_insert(ready_ns);
        }
    }

    /// Moves the tasks' clock on and fires their timers.
    pub(super) fn advance(&self, now_ns: u64) {
        let mut inner = self.lock();
        inner.now_ns = inner.now_ns.max(now_ns);
        let later = inner.timers.split_off(&(now_ns + 1, 0));
        let due = std::mem::replace(&mut inner.timers, later);
        drop(inner);
        due.into_values().for_each(Waker::wake);
    }

    /// When a task becomes ready or a timer fires.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let inner = self.lock();
        let timer = inner.timers.keys().next().map(|(at_ns, _)| *at_ns);
        let task = inner
            .tasks
            .values()
            .filter_map(|entry| entry.ready_ns)
            .min();
        timer.into_iter().chain(task).min()
    }

    /// Whether a task may be polled now.
    pub(super) fn has_ready(&self) -> bool {
        let inner = self.lock();
        let ready_ns = inner.tasks.values().filter_map(|entry| entry.ready_ns);
        ready_ns
            .min()
            .is_some_and(|ready_ns| ready_ns <= inner.now_ns)
    }

    /// Polls at most `count` ready tasks, in seeded order. Returns how many.
    pub(super) fn run(&self, count: usize) -> usize {
        (0..count).take_while(|_| self.run_one()).count()
    }

    /// Perhaps runs something, as another core might at this moment.
    pub(super) fn interleave(&self) {
        let mut inner = self.lock();
        let runs = inner.depth == 0 && inner.rng.one_in(6);
        drop(inner);
        if runs {
            self.run(2);
        }
    }

    fn run_one(&self) -> bool {
        let Some((id, mut task)) = self.lock().take_ready() else {
            return false;
        };
        let waker = Waker::from(Arc::new(TaskWaker {
            id,
            spawn: self.clone(),
        }));
        let mut cx = Context::from_waker(&waker);
        // As tokio does: a panic ends its task and nothing else.
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut cx)));
        let waits = matches!(polled, Ok(Poll::Pending));
        if !waits {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
            let mut inner = self.lock();
            inner.tasks.remove(&id);
            inner.ended_poll();
            return true;
        }
        let mut inner = self.lock();
        let is_worker = inner.task().is_some_and(|polled| polled.is_worker);
        let over_ns = inner.ended_poll();
        let entry = inner
            .tasks
            .get_mut(&id)
            .expect("a polled task stays listed");
        entry.task = Some(task);
        entry.is_worker = is_worker;
        entry.busy_until_ns = over_ns;
        entry.ready_ns = entry.ready_ns.map(|ready_ns| ready_ns.max(over_ns));
        true
    }

    /// Tasks that have not ended.
    pub(super) fn alive(&self) -> usize {
        self.lock().tasks.len()
    }

    pub(super) fn polls(&self) -> u64 {
        self.lock().polls
    }

    pub(super) fn trace(&self) -> u64 {
        self.lock().trace.hash
    }

    /// Completes after this much virtual time.
    pub(super) fn sleep(&self, ns: u64) -> Sleep {
        let inner = self.lock();
        let ahead_ns = inner.task().map_or(0, |polled| polled.ahead_ns);
        Sleep {
            spawn: self.clone(),
            until_ns: inner.now_ns + ahead_ns + ns,
        }
    }

    /// Lets the shard go on, in the middle of a task or not.
    pub(super) fn as_shard<T>(&self, step: impl FnOnce() -> T) -> T {
        self.lock().polled.push(None);
        let stepped = step();
        self.lock().polled.pop();
        stepped
    }

    /// The shard is about to look what has happened, at this time.
    pub(super) fn turned(&self, now_ns: u64) {
        let mut inner = self.lock();
        inner.shard_ns = now_ns;
        inner.account.turned();
        let fault = inner.account.fault().map(str::to_owned);
        drop(inner);
        if let Some(fault) = fault {
            panic!("{fault}");
        }
    }

    /// The shard's time, ahead of everybody's if a handler has taken some.
    pub(super) fn shard_ns(&self) -> u64 {
        self.lock().shard_ns
    }

    /// How long the shard has waited for its core.
    pub(super) fn shard_waited_ns(&self) -> u64 {
        self.lock().shard_waited_ns
    }

    /// Whether polls of handlers take time.
    pub(super) fn keeps_time(&self) -> bool {
        self.lock().account.take_time()
    }

    /// Workers take their calls from one link.
    pub(super) fn set_one_link(&self) {
        self.lock().account.set_one_link();
    }

    /// Says when a call is made.
    pub(super) fn arrivals(&self) -> u64 {
        self.lock().account.arrivals()
    }

    /// Lets the time of a handler's first poll pass, which begins now.
    pub(super) fn take_time(&self, class: &str, arrivals: u64) {
        let mut inner = self.lock();
        let took = inner.account.draw(class);
        let shard_ns = inner.shard_ns;
        match inner.task_mut() {
            Some(polled) => {
                polled.ahead_ns += took.ns();
                polled.waited_ns += took.waited_ns;
                polled.first = Some((class.to_owned(), took, arrivals));
            }
            None => {
                inner.account.polled_on_shard(class, took, shard_ns);
                inner.shard_ns += took.ns();
                inner.shard_waited_ns += took.waited_ns;
            }
        }
    }

    /// Lets the time of a later poll pass.
    pub(super) fn take_more_time(&self) {
        let mut inner = self.lock();
        let ns = inner.account.draw_later();
        if let Some(polled) = inner.task_mut() {
            polled.ahead_ns += ns;
        }
    }

    /// Holds what was counted against what was seen; returns how many classes came back to the shard.
    pub(super) fn check_polls(&self, stats: &Stats) -> u64 {
        let account = std::mem::replace(&mut self.lock().account, Polls::of_no_time());
        account.check_end(stats);
        account.returns()
    }
}

impl Inner {
    fn delay(&mut self) -> u64 {
        match self.rng.below(4) {
            0 => self.rng.range(0, self.delay_ns_max),
            _ => 0,
        }
    }

    fn take_ready(&mut self) -> Option<(u64, Task)> {
        let now_ns = self.now_ns;
        let is_ready = |entry: &Entry| {
            entry.task.is_some() && entry.ready_ns.is_some_and(|ready_ns| ready_ns <= now_ns)
        };
        let ready: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, entry)| is_ready(entry))
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() {
            return None;
        }
        let id = self.rng.pick(&ready);
        self.trace.note(&[id, now_ns]);
        self.depth += 1;
        self.polled.push(Some(Polled {
            began_ns: now_ns,
            ..Polled::default()
        }));
        self.polls += 1;
        let entry = self.tasks.get_mut(&id).expect("it was listed");
        entry.ready_ns = None;
        Some((id, entry.task.take().expect("it was not being polled")))
    }

    /// A shard wakes a worker once for all the calls of a turn.
    fn note_wake(&mut self, id: u64) {
        let turns = self.account.turns();
        let is_shards = self.task().is_none();
        if let Some(entry) = self.tasks.get_mut(&id)
            && is_shards
            && entry.is_worker
            && entry.woken_in.replace(turns) == Some(turns)
        {
            self.account
                .blame("a worker was woken twice in a turn".into());
        }
    }

    /// The poll that began last has ended; says when it is over.
    fn ended_poll(&mut self) -> u64 {
        self.depth -= 1;
        let polled = self.polled.pop().flatten();
        polled.map_or(0, |polled| polled.began_ns + polled.ahead_ns)
    }

    /// The task that is being polled, unless the shard goes on within it.
    fn task(&self) -> Option<&Polled> {
        self.polled.last()?.as_ref()
    }

    fn task_mut(&mut self) -> Option<&mut Polled> {
        self.polled.last_mut()?.as_mut()
    }
}

impl Spawn for SimSpawn {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.lock();
        let ready_ns = inner.now_ns + inner.delay();
        let id = inner.next_task;
        inner.next_task += 1;
        let entry = Entry {
            task: Some(Box::pin(task)),
            ready_ns: Some(ready_ns),
            busy_until_ns: 0,
            is_worker: false,
            woken_in: None,
        };
        inner.tasks.insert(id, entry);
        // Another worker may be at it before this call returns.
        let at_once = inner.depth < 2 && inner.rng.one_in(4);
        drop(inner);
        if at_once {
            self.run(1);
        }
    }

    /// Asked before a worker's first poll and behind each.
    fn now(&self) -> Instant {
        let mut inner = self.lock();
        let polled = inner.task_mut().expect("workers are tasks");
        polled.is_worker = true;
        let ns = polled.began_ns + polled.ahead_ns;
        if let Some((class, took, arrivals)) = polled.first.take() {
            inner.account.polled_on_worker(&class, took, arrivals);
        }
        inner.origin + Duration::from_nanos(ns)
    }

    fn excuses(&self, ns: u64, most_ns: u64) -> bool {
        let mut inner = self.lock();
        let polled = inner.task_mut().expect("workers are tasks");
        let waited_ns = polled.waited_ns;
        polled.preemption.excuses(ns, most_ns, 0, waited_ns)
    }
}

/// See [`SimSpawn::sleep`].
pub(super) struct Sleep {
    spawn: SimSpawn,
    until_ns: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.spawn.lock();
        if inner.now_ns >= self.until_ns {
            return Poll::Ready(());
        }
        let number = inner.next_timer;
        inner.next_timer += 1;
        inner
            .timers
            .insert((self.until_ns, number), cx.waker().clone());
        Poll::Pending
    }
}
