//! What is borrowed from a slot is not kept beyond its release.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap().reserve().commit();
    let bytes = &slot[..];
    slot.release(); //~ E0505
    println!("{}", bytes.len());
}
