//! A call that waits where nobody polls it, until its waker fires.
//!
//! A handler whose first poll on a shard is pending is left there, with a waker of its own: whoever
//! calls that, as a rule a worker of the runtime that has seen the I/O or the timer, makes a task of it
//! on the spot. So nothing crosses threads until there is something to do, and it is not polled once
//! more in vain. A shard that no longer wants the reply calls the same waker, and the task drops the
//! handler.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::{Detached, Spawn, turns};
use crate::bridge::baton::Baton;
use crate::bridge::handshake::Parking;
use crate::service::HttpService;

/// Where one call is polled first, and waits.
pub(crate) struct Place<S: HttpService, X: Spawn> {
    parked: Arc<Parked<S, X>>,
    waker: Waker,
}

struct Parked<S: HttpService, X: Spawn> {
    word: Parking,
    call: Baton<Option<Detached<S>>>,
    spawn: X,
}

impl<S: HttpService, X: Spawn> Place<S, X> {
    pub(crate) fn new(spawn: X) -> Self {
        let parked = Arc::new(Parked {
            word: Parking::new(),
            call: Baton::new(None),
            spawn,
        });
        Place {
            waker: Waker::from(parked.clone()),
            parked,
        }
    }

    /// The waker to poll the call with.
    #[inline]
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Leaves the call here until the waker is called; if it was already, makes a task of it at once.
    pub(crate) fn park(self, call: Detached<S>) {
        let Place { parked, waker } = self;
        // The shard's end calls this one, too, when it loses interest.
        call.reply.register(&waker);
        parked.call.with(|place| *place = Some(call));
        if !parked.word.park() {
            parked.go_on();
        }
    }

    /// Makes the place ready for another call, if nobody but us knows it: the former was not pending.
    #[inline]
    pub(crate) fn renew(self) -> Option<Self> {
        // More than ours and the waker's.
        let is_known = Arc::strong_count(&self.parked) > 2;
        self.parked.word.renew_unless(is_known).then_some(self)
    }
}

impl<S: HttpService, X: Spawn> Parked<S, X> {
    /// Makes a task of the call.
    fn go_on(&self) {
        if let Some(call) = self.call.with(Option::take) {
            let inbox = call.reply.inbox();
            let turns = inbox.crowd().begins_turns().then(|| inbox.clone());
            inbox.crowd().turns().note_woken();
            self.spawn.spawn(call);
            if let Some(inbox) = turns {
                self.spawn.spawn(turns::take(inbox));
            }
        }
    }
}

impl<S: HttpService, X: Spawn> Wake for Parked<S, X> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.word.unpark() {
            self.go_on();
        }
    }
}
