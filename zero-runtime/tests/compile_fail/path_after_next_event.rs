//! What was read of a request is lent for no longer than the request.

use zero_runtime::RawShard;
use zero_runtime::raw::Event;

fn main() {
    let mut shard = RawShard::new(Default::default()).unwrap();
    let mut path = "";
    if let Some(Event::Request { request, .. }) = shard.next_event() {
        path = request.path();
    }
    drop(shard.next_event()); //~ E0499
    println!("{path}");
}
