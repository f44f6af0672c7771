//! The numbers a shard runs by: a [`Config`] once checked and made concrete.
//!
//! In every timeout `None` means off and zero means zero. Whoever holds a [`Limits`] need not check
//! it again. Also writes the memory they add up to as one sum, for the log at start.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::{BackendChoice, Config, Conformance, Disconnect, Dispatch, Toggle, Wakeup};
use crate::cpus;
use crate::overload::{GAP_PERCENT, Marks};

/// Overrides [`Config::backend`].
const BACKEND_VARIABLE: &str = "ZERO_BACKEND";

/// Returns an error from the caller unless the named field lies within the range.
macro_rules! check {
    ($config:expr, $field:ident, $range:expr) => {
        within(stringify!($field), $config.$field, $range)?
    };
}

impl Config {
    /// Checks the wishes against each other and this machine, and makes them concrete.
    ///
    /// Reads the environment variable `ZERO_BACKEND`; set but empty it counts as unset.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field (or the variable), what is wrong with it and the remedy.
    pub fn into_limits(self) -> io::Result<Limits> {
        let backend = std::env::var_os(BACKEND_VARIABLE);
        let backend = backend.as_ref().map(|value| value.to_string_lossy());
        self.into_limits_on(&cpus::usable(), backend.as_deref())
    }

    /// What `into_limits` does on a machine with these cores and this `ZERO_BACKEND`.
    fn into_limits_on(self, cores: &[usize], backend: Option<&str>) -> io::Result<Limits> {
        assert!(!cores.is_empty());
        check!(self, connections_max, CONNECTIONS);
        check!(self, backlog, BACKLOG);
        check!(self, inline_streak, INLINE_STREAK);
        check!(self, recv_buffers, RECV_BUFFERS);
        power_of_two("recv_buffers", self.recv_buffers)?;
        check!(self, recv_buffer_bytes, RECV_BUFFER_BYTES);
        check!(self, write_buffer_bytes, WRITE_BUFFER_BYTES);
        check!(self, head_bytes_max, HEAD_BYTES);
        check!(self, headers_max, HEADERS);
        check!(self, uri_bytes_max, URI_BYTES);
        check!(self, chunk_extension_bytes_max, CHUNK_EXTENSION_BYTES);
        check!(self, trailer_bytes_max, TRAILER_BYTES);
        check!(self, trailers_max, HEADERS);
        check!(self, pipelined_bytes_max, WINDOW_BYTES);
        check!(self, request_window_bytes, WINDOW_BYTES);
        check!(self, response_window_bytes, WINDOW_BYTES);
        let shards = self.shards_on(cores)?;
        let workers = self.workers.unwrap_or(cores.len().min(*WORKERS.end()));
        within("workers", workers, WORKERS)?;
        Ok(Limits {
            shards,
            shard_cores: shard_cores(self.pin_shards, shards, cores),
            workers,
            connections_max: self.connections_max / shards,
            balance: self.balance,
            standby: self.standby,
            backlog: self.backlog,
            recv_buffers: self.recv_buffers,
            recv_buffer_bytes: self.recv_buffer_bytes,
            write_buffer_bytes: self.write_buffer_bytes,
            buffered_bytes_max: self.buffered_bytes_on(shards)?,
            overload: self.marks()?,
            head_bytes_max: self.head_bytes_max,
            headers_max: self.headers_max,
            uri_bytes_max: self.uri_bytes_max,
            chunk_extension_bytes_max: self.chunk_extension_bytes_max,
            trailer_bytes_max: self.trailer_bytes_max,
            trailers_max: self.trailers_max,
            pipelined_bytes_max: self.pipelined_bytes_max,
            disconnect: self.disconnect,
            half_close: self.half_close,
            conformance: self.conformance,
            request_window_bytes: self.request_window_bytes,
            response_window_bytes: self.response_window_bytes,
            head_timeout_ns: cutting("head_timeout", self.head_timeout)?,
            body_timeout_ns: cutting("body_timeout", self.body_timeout)?,
            body_rate_min: self.body_rate_min,
            request_timeout_ns: cutting("request_timeout", self.request_timeout)?,
            requests_per_connection_max: at_least_one(
                "requests_per_connection_max",
                self.requests_per_connection_max,
            )?,
            connections_per_peer_max: at_least_one(
                "connections_per_peer_max",
                self.connections_per_peer_max,
            )?,
            keep_alive_timeout_ns: cutting("keep_alive_timeout", self.keep_alive_timeout)?,
            write_timeout_ns: cutting("write_timeout", self.write_timeout)?,
            linger_timeout_ns: nanoseconds(self.linger_timeout),
            shutdown_timeout_ns: self.shutdown_timeout.map(nanoseconds),
            nodelay: self.nodelay,
            dispatch: self.dispatch,
            inline_poll_max_ns: nanoseconds(self.inline_poll_max),
            inline_streak: self.inline_streak,
            wakeup: self.wakeup,
            stall_min_ns: self.stall_min.map(nanoseconds),
            huge_pages: self.huge_pages,
            backend: match backend {
                None | Some("") => self.backend,
                Some(value) => parse_backend(value)?,
            },
        })
    }

