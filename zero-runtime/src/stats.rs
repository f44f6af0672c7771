//! What a shard counts, and what a user may read of it.
//!
//! Each shard writes its own counters and nobody else does, so counting costs a load and a store; but for the
//! two that are the workers'.

use std::sync::atomic::{AtomicU64, Ordering};

/// The one table of everything counted: both structs, the snapshot and the names come from it.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// A shard's counters. Only the shard's own thread may write them, those of workers' own writes aside; any
        /// thread may read.
        ///
        /// Aligned to two cache lines, so that no shard's counting slows another's.
        #[derive(Default, Debug)]
        #[repr(align(128))]
        pub struct ShardCounters {
            $($(#[doc = $doc])+ pub $name: Counter,)*
        }

        impl ShardCounters {
            /// Reads every counter. Each is exact; together they are of slightly different instants.
            pub fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* }.with_direct()
            }
        }

        /// What a server has counted since its start, summed over its shards.
        #[non_exhaustive]
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        impl Stats {
            /// Every count with its name, in the order of the fields: for metrics exporters.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Sums the counters of several shards.
            pub fn sum<'a>(shards: impl IntoIterator<Item = &'a ShardCounters>) -> Stats {
                let mut total = Stats::default();
                let (mut longest_ns, mut worst) = (0, 0);
                for shard in shards {
                    $(total.$name += shard.$name.get();)*
                    longest_ns = longest_ns.max(shard.inline_poll_ns_max.get());
                    worst = worst.max(shard.overload_level.get());
                }
                // The numbers whose sum says nothing.
                total.inline_poll_ns_max = longest_ns;
                total.overload_level = worst;
                total.with_direct()
            }

            /// A shard counts what it does itself.
            fn with_direct(mut self) -> Stats {
                self.responses += self.direct_replies;
                self.bytes_out += self.direct_bytes_out;
                self
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections_accepted,
    /// Connections that a shard accepted and left to another one, which had fewer.
    connections_given,
    /// Connections that changed their shard between two requests, because it had not the time for them.
    connections_moved,
    /// Times a shard stood by because it had to wait for its core: the others have its connections then.
    standbys,
    /// Times one was called back, because its core or its places were needed after all.
    standby_recalls,
    /// Shards that stand by now; goes up and down.
    shards_standing_by,
    /// Connections open now: goes down, too.
    connections_open,
    /// Request heads parsed.
    requests,
    /// Response heads written.
    responses,
    /// Of them, those that a worker wrote itself, because the shard slept; what the socket did not take at once,
    /// the shard sent.
    direct_replies,
    /// Of the bytes the kernel took for sending, those that workers gave it.
    direct_bytes_out,
    /// Times a shard had something to do on a connection on which a worker was answering, and put it off.
    loans_awaited,
    /// Bytes received.
    bytes_in,
    /// Bytes the kernel took for sending.
    bytes_out,
    /// Calls of `io_uring_enter`.
    enters,
    /// Sends asked of the kernel.
    sends,
    /// Receives that ended because the ring's buffers were all out (ENOBUFS).
    recv_starved,
    /// Times accepting was put off because descriptors or memory ran out (EMFILE, ENFILE, ...).
    accept_backoffs,
    /// Times the completion queue overflowed into the kernel's own list.
    cq_overflows,
    /// Calls of `io_uring_enter` repeated after EAGAIN, EBUSY or EINTR.
    enter_retries,
    /// Sends that took less than was asked.
    short_sends,
    /// Completions and replies for connections already gone.
    late_completions,
    /// Times another thread woke the shard from its sleep.
    wakes,
    /// Times a shard spun for news, and there was some.
    spins_found,
    /// Times it spun and had to sleep after all.
    spins_in_vain,
    /// Polls on a shard that seemed long only because it had lost its core to somebody else meanwhile.
    polls_excused,
    /// Times a shard that shares its core with workers gave it to one that waited for it.
    turns_given,
    /// Handlers that panicked, and what else of the application did: make services, taps.
    handler_panics,
    /// Handlers dropped before they were done, because their peer had gone.
    handlers_cancelled,
    /// Classes of requests that are first polled on their shard; goes up and down.
    classes_inline,
    /// Classes of requests that are first polled on workers; goes up and down.
    classes_on_workers,
    /// Times a class of requests came to its shard.
    promotions,
    /// Times a class of requests was sent back to the workers for a long poll.
    demotions,
    /// First polls that held a shard up for longer than `Config::stall_min`; only `Dispatch::Adaptive`
    /// times them.
    stalls,
    /// Of first polls on a shard that took longer than `Config::inline_poll_max` or `Config::stall_min`, the
    /// longest, in nanoseconds; 0 if none has. Of all shards, the longest; only `Dispatch::Adaptive` times
    /// them.
    inline_poll_ns_max,
    /// Handlers that were pending after their first poll and moved to a worker.
    handlers_detached,
    /// Orders of other threads to a raw shard's connections that were gone, or not open yet.
    orders_dropped,
    /// Requests refused because they were malformed or over a limit.
    parse_errors,
    /// Of them, those whose head was too long or had too many fields (431).
    heads_too_large,
    /// Of them, those whose target was too long (414).
    targets_too_long,
    /// Of them, bodies whose chunk extensions or trailers went over a limit.
    bodies_over_limits,
    /// Connections that had their last request by `Config::requests_per_connection_max`.
    connections_used_up,
    /// Times a connection was not read because too much of later requests had come already.
    pipeline_pauses,
    /// Connections closed for a head that did not come in time.
    timeouts_head,
    /// Idle connections closed.
    timeouts_keep_alive,
    /// Request bodies that came too slowly; their connections were closed.
    timeouts_body,
    /// Requests whose response did not begin in time; answered 503, their connections closed.
    timeouts_request,
    /// Connections refused because their peer had too many.
    peers_over_limit,
    /// Connections closed because the peer took no byte in time.
    timeouts_write,
    /// Bodies, of requests or responses, that ended in an error.
    bodies_failed,
    /// Times receiving was paused because a handler did not read its request's body.
    body_pauses,
    /// Times accepting was paused because the shard's connections were all in use.
    accept_paused_full,
    /// Bytes mapped for receive buffers on ordinary pages; touched as they are needed.
    recv_bytes_on_pages,
    /// Bytes mapped for them on pages that the kernel may join to huge ones.
    recv_bytes_on_transparent_huge_pages,
    /// Bytes mapped for them on huge pages that were reserved (`vm.nr_hugepages`).
    recv_bytes_on_huge_pages,
    /// Bytes that connections hold for their peers and handlers; goes up and down.
    buffered_bytes,
    /// How short the worst-off shard is of connections or buffers: 0 healthy, 1 warning, 2 critical,
    /// 3 drain; goes up and down.
    overload_level,
    /// Times a shard's connections or buffers reached the level of a warning.
    overload_warnings,
    /// Times they became critical.
    overload_criticals,
    /// Times next to nothing of them was left.
    overload_drains,
    /// Times they went back by one level.
    overload_recoveries,
    /// Idle connections closed to make place for others.
    shed_idle,
    /// Connections closed to make place or room because no whole head had come for a second.
    shed_silent,
    /// Connections reset to make room because their peers had taken next to nothing for a second.
    shed_stalled,
    /// Times a long head was kept waiting because buffers were short.
    heads_paused,
    /// Connections that left their shard: upgraded, or speaking HTTP/2 from the start.
    connections_handed_over,
    /// Workers added because the others were busy or blocked.
    relief_workers,
}

