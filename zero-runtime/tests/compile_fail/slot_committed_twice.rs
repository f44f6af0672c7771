//! A slot is committed once.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve();
    drop(slot.commit());
    drop(slot.commit()); //~ E0382
}
