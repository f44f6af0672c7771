//! Data of a stream is lent until the next event is asked for.

use zero_runtime::RawShard;
use zero_runtime::raw::Event;

fn main() {
    let mut shard = RawShard::new(Default::default()).unwrap();
    if let Some(Event::Data { data, .. }) = shard.next_event() {
        drop(shard.next_event()); //~ E0499
        println!("{}", data.len());
    }
}