    /// One shard's part of what connections may hold.
    fn buffered_bytes_on(&self, shards: usize) -> io::Result<usize> {
        let least = shards * SENDS_MIN * self.write_buffer_bytes;
        within(
            "buffered_bytes_max",
            self.buffered_bytes_max,
            least..=BUFFERED_BYTES_MAX,
        )?;
        Ok(self.buffered_bytes_max / shards)
    }

    fn marks(&self) -> io::Result<Marks> {
        let (warning, critical, drain) = (
            self.overload_warning_percent,
            self.overload_critical_percent,
            self.overload_drain_percent,
        );
        within("overload_warning_percent", warning, GAP_PERCENT + 1..=100)?;
        within("overload_critical_percent", critical, GAP_PERCENT + 1..=100)?;
        within("overload_drain_percent", drain, GAP_PERCENT + 1..=100)?;
        if warning >= critical || critical >= drain {
            return Err(invalid(format!(
                "Config::overload_warning_percent, overload_critical_percent and overload_drain_percent \
                 are {warning}, {critical} and {drain}, which do not ascend; set each below the next"
            )));
        }
        Ok(Marks {
            warning,
            critical,
            drain,
        })
    }

    fn shards_on(&self, cores: &[usize]) -> io::Result<usize> {
        // Unasked, there are never more shards than connections for them to serve.
        let unasked = cores.len().min(*SHARDS.end()).min(self.connections_max);
        let shards = self.shards.unwrap_or(unasked);
        within("shards", shards, SHARDS)?;
        if shards > self.connections_max {
            return Err(invalid(format!(
                "Config::connections_max is {}, which is less than one for each of {shards} shards; \
                 set at least {shards}, or fewer shards",
                self.connections_max
            )));
        }
        Ok(shards)
    }
}

