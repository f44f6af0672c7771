//! Which requests earn their first poll on the shard. Knows how long polls took; knows neither
//! shards nor workers.
//!
//! Requests that look alike form a *class*: same method, same shape of path. A class starts on the
//! workers, where a handler may block or compute without holding up others. When so many first polls
//! in a row were short, it is polled on the shard; one long poll there sends it back, for longer each
//! time, so that a class that is short only mostly settles on the workers. Pending is no fault.

use std::fmt;

use crate::words::short_word;

/// Sets of the table; what is not in it starts anew.
const SETS: usize = 256;
/// Classes that share a set.
const WAYS: usize = 4;
/// Longest text that names a class, in bytes.
const NAME_BYTES_MAX: usize = 48;
/// Segments of a path longer than this count as variable.
const SEGMENT_BYTES_MAX: usize = 24;
/// First time that a class sent back has to wait; doubled each time.
const BACKOFF_NS: u64 = 10_000_000;
/// Most doublings: ten seconds.
const BACKOFFS_MAX: u32 = 10;
/// A class that was on the shard for this long without a fault has its past forgiven.
const FORGIVEN_NS: u64 = 60_000_000_000;

/// When a class changes sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Thresholds {
    /// A first poll on the shard that takes longer sends its class to the workers.
    pub(crate) long_ns: u64,
    /// One on a worker that takes no longer counts towards the shard.
    pub(crate) short_ns: u64,
    /// So many short ones in a row bring the class to the shard.
    pub(crate) streak: u32,
}

/// Names a class, for as long as it is in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ClassId {
    index: u32,
    tag: u32,
}

/// Where the next first poll of a class happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Shard,
    Worker,
}

/// What a poll changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Promoted,
    Demoted,
}

#[derive(Clone, Copy)]
struct Class {
    /// Zero in a place that is free.
    tag: u32,
    /// When it was last asked for, in requests.
    used: u64,
    way: Way,
    /// Short polls in a row, on the workers.
    streak: u32,
    /// When it came to the shard, or from when on it may.
    since_ns: u64,
    backoffs: u32,
    name: Name,
}

/// The classes of one shard.
pub(crate) struct Classes {
    thresholds: Thresholds,
    places: Box<[Class]>,
    requests: u64,
    on_shard: usize,
    on_workers: usize,
}

impl Classes {
    /// Makes a table of no classes. All the memory it will ever use is taken here.
    pub(crate) fn new(thresholds: Thresholds) -> Self {
        Classes {
            thresholds,
            places: vec![Class::FREE; SETS * WAYS].into(),
            requests: 0,
            on_shard: 0,
            on_workers: 0,
        }
    }

    /// Finds the class of a request, or begins it in place of the one of its set that was not asked
    /// for the longest.
    #[inline]
    pub(crate) fn classify(&mut self, method: &str, path: &str) -> (ClassId, Way) {
        self.requests += 1;
        let hash = shape(method, path);
        let tag = (hash >> 32) as u32 | 1;
        let first = (hash as usize % SETS) * WAYS;
        let set = &mut self.places[first..first + WAYS];
        let way = match set.iter().position(|class| class.tag == tag) {
            Some(way) => way,
            None => self.begin(first, tag, method, path),
        };
        let class = &mut self.places[first + way];
        class.used = self.requests;
        let id = ClassId {
            index: (first + way) as u32,
            tag,
        };
        (id, class.way)
    }

    /// Takes note of a first poll on the shard.
    #[inline]
    pub(crate) fn polled_on_shard(&mut self, id: ClassId, ns: u64, now_ns: u64) -> Option<Change> {
        match ns > self.thresholds.long_ns {
            true => self.demote(id, now_ns),
            false => None,
        }
    }

    /// Takes note of a first poll on a worker.
    pub(crate) fn polled_on_worker(&mut self, id: ClassId, ns: u64, now_ns: u64) -> Option<Change> {
        let Thresholds {
            short_ns, streak, ..
        } = self.thresholds;
        let class = self.get_mut(id)?;
        if class.way == Way::Shard {
            // It was under way when its class came to the shard.
            return None;
        }
        class.streak = match ns <= short_ns {
            true => class.streak.saturating_add(1),
            false => 0,
        };
        if class.streak < streak || now_ns < class.since_ns {
            return None;
        }
        class.way = Way::Shard;
        class.since_ns = now_ns;
        self.on_shard += 1;
        self.on_workers -= 1;
        Some(Change::Promoted)
    }

    /// The class's name, if it is still in the table.
    pub(crate) fn name(&self, id: ClassId) -> Option<Name> {
        let class = self.places.get(id.index as usize)?;
        (class.tag == id.tag).then_some(class.name)
    }

