//! A slot is written while it is reserved, not before.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let mut slot = pool.take().unwrap();
    slot.put_slice(b"hi"); //~ E0599
}
