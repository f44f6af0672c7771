//! A port that one worker uses at a time, its tenant, until another relieves it; and who of them is woken.
//!
//! Knows neither what lies in the port nor who waits for it. Modelled under loom.
//!
//! What the models leave out: the ring behind the port is one cell there, the bell has two workers where a
//! waker has any, and patience, by which a shard calls a worker stuck, is a relief at any moment.

use super::baton::Baton;
use super::handshake::{Bell, Wakeup};

/// The worker's end of a link.
pub(crate) struct Tenancy<P, B> {
    port: Baton<(P, u64)>,
    wakeup: Wakeup<B>,
}

impl<P, B: Bell> Tenancy<P, B> {
    /// The first tenant has epoch 0.
    pub(crate) fn new(port: P, bell: B) -> Self {
        Tenancy {
            port: Baton::new((port, 0)),
            wakeup: Wakeup::new(bell),
        }
    }

    /// Uses the port, whoever its tenant is.
    #[inline]
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut P) -> R) -> R {
        self.port.with(|(port, _)| act(port))
    }

    /// Uses the port as the worker of `epoch`; there is none for one that was relieved.
    #[inline]
    pub(crate) fn with_own<R>(&self, epoch: u64, act: impl FnOnce(Option<&mut P>) -> R) -> R {
        self.port
            .with(|(port, tenant)| act((*tenant == epoch).then_some(port)))
    }

    /// Gives the port to a new tenant, whose epoch is returned. The former finds out when it next looks; should
    /// it sleep after all, it is woken to, for the bell will be the new one's.
    pub(crate) fn relieve(&self) -> u64 {
        let epoch = self.port.with(|(_, tenant)| {
            *tenant += 1;
            *tenant
        });
        self.wake();
        epoch
    }

    /// Wakes the tenant, if it sleeps, to see what was published before.
    #[inline]
    pub(crate) fn announce(&self) {
        self.wakeup.wake();
    }

    /// Whether the worker of `epoch` may sleep, unless the port `is_wanted`; `register` says first whom the bell
    /// is to wake. A worker that has been relieved may not: it would take the bell from the one that relieved it.
    pub(crate) fn prepare_sleep(
        &self,
        epoch: u64,
        register: impl FnOnce(&B),
        is_wanted: impl FnOnce(&mut P) -> bool,
    ) -> bool {
        let owns_port = self.with_own(epoch, |port| {
            port.map(|_| register(self.wakeup.bell())).is_some()
        });
        // Looked at once more behind the announcement: what came before it told nobody.
        let is_wanted = || self.with_own(epoch, |port| port.is_none_or(is_wanted));
        owns_port && self.wakeup.prepare_sleep(is_wanted)
    }

    /// Wakes whoever sleeps, whatever the word says: to be called by a worker that was relieved, which may have
    /// meddled with it, and when the other end is gone.
    pub(crate) fn wake(&self) {
        self.wakeup.awake();
        self.wakeup.bell().ring();
    }
}

#[cfg(all(test, zero_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// Wakes the one of two that registered last, once, as a waker's cell does.
    struct Bells {
        rings: Mutex<(Option<usize>, [bool; 2])>,
        changed: Condvar,
    }

    impl Bells {
        fn new() -> Self {
            Bells {
                rings: Mutex::new((None, [false; 2])),
                changed: Condvar::new(),
            }
        }

        fn register(&self, worker: usize) {
            self.rings.lock().unwrap().0 = Some(worker);
        }

        fn sleep(&self, worker: usize) {
            let mut rings = self.rings.lock().unwrap();
            while !rings.1[worker] {
                rings = self.changed.wait(rings).unwrap();
            }
            rings.1[worker] = false;
        }
    }

    impl Bell for Bells {
        fn ring(&self) {
            let mut rings = self.rings.lock().unwrap();
            if let Some(worker) = rings.0.take() {
                rings.1[worker] = true;
                self.changed.notify_all();
            }
        }
    }

    /// The ring, as one cell: how many calls were sent, and how many were taken.
    struct Calls {
        sent: Arc<AtomicU32>,
        taken: u32,
    }

    impl Calls {
        fn is_empty(&self) -> bool {
            self.sent.load(Ordering::Relaxed) == self.taken
        }

        fn pop(&mut self) -> bool {
            let is_empty = self.is_empty();
            self.taken += u32::from(!is_empty);
            !is_empty
        }
    }

    type Link = Tenancy<Calls, Bells>;

    fn link() -> (Arc<Link>, Arc<AtomicU32>) {
        let sent = Arc::new(AtomicU32::new(0));
        let calls = Calls {
            sent: sent.clone(),
            taken: 0,
        };
        (Arc::new(Tenancy::new(calls, Bells::new())), sent)
    }

    /// What `worker::run` does: until it is relieved, or all calls are taken.
    fn work(link: &Link, epoch: u64, calls: u32) {
        loop {
            match link.with_own(epoch, |port| port.map(Calls::pop)) {
                None => return link.wake(),
                Some(true) => continue,
                Some(false) if link.with(|port| port.taken == calls) => return,
                Some(false) => {}
            }
            let worker = epoch as usize;
            let register = |bells: &Bells| bells.register(worker);
            if link.prepare_sleep(epoch, register, |port| !port.is_empty()) {
                link.wakeup.bell().sleep(worker);
                link.wakeup.awake();
            }
        }
    }

    fn send(link: &Link, sent: &AtomicU32) {
        sent.fetch_add(1, Ordering::Relaxed);
        link.announce();
    }

    /// A worker that would miss a call sleeps for ever, which loom reports.
    #[test]
    fn loom_every_call_that_is_announced_is_taken() {
        loom::model(|| {
            let (link, sent) = link();
            let worker = {
                let link = link.clone();
                thread::spawn(move || work(&link, 0, 2))
            };
            send(&link, &sent);
            send(&link, &sent);
            worker.join().unwrap();
        });
    }

    /// However a worker is doing when it is relieved, the calls are taken by one of the two, and the one that
    /// took over is woken for those that come later; neither sleeps for ever.
    #[test]
    fn loom_who_relieves_gets_the_calls_and_the_bell() {
        loom::model(|| {
            let (link, sent) = link();
            send(&link, &sent);
            // In a handler until now.
            let stuck = {
                let link = link.clone();
                thread::spawn(move || work(&link, 0, u32::MAX))
            };
            let epoch = link.relieve();
            let relief = {
                let link = link.clone();
                thread::spawn(move || work(&link, epoch, 2))
            };
            send(&link, &sent);
            relief.join().unwrap();
            stuck.join().unwrap();
            link.with(|port| assert_eq!(port.taken, 2));
        });
    }
}
