//! What a fuzzer may ask of the protocol machine: one function a target, which takes any bytes and
//! panics if the machine breaks a promise.
//!
//! No public API: there for `fuzz/`, which builds this crate with `--cfg fuzzing`, and for the tests,
//! which play the corpus, and a little noise, in every run.
#![allow(missing_docs, reason = "no public API")]

mod chunked;
mod dice;
mod head;
mod machine;
mod response;
#[cfg(test)]
mod tests;

pub use chunked::chunked;
pub use head::head;
pub use machine::machine;
pub use response::response;
