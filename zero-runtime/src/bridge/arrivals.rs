//! Fresh connections on their way from the shard that accepted them to one that has fewer.
//!
//! The kernel spreads connections over listening sockets by a hash of their addresses, and where shards
//! share one queue by who is awake: few connections, or long-lived ones, may all come to one shard. What
//! a shard has is one number that all may read; who has clearly more than the least of them hands what it
//! accepts over, before a byte of it is read.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::handshake::Flag;

/// A connection that its shard has accepted and not looked at.
pub(crate) struct Arrival {
    /// Which listener it came to, by position: every shard has the same ones.
    pub(crate) listener: u32,
    pub(crate) socket: OwnedFd,
}

/// One shard's door for those who were accepted elsewhere.
pub(crate) struct Arrivals {
    /// Connections that the shard has, and those on their way to it.
    load: AtomicUsize,
    /// `None` once nobody is taken in any more. Taken once for each connection that moves.
    queue: Mutex<Option<VecDeque<Arrival>>>,
    /// There are some.
    knock: Flag,
    /// Since when, on the clock of [`process_ns`](crate::time::process_ns): each shard has one of its own, too.
    knocked_ns: AtomicU64,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Arrivals {
            load: AtomicUsize::new(0),
            queue: Mutex::new(Some(VecDeque::new())),
            knock: Flag::new(),
            knocked_ns: AtomicU64::new(0),
        }
    }

    /// How many connections the shard has, more or less.
    #[inline]
    pub(crate) fn load(&self) -> usize {
        // Relaxed, as below: an estimate that publishes nothing.
        self.load.load(Ordering::Relaxed)
    }

    /// The shard says how many it has. Forgets those on their way, which are counted when they come.
    #[inline]
    pub(crate) fn set_load(&self, connections: usize) {
        self.load.store(connections, Ordering::Relaxed);
    }

    /// Whether the shard has not looked at who came for so long that something must hold it up.
    #[inline]
    pub(crate) fn is_deaf(&self, now_ns: u64) -> bool {
        // Relaxed: a time that is of another knock only costs a hand-over.
        let knocked_ns = self.knocked_ns.load(Ordering::Relaxed);
        self.knock.is_raised() && now_ns.saturating_sub(knocked_ns) > DEAF_NS
    }

    /// Leaves a connection to this shard. `Ok(true)` if it has to be told; the connection comes back when
    /// the shard takes none in.
    pub(crate) fn push(&self, arrival: Arrival, now_ns: u64) -> Result<bool, Arrival> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_mut() else {
            return Err(arrival);
        };
        queue.push_back(arrival);
        self.load.fetch_add(1, Ordering::Relaxed);
        let is_first = self.knock.raise();
        if is_first {
            self.knocked_ns.store(now_ns, Ordering::Relaxed);
        }
        Ok(is_first)
    }

    /// Whether somebody may have come.
    #[inline]
    pub(crate) fn is_knocked(&self) -> bool {
        self.knock.is_raised()
    }

    /// Takes those in who have come.
    pub(crate) fn take(&self) -> VecDeque<Arrival> {
        // Lowered first: who comes from now on knocks again.
        self.knock.lower();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes nobody in from now on; those who have come are returned.
    pub(crate) fn close(&self) -> VecDeque<Arrival> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.take().unwrap_or_default()
    }
}

/// A shard keeps what it accepts unless another one has so many connections fewer: to wake that one costs
/// 7 us here and takes it 13 to 21 us, as much as three requests.
const MARGIN_MIN: usize = 4;
/// With many connections it may be this part of the other's.
const MARGIN_SHARE: usize = 8;

/// A shard that takes nobody in for so long is held up, by a handler most likely, and is left alone: a turn
/// is over in a part of this.
const DEAF_NS: u64 = 1_000_000;

