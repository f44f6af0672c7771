//! Reads what the kernel knows of a process: CPU time and memory, from `/proc`.
//!
//! CPU time is taken from the scheduler (`task/*/schedstat`, nanoseconds, exact), summed over all
//! threads. How it splits into user and kernel time is taken from `stat` (`utime`, `stime`): where
//! the kernel accounts by tick, as most do, that ratio is a sample of CONFIG_HZ points a second,
//! so over 4 s at 250 Hz a user share of 20 % is known to about a fifteenth of itself. Interrupts
//! served while the process runs count as its kernel time, in both.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// CPU time of every thread of a process, at one moment.
#[derive(Clone, Debug)]
pub struct CpuReading {
    threads: HashMap<String, ThreadTime>,
    user_ticks: u64,
    system_ticks: u64,
}

#[derive(Clone, Copy, Default, Debug)]
struct ThreadTime {
    ran_ns: u64,
    waited_ns: u64,
}

/// CPU time a process took between two readings.
#[derive(Clone, Copy, Default, Debug)]
pub struct CpuTime {
    /// Time on a core, all threads.
    pub total: Duration,
    /// The part of `total` spent outside the kernel.
    pub user: Duration,
    /// Time spent runnable while something else had the core, all threads.
    pub waited: Duration,
}

impl CpuReading {
    /// Reads the times of process `pid`.
    ///
    /// # Errors
    /// When the process has ended, or the kernel has no CONFIG_SCHED_INFO.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let text = fs::read_to_string(entry.path().join("schedstat"))?;
            let tid = entry.file_name().to_string_lossy().into_owned();
            threads.insert(tid, parse_schedstat(&text).ok_or_else(invalid)?);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let [user_ticks, system_ticks, ..] = parse_stat(&stat).ok_or_else(invalid)?;
        Ok(CpuReading {
            threads,
            user_ticks,
            system_ticks,
        })
    }

    /// What the process took since `earlier`.
    ///
    /// A thread that ended in between takes its last stretch with it.
    pub fn since(&self, earlier: &CpuReading) -> CpuTime {
        let (mut ran_ns, mut waited_ns) = (0, 0);
        for (tid, now) in &self.threads {
            let then = earlier.threads.get(tid).copied().unwrap_or_default();
            ran_ns += now.ran_ns - then.ran_ns;
            waited_ns += now.waited_ns - then.waited_ns;
        }
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64;
        let user_share = if user + system > 0.0 {
            user / (user + system)
        } else {
            0.0
        };
        let total = Duration::from_nanos(ran_ns);
        CpuTime {
            total,
            user: total.mul_f64(user_share),
            waited: Duration::from_nanos(waited_ns),
        }
    }
}

/// CPU time of the children this process has waited for, all their threads, to 10 ms.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn reaped_children_cpu() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let [.., user, system] = parse_stat(&stat).ok_or_else(invalid)?;
    // USER_HZ is 100 on every Linux that io_uring runs on.
    Ok(Duration::from_millis(10 * (user + system)))
}

