//! A request is lent until the next event is asked for.

use zero_runtime::RawShard;
use zero_runtime::raw::Event;

fn main() {
    let mut shard = RawShard::new(Default::default()).unwrap();
    if let Some(Event::Request { request, .. }) = shard.next_event() {
        drop(shard.next_event()); //~ E0499
        println!("{}", request.path());
    }
}
