//! Short stories about the machine: what a peer sends, what is made of it, what it is answered.

mod pair;
mod plain;
mod random;
mod reading;
mod smuggling;
mod strict;
mod turns;
mod writing;
