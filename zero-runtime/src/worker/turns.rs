//! Lets workers give their core to the shard that shares it, instead of sleeping where the next packet
//! wakes them to interrupt it.

use std::sync::Arc;

use crate::bridge::inbox::Inbox;

/// Turns without a handler to poll after which the workers sleep as usual.
const IDLE_MAX: u32 = 2;

/// Gives the core away whenever the workers have nothing else to do, as long as the shard of `inbox` is
/// awake and handlers come back. [`Turns::begin`](crate::bridge::turns::Turns::begin) has allowed it.
pub(super) fn take(inbox: Arc<Inbox>) -> impl Future<Output = ()> + Send {
    // Also when the runtime drops this, which it may do before it is polled.
    go_on(Ends(inbox))
}

async fn go_on(ends: Ends) {
    let turns = ends.0.crowd().turns();
    let mut idle = 0;
    while idle < IDLE_MAX {
        idle += 1;
        // Comes back once the runtime's driver has been looked at, and then before those whom it has
        // woken: they are to be polled first.
        tokio::task::yield_now().await;
        while turns.take_woken() {
            idle = 0;
            tokio::task::yield_now().await;
        }
        if turns.is_suspended() || !ends.0.wakeup().is_awake() {
            return;
        }
        std::thread::yield_now();
    }
}

struct Ends(Arc<Inbox>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.crowd().turns().end();
    }
}
