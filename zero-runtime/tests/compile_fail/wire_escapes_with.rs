//! A connection is lent to a closure for its call.

use std::convert::Infallible;

use zero_runtime::ProtocolShard;
use zero_runtime::raw::{Opening, ProtocolHandler, Step, Wire};

struct Lines;

impl ProtocolHandler for Lines {
    type Conn = ();
    type Event = usize;
    type Order = Infallible;

    fn open(&mut self, _: &Opening, _: &mut Wire<'_>) {}

    fn handle_input(&mut self, (): &mut (), input: &[u8], _: &mut Wire<'_>) -> Step<usize> {
        Step::event(input.len(), input.len())
    }
}

fn main() {
    let mut shard = ProtocolShard::new(Default::default(), Lines).unwrap();
    let conn = shard.next_event().unwrap().conn;
    let mut kept = None;
    shard.with(conn, |_, (), wire| kept = Some(wire)); //~ E0521
    drop(kept);
}
