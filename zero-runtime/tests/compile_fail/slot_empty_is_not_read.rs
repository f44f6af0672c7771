//! A slot that was only taken is not read.

use zero_runtime::raw::SlotPool;

fn main() {
    let pool = SlotPool::new(1, 64);
    let slot = pool.take().unwrap();
    println!("{}", slot[0]); //~ E0608
}
