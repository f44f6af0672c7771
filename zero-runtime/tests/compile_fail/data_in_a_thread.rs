//! Data of a stream does not leave for another thread, unless it is taken out.

use zero_runtime::RawShard;
use zero_runtime::raw::Event;

fn main() {
    let mut shard = RawShard::new(Default::default()).unwrap();
    if let Some(Event::Data { data, .. }) = shard.next_event() { //~ E0597
        std::thread::spawn(move || println!("{}", data.len()));
    }
}
