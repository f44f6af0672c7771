//! Which cores this process may really use: its affinity mask, cut to its cgroup's quota.
//!
//! The count is the standard library's, which knows both; the ids come from `/proc` and `/sys`.

use std::fs;
use std::thread;

/// The ids of the cores to run on, ascending, as many as mask and quota give; never empty.
///
/// The mask is the calling thread's. A quota counts in whole cores (2.5 give 2: a third thread
/// would only be throttled), and at least one.
pub fn usable() -> Vec<usize> {
    let count = thread::available_parallelism().map_or(1, |count| count.get());
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    choose(count, &status, &online)
}

/// Whether a quota gives this process less time than the cores of its mask have, so that time spent
/// on one thing is missing for another.
pub fn are_rationed() -> bool {
    let count = thread::available_parallelism().map_or(1, |count| count.get());
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    count < present(&status, &online).len()
}

/// What the cores of this process have done since the machine started, in ticks of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CoreTicks {
    /// How many they are.
    pub cores: u64,
    /// Without work, all of them together.
    pub idle: u64,
    /// With it and without.
    pub all: u64,
}

impl CoreTicks {
    /// What they did in between, if both are of the same cores and any time has passed.
    pub fn since(self, before: CoreTicks) -> Option<CoreTicks> {
        let between = CoreTicks {
            cores: self.cores,
            idle: self.idle.checked_sub(before.idle)?,
            all: self.all.checked_sub(before.all)?,
        };
        (self.cores == before.cores && between.all > 0).then_some(between)
    }
}

/// Reads what [`usable`] cores have done; `None` where the kernel does not tell.
pub fn read_ticks() -> Option<CoreTicks> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    Some(ticks(&stat, &usable()))
}

/// A line for each core: time in user mode, the same with low priority, in the kernel, idle, idle with input or
/// output under way, and other work.
fn ticks(stat: &str, cores: &[usize]) -> CoreTicks {
    let mut sum = CoreTicks::default();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let id = words.next().and_then(|name| name.strip_prefix("cpu"));
        if !id
            .and_then(|id| id.parse().ok())
            .is_some_and(|id| cores.contains(&id))
        {
            continue;
        }
        // The last two are contained in the first two.
        let mut ticks = [0; 8];
        for (place, word) in ticks.iter_mut().zip(words) {
            *place = word.parse().unwrap_or(0);
        }
        sum.cores += 1;
        sum.idle += ticks[3] + ticks[4];
        sum.all += ticks.iter().sum::<u64>();
    }
    sum
}

/// The first `count` cores that are both allowed by `status` and `online`.
///
/// Where the files tell less than `count` cores, only the count is believed.
fn choose(count: usize, status: &str, online: &str) -> Vec<usize> {
    let mut cores = present(status, online);
    if cores.len() < count {
        return (0..count).collect();
    }
    cores.truncate(count);
    cores
}

/// The cores that are both allowed by `status` and `online`: the mask in `status` names every possible
/// one, also those that are not there.
fn present(status: &str, online: &str) -> Vec<usize> {
    let allowed = parse_allowed(status).unwrap_or_default();
    match parse_list(online) {
        Some(online) => allowed
            .into_iter()
            .filter(|id| online.contains(id))
            .collect(),
        None => allowed,
    }
}

/// The affinity mask out of a `/proc/<pid>/status`.
fn parse_allowed(status: &str) -> Option<Vec<usize>> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    parse_list(list)
}

/// Parses the kernel's list format, as in `0-3,8,10-11`; `None` if it is none or names no core.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut ids = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= CORES_MAX {
            return None;
        }
        ids.extend(first..=last);
    }
    Some(ids)
}

/// No machine has as many; keeps a garbled file from filling the memory.
const CORES_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tserver\nThreads:\t3\nCpus_allowed:\tff,ffffff0f\n\
                          Cpus_allowed_list:\t0-3,8-127\nMems_allowed_list:\t0\n";

    #[test]
    fn this_machine_has_cores() {
        let cores = usable();
        assert_eq!(cores.len(), thread::available_parallelism().unwrap().get());
        assert!(cores.is_sorted());
    }

    #[test]
    fn the_mask_is_cut_to_what_is_online_and_to_the_count() {
        assert_eq!(choose(6, STATUS, "0-9\n"), [0, 1, 2, 3, 8, 9]);
        assert_eq!(choose(2, STATUS, "0-9\n"), [0, 1]);
        assert_eq!(choose(5, STATUS, ""), [0, 1, 2, 3, 8]);
    }

    #[test]
    fn without_a_readable_mask_the_count_alone_is_believed() {
        assert_eq!(choose(3, "", "0-9\n"), [0, 1, 2]);
        assert_eq!(choose(1, "Cpus_allowed_list:\tgarbled\n", ""), [0]);
        assert_eq!(choose(9, STATUS, "0-1\n"), (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn ticks_of_our_cores_are_added_up() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 40 5 0 6 7 1 2\ncpu1 9 9 9 9 9 9 9 9\n\
                    cpu2 1 0 0 10\nintr 5 6\n";
        let ticks = ticks(stat, &[0, 2]);
        let expected = CoreTicks {
            cores: 2,
            idle: 55,
            all: 75,
        };
        assert_eq!(ticks, expected);
        let later = CoreTicks {
            idle: 56,
            all: 78,
            ..ticks
        };
        assert_eq!(later.since(ticks).map(|t| (t.idle, t.all)), Some((1, 3)));
        assert_eq!(ticks.since(later), None);
        assert_eq!(ticks.since(ticks), None);
        assert_eq!(ticks.since(CoreTicks::default()), None);
    }

    #[test]
    fn this_machines_cores_are_counted() {
        let ticks = read_ticks().expect("a kernel that tells");
        assert_eq!(ticks.cores as usize, usable().len());
        assert!(ticks.idle <= ticks.all);
    }

    #[test]
    fn lists_are_parsed_as_the_kernel_writes_them() {
        assert_eq!(parse_list("0\n"), Some(vec![0]));
        assert_eq!(
            parse_list("0-3,8,10-11\n"),
            Some(vec![0, 1, 2, 3, 8, 10, 11])
        );
        assert_eq!(parse_list("\n"), None);
        assert_eq!(parse_list("3-1"), None);
        assert_eq!(parse_list("0-99999999999"), None);
        assert_eq!(parse_list("0x3"), None);
    }
}
