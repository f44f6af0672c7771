//! A slot is not read before it was committed: it may hold bytes of a former user.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve();
    println!("{}", slot.len()); //~ E0599
}
