//! A worker's wait for its next batch of calls, as long as it is likely to come in a moment.

use std::time::Instant;

use crate::bridge::link::Link;
use crate::service::HttpService;
use crate::waking::{Adaptive, Spun, Waited, Waking};

/// Longest spin of a worker: while it lasts, the thread runs no other task.
const SPIN_NS_MAX: u64 = 20_000;
/// Looks for calls between two at the clock.
const LOOKS: u32 = 8;

pub(super) struct Spinner {
    waking: Adaptive,
    origin: Instant,
    /// When the worker last went to sleep.
    slept_ns: Option<u64>,
}

impl Spinner {
    pub(super) fn new() -> Self {
        Spinner {
            waking: Adaptive::of_at_most(SPIN_NS_MAX),
            origin: Instant::now(),
            slept_ns: None,
        }
    }

    /// Called when the worker goes on, be it because it was woken.
    pub(super) fn woke(&mut self) {
        if let Some(slept_ns) = self.slept_ns.take() {
            let ns = self.now_ns() - slept_ns;
            let spun = Spun::Not;
            self.waking.waited(Waited { ns, spun });
        }
    }

    /// Called when there is no call to take. Returns whether one came in the time that was worth
    /// waiting; else the worker is to sleep.
    pub(super) fn spin<S: HttpService>(&mut self, link: &Link<S>) -> bool {
        let began_ns = self.now_ns();
        let until_ns = match link.crowd().has_core_for_worker() {
            true => self.waking.spin_until_ns(began_ns),
            false => None,
        };
        let Some(until_ns) = until_ns else {
            self.slept_ns = Some(began_ns);
            return false;
        };
        let (found, ended_ns) = loop {
            if (0..LOOKS).any(|_| has_calls_soon(link)) {
                break (true, self.now_ns());
            }
            let now_ns = self.now_ns();
            if now_ns >= until_ns {
                break (false, now_ns);
            }
        };
        let ns = ended_ns - began_ns;
        let spun = if found { Spun::Found } else { Spun::InVain };
        self.waking.waited(Waited { ns, spun });
        found
    }

    fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

fn has_calls_soon<S: HttpService>(link: &Link<S>) -> bool {
    std::hint::spin_loop();
    link.has_calls()
}
