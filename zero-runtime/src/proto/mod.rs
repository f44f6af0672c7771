//! Protocol machines: bytes go in, events and bytes come out. Knows no socket, clock or pool.

pub mod date;
pub mod h1;
pub mod step;

pub use step::{Next, Step};
