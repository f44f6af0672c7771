//! The input of a protocol's event is lent until the shard is polled.

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
    if let Some(happened) = shard.next_event() {
        shard.poll(None).unwrap(); //~ E0499
        println!("{}", happened.input.len());
    }
}
