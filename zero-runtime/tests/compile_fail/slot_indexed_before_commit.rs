//! Nor byte by byte.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve();
    println!("{}", slot[0]); //~ E0608
}
