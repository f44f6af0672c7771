//! Nor is it changed in place.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let mut slot = pool.take().unwrap().reserve();
    slot.put_slice(b"hi");
    let mut slot = slot.commit();
    slot[0] = b'!'; //~ E0594
}
