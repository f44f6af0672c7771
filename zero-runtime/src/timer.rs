//! A coarse timing wheel: which keys to look at again, and when. Knows nothing of what is timed.
//!
//! An entry is a reminder, not a verdict: when it fires, its owner compares its own deadline with
//! the time and, if that has moved on, inserts again. So moving a deadline further off, as every
//! byte received does, costs nothing here.

use crate::slots::Key;

/// The wheel's grain: entries fire at most this late.
pub const TICK_NS: u64 = 32_000_000;

/// One revolution is 16 s; later entries stay in their bucket for further ones.
const BUCKETS: usize = 512;

/// No entry, no bucket's end, no tick.
const NONE: u32 = u32::MAX;
const NEVER: u64 = u64::MAX;

/// At most one reminder per slot, kept in buckets by the tick it is due.
///
/// The entry of a slot's former tenant gives way to its present one's: churn leaves nothing behind,
/// and memory is 24 bytes per slot of the table, touched as slots are first used.
#[derive(Debug)]
pub struct Wheel {
    /// By slot index; linked into its bucket exactly while `tick` is not `NEVER`.
    entries: Vec<Entry>,
    /// By tick modulo `BUCKETS`.
    buckets: Box<[Bucket; BUCKETS]>,
    /// Never above any bucket's `tick_min`.
    tick_min: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The first tick at which the deadline has passed.
    tick: u64,
    generation: u32,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Never above any of its entries' ticks.
    tick_min: u64,
    first: u32,
}

impl Wheel {
    /// Makes an empty wheel.
    pub fn new() -> Self {
        Wheel {
            entries: Vec::new(),
            buckets: Box::new([Bucket::EMPTY; BUCKETS]),
            tick_min: NEVER,
        }
    }

