//! How much of a raw shard's slots is in use.

/// The slots that events' bytes are taken out into, and no other memory of the shard: what that is, and where it
/// is counted, is at [`RawShard::pool_stats`](crate::RawShard::pool_stats).
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolStats {
    /// How many there are.
    pub slots: usize,
    /// How many could be taken now.
    pub slots_free: usize,
    /// The size of each, in bytes.
    pub slot_bytes: usize,
}

impl PoolStats {
    /// How near to their end they are.
    pub fn pressure(&self) -> Pressure {
        let used = self.slots - self.slots_free;
        match used * 100 {
            used if used <= 60 * self.slots => Pressure::Healthy,
            used if used <= 80 * self.slots => Pressure::Warning,
            used if used <= 95 * self.slots => Pressure::Critical,
            _ => Pressure::Drain,
        }
    }
}

/// How much of a pool is in use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Pressure {
    /// At most 60 %.
    Healthy,
    /// At most 80 %: take out less, give back sooner.
    Warning,
    /// At most 95 %: pause streams.
    Critical,
    /// More.
    Drain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_follows_use() {
        let at = |used: usize| {
            let stats = PoolStats {
                slots: 100,
                slots_free: 100 - used,
                slot_bytes: 1,
            };
            stats.pressure()
        };
        let states = [0, 60, 61, 80, 81, 95, 96, 100].map(at);
        use Pressure::*;
        assert_eq!(
            states,
            [
                Healthy, Healthy, Warning, Warning, Critical, Critical, Drain, Drain
            ]
        );
    }
}