/// Validated numbers. What is not said to be per shard is for the whole server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Shards; at least one.
    pub shards: usize,
    /// The core each shard is bound to, by the shard's index; `None` where none is bound.
    pub shard_cores: Option<Vec<usize>>,
    /// Worker tasks, and threads of a tokio runtime of ours; at least one.
    pub workers: usize,
    /// Connections open at once on one shard; at least one.
    pub connections_max: usize,
    /// Whether shards leave fresh connections to those with fewer.
    pub balance: bool,
    /// Whether shards that wait for their cores leave their connections to others.
    pub standby: bool,
    /// Length of each listener's backlog; fits an `i32`.
    pub backlog: u32,
    /// Receive buffers of one shard; a power of two, at most 32,768.
    pub recv_buffers: u16,
    /// Size of one receive buffer.
    pub recv_buffer_bytes: u32,
    /// Size of one pooled staging buffer.
    pub write_buffer_bytes: usize,
    /// Bytes that the connections of one shard may hold.
    pub buffered_bytes_max: usize,
    /// From how much use on a shard gives way.
    pub(crate) overload: Marks,
    /// Longest request head.
    pub head_bytes_max: usize,
    /// Most header fields of a request.
    pub headers_max: usize,
    /// Longest request target; at most 65,534.
    pub uri_bytes_max: usize,
    /// The extensions of one chunked body stay below this.
    pub chunk_extension_bytes_max: usize,
    /// A trailer section stays below this.
    pub trailer_bytes_max: usize,
    /// Most fields of a trailer section.
    pub trailers_max: usize,
    /// Most bytes of requests behind the one being answered.
    pub pipelined_bytes_max: usize,
    /// What becomes of a handler whose client goes away.
    pub disconnect: Disconnect,
    /// Whether a half-closed connection gets its answer, however long that takes.
    pub half_close: bool,
    /// Whose rules requests are held to.
    pub conformance: Conformance,
    /// Body bytes read ahead of a handler.
    pub request_window_bytes: usize,
    /// Response bytes queued on a connection before its body is no longer polled.
    pub response_window_bytes: usize,
    /// Time for a whole request head; never zero.
    pub head_timeout_ns: Option<u64>,
    /// Span over which a body's rate is judged; never zero.
    pub body_timeout_ns: Option<u64>,
    /// Least bytes of a body per second.
    pub body_rate_min: u32,
    /// Time until a response begins; never zero.
    pub request_timeout_ns: Option<u64>,
    /// Requests served on one connection; never zero.
    pub requests_per_connection_max: Option<u32>,
    /// Connections of one peer, over all shards; never zero.
    pub connections_per_peer_max: Option<u32>,
    /// Time between two requests; never zero.
    pub keep_alive_timeout_ns: Option<u64>,
    /// Time without a byte taken; never zero.
    pub write_timeout_ns: Option<u64>,
    /// Time to swallow what arrives after the last response; zero closes at once.
    pub linger_timeout_ns: u64,
    /// Time granted to requests in flight at shutdown; zero cuts at once, `None` never.
    pub shutdown_timeout_ns: Option<u64>,
    /// Whether TCP_NODELAY is set.
    pub nodelay: bool,
    /// Where handlers are first polled.
    pub dispatch: Dispatch,
    /// Longest first poll on a shard that has no consequence.
    pub inline_poll_max_ns: u64,
    /// Short polls in a row that bring a class of requests to the shard.
    pub inline_streak: u32,
    /// What a shard without work does.
    pub wakeup: Wakeup,
    /// Longest first poll on a shard that is not told.
    pub stall_min_ns: Option<u64>,
    /// Whether buffers are mapped on huge pages.
    pub huge_pages: Toggle,
    /// What serves, with the environment's word already in it.
    pub backend: BackendChoice,
}

/// What one connection's own state takes at most: its slot, its machine, its operations, its places in
/// the wheel and the inbox. The shard asserts that its types keep to this.
pub const CONNECTION_STATE_BYTES: usize = 1024;

/// What one parsed header field takes at most beside its bytes in the head: an offset pair in the
/// table, an entry and an index of the `HeaderMap`, and the shared slice of its value.
const HEADER_BYTES: usize = 160;
/// Heads and small bodies share blocks of this size; one of them keeps its whole block.
pub(crate) const ARENA_BLOCK_BYTES: usize = 16 * 1024;
/// The queues between a shard and a task that reads a body and writes a response.
const EXCHANGE_BYTES: usize = 8 * 1024;
/// Spare write buffers that a shard keeps.
pub(crate) const SPARE_BUFS_MAX: usize = 256;
/// One that grew beyond this is freed rather than kept.
pub(crate) const SPARE_BUF_BYTES_MAX: usize = 64 * 1024;
/// Spare buffers for unread input that a shard keeps, and their size.
pub(crate) const SPARE_CARRIES_MAX: usize = 64;
pub(crate) const SPARE_CARRY_BYTES_MAX: usize = 64 * 1024;
/// Places of calls that a shard keeps, and their size together: bursts of so many are rare, and most futures are far
/// smaller than 16 KiB. One is kept whatever its size: handlers' futures are not ours to bound.
pub(crate) const SPARE_DRIVERS_MAX: usize = 64;
pub(crate) const SPARE_DRIVERS_BYTES_MAX: usize = 1024 * 1024;

