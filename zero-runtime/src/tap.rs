//! The application's hook on every accepted socket. Knows no rings and no protocols.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use socket2::SockRef;

use crate::addr::EndpointId;

type Hook = dyn Fn(SockRef<'_>, EndpointId) + Send + Sync;

/// What is done to each connection's socket before anything is read from it.
#[derive(Clone)]
pub struct Tap(Arc<Hook>);

/// The hook panicked: nothing is known of what it did, so the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TapPanicked;

impl Tap {
    pub(crate) fn new(hook: impl Fn(SockRef<'_>, EndpointId) + Send + Sync + 'static) -> Self {
        Tap(Arc::new(hook))
    }

    /// Calls the hook.
    ///
    /// # Errors
    /// When it panics.
    pub fn call(&self, socket: SockRef<'_>, endpoint: EndpointId) -> Result<(), TapPanicked> {
        let called = catch_unwind(AssertUnwindSafe(|| (self.0)(socket, endpoint)));
        called.map_err(|_panic| TapPanicked)
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

impl fmt::Display for TapPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hook set by tap panicked")
    }
}

impl std::error::Error for TapPanicked {}
