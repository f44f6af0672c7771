//! What is lent does not outlive its shard.

use zero_runtime::RawShard;
use zero_runtime::raw::Event;

fn main() {
    let mut shard = RawShard::new(Default::default()).unwrap();
    let event = shard.next_event();
    drop(shard); //~ E0505
    if let Some(Event::Body { data, .. }) = event {
        println!("{}", data.len());
    }
}
