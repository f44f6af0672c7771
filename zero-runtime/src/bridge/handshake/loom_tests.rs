//! Every interleaving of the protocols' two sides, within loom's bounds.

use super::*;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A bell that remembers being rung, as an eventfd does.
struct Remembering {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Remembering {
    fn new() -> Self {
        Remembering {
            rung: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Bell for Remembering {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

/// A sleeper that would miss a waker deadlocks, which loom reports.
#[test]
fn loom_no_wake_is_missed() {
    loom::model(|| {
        let wakeup = Arc::new(Wakeup::new(Remembering::new()));
        let published = Arc::new(AtomicU32::new(0));
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let (wakeup, published) = (wakeup.clone(), published.clone());
                thread::spawn(move || {
                    published.fetch_add(1, Ordering::Relaxed);
                    wakeup.wake();
                })
            })
            .collect();
        let mut seen = 0;
        while seen < 2 {
            if wakeup.prepare_sleep(|| published.load(Ordering::Relaxed) > seen) {
                wakeup.bell().sleep();
                wakeup.awake();
            }
            seen = published.load(Ordering::Relaxed);
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    });
}

/// Whoever raises a flag that is already up relies on the one who lowers it to look later.
#[test]
fn loom_what_is_published_before_raising_is_seen_after_lowering() {
    loom::model(|| {
        let flag = Arc::new(Flag::new());
        let published = Arc::new(AtomicU32::new(0));
        let told = Arc::new(AtomicU32::new(0));
        let raisers: Vec<_> = (0..2)
            .map(|_| {
                let (flag, published, told) = (flag.clone(), published.clone(), told.clone());
                thread::spawn(move || {
                    published.fetch_add(1, Ordering::Relaxed);
                    if flag.raise() {
                        told.fetch_add(1, Ordering::Release);
                    }
                })
            })
            .collect();
        let mut handled = 0;
        let mut seen = 0;
        while seen < 2 {
            if told.load(Ordering::Acquire) > handled {
                handled += 1;
                flag.lower();
                seen = published.load(Ordering::Relaxed);
            } else {
                thread::yield_now();
            }
        }
        raisers
            .into_iter()
            .for_each(|raiser| raiser.join().unwrap());
    });
}

/// Two wakers and the one who parks: exactly one takes, and sees what the wakers have published.
#[test]
fn loom_what_is_parked_is_taken_once() {
    loom::model(|| {
        let parking = Arc::new(Parking::new());
        let call = Arc::new(AtomicU32::new(0));
        let published = Arc::new(AtomicU32::new(0));
        let taken = Arc::new(AtomicU32::new(0));
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let (parking, call) = (parking.clone(), call.clone());
                let (published, taken) = (published.clone(), taken.clone());
                thread::spawn(move || {
                    published.store(1, Ordering::Relaxed);
                    if parking.unpark() {
                        assert_eq!(call.load(Ordering::Relaxed), 1);
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        call.store(1, Ordering::Relaxed);
        if !parking.park() {
            assert_eq!(published.load(Ordering::Relaxed), 1);
            taken.fetch_add(1, Ordering::Relaxed);
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        assert_eq!(taken.load(Ordering::Relaxed), 1);
    });
}

/// Who finds that nobody else has a share any more comes after all that others did while they had one. What
/// this leaves out: the count is `Arc`'s, of which this has the two orderings that its documentation promises.
#[test]
fn loom_a_place_is_renewed_behind_its_last_waker() {
    loom::model(|| {
        let parking = Arc::new(Parking::new());
        let shares = Arc::new(AtomicU32::new(2));
        let done = Arc::new(AtomicU32::new(0));
        let waker = {
            let (parking, shares, done) = (parking.clone(), shares.clone(), done.clone());
            thread::spawn(move || {
                assert!(!parking.unpark());
                done.store(1, Ordering::Relaxed);
                // As the drop of an `Arc`.
                shares.fetch_sub(1, Ordering::Release);
            })
        };
        while !parking.renew_unless(shares.load(Ordering::Relaxed) > 1) {
            thread::yield_now();
        }
        assert_eq!(done.load(Ordering::Relaxed), 1);
        assert!(parking.park());
        waker.join().unwrap();
    });
}

/// What a shard, its worker and a connection between them share, as `bridge/reply` and `bridge/inbox` do.
struct Lending {
    loan: Loan,
    wakeup: Wakeup<Remembering>,
    queued: Flag,
    /// The connection's key lies in the inbox.
    key: AtomicU32,
    /// Locked by whoever uses it, who never waits for it.
    socket: Mutex<()>,
    sends: AtomicU32,
    reply: AtomicU32,
}

impl Lending {
    fn new() -> Arc<Self> {
        Arc::new(Lending {
            loan: Loan::new(true),
            wakeup: Wakeup::new(Remembering::new()),
            queued: Flag::new(),
            key: AtomicU32::new(0),
            socket: Mutex::new(()),
            sends: AtomicU32::new(0),
            reply: AtomicU32::new(0),
        })
    }

    fn use_socket(&self) {
        let _alone = self.socket.try_lock().expect("one uses it at a time");
        // Where loom may let the other go on.
        self.sends.fetch_add(1, Ordering::Relaxed);
    }

    fn raise_quietly(&self) -> bool {
        let is_first = self.queued.raise();
        if is_first {
            // Read and written, as in the queue it stands for.
            self.key.swap(1, Ordering::AcqRel);
        }
        is_first
    }

    fn raise(&self) {
        if self.raise_quietly() {
            self.wakeup.wake();
        }
    }

    /// As `ReplySender::answer_directly`, or the usual way.
    fn answer(&self) {
        let is_taken = self.loan.take_up();
        if is_taken {
            self.use_socket();
        }
        self.reply.store(1, Ordering::Relaxed);
        match is_taken {
            false => self.raise(),
            true => {
                self.raise_quietly();
                if self.loan.give_back() {
                    self.raise();
                    self.wakeup.wake();
                }
            }
        }
    }

    /// The shard has the connection back: if it was written to, the answer lies here, and nobody has to tell.
    fn look_after_recall(&self) {
        // Read and written, so that it is the latest count, whatever else is seen of its thread.
        let was_written_to = self.sends.fetch_add(0, Ordering::Relaxed) > 0;
        let reply = self.reply.load(Ordering::Relaxed);
        assert!(
            !was_written_to || reply == 1,
            "an answer is seen once it is recalled"
        );
    }

    /// The shard's turn: sleeps if its inbox is empty, then looks into it.
    fn turn(&self) {
        let is_called = || self.key.load(Ordering::Acquire) == 1;
        if self.wakeup.prepare_sleep(is_called) {
            self.wakeup.bell().sleep();
            self.wakeup.awake();
        }
        if self.key.swap(0, Ordering::AcqRel) == 1 {
            self.queued.lower();
        }
    }
}

/// A shard that has something to do on a connection does it when nobody else writes to it, and is told
/// when that is; once it has it back it sees what was answered.
#[test]
fn loom_what_is_lent_is_used_by_one_at_a_time() {
    loom::model(|| {
        let lending = Lending::new();
        let worker = {
            let lending = lending.clone();
            thread::spawn(move || lending.answer())
        };
        while !lending.loan.recall() {
            lending.turn();
        }
        lending.look_after_recall();
        lending.use_socket();
        while lending.reply.load(Ordering::Relaxed) == 0 {
            lending.turn();
        }
        worker.join().unwrap();
    });
}

/// A key that was put in quietly never keeps the connection's next reply from waking the shard.
#[test]
fn loom_an_answer_nobody_was_told_of_hides_no_later_one() {
    loom::model(|| {
        let lending = Lending::new();
        let first = {
            let lending = lending.clone();
            thread::spawn(move || lending.answer())
        };
        // The client has its answer, and asks again.
        while !lending.loan.recall() {
            lending.turn();
        }
        lending.look_after_recall();
        while lending.reply.load(Ordering::Relaxed) == 0 {
            lending.turn();
        }
        let second = {
            let lending = lending.clone();
            thread::spawn(move || {
                lending.reply.store(2, Ordering::Relaxed);
                lending.raise();
            })
        };
        while lending.reply.load(Ordering::Relaxed) != 2 {
            lending.turn();
        }
        first.join().unwrap();
        second.join().unwrap();
    });
}

/// The spender either sees the bytes or is told of them.
#[test]
fn loom_credit_is_never_lost() {
    loom::model(|| {
        let credit = Arc::new(Credit::new());
        let told = Arc::new(Remembering::new());
        let giver = {
            let (credit, told) = (credit.clone(), told.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    if credit.give(1) {
                        told.ring();
                    }
                }
            })
        };
        while credit.wait() < 2 {
            told.sleep();
        }
        giver.join().unwrap();
    });
}
