//! Data of a stream is lent: nothing else is asked of the shard meanwhile.

use zero_runtime::RawShard;
use zero_runtime::raw::Event;

fn main() {
    let mut shard = RawShard::new(Default::default()).unwrap();
    if let Some(Event::Data { conn, data }) = shard.next_event() {
        shard.close(conn); //~ E0499
        println!("{}", data.len());
    }
}
