//! Data of a stream is lent until the shard is polled.

use zero_runtime::RawShard;
use zero_runtime::raw::Event;

fn main() {
    let mut shard = RawShard::new(Default::default()).unwrap();
    if let Some(Event::Data { data, .. }) = shard.next_event() {
        shard.poll(None).unwrap(); //~ E0499
        println!("{}", data.len());
    }
}
