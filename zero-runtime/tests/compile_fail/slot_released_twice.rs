//! A slot is released once.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve().commit();
    slot.release();
    slot.release(); //~ E0382
}
