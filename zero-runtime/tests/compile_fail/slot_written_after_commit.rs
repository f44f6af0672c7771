//! What was committed is final.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let mut slot = pool.take().unwrap().reserve().commit();
    slot.put_slice(b"hi"); //~ E0599
}
