//! A slot that was released is gone.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve().commit();
    slot.release();
    println!("{}", slot.len()); //~ E0382
}
