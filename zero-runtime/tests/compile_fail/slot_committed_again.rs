//! What was committed is not committed again.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve().commit();
    drop(slot.commit()); //~ E0599
}