    /// Reminds of `key` once `deadline_ns` has passed, and takes back what was set for its slot.
    pub fn insert(&mut self, key: Key, deadline_ns: u64) {
        let index = key.index as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, Entry::UNLINKED);
        }
        if self.entries[index].is_linked() {
            self.unlink(key.index);
        }
        self.entries[index].generation = key.generation;
        self.link(key.index, deadline_ns.div_ceil(TICK_NS));
    }

    /// Moves every key whose tick has passed into `due`, in no particular order.
    #[inline]
    pub fn poll(&mut self, now_ns: u64, due: &mut Vec<Key>) {
        let now = now_ns / TICK_NS;
        if now >= self.tick_min {
            self.sweep(now, due);
        }
    }

    /// Whether [`poll`](Self::poll) would look for entries.
    #[inline]
    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns / TICK_NS >= self.tick_min
    }

    /// When to poll next: never after the next entry is due, seldom before.
    #[inline]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        (self.tick_min != NEVER).then(|| self.tick_min.saturating_mul(TICK_NS))
    }

    fn sweep(&mut self, now: u64, due: &mut Vec<Key>) {
        self.tick_min = NEVER;
        for index in 0..BUCKETS {
            if self.buckets[index].tick_min <= now {
                self.sweep_bucket(index, now, due);
            }
            self.tick_min = self.tick_min.min(self.buckets[index].tick_min);
        }
    }

    fn sweep_bucket(&mut self, bucket: usize, now: u64, due: &mut Vec<Key>) {
        let mut tick_min = NEVER;
        let mut at = self.buckets[bucket].first;
        while at != NONE {
            let entry = self.entries[at as usize];
            if entry.tick <= now {
                self.unlink(at);
                due.push(Key {
                    index: at,
                    generation: entry.generation,
                });
            } else {
                tick_min = tick_min.min(entry.tick);
            }
            at = entry.next;
        }
        self.buckets[bucket].tick_min = tick_min;
    }

    /// Puts an unlinked entry at the front of its bucket.
    fn link(&mut self, index: u32, tick: u64) {
        let bucket = &mut self.buckets[bucket_of(tick)];
        bucket.tick_min = bucket.tick_min.min(tick);
        self.tick_min = self.tick_min.min(tick);
        let next = std::mem::replace(&mut bucket.first, index);
        if next != NONE {
            self.entries[next as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        debug_assert!(!entry.is_linked());
        entry.tick = tick;
        entry.previous = NONE;
        entry.next = next;
    }

    /// Takes a linked entry out. Its bucket's `tick_min` stays: too low is allowed, and corrected
    /// by the next sweep.
    fn unlink(&mut self, index: u32) {
        let entry = self.entries[index as usize];
        debug_assert!(entry.is_linked());
        match entry.previous {
            NONE => self.buckets[bucket_of(entry.tick)].first = entry.next,
            previous => self.entries[previous as usize].next = entry.next,
        }
        if entry.next != NONE {
            self.entries[entry.next as usize].previous = entry.previous;
        }
        self.entries[index as usize] = Entry::UNLINKED;
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    const UNLINKED: Entry = Entry {
        tick: NEVER,
        generation: 0,
        previous: NONE,
        next: NONE,
    };

    fn is_linked(&self) -> bool {
        // No deadline reaches it: the largest is `u64::MAX` divided by a tick.
        self.tick != NEVER
    }
}

impl Bucket {
    const EMPTY: Bucket = Bucket {
        tick_min: NEVER,
        first: NONE,
    };
}

fn bucket_of(tick: u64) -> usize {
    (tick % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(index: u32) -> Key {
        Key {
            index,
            generation: 7,
        }
    }

    fn poll(wheel: &mut Wheel, now_ns: u64) -> Vec<Key> {
        let mut due = Vec::new();
        wheel.poll(now_ns, &mut due);
        due
    }

    #[test]
    fn an_entry_fires_once_never_early_and_within_a_tick() {
        let mut wheel = Wheel::new();
        let deadline_ns = 100 * TICK_NS + 1;
        wheel.insert(key(3), deadline_ns);
        assert_eq!(wheel.next_deadline_ns(), Some(101 * TICK_NS));
        assert_eq!(poll(&mut wheel, deadline_ns), []);
        assert_eq!(poll(&mut wheel, 101 * TICK_NS), [key(3)]);
        assert_eq!(poll(&mut wheel, 999 * TICK_NS), []);
        assert_eq!(wheel.next_deadline_ns(), None);
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_poll() {
        let mut wheel = Wheel::new();
        wheel.insert(key(0), 5);
        wheel.insert(key(1), 0);
        assert_eq!(poll(&mut wheel, 60_000_000_000).len(), 2);
    }

    #[test]
    fn revolutions_apart_in_one_bucket() {
        let revolution_ns = BUCKETS as u64 * TICK_NS;
        let mut wheel = Wheel::new();
        wheel.insert(key(0), 9 * TICK_NS + 4 * revolution_ns);
        wheel.insert(key(1), 9 * TICK_NS);
        assert_eq!(poll(&mut wheel, 9 * TICK_NS), [key(1)]);
        assert_eq!(
            wheel.next_deadline_ns(),
            Some(9 * TICK_NS + 4 * revolution_ns)
        );
        assert_eq!(poll(&mut wheel, 9 * TICK_NS + 3 * revolution_ns), []);
        assert_eq!(poll(&mut wheel, 10 * revolution_ns), [key(0)]);
    }

    #[test]
    fn a_new_tenant_takes_its_slots_entry_over() {
        let mut wheel = Wheel::new();
        wheel.insert(key(0), TICK_NS);
        let tenant = Key {
            index: 0,
            generation: 8,
        };
        wheel.insert(tenant, 50 * TICK_NS);
        assert_eq!(poll(&mut wheel, 49 * TICK_NS), []);
        assert_eq!(poll(&mut wheel, 50 * TICK_NS), [tenant]);
    }

    #[test]
    fn the_largest_deadline_never_fires_and_never_overflows() {
        let mut wheel = Wheel::new();
        wheel.insert(key(0), u64::MAX);
        assert_eq!(wheel.next_deadline_ns(), Some(u64::MAX));
        assert_eq!(poll(&mut wheel, u64::MAX - TICK_NS), []);
    }

    #[test]
    fn a_steady_state_allocates_nothing() {
        let mut wheel = Wheel::new();
        (0..100).for_each(|index| wheel.insert(key(index), 0));
        let capacity = wheel.entries.capacity();
        let mut due = Vec::with_capacity(100);
        for round in 1..1000 {
            wheel.poll(round * TICK_NS, &mut due);
            for fired in due.drain(..) {
                wheel.insert(fired, (round + u64::from(fired.index) * 11) * TICK_NS);
            }
        }
        assert_eq!((wheel.entries.capacity(), due.capacity()), (capacity, 100));
    }

    struct Xorshift(u64);

    impl Xorshift {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    /// Runs a wheel beside a map from key to deadline, and compares them after every step.
    fn run_beside_a_model(seed: u64) {
        let mut random = Xorshift(seed);
        let mut wheel = Wheel::new();
        let mut model: HashMap<u32, (Key, u64)> = HashMap::new();
        let mut now_ns = random.below(1 << 40);
        for _ in 0..2_000 {
            if random.below(3) > 0 {
                let key = Key {
                    index: random.below(64) as u32,
                    generation: random.below(4) as u32,
                };
                // Now and then in the past, mostly near, sometimes revolutions away.
                let span_ns = [TICK_NS, 20 * TICK_NS, 5_000 * TICK_NS][random.below(3) as usize];
                let deadline_ns = now_ns.saturating_sub(TICK_NS) + random.below(span_ns);
                wheel.insert(key, deadline_ns);
                model.insert(key.index, (key, deadline_ns));
            } else {
                let step_ns =
                    [TICK_NS / 2, 30 * TICK_NS, 3_000 * TICK_NS][random.below(3) as usize];
                now_ns += random.below(step_ns);
                compare_poll(&mut wheel, &mut model, now_ns, seed);
            }
            let earliest_ns = model.values().map(|&(_, deadline_ns)| deadline_ns).min();
            if let Some(earliest_ns) = earliest_ns {
                let next_ns = wheel.next_deadline_ns().expect("something is set");
                assert!(
                    next_ns < earliest_ns + TICK_NS,
                    "seed {seed}: would wake late"
                );
            }
        }
        compare_poll(&mut wheel, &mut model, now_ns + 10_000 * TICK_NS, seed);
        assert!(model.is_empty(), "seed {seed}: lost {model:?}");
        assert_eq!(wheel.next_deadline_ns(), None);
    }

    fn compare_poll(
        wheel: &mut Wheel,
        model: &mut HashMap<u32, (Key, u64)>,
        now_ns: u64,
        seed: u64,
    ) {
        for fired in poll(wheel, now_ns) {
            let (key, deadline_ns) = model.remove(&fired.index).expect("fired once");
            assert_eq!(fired, key, "seed {seed}");
            assert!(deadline_ns <= now_ns, "seed {seed}: {key:?} was early");
        }
        for (key, deadline_ns) in model.values() {
            assert!(
                deadline_ns + TICK_NS > now_ns,
                "seed {seed}: {key:?} is late"
            );
        }
    }

    #[test]
    fn a_wheel_behaves_as_a_map_of_deadlines() {
        for seed in 1..=200 {
            run_beside_a_model(seed);
        }
    }
}
