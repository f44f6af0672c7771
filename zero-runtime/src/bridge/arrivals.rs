//! Connections on their way from one shard to another.
//!
//! The kernel spreads connections over listening sockets by a hash of their addresses, and where shards
//! share one queue by who is awake: few connections, or long-lived ones, may all come to one shard. What
//! a shard has is one number that all may read; who has clearly more than the least of them hands what it
//! accepts over, before a byte of it is read. Later a connection moves between two of its requests, when its
//! shard has not the time for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::handshake::Flag;
use super::inbox::Inbox;
use super::roster::Roster;

/// What others may see of a shard's door, and its bell.
pub(crate) struct Arrivals {
    /// Connections that the shard has, and those on their way to it, which it has not looked at.
    has: AtomicUsize,
    coming: AtomicUsize,
    /// Some have come.
    knock: Flag,
    /// Since when, on the clock of [`process_ns`](crate::time::process_ns): each shard has one of its own, too.
    knocked_ns: AtomicU64,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        Arrivals {
            has: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            knock: Flag::new(),
            knocked_ns: AtomicU64::new(0),
        }
    }

    /// How many connections the shard has or is to have, more or less.
    #[inline]
    pub(crate) fn load(&self) -> usize {
        // Relaxed, as below: an estimate that publishes nothing.
        self.has.load(Ordering::Relaxed) + self.coming.load(Ordering::Relaxed)
    }

    /// The shard says how many it has.
    #[inline]
    pub(crate) fn set_load(&self, connections: usize) {
        self.has.store(connections, Ordering::Relaxed);
    }

    /// So many that were on their way have come.
    fn came(&self, connections: usize) {
        self.coming.fetch_sub(connections, Ordering::Relaxed);
    }

    /// Whether the shard has not looked at who came for so long that something must hold it up.
    #[inline]
    pub(crate) fn is_deaf(&self, now_ns: u64) -> bool {
        // Relaxed: a time that is of another knock only costs a hand-over.
        let knocked_ns = self.knocked_ns.load(Ordering::Relaxed);
        self.knock.is_raised() && now_ns.saturating_sub(knocked_ns) > DEAF_NS
    }

    /// One more is on its way. Returns whether the shard has to be told.
    fn knock(&self, now_ns: u64) -> bool {
        self.coming.fetch_add(1, Ordering::Relaxed);
        let is_first = self.knock.raise();
        if is_first {
            self.knocked_ns.store(now_ns, Ordering::Relaxed);
        }
        is_first
    }

    /// Whether somebody may have come.
    #[inline]
    pub(crate) fn is_knocked(&self) -> bool {
        self.knock.is_raised()
    }
}

/// One shard's door for those who come from other shards; `T` is what comes.
pub(crate) struct Door<T> {
    inbox: Arc<Inbox>,
    /// `None` once nobody is taken in any more. Taken once for each connection that moves.
    queue: Mutex<Option<VecDeque<T>>>,
}

impl<T> Door<T> {
    fn new(inbox: Arc<Inbox>) -> Self {
        Door {
            inbox,
            queue: Mutex::new(Some(VecDeque::new())),
        }
    }

    #[inline]
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Whether the shard is held up, see [`Arrivals::is_deaf`]; the clock is only read if somebody waits.
    #[inline]
    pub(crate) fn is_deaf(&self, now_ns: impl FnOnce() -> u64) -> bool {
        let arrivals = self.inbox.arrivals();
        arrivals.is_knocked() && arrivals.is_deaf(now_ns())
    }

    /// Leaves a connection to this shard, and tells it; the connection comes back when it takes none in.
    pub(crate) fn push(&self, arrival: T, now_ns: u64) -> Result<(), T> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_mut() else {
            return Err(arrival);
        };
        queue.push_back(arrival);
        if self.inbox.arrivals().knock(now_ns) {
            self.inbox.wakeup().wake();
        }
        Ok(())
    }

    /// Takes those in who have come.
    pub(crate) fn take(&self) -> VecDeque<T> {
        // Lowered first: who comes from now on knocks again.
        self.inbox.arrivals().knock.lower();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.let_in(queue.as_mut().map(std::mem::take))
    }

    /// Takes nobody in from now on; those who have come are returned.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.let_in(queue.take())
    }

    /// They were counted as coming by whoever pushed them, with the queue locked.
    fn let_in(&self, came: Option<VecDeque<T>>) -> VecDeque<T> {
        let came = came.unwrap_or_default();
        self.inbox.arrivals().came(came.len());
        came
    }
}

/// The shards of a server, as one of them sees them.
pub(crate) struct Neighbours<T> {
    own: usize,
    /// By shard, this one's included; none where shards keep what they have.
    doors: Arc<[Door<T>]>,
    roster: Arc<Roster>,
}

impl<T> Neighbours<T> {
    /// What a shard sees that is alone, or keeps to itself.
    pub(crate) fn none() -> Self {
        Neighbours {
            own: 0,
            doors: Arc::new([]),
            roster: Arc::new(Roster::new(0)),
        }
    }