impl Limits {
    /// The least buffer that is of use to a connection: what it may hold however short of them its shard
    /// is.
    pub(crate) fn floor_bytes(&self) -> usize {
        self.recv_buffer_bytes.max(4096) as usize
    }

    /// Longest first poll on a shard of which no note is taken.
    #[inline]
    pub(crate) fn poll_unnoted_ns_max(&self) -> u64 {
        let most_ns = self.inline_poll_max_ns;
        self.stall_min_ns.map_or(most_ns, |ns| ns.min(most_ns))
    }

    /// Adds up the memory we may use at worst.
    ///
    /// Not counted: the kernel's socket buffers, what the allocator adds, and what the application owns:
    /// its futures, and how far one frame of a response's body goes past the window.
    pub fn memory(&self) -> Memory {
        let received_bytes = u64::from(self.recv_buffers) * u64::from(self.recv_buffer_bytes);
        // Sums that do not fit are worth no less than the largest number.
        let mut fixed_bytes = 0_u64;
        // The provided-buffer ring: every receive of a shard lands here.
        fixed_bytes += received_bytes + u64::from(self.recv_buffers) * RECV_STAGGER_BYTES;

        let mut fixed_bytes_max = fixed_bytes;
        // What has been received and is kept when receiving is to pause: once the ring.
        fixed_bytes_max += received_bytes;
        // Buffers that wait to be used again.
        fixed_bytes_max += (SPARE_BUFS_MAX * SPARE_BUF_BYTES_MAX) as u64;
        fixed_bytes_max += (SPARE_CARRIES_MAX * SPARE_CARRY_BYTES_MAX) as u64;
        fixed_bytes_max += SPARE_DRIVERS_BYTES_MAX as u64;

        let mut idle_bytes = 0_u64;
        // The slot itself; an idle connection holds no buffer.
        idle_bytes += CONNECTION_STATE_BYTES as u64;

        let mut busy_bytes = idle_bytes;
        // The block its head lies in.
        busy_bytes += ARENA_BLOCK_BYTES as u64;
        // Its parsed fields, and those of its trailers.
        busy_bytes += ((self.headers_max + self.trailers_max) * HEADER_BYTES) as u64;
        busy_bytes += self.trailer_bytes_max as u64;
        // Its queues.
        busy_bytes += EXCHANGE_BYTES as u64;
        // One buffer each for what it is sent, for what is staged behind that, and for what it asks.
        busy_bytes += (self.write_buffer_bytes + 2 * self.floor_bytes()) as u64;

        let shards = self.shards as u64;
        let connections_max = shards * self.connections_max as u64;
        // Whatever is more than that: heads, bodies and responses that wait.
        let buffered_bytes_max = shards.saturating_mul(self.buffered_bytes_max as u64);
        let total = |fixed: u64, per_connection: u64| {
            let connections = connections_max.saturating_mul(per_connection);
            shards.saturating_mul(fixed).saturating_add(connections)
        };
        Memory {
            shards,
            connections_max,
            fixed_bytes,
            fixed_bytes_max,
            per_connection_bytes_min: idle_bytes,
            per_connection_bytes_max: busy_bytes,
            buffered_bytes_max,
            total_bytes_min: total(fixed_bytes, idle_bytes),
            total_bytes_max: total(fixed_bytes_max, busy_bytes).saturating_add(buffered_bytes_max),
        }
    }
}

/// Receive buffers lie this much further apart than they are long: the first lines of each, which
/// are all that a small request touches, would else compete for the same few sets of the cache.
pub(crate) const RECV_STAGGER_BYTES: u64 = 320;