    /// Classes polled on the shard, and on workers.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.on_shard, self.on_workers)
    }

    #[cold]
    fn begin(&mut self, first: usize, tag: u32, method: &str, path: &str) -> usize {
        let set = &mut self.places[first..first + WAYS];
        let oldest = set.iter().enumerate().min_by_key(|(_, class)| class.used);
        let (way, _) = oldest.expect("a set has places");
        let class = &mut set[way];
        match (class.tag, class.way) {
            (0, _) => self.on_workers += 1,
            (_, Way::Worker) => {}
            (_, Way::Shard) => {
                self.on_shard -= 1;
                self.on_workers += 1;
            }
        }
        *class = Class {
            tag,
            name: Name::new(method, path),
            ..Class::FREE
        };
        way
    }

    #[cold]
    fn demote(&mut self, id: ClassId, now_ns: u64) -> Option<Change> {
        let class = self.get_mut(id)?;
        if class.way == Way::Worker {
            return None;
        }
        if now_ns - class.since_ns > FORGIVEN_NS {
            class.backoffs = 0;
        }
        class.way = Way::Worker;
        class.streak = 0;
        class.since_ns = now_ns + (BACKOFF_NS << class.backoffs);
        class.backoffs = (class.backoffs + 1).min(BACKOFFS_MAX);
        self.on_shard -= 1;
        self.on_workers += 1;
        Some(Change::Demoted)
    }

    fn get_mut(&mut self, id: ClassId) -> Option<&mut Class> {
        let class = self.places.get_mut(id.index as usize)?;
        (class.tag == id.tag).then_some(class)
    }
}

impl Class {
    const FREE: Class = Class {
        tag: 0,
        used: 0,
        way: Way::Worker,
        streak: 0,
        since_ns: 0,
        backoffs: 0,
        name: Name {
            bytes: [0; NAME_BYTES_MAX],
            len: 0,
        },
    };
}