    /// What each shard sees, by the inboxes of all.
    pub(crate) fn of(inboxes: &[Arc<Inbox>]) -> Vec<Self> {
        let doors: Arc<[Door<T>]> = inboxes.iter().cloned().map(Door::new).collect();
        let roster = Arc::new(Roster::new(doors.len()));
        let sees = |own| Neighbours {
            own,
            doors: doors.clone(),
            roster: roster.clone(),
        };
        (0..doors.len()).map(sees).collect()
    }

    /// Whether there is anybody else.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        self.doors.len() > 1
    }

    /// The shard's own number.
    #[inline]
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// Its own door, where there are others to come to it.
    #[inline]
    pub(crate) fn own_door(&self) -> Option<&Door<T>> {
        self.doors.get(self.own)
    }

    #[inline]
    pub(crate) fn door(&self, shard: usize) -> &Door<T> {
        &self.doors[shard]
    }

    /// The others, by number.
    pub(crate) fn others(&self) -> impl Iterator<Item = (usize, &Door<T>)> {
        let all = self.doors.iter().enumerate();
        all.filter(|(index, _)| *index != self.own)
    }

    #[inline]
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Whether this shard is on duty.
    #[inline]
    pub(crate) fn is_on_duty(&self) -> bool {
        self.roster.is_on_duty(self.own)
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
    use crate::bridge::crowd::Crowd;
    use crate::sys::EventFd;

    fn doors(shards: usize) -> Vec<Neighbours<u32>> {
        let crowd = Crowd::new(shards, 1, 1);
        let inbox = |_| Inbox::new(1, Arc::new(EventFd::new().unwrap()), crowd.clone());
        Neighbours::of(&(0..shards).map(inbox).collect::<Vec<_>>())
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
        let shards = doors(1);
        let door = shards[0].door(0);
        assert!(!door.is_deaf(|| u64::MAX));
        door.push(1, 500).unwrap();
        door.push(2, 600 + DEAF_NS).unwrap();
        assert!(!door.is_deaf(|| 500 + DEAF_NS));
        assert!(door.is_deaf(|| 501 + DEAF_NS));
        door.take();
        assert!(!door.is_deaf(|| 501 + DEAF_NS));
        door.push(3, 501 + DEAF_NS).unwrap();
        assert!(!door.is_deaf(|| 502 + DEAF_NS));
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
        let shards = doors(2);
        let door = shards[0].door(1);
        let arrivals = door.inbox().arrivals();
        arrivals.set_load(10);
        assert!(arrivals.knock(0));
        assert!(!arrivals.knock(0));
        door.push(5, 0).unwrap();
        assert_eq!((arrivals.load(), arrivals.is_knocked()), (13, true));
        assert!(!door.inbox().is_empty());
        assert_eq!(shards[1].own_door().unwrap().take(), [5]);
        assert!(!arrivals.is_knocked());
        assert!(arrivals.knock(0));
    }

    #[test]
    fn who_is_on_the_way_counts_until_taken_in() {
        let shards = doors(1);
        let door = shards[0].door(0);
        door.push(1, 0).unwrap();
        door.push(2, 0).unwrap();
        // The shard says what it has, and has not looked.
        door.inbox().arrivals().set_load(5);
        assert_eq!(door.inbox().arrivals().load(), 7);
        assert_eq!(door.take().len(), 2);
        assert_eq!(door.inbox().arrivals().load(), 5);
        door.push(3, 0).unwrap();
        assert_eq!(door.close().len(), 1);
        assert!(door.push(4, 0).is_err());
        assert_eq!(door.inbox().arrivals().load(), 5);
    }

    #[test]
    fn each_sees_the_others() {
        let shards = doors(3);
        let others = |own: usize| shards[own].others().map(|(index, _)| index);
        assert_eq!(others(1).collect::<Vec<_>>(), [0, 2]);
        assert!(shards[1].are_there() && !doors(1)[0].are_there());
        assert!(Neighbours::<u32>::none().own_door().is_none());
        assert!(shards[2].roster().stand_by(2, 0));
        assert!(shards[1].is_on_duty() && !shards[2].is_on_duty());
    }

    #[test]
    fn nobody_is_lost_when_the_door_closes() {
        let shards = doors(1);
        let door = shards[0].door(0);
        let (came, refused) = std::thread::scope(|scope| {
            let giver = scope.spawn(|| {
                let pushed = (0..1000).map(|number| door.push(number, 0));
                pushed.filter(Result::is_err).count()
            });
            let mut came = 0;
            while came < 100 && !giver.is_finished() {
                came += door.take().len();
            }
            came += door.close().len();
            (came, giver.join().unwrap())
        });
        assert_eq!(came + refused, 1000);
        assert_eq!(door.push(7, 0), Err(7));
        assert!(door.take().is_empty());
    }
}
