//! Which shards of a server are on duty, and what each says of its time.

#[cfg(zero_loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(zero_loom))]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::standby::{LOOK_NS, Share, scaled};

/// Shards beyond so many are always on duty.
const SHARDS_MAX: usize = 64;
/// What a shard told so long ago says nothing any more. One at work tells at every look.
const STALE_NS: u64 = 3 * LOOK_NS;
const STALE_MS: u32 = (STALE_NS / 1_000_000) as u32;
/// After a change the next waits until its consequences show.
const SETTLING_NS: u64 = scaled(250_000_000);
/// For so long no shard stands by after one did in vain; doubled each time that happens again.
const REST_NS_MIN: u64 = scaled(2_000_000_000);
const REST_NS_MAX: u64 = 64 * REST_NS_MIN;

/// The shards of a server.
pub(crate) struct Roster {
    /// Who stands by, a bit each. Never all of them.
    standing_by: AtomicU64,
    /// When somebody's duty last changed, on the clock that shards share.
    changed_ns: AtomicU64,
    /// Until when nobody stands by, and how long that was. Written by whoever called one back in vain.
    rest_until_ns: AtomicU64,
    rest_ns: AtomicU64,
    /// What each last said of its time, and when.
    told: Box<[AtomicU64]>,
}

impl Roster {
    pub(crate) fn new(shards: usize) -> Self {
        Roster {
            standing_by: AtomicU64::new(0),
            changed_ns: AtomicU64::new(0),
            rest_until_ns: AtomicU64::new(0),
            rest_ns: AtomicU64::new(0),
            told: (0..shards).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// A shard says what it does with its time.
    pub(crate) fn tell(&self, shard: usize, share: Share, now_ns: u64) {
        // Relaxed, as all here but the duties: estimates that publish nothing.
        self.told[shard].store(pack(share, now_ns), Ordering::Relaxed);
    }

    /// What a shard said last, unless that is long ago.
    pub(crate) fn share(&self, shard: usize, now_ns: u64) -> Option<Share> {
        let (share, told_ms) = unpack(self.told[shard].load(Ordering::Relaxed))?;
        // Milliseconds go round every 49 days; and it may have told since `now_ns` was read.
        let age_ms = milliseconds(now_ns).wrapping_sub(told_ms);
        (age_ms.wrapping_add(STALE_MS) < 2 * STALE_MS).then_some(share)
    }

    #[inline]
    pub(crate) fn is_on_duty(&self, shard: usize) -> bool {
        shard >= SHARDS_MAX || self.standing_by.load(Ordering::Relaxed) & (1 << shard) == 0
    }

    /// The first that stands by.
    pub(crate) fn standing_by(&self) -> Option<usize> {
        match self.standing_by.load(Ordering::Relaxed) {
            0 => None,
            shards => Some(shards.trailing_zeros() as usize),
        }
    }

    /// Whether a shard may stand by now.
    pub(crate) fn may_stand_by(&self, now_ns: u64) -> bool {
        self.has_settled(now_ns) && now_ns >= self.rest_until_ns.load(Ordering::Relaxed)
    }

    /// Whether the last change was long enough ago for its consequences to show.
    pub(crate) fn has_settled(&self, now_ns: u64) -> bool {
        let changed_ns = self.changed_ns.load(Ordering::Relaxed);
        changed_ns == 0 || now_ns.saturating_sub(changed_ns) >= SETTLING_NS
    }

    /// Takes a shard off duty; false if it is the last one on it, or was not.
    pub(crate) fn stand_by(&self, shard: usize, now_ns: u64) -> bool {
        if shard >= SHARDS_MAX {
            return false;
        }
        let all = match self.told.len() {
            SHARDS_MAX.. => u64::MAX,
            shards => (1 << shards) - 1,
        };
        // AcqRel pairs with itself: whoever stands by has seen all who do.
        let changed =
            self.standing_by
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |standing_by| {
                    let with = standing_by | 1 << shard;
                    (with != standing_by && (with != all || self.told.len() > SHARDS_MAX))
                        .then_some(with)
                });
        self.note_change(changed.is_ok(), now_ns)
    }

    /// Puts a shard on duty again; false if it was.
    pub(crate) fn come_back(&self, shard: usize, now_ns: u64) -> bool {
        let before = self.standing_by.fetch_and(!(1 << shard), Ordering::AcqRel);
        self.note_change(before & (1 << shard) != 0, now_ns)
    }

    /// It was in vain that a shard stood by: for a while none does.
    pub(crate) fn rest(&self, now_ns: u64) {
        let (rest_ns, until_ns) = (&self.rest_ns, &self.rest_until_ns);
        let last_ns = rest_ns.load(Ordering::Relaxed);
        // Whoever was right for as long as we rested has the benefit of the doubt.
        let is_soon = now_ns.saturating_sub(until_ns.load(Ordering::Relaxed)) < last_ns;
        let ns = match is_soon {
            true => (2 * last_ns).min(REST_NS_MAX),
            false => REST_NS_MIN,
        };
        rest_ns.store(ns, Ordering::Relaxed);
        until_ns.store(now_ns + ns, Ordering::Relaxed);
    }

    fn note_change(&self, has_changed: bool, now_ns: u64) -> bool {
        if has_changed {
            self.changed_ns.store(now_ns.max(1), Ordering::Relaxed);
        }
        has_changed
    }
}

/// Marks what was told: nothing else is 0.
const TOLD: u64 = 1 << 31;

/// Milliseconds in the upper half, the shares below.
fn pack(share: Share, now_ns: u64) -> u64 {
    let shares = u64::from(share.ran & 0x7fff) << 16 | u64::from(share.waited & 0xffff);
    u64::from(milliseconds(now_ns)) << 32 | TOLD | shares
}

fn unpack(told: u64) -> Option<(Share, u32)> {
    let share = Share {
        ran: (told >> 16) as u32 & 0x7fff,
        waited: told as u32 & 0xffff,
    };
    (told != 0).then_some((share, (told >> 32) as u32))
}

fn milliseconds(ns: u64) -> u32 {
    (ns / 1_000_000) as u32
}

#[cfg(all(test, not(zero_loom)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_a_shard_told_is_known_until_it_is_stale() {
        let roster = Roster::new(2);
        assert_eq!(roster.share(1, 0), None);
        let share = Share {
            ran: 1024,
            waited: 3,
        };
        roster.tell(1, share, 10 * MS);
        assert_eq!(roster.share(1, 10 * MS), Some(share));
        assert_eq!(roster.share(0, 10 * MS), None);
        assert_eq!(roster.share(1, 10 * MS + STALE_NS), None);
        // Milliseconds do not fit their word for ever.
        for now_ns in [0, u64::from(u32::MAX) * MS, (1 << 32) * MS, (1 << 43) * MS] {
            roster.tell(1, share, now_ns);
            assert_eq!(roster.share(1, now_ns), Some(share), "{now_ns}");
            assert_eq!(
                roster.share(1, now_ns + STALE_NS - MS),
                Some(share),
                "{now_ns}"
            );
            assert_eq!(roster.share(1, now_ns + STALE_NS), None, "{now_ns}");
            assert_eq!(roster.share(1, now_ns + (1 << 31) * MS), None, "{now_ns}");
        }
    }

    #[test]
    fn the_last_one_stays_on_duty() {
        let roster = Roster::new(2);
        assert!(roster.stand_by(1, MS));
        assert!(!roster.stand_by(1, MS));
        assert!(!roster.stand_by(0, MS));
        assert_eq!((roster.is_on_duty(0), roster.is_on_duty(1)), (true, false));
        assert_eq!(roster.standing_by(), Some(1));
        assert!(roster.come_back(1, MS));
        assert!(!roster.come_back(1, MS));
        assert!(roster.stand_by(0, MS));
        assert!(!Roster::new(1).stand_by(0, MS));
    }

    #[test]
    fn of_very_many_shards_some_are_always_on_duty() {
        let roster = Roster::new(SHARDS_MAX + 1);
        assert!((0..SHARDS_MAX).all(|shard| roster.stand_by(shard, MS)));
        assert!(!roster.stand_by(SHARDS_MAX, MS));
        let roster = Roster::new(SHARDS_MAX);
        assert!((1..SHARDS_MAX).all(|shard| roster.stand_by(shard, MS)));
        assert!(!roster.stand_by(0, MS));
    }

    #[test]
    fn changes_come_one_after_another() {
        let roster = Roster::new(3);
        assert!(roster.may_stand_by(0));
        roster.stand_by(0, MS);
        assert!(!roster.may_stand_by(MS + SETTLING_NS - 1));
        assert!(roster.may_stand_by(MS + SETTLING_NS));
    }

    #[test]
    fn what_was_in_vain_is_tried_less_and_less_often() {
        let roster = Roster::new(2);
        let mut now_ns = MS;
        let mut rests = Vec::new();
        for _ in 0..9 {
            roster.rest(now_ns);
            let until_ns = roster.rest_until_ns.load(Ordering::Relaxed);
            rests.push((until_ns - now_ns) / REST_NS_MIN);
            assert!(!roster.may_stand_by(until_ns - 1));
            assert!(roster.may_stand_by(until_ns));
            now_ns = until_ns + MS;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        roster.rest(now_ns + 2 * REST_NS_MAX);
        let until_ns = roster.rest_until_ns.load(Ordering::Relaxed);
        assert_eq!(until_ns, now_ns + 2 * REST_NS_MAX + REST_NS_MIN);
    }
}

#[cfg(all(test, zero_loom))]
mod loom_tests {
    use super::*;

    /// However they meet, one shard stays on duty.
    #[test]
    fn two_shards_never_both_stand_by() {
        loom::model(|| {
            let roster = loom::sync::Arc::new(Roster::new(2));
            let other = roster.clone();
            let thread = loom::thread::spawn(move || {
                let stands_by = other.stand_by(1, 1);
                if stands_by {
                    other.come_back(1, 2);
                }
                stands_by
            });
            roster.stand_by(0, 1);
            assert!(roster.is_on_duty(0) || roster.is_on_duty(1));
            thread.join().unwrap();
            assert!(roster.is_on_duty(1));
        });
    }
}
