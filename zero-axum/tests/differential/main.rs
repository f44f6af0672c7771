//! The same bytes to `axum::serve` and to us: what comes back must be the same, but for dates, and so
//! must be how the connection ends.
//!
//! `play` puts bytes on a wire and notes what comes back; `app` is what both serve; the others are
//! what is played. What may differ, and why, is in DIFFERENCES.md; it is not played here, or `play`
//! says how it is compared.

#[path = "../support/mod.rs"]
mod support;

mod app;
mod cut;
mod generated;
mod mutations;
mod play;
mod requests;
mod rng;
mod scripted;
mod strict;
mod timed;
