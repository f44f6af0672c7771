//! Names an operation in the 64 bits the kernel hands back: kind 8 | generation 24 | index 32.

use crate::slots::Key;

/// What kind of operation a completion belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Accept = 1,
    Recv = 2,
    RecvInto = 3,
    Send = 4,
    Wake = 5,
    Cancel = 6,
    Alarm = 7,
    Watch = 8,
    Connect = 9,
}

/// The name of an operation: for [`Kind::Accept`] the index is a listener's, else a connection's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OpName {
    pub(super) kind: Kind,
    pub(super) key: Key,
}

impl OpName {
    pub(super) fn new(kind: Kind, key: Key) -> Self {
        OpName { kind, key }
    }

    pub(super) fn encode(self) -> u64 {
        debug_assert!(self.key.generation < 1 << 24);
        (self.kind as u64) << 56 | u64::from(self.key.generation) << 32 | u64::from(self.key.index)
    }

    /// # Panics
    /// When the kernel hands back what [`encode`](Self::encode) never made.
    pub(super) fn decode(user_data: u64) -> Self {
        let kind = match user_data >> 56 {
            1 => Kind::Accept,
            2 => Kind::Recv,
            3 => Kind::RecvInto,
            4 => Kind::Send,
            5 => Kind::Wake,
            6 => Kind::Cancel,
            7 => Kind::Alarm,
            8 => Kind::Watch,
            9 => Kind::Connect,
            other => panic!("a completion of unknown kind {other}"),
        };
        let key = Key {
            index: user_data as u32,
            generation: (user_data >> 32) as u32 & 0x00ff_ffff,
        };
        OpName { kind, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_round_trip() {
        for kind in [
            Kind::Accept,
            Kind::Recv,
            Kind::RecvInto,
            Kind::Send,
            Kind::Wake,
            Kind::Cancel,
            Kind::Alarm,
            Kind::Watch,
        ] {
            for (index, generation) in [(0, 0), (u32::MAX, 0x00ff_ffff), (7, 9)] {
                let name = OpName::new(kind, Key { index, generation });
                assert_eq!(OpName::decode(name.encode()), name);
            }
        }
    }
}
