//! The load generator: one thread on one io_uring, in a closed loop or at a fixed rate.
//!
//! Every response is verified: its status and length always, its body in each connection's first and,
//! where it is short, always. See [`Plan`] for what can be asked and [`Outcome`] for what is told.

mod conn;
mod engine;
pub mod idle;
pub mod outcome;
pub mod plan;
pub mod probe;
pub mod response;

use crate::args::Failure;

pub use engine::Moment;
pub use outcome::{LatencySummary, Outcome};
pub use plan::{Exchange, Pace, Plan, Reply};

/// Loads a server as `plan` says, from this thread, and calls `observe` at the moments between which
/// everything is counted.
///
/// # Errors
/// When the plan cannot be carried out, the server cannot be reached, or every connection to it fails.
/// Single failures are part of the [`Outcome`].
pub fn run(plan: &Plan, mut observe: impl FnMut(Moment)) -> Result<Outcome, Failure> {
    engine::Engine::new(plan)?.run(&mut observe)
}
