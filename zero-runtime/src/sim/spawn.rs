//! Tasks without threads: a list polled in seeded order, and the virtual timers they sleep by.
//!
//! Stands for the tokio workers. A task that was woken becomes ready after a seeded delay, as if
//! its worker had been busy; tasks may also be polled in the middle of whatever the shard does, as
//! if they ran on another core. Nothing is locked while a task is polled.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use super::rng::{Rng, Trace};
use crate::worker::Spawn;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Entry {
    /// Absent while it is polled.
    task: Option<Task>,
    /// When it may be polled; `None` while it waits.
    ready_ns: Option<u64>,
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
    pub(super) fn new(mut rng: Rng) -> Self {
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
        if let Some(entry) = inner.tasks.get_mut(&id) {
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

    pub(super) fn now_ns(&self) -> u64 {
        self.lock().now_ns
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
            inner.depth -= 1;
            return true;
        }
        let mut inner = self.lock();
        inner.depth -= 1;
        let entry = inner
            .tasks
            .get_mut(&id)
            .expect("a polled task stays listed");
        entry.task = Some(task);
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
        Sleep {
            spawn: self.clone(),
            until_ns: self.now_ns() + ns,
        }
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
        self.polls += 1;
        let entry = self.tasks.get_mut(&id).expect("it was listed");
        entry.ready_ns = None;
        Some((id, entry.task.take().expect("it was not being polled")))
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
        };
        inner.tasks.insert(id, entry);
        // Another worker may be at it before this call returns.
        let at_once = inner.depth < 2 && inner.rng.one_in(4);
        drop(inner);
        if at_once {
            self.run(1);
        }
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
