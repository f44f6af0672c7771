//! The parts of a request's way, each alone: what `micro` times and what `icount` counts.
//!
//! An operation can be repeated, and what it needs is made beforehand. To add one, add it to [`parts()`] or
//! to [`layers()`]. Knows nothing of sockets.

mod layers;
#[cfg(feature = "zero")]
mod parts;

use std::fmt;

pub use layers::{layers, response_head, rivals};
#[cfg(feature = "zero")]
pub use parts::parts;

use crate::scenario;

/// Something that is done to every request, or for it.
pub struct Op {
    /// What it is called: a group, a slash, and which of it.
    pub name: &'static str,
    prepare: Box<dyn Fn(usize) -> Run>,
}

/// An operation with all it needs, so many times over.
pub type Run = Box<dyn FnOnce()>;

impl Op {
    /// Names what `prepare` makes ready.
    pub fn new(name: &'static str, prepare: impl Fn(usize) -> Run + 'static) -> Self {
        Op {
            name,
            prepare: Box::new(prepare),
        }
    }

    /// Makes ready what is needed to do it so many times.
    pub fn prepare(&self, times: usize) -> Run {
        (self.prepare)(times)
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Op").field(&self.name).finish()
    }
}

/// All of them.
#[cfg(feature = "zero")]
pub fn all() -> Vec<Op> {
    let mut ops = parts();
    ops.extend(layers());
    ops
}

/// A request of a browser, with its nine header fields, as it is sent.
///
/// # Panics
/// If the list of scenarios has lost it.
pub fn browser_request() -> Vec<u8> {
    request_of("hdr64")
}

/// The smallest request, as it is sent.
///
/// # Panics
/// If the list of scenarios has lost it.
pub fn plain_request() -> Vec<u8> {
    request_of("plain64")
}

fn request_of(scenario: &str) -> Vec<u8> {
    let scenario = scenario::find(scenario).expect("in the list");
    scenario.request("127.0.0.1:3000")
}

/// Makes spans and events what they are in most servers: filtered out below INFO, and shown nowhere.
pub fn silence() {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt as _;

    let subscriber = tracing_subscriber::registry().with(LevelFilter::INFO);
    // Fails if it was done before, which is as good.
    let _ = tracing_subscriber::util::SubscriberInitExt::try_init(subscriber);
}
