//! A raw shard stays in the thread that made it.

fn main() {
    let shard = zero_runtime::RawShard::new(Default::default()).unwrap();
    std::thread::spawn(move || drop(shard)); //~ E0277
}