const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;
/// Stands for a segment that looks variable.
const VARIABLE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash that is the same for paths of one shape: segments that look like parameters (with a digit or
/// an escape in them, or long) are all one.
#[inline]
fn shape(method: &str, path: &str) -> u64 {
    let mut hash = segment_hash(method.as_bytes());
    for segment in path.as_bytes().split(|byte| *byte == b'/') {
        let segment = match is_variable(segment) {
            true => VARIABLE,
            false => segment_hash(segment),
        };
        hash = (hash.rotate_left(7) ^ segment).wrapping_mul(VARIABLE | 1);
    }
    hash ^ (hash >> 29)
}

/// The hash of a segment, eight bytes at a time.
#[inline]
fn segment_hash(segment: &[u8]) -> u64 {
    let add = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(23);
    let mut words = segment.chunks_exact(8);
    let mut hash = segment.len() as u64;
    for word in &mut words {
        hash = add(hash, short_word(word));
    }
    match words.remainder() {
        [] => hash,
        rest => add(hash, short_word(rest)),
    }
}

#[inline]
fn is_variable(segment: &[u8]) -> bool {
    let marks = |byte: &u8| byte.is_ascii_digit() | (*byte == b'%');
    // All of them, instead of stopping at the first: that is sixteen at a time.
    let any = |bytes: &[u8]| bytes.iter().fold(false, |any, byte| any | marks(byte));
    segment.len() > SEGMENT_BYTES_MAX || any(segment)
}

/// What a class is called in traces: `GET /users/*`, cut where it is long.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

impl Name {
    fn new(method: &str, path: &str) -> Self {
        let mut name = Name {
            bytes: [0; NAME_BYTES_MAX],
            len: 0,
        };
        name.push(method.as_bytes());
        name.push(b" ");
        for (index, segment) in path.as_bytes().split(|byte| *byte == b'/').enumerate() {
            if index > 0 {
                name.push(b"/");
            }
            name.push(if is_variable(segment) { b"*" } else { segment });
        }
        name
    }

    fn push(&mut self, bytes: &[u8]) {
        let len = usize::from(self.len);
        let count = bytes.len().min(NAME_BYTES_MAX - len);
        self.bytes[len..len + count].copy_from_slice(&bytes[..count]);
        self.len += count as u8;
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(
            &self.bytes[..usize::from(self.len)],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        long_ns: 200_000,
        short_ns: 100_000,
        streak: 4,
    };
    const SHORT: u64 = 1_000;
    const LONG: u64 = 50_000_000;

    /// Polls once where the class is polled; returns where that was.
    fn poll(classes: &mut Classes, path: &str, ns: u64, now_ns: u64) -> (Way, Option<Change>) {
        let (id, way) = classes.classify("GET", path);
        let change = match way {
            Way::Shard => classes.polled_on_shard(id, ns, now_ns),
            Way::Worker => classes.polled_on_worker(id, ns, now_ns),
        };
        (way, change)
    }

    #[test]
    fn a_class_earns_the_shard_and_loses_it_by_one_long_poll() {
        let mut classes = Classes::new(THRESHOLDS);
        for _ in 0..3 {
            assert_eq!(poll(&mut classes, "/a", SHORT, 0), (Way::Worker, None));
        }
        let promoted = (Way::Worker, Some(Change::Promoted));
        assert_eq!(poll(&mut classes, "/a", SHORT, 0), promoted);
        assert_eq!(classes.counts(), (1, 0));
        assert_eq!(poll(&mut classes, "/a", SHORT, 0), (Way::Shard, None));
        let demoted = (Way::Shard, Some(Change::Demoted));
        assert_eq!(poll(&mut classes, "/a", LONG, 1), demoted);
        assert_eq!(classes.counts(), (0, 1));
        assert_eq!(poll(&mut classes, "/a", SHORT, 1), (Way::Worker, None));
    }

    #[test]
    fn a_long_poll_on_a_worker_ends_the_streak() {
        let mut classes = Classes::new(THRESHOLDS);
        for round in 0..100 {
            let ns = if round % 4 == 3 { LONG } else { SHORT };
            assert_eq!(poll(&mut classes, "/a", ns, 0), (Way::Worker, None));
        }
    }

    /// A class that is long every hundredth time stalls its shard ever more seldom.
    #[test]
    fn a_flapping_class_settles_on_the_workers() {
        let mut classes = Classes::new(THRESHOLDS);
        let mut stalls = Vec::new();
        for request in 0..1_000_000_u64 {
            let now_ns = request * 20_000;
            let ns = if request % 100 == 99 { LONG } else { SHORT };
            if poll(&mut classes, "/a", ns, now_ns).1 == Some(Change::Demoted) {
                stalls.push(now_ns);
            }
        }
        assert!(stalls.len() <= BACKOFFS_MAX as usize + 2, "{stalls:?}");
        let gaps: Vec<u64> = stalls.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().is_sorted(), "{gaps:?}");
    }

    #[test]
    fn a_long_good_time_is_remembered() {
        let mut classes = Classes::new(THRESHOLDS);
        let mut now_ns = 0;
        let mut waited_ns = || {
            while poll(&mut classes, "/a", SHORT, now_ns).0 == Way::Worker {
                now_ns += 1_000_000;
            }
            now_ns += FORGIVEN_NS + 1;
            poll(&mut classes, "/a", LONG, now_ns);
            let sent_back_ns = now_ns;
            while poll(&mut classes, "/a", SHORT, now_ns).0 == Way::Worker {
                now_ns += 1_000_000;
            }
            now_ns - sent_back_ns
        };
        let first = waited_ns();
        assert_eq!(waited_ns(), first);
    }

    #[test]
    fn paths_of_one_shape_are_one_class() {
        let same = [
            ("/users/1", "/users/250000"),
            ("/users/7/posts/8", "/users/70/posts/80"),
            ("/f/%C3%A4", "/f/%20"),
            (
                "/o/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "/o/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            ),
        ];
        for (one, other) in same {
            assert_eq!(shape("GET", one), shape("GET", other), "{one} {other}");
        }
        let differ = [
            ("/", "/a"),
            ("/a/b", "/b/a"),
            ("/a/", "/a"),
            ("/users/1", "/users/1/2"),
            ("/users/1", "/posts/1"),
            ("/ab", "/a/b"),
        ];
        for (one, other) in differ {
            assert_ne!(shape("GET", one), shape("GET", other), "{one} {other}");
        }
        assert_ne!(shape("GET", "/a"), shape("POST", "/a"));
    }

    #[test]
    fn a_crawler_costs_others_nothing_but_their_places() {
        let mut classes = Classes::new(THRESHOLDS);
        for round in 0..100_000_u32 {
            let letters: String = round
                .to_string()
                .bytes()
                .map(|b| (b + 49) as char)
                .collect();
            poll(&mut classes, &format!("/page/{letters}"), SHORT, 0);
            if round % 10 == 0 {
                poll(&mut classes, "/hot", SHORT, 0);
            }
        }
        let (on_shard, on_workers) = classes.counts();
        assert!(on_shard + on_workers <= SETS * WAYS);
        assert_eq!(poll(&mut classes, "/hot", SHORT, 0).0, Way::Shard);
    }

    #[test]
    fn an_answer_that_comes_after_its_class_has_gone_is_ignored() {
        let mut classes = Classes::new(THRESHOLDS);
        let (id, _) = classes.classify("GET", "/a");
        for n in 0..20_000_u32 {
            let letters: String = n.to_string().bytes().map(|b| (b + 49) as char).collect();
            classes.classify("GET", &letters);
        }
        assert_eq!(classes.polled_on_worker(id, SHORT, 0), None);
        assert!(classes.name(id).is_none());
    }

    #[test]
    fn names_show_the_shape() {
        let mut classes = Classes::new(THRESHOLDS);
        let (id, _) = classes.classify("GET", "/users/12/posts/3");
        let name = classes.name(id).unwrap();
        assert_eq!(name.to_string(), "GET /users/*/posts/*");
        let (id, _) = classes.classify("DELETE", &"/ä".repeat(99));
        assert!(classes.name(id).unwrap().to_string().len() <= 3 * NAME_BYTES_MAX);
    }
}