/// The memory that [`Limits`] add up to; `Display` says it in one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Shards of the server.
    pub shards: u64,
    /// Connections over all shards.
    pub connections_max: u64,
    /// Of one shard, before its first connection; mapped then, and touched as it is needed.
    pub fixed_bytes: u64,
    /// The same with all that it may keep to be used again.
    pub fixed_bytes_max: u64,
    /// Of one idle connection.
    pub per_connection_bytes_min: u64,
    /// Of one connection with a request under way, as far as nothing can take it away.
    pub per_connection_bytes_max: u64,
    /// Of what all connections buffer beyond that.
    pub buffered_bytes_max: u64,
    /// With all connections open and idle.
    pub total_bytes_min: u64,
    /// With all connections open and everything at its worst.
    pub total_bytes_max: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} shards of {} to {} each, {} connections of {} (idle) to {} each, {} for what they \
             buffer: {} all idle, never over {}",
            self.shards,
            Bytes(self.fixed_bytes),
            Bytes(self.fixed_bytes_max),
            self.connections_max,
            Bytes(self.per_connection_bytes_min),
            Bytes(self.per_connection_bytes_max),
            Bytes(self.buffered_bytes_max),
            Bytes(self.total_bytes_min),
            Bytes(self.total_bytes_max),
        )
    }
}

/// A number of bytes, shown in the largest binary unit it fills, with one decimal.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut tenths = u128::from(self.0) * 10;
        let mut name = "B";
        for unit in units {
            if tenths < 10 * 1024 {
                break;
            }
            tenths /= 1024;
            name = unit;
        }
        match tenths % 10 {
            0 => write!(f, "{} {name}", tenths / 10),
            tenth => write!(f, "{}.{tenth} {name}", tenths / 10),
        }
    }
}

/// The core of each shard. `Auto` binds only where every shard gets a core to itself.
fn shard_cores(pin: Toggle, shards: usize, cores: &[usize]) -> Option<Vec<usize>> {
    let bind = match pin {
        Toggle::Off => false,
        Toggle::On => true,
        Toggle::Auto => shards <= cores.len(),
    };
    bind.then(|| cores.iter().copied().cycle().take(shards).collect())
}

fn parse_backend(value: &str) -> io::Result<BackendChoice> {
    match value {
        "auto" => Ok(BackendChoice::Auto),
        "io_uring" => Ok(BackendChoice::IoUring),
        "hyper" => Ok(BackendChoice::Hyper),
        _ => Err(invalid(format!(
            "the environment variable {BACKEND_VARIABLE} is {value:?}, which names no backend; \
             set it to auto, io_uring or hyper, or unset it"
        ))),
    }
}

/// A timeout that cuts connections: zero would cut every one of them.
fn cutting(field: &str, timeout: Option<Duration>) -> io::Result<Option<u64>> {
    if timeout == Some(Duration::ZERO) {
        return Err(invalid(format!(
            "Config::{field} is zero, which would close every connection at once; \
             set None to turn it off, or a longer time"
        )));
    }
    Ok(timeout.map(nanoseconds))
}

/// A limit that is off unless it is set: zero would serve nobody.
fn at_least_one(field: &str, limit: Option<u32>) -> io::Result<Option<u32>> {
    if limit == Some(0) {
        return Err(invalid(format!(
            "Config::{field} is zero, which would serve nobody; set None to turn it off, or at least 1"
        )));
    }
    Ok(limit)
}

/// Times of more than 584 years are cut to that.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn within<T: PartialOrd + fmt::Display>(
    field: &str,
    value: T,
    range: RangeInclusive<T>,
) -> io::Result<()> {
    let remedy = if value < *range.start() {
        format!("too small; set at least {}", range.start())
    } else if value > *range.end() {
        format!("too big; set at most {}", range.end())
    } else {
        return Ok(());
    };
    Err(invalid(format!(
        "Config::{field} is {value}, which is {remedy}"
    )))
}

