//! Input that is lent to a closure stays in it.

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
    let mut kept: &[u8] = &[];
    shard.with_input(conn, |(), _, input| kept = input); //~ E0521
    println!("{}", kept.len());
}