/// How many threads a process has.
///
/// # Errors
/// When the process has ended.
pub fn threads(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// Bytes of a program's file that are loaded when it runs: code and data, no symbols and no line tables.
///
/// # Errors
/// When the file cannot be read or is no program of a 64-bit machine of this byte order.
pub fn loaded_bytes(program: &Path) -> io::Result<u64> {
    let bytes = fs::read(program)?;
    loaded_in(&bytes).ok_or_else(|| {
        let text = format!("{} is no program that is known here", program.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// Sums the file sizes of an ELF file's segments of type `PT_LOAD`.
fn loaded_in(elf: &[u8]) -> Option<u64> {
    const PT_LOAD: u32 = 1;
    let long = |at: usize| Some(u64::from_ne_bytes(elf.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_ne_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    if !elf.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let table = usize::try_from(long(32)?).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let mut sum = 0;
    for segment in (0..count).map(|n| table + n * size) {
        let kind = u32::from_ne_bytes(elf.get(segment..segment + 4)?.try_into().ok()?);
        if kind == PT_LOAD {
            sum += long(segment + 32)?;
        }
    }
    Some(sum)
}

/// How often the threads of a process gave up a core, up to one moment.
#[derive(Clone, Copy, Default, Debug)]
pub struct Switches {
    /// To wait for something.
    pub voluntary: u64,
    /// Because something else had its turn.
    pub forced: u64,
}

impl Switches {
    /// Reads the counts of all threads of process `pid`.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut sum = Switches::default();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(entry?.path().join("status"))?;
            sum.voluntary += count_field(&text, "voluntary_ctxt_switches:");
            sum.forced += count_field(&text, "nonvoluntary_ctxt_switches:");
        }
        Ok(sum)
    }
}

/// Memory of a process that no file backs: heap, stacks, buffer pools; in bytes.
///
/// # Errors
/// When the process has ended.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    // smaps_rollup walks the page tables; the counters in `status` lag by some hundred KiB.
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(kib_field(&text, "Pss_Anon:") + kib_field(&text, "Pss_Shmem:"))
}

/// Memory the kernel holds in its slab caches, for the whole machine, in bytes.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn kernel_slab_bytes() -> io::Result<u64> {
    Ok(kib_field(&fs::read_to_string("/proc/meminfo")?, "Slab:"))
}

/// A line on the machine, for report headings.
pub fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let cores = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!(
        "{cores} x {model}, Linux {}, TCP {}",
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    )
}

fn parse_schedstat(text: &str) -> Option<ThreadTime> {
    let mut fields = text.split_ascii_whitespace();
    Some(ThreadTime {
        ran_ns: fields.next()?.parse().ok()?,
        waited_ns: fields.next()?.parse().ok()?,
    })
}

/// `utime`, `stime`, `cutime`, `cstime` of a `stat` line, in ticks.
fn parse_stat(text: &str) -> Option<[u64; 4]> {
    // The name in parentheses may hold blanks and parentheses; utime is the 12th field after it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse().ok();
    Some([next()?, next()?, next()?, next()?])
}

fn kib_field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = value.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn count_field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "unexpected text in /proc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_any_name() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 11 12 13 14 20 0 1 0";
        assert_eq!(parse_stat(line), Some([11, 12, 13, 14]));
    }

    #[test]
    fn a_busy_process_takes_time() {
        let pid = std::process::id();
        let before = CpuReading::of(pid).expect("this process lives");
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        let took = CpuReading::of(pid)
            .expect("this process lives")
            .since(&before);
        assert!(took.total > Duration::ZERO);
        assert!(took.user <= took.total);
    }

    #[test]
    fn what_is_loaded_of_a_program_is_most_of_it_without_its_tables() {
        let program = std::env::current_exe().expect("this one");
        let all = program.metadata().expect("it is there").len();
        let loaded = loaded_bytes(&program).expect("an ELF file");
        assert!(loaded > 100_000 && loaded < all, "{loaded} of {all}");
        assert_eq!(loaded_in(b"#!/bin/sh"), None);
        assert_eq!(loaded_in(b"\x7fELF\x02"), None);
    }

    #[test]
    fn threads_are_counted() {
        let sleep = std::process::Command::new("sleep").arg("60").spawn();
        let mut sleep = sleep.expect("it can be run");
        let of_sleep = threads(sleep.id());
        sleep.kill().expect("it is ours");
        sleep.wait().expect("it has ended");
        assert_eq!(of_sleep.expect("it lived"), 1);
        // This one, and the one that waits for the tests.
        assert!(threads(std::process::id()).expect("it lives") >= 2);
    }

    #[test]
    fn memory_of_a_living_process_is_not_zero() {
        assert!(resident_bytes(std::process::id()).expect("this process lives") > 0);
    }
}