/// A number one thread writes and any thread may read.
///
/// Two threads writing the same counter would lose counts, nothing worse.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`, wrapping.
    #[inline]
    pub fn add(&self, n: u64) {
        // Relaxed: a count publishes nothing but itself. With one writer load and store are enough,
        // and far cheaper than a locked add.
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds `n`, where several threads count, and nobody by [`add`](Self::add).
    #[inline]
    pub fn add_shared(&self, n: u64) {
        // Relaxed: as above.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Puts a number in place of the present one: for gauges.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Takes one off: for gauges.
    ///
    /// # Panics
    /// In debug builds, when the gauge is at zero.
    #[inline]
    pub fn decrement(&self) {
        let count = self.0.load(Ordering::Relaxed);
        debug_assert!(count > 0, "a gauge never goes below zero");
        self.0.store(count.wrapping_sub(1), Ordering::Relaxed);
    }

    /// The present count.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_was_counted() {
        let counters = ShardCounters::default();
        counters.requests.increment();
        counters.bytes_in.add(41);
        counters.bytes_in.increment();
        counters.connections_open.add(2);
        counters.connections_open.decrement();
        let stats = counters.snapshot();
        assert_eq!(stats.requests, 1);
        assert_eq!(stats.bytes_in, 42);
        assert_eq!(stats.connections_open, 1);
        assert_eq!(stats.responses, 0);
    }

    #[test]
    fn shards_are_summed_field_by_field() {
        let shards = [ShardCounters::default(), ShardCounters::default()];
        shards[0].sends.add(3);
        shards[1].sends.add(4);
        shards[1].wakes.increment();
        let stats = Stats::sum(&shards);
        assert_eq!((stats.sends, stats.wakes), (7, 1));
        assert_eq!(Stats::sum(&shards[..1]), shards[0].snapshot());
        assert_eq!(stats.iter().map(|(_, count)| count).sum::<u64>(), 8);
        assert!(stats.iter().any(|named| named == ("sends", 7)));
    }

    #[test]
    fn another_thread_reads_while_the_shard_counts() {
        let counters = ShardCounters::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10_000).for_each(|_| counters.requests.increment()));
            let mut before = 0;
            while before < 10_000 {
                let now = counters.requests.get();
                assert!(now >= before);
                before = now;
            }
        });
    }

    #[test]
    fn two_shards_never_share_a_cache_line() {
        assert_eq!(align_of::<ShardCounters>(), 128);
        assert_eq!(size_of::<ShardCounters>() % 128, 0);
    }
}