/// Which shard is to have a connection that was accepted by one with `own` connections, of which each shard
/// may have `most`: one of the `others`, by position and connections; `None` to keep it.
pub(crate) fn choose(
    own: usize,
    most: usize,
    others: impl Iterator<Item = (usize, usize)>,
) -> Option<usize> {
    let (to, least) = others.min_by_key(|(_, load)| *load)?;
    let is_worth_it = match own >= most {
        // Here it would have to wait.
        true => least < most,
        false => own >= least + MARGIN_MIN.max(least / MARGIN_SHARE),
    };
    is_worth_it.then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival() -> Arrival {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Arrival {
            listener: 3,
            socket: socket.into(),
        }
    }

    #[test]
    fn a_shard_with_clearly_more_hands_over_to_the_one_with_least() {
        let to = |own, others: &[usize]| choose(own, 2000, others.iter().copied().enumerate());
        assert_eq!(to(3, &[0]), None);
        assert_eq!(to(4, &[0]), Some(0));
        assert_eq!(to(9, &[5, 1, 1]), Some(1));
        assert_eq!(to(1100, &[1000]), None);
        assert_eq!(to(1125, &[1000]), Some(0));
        assert_eq!(to(7, &[]), None);
    }

    #[test]
    fn a_full_shard_hands_over_to_whoever_is_not() {
        let to = |own, others: &[usize]| choose(own, 20, others.iter().copied().enumerate());
        assert_eq!(to(20, &[20, 19]), Some(1));
        assert_eq!(to(21, &[20, 20]), None);
        assert_eq!(to(19, &[18]), None);
    }

    #[test]
    fn who_does_not_look_for_a_while_is_held_up() {
        let arrivals = Arrivals::new();
        assert!(!arrivals.is_deaf(u64::MAX));
        arrivals.push(arrival(), 500).ok().unwrap();
        arrivals.push(arrival(), 600 + DEAF_NS).ok().unwrap();
        assert!(!arrivals.is_deaf(500 + DEAF_NS));
        assert!(arrivals.is_deaf(501 + DEAF_NS));
        arrivals.take();
        assert!(!arrivals.is_deaf(501 + DEAF_NS));
        arrivals.push(arrival(), 501 + DEAF_NS).ok().unwrap();
        assert!(!arrivals.is_deaf(502 + DEAF_NS));
    }

    #[test]
    fn whoever_hands_over_ends_up_even() {
        let mut loads = [0_usize; 4];
        // All come to the first.
        for _ in 0..1000 {
            let others = loads.iter().copied().enumerate().skip(1);
            let to = choose(loads[0], 1000, others).unwrap_or(0);
            loads[to] += 1;
        }
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= least / 8 + 1, "{loads:?}");
    }

    #[test]
    fn who_comes_knocks_once_and_is_counted() {
        let arrivals = Arrivals::new();
        arrivals.set_load(10);
        assert!(arrivals.push(arrival(), 0).ok().unwrap());
        assert!(!arrivals.push(arrival(), 0).ok().unwrap());
        assert_eq!((arrivals.load(), arrivals.is_knocked()), (12, true));
        assert_eq!(arrivals.take().len(), 2);
        assert!(!arrivals.is_knocked());
        assert!(arrivals.push(arrival(), 0).ok().unwrap());
    }

    #[test]
    fn nobody_is_lost_when_the_door_closes() {
        let arrivals = Arrivals::new();
        let (came, refused) = std::thread::scope(|scope| {
            let giver = scope.spawn(|| {
                let pushed = (0..1000).map(|_| arrivals.push(arrival(), 0));
                pushed.filter(Result::is_err).count()
            });
            let mut came = 0;
            while came < 100 && !giver.is_finished() {
                came += arrivals.take().len();
            }
            came += arrivals.close().len();
            (came, giver.join().unwrap())
        });
        assert_eq!(came + refused, 1000);
        assert_eq!(arrivals.push(arrival(), 0).err().unwrap().listener, 3);
        assert!(arrivals.take().is_empty());
    }
}
