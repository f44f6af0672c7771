//! Nor as what only a committed slot becomes.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve();
    let bytes = bytes::Bytes::from(slot); //~ E0277
    println!("{}", bytes.len());
}
