//! A buffer to send from is read once it is frozen: what lies in its memory is of former users.

fn main() {
    let buffer = zero_runtime::SendBuffer::with_capacity(64);
    println!("{}", buffer[0]); //~ E0608
}