fn power_of_two(field: &str, value: u16) -> io::Result<()> {
    if value.is_power_of_two() {
        return Ok(());
    }
    // The value is above 2 and at most 32,768: both neighbours exist.
    let above = value.next_power_of_two();
    Err(invalid(format!(
        "Config::{field} is {value}, which is not a power of two, as the kernel's ring of buffers \
         must be; set {} or {above}",
        above / 2
    )))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Over all shards; at the top their slots alone take 16 GiB.
const CONNECTIONS: RangeInclusive<usize> = 1..=1 << 24;
/// At the top more threads than machines have cores.
const SHARDS: RangeInclusive<usize> = 1..=1024;
/// Likewise; workers that block may outnumber cores.
const WORKERS: RangeInclusive<usize> = 1..=4096;
/// Without a single poll even a class that is always slow would come to the shard.
const INLINE_STREAK: RangeInclusive<u32> = 1..=u32::MAX;
/// What `listen` takes.
const BACKLOG: RangeInclusive<u32> = 1..=i32::MAX as u32;
/// At the top the kernel's limit for one ring of provided buffers.
const RECV_BUFFERS: RangeInclusive<u16> = 1..=32_768;
/// Below the bottom a buffer costs more to manage than it holds.
const RECV_BUFFER_BYTES: RangeInclusive<u32> = 64..=16 << 20;
const WRITE_BUFFER_BYTES: RangeInclusive<usize> = 64..=16 << 20;
/// A shard's buffers are to suffice for so many answers at once.
const SENDS_MIN: usize = 20;
/// At the top more than machines have.
const BUFFERED_BYTES_MAX: usize = 1 << 50;
/// At the bottom room for a request line and a host.
const HEAD_BYTES: RangeInclusive<usize> = 64..=64 << 20;
/// At the top what a `HeaderMap` takes.
const HEADERS: RangeInclusive<usize> = 1..=24_576;
/// At the top what an `http::Uri` takes.
const URI_BYTES: RangeInclusive<usize> = 1..=65_534;
/// At the bottom none at all.
const CHUNK_EXTENSION_BYTES: RangeInclusive<usize> = 1..=64 << 20;
/// At the bottom an empty section.
const TRAILER_BYTES: RangeInclusive<usize> = 3..=64 << 20;
const WINDOW_BYTES: RangeInclusive<usize> = 1..=1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: Config) -> Limits {
        config.into_limits_on(&[0, 1, 4, 5], None).unwrap()
    }

    fn refusal(config: Config) -> String {
        let error = config.into_limits_on(&[0, 1, 4, 5], None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        error.to_string()
    }

    #[test]
    fn the_defaults_are_valid_on_this_machine() {
        let limits = Config::default().into_limits().unwrap();
        assert_eq!(limits.shards, cpus::usable().len());
        assert_eq!(limits.head_timeout_ns, Some(30_000_000_000));
        assert_eq!(limits.shutdown_timeout_ns, None);
    }

    #[test]
    fn connections_are_shared_out_and_never_exceed_the_total() {
        assert_eq!(limits(Config::default()).connections_max, 16_384);
        let uneven = limits(Config::default().shards(3).connections_max(100));
        assert_eq!(uneven.connections_max, 33);
        let few = limits(Config::default().connections_max(2));
        assert_eq!((few.shards, few.connections_max), (2, 1));
    }

    #[test]
    fn counts_out_of_range_are_refused_by_name_with_the_remedy() {
        assert_eq!(
            refusal(Config::default().shards(0)),
            "Config::shards is 0, which is too small; set at least 1"
        );
        assert_eq!(
            refusal(Config::default().uri_bytes_max(65_535)),
            "Config::uri_bytes_max is 65535, which is too big; set at most 65534"
        );
        assert_eq!(
            refusal(Config::default().shards(4).connections_max(3)),
            "Config::connections_max is 3, which is less than one for each of 4 shards; \
             set at least 4, or fewer shards"
        );
        assert_eq!(
            refusal(Config::default().recv_buffers(300)),
            "Config::recv_buffers is 300, which is not a power of two, as the kernel's ring of \
             buffers must be; set 256 or 512"
        );
    }

    #[test]
    fn no_count_may_be_zero_or_huge() {
        let zeros = [
            Config::default().workers(0),
            Config::default().connections_max(0),
            Config::default().backlog(0),
            Config::default().recv_buffers(0),
            Config::default().recv_buffer_bytes(0),
            Config::default().write_buffer_bytes(0),
            Config::default().buffered_bytes_max(0),
            Config::default().head_bytes_max(0),
            Config::default().headers_max(0),
            Config::default().uri_bytes_max(0),
            Config::default().chunk_extension_bytes_max(0),
            Config::default().trailer_bytes_max(0),
            Config::default().trailers_max(0),
            Config::default().pipelined_bytes_max(0),
            Config::default().request_window_bytes(0),
            Config::default().response_window_bytes(0),
            Config::default().inline_streak(0),
        ];
        for config in zeros {
            assert!(refusal(config).contains("too small"));
        }
        let huge = [
            Config::default().shards(usize::MAX),
            Config::default().workers(usize::MAX),
            Config::default().connections_max(usize::MAX),
            Config::default().backlog(u32::MAX),
            Config::default().recv_buffers(u16::MAX),
            Config::default().recv_buffer_bytes(u32::MAX),
            Config::default().write_buffer_bytes(usize::MAX),
            Config::default().buffered_bytes_max(usize::MAX),
            Config::default().head_bytes_max(usize::MAX),
            Config::default().headers_max(usize::MAX),
            Config::default().chunk_extension_bytes_max(usize::MAX),
            Config::default().trailer_bytes_max(usize::MAX),
            Config::default().trailers_max(usize::MAX),
            Config::default().pipelined_bytes_max(usize::MAX),
            Config::default().request_window_bytes(usize::MAX),
            Config::default().response_window_bytes(usize::MAX),
        ];
        for config in huge {
            assert!(refusal(config).contains("too big"));
        }
    }

    #[test]
    fn none_means_off_and_zero_means_zero_where_zero_makes_sense() {
        let off = limits(
            Config::default()
                .head_timeout(None)
                .keep_alive_timeout(None)
                .write_timeout(None)
                .linger_timeout(Duration::ZERO)
                .shutdown_timeout(Duration::ZERO),
        );
        assert_eq!(off.head_timeout_ns, None);
        assert_eq!(off.keep_alive_timeout_ns, None);
        assert_eq!(off.write_timeout_ns, None);
        assert_eq!(off.linger_timeout_ns, 0);
        assert_eq!(off.shutdown_timeout_ns, Some(0));
        assert_eq!(
            refusal(Config::default().write_timeout(Duration::ZERO)),
            "Config::write_timeout is zero, which would close every connection at once; \
             set None to turn it off, or a longer time"
        );
        assert!(refusal(Config::default().head_timeout(Duration::ZERO)).contains("head_timeout"));
        let forever = limits(Config::default().keep_alive_timeout(Duration::MAX));
        assert_eq!(forever.keep_alive_timeout_ns, Some(u64::MAX));
    }

    #[test]
    fn the_environment_overrides_the_backend() {
        let backend = |value: Option<&str>| {
            let config = Config::default().backend(BackendChoice::IoUring);
            config
                .into_limits_on(&[0], value)
                .map(|limits| limits.backend)
        };
        assert_eq!(backend(None).unwrap(), BackendChoice::IoUring);
        assert_eq!(backend(Some("")).unwrap(), BackendChoice::IoUring);
        assert_eq!(backend(Some("auto")).unwrap(), BackendChoice::Auto);
        assert_eq!(backend(Some("hyper")).unwrap(), BackendChoice::Hyper);
        assert_eq!(
            backend(Some("epoll")).unwrap_err().to_string(),
            "the environment variable ZERO_BACKEND is \"epoll\", which names no backend; \
             set it to auto, io_uring or hyper, or unset it"
        );
    }

    #[test]
    fn shards_are_bound_as_asked() {
        let cores =
            |pin, shards| limits(Config::default().pin_shards(pin).shards(shards)).shard_cores;
        assert_eq!(cores(Toggle::Off, 2), None);
        assert_eq!(cores(Toggle::On, 2), Some(vec![0, 1]));
        assert_eq!(cores(Toggle::On, 5), Some(vec![0, 1, 4, 5, 0]));
        assert_eq!(cores(Toggle::Auto, 4), Some(vec![0, 1, 4, 5]));
        assert_eq!(cores(Toggle::Auto, 5), None);
    }

    #[test]
    fn memory_is_the_sum_of_its_terms() {
        let memory = limits(Config::default().shards(2)).memory();
        assert_eq!(memory.fixed_bytes, 256 * (16_384 + RECV_STAGGER_BYTES));
        assert_eq!(memory.per_connection_bytes_min, 1024);
        let spares = 256 * 65_536 + 64 * 65_536 + 1_048_576;
        let fixed = memory.fixed_bytes + 256 * 16_384 + spares;
        assert_eq!(memory.fixed_bytes_max, fixed);
        let busy = 1024 + 16_384 + 200 * 160 + 16_384 + 8192 + 3 * 16_384;
        assert_eq!(memory.per_connection_bytes_max, busy);
        assert_eq!(
            memory.total_bytes_max,
            2 * fixed + 65_536 * busy + 1_073_741_824
        );
        assert_eq!(
            memory.to_string(),
            "2 shards of 4 MiB to 29 MiB each, 65536 connections of 1 KiB (idle) to 120.2 KiB each, \
             1 GiB for what they buffer: 72.1 MiB all idle, never over 8.5 GiB"
        );
    }

    #[test]
    fn buffers_are_shared_out_and_must_do_for_a_few_answers() {
        let config = || Config::default().shards(2).write_buffer_bytes(1000);
        assert_eq!(
            limits(config().buffered_bytes_max(40_000)).buffered_bytes_max,
            20_000
        );
        assert_eq!(
            refusal(config().buffered_bytes_max(39_999)),
            "Config::buffered_bytes_max is 39999, which is too small; set at least 40000"
        );
    }

    #[test]
    fn marks_of_overload_ascend() {
        let percents = |warning, critical, drain| {
            Config::default()
                .overload_warning_percent(warning)
                .overload_critical_percent(critical)
                .overload_drain_percent(drain)
        };
        let marks = limits(percents(6, 7, 100)).overload;
        assert_eq!((marks.warning, marks.critical, marks.drain), (6, 7, 100));
        assert_eq!(
            refusal(percents(5, 7, 100)),
            "Config::overload_warning_percent is 5, which is too small; set at least 6"
        );
        assert!(refusal(percents(60, 80, 101)).contains("too big; set at most 100"));
        for (warning, critical, drain) in [(80, 80, 95), (60, 95, 95), (90, 80, 70)] {
            assert!(refusal(percents(warning, critical, drain)).contains("do not ascend"));
        }
    }

    #[test]
    fn the_largest_limits_add_up_without_overflow() {
        let memory = limits(
            Config::default()
                .shards(*SHARDS.end())
                .connections_max(*CONNECTIONS.end())
                .recv_buffers(*RECV_BUFFERS.end())
                .recv_buffer_bytes(*RECV_BUFFER_BYTES.end())
                .write_buffer_bytes(*WRITE_BUFFER_BYTES.end())
                .buffered_bytes_max(BUFFERED_BYTES_MAX)
                .head_bytes_max(*HEAD_BYTES.end())
                .headers_max(*HEADERS.end())
                .request_window_bytes(*WINDOW_BYTES.end())
                .response_window_bytes(*WINDOW_BYTES.end()),
        )
        .memory();
        assert!(memory.total_bytes_max > memory.total_bytes_min);
        assert!(memory.to_string().contains("TiB"));
    }

    #[test]
    fn bytes_are_shown_in_their_largest_unit() {
        let shown = |bytes| Bytes(bytes).to_string();
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(1536), "1.5 KiB");
        assert_eq!(shown(u64::MAX), "15.9 EiB");
    }
}
