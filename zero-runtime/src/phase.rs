//! What a server is doing, told to whoever has a part in its end: the application, and those who
//! hold connections that left the server. Knows no server, and keeps none alive.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// What a server is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Accepting and serving.
    Running,
    /// No longer accepting; requests in flight are finished.
    Draining,
    /// What is left is cut off.
    Terminating,
}

/// The phase of one server, and the count of its guests.
pub struct Phases {
    phase: watch::Sender<Phase>,
    /// The same as a number, for those who look every few microseconds.
    now: AtomicU8,
    guests: watch::Sender<usize>,
}

impl Phases {
    /// Of a server that is running, or about to.
    pub fn new() -> Arc<Self> {
        Arc::new(Phases {
            phase: watch::Sender::new(Phase::Running),
            now: AtomicU8::new(Phase::Running as u8),
            guests: watch::Sender::new(0),
        })
    }

    /// The present phase.
    #[inline]
    pub fn now(&self) -> Phase {
        // Pairs with the fetch_max in `advance`.
        match self.now.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::Terminating,
        }
    }

    /// Follows the phase.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Completes once the phase is `phase`, or past it.
    pub async fn until(&self, phase: Phase) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.watch().wait_for(|now| *now >= phase).await;
    }

    /// Goes on to `to`, then tells those who wait. Returns whether that is new: a phase never goes back.
    pub(crate) fn advance(&self, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            *phase = to.max(*phase);
            // Pairs with the load in `now`; before anybody is woken to look.
            self.now.fetch_max(to as u8, Ordering::AcqRel);
            forward
        })
    }

    /// Takes one more guest in.
    pub fn guest(self: &Arc<Self>) -> Guest {
        self.guests.send_modify(|guests| *guests += 1);
        Guest(Some(self.clone()))
    }

    /// Completes once no guest is left.
    pub(crate) async fn guests_gone(&self) {
        let _ = self
            .guests
            .subscribe()
            .wait_for(|guests| *guests == 0)
            .await;
    }
}

impl fmt::Debug for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phases")
            .field("now", &self.now())
            .field("guests", &*self.guests.borrow())
            .finish_non_exhaustive()
    }
}

/// Tells that a server is shutting down, so that what would go on for ever can end: an event
/// stream, a WebSocket, a long poll.
///
/// Had from [`Io::draining`](crate::Io::draining) before serving, for the application's state, or
/// from [`ShutdownHandle::draining`](crate::ShutdownHandle::draining). Clones tell the same. It keeps
/// no server alive; of one that is never started it tells nothing.
///
/// # Examples
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// let io = zero_runtime::Io::new(zero_runtime::Config::default())?;
/// let draining = io.draining();
/// let events = async move {
///     loop {
///         tokio::select! {
///             () = draining.begun() => break,
///             () = tokio::time::sleep(std::time::Duration::from_secs(1)) => { /* one more event */ }
///         }
///     }
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Draining(Arc<Phases>);

impl Draining {
    pub(crate) fn new(phases: Arc<Phases>) -> Self {
        Draining(phases)
    }

    /// Whether the server has begun to shut down.
    pub fn has_begun(&self) -> bool {
        self.0.now() >= Phase::Draining
    }

    /// Completes when the server begins to shut down; at once, if it has.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn begun(&self) {
        self.0.until(Phase::Draining).await;
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining")
            .field("has_begun", &self.has_begun())
            .finish()
    }
}

/// Held with a connection that its server no longer sees, such as a WebSocket's: while it is, a
/// server that has a shutdown timeout waits for the connection; and it tells when to cut that.
pub struct Guest(Option<Arc<Phases>>);

impl Guest {
    /// Of no server.
    pub(crate) fn nowhere() -> Self {
        Guest(None)
    }

    /// Whether the connection is to be closed now, whatever goes on on it.
    #[inline]
    pub fn is_cut(&self) -> bool {
        let phases = self.0.as_ref();
        phases.is_some_and(|phases| phases.now() == Phase::Terminating)
    }

    /// Completes when the connection is to be closed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let phases = self.0.clone();
        async move {
            match phases {
                Some(phases) => phases.until(Phase::Terminating).await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(phases) = &self.0 {
            phases.guests.send_modify(|guests| *guests -= 1);
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("is_cut", &self.is_cut())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_never_goes_back() {
        let phases = Phases::new();
        assert!(phases.advance(Phase::Terminating));
        assert!(!phases.advance(Phase::Draining));
        assert!(!phases.advance(Phase::Terminating));
        assert_eq!(phases.now(), Phase::Terminating);
    }

    #[tokio::test]
    async fn draining_is_told_to_every_clone_and_to_who_comes_late() {
        let phases = Phases::new();
        let draining = Draining::new(phases.clone());
        let waits = tokio::spawn({
            let draining = draining.clone();
            async move { draining.begun().await }
        });
        assert!(!draining.has_begun());
        phases.advance(Phase::Draining);
        waits.await.unwrap();
        draining.begun().await;
        assert!(draining.has_begun());
    }

    #[tokio::test]
    async fn guests_are_waited_for_and_cut() {
        let phases = Phases::new();
        let (first, second) = (phases.guest(), phases.guest());
        let cut = tokio::spawn(second.cut());
        drop(first);
        phases.advance(Phase::Draining);
        assert!(!second.is_cut());
        phases.advance(Phase::Terminating);
        cut.await.unwrap();
        assert!(second.is_cut());
        drop(second);
        phases.guests_gone().await;
    }

    #[test]
    fn a_guest_of_no_server_is_never_cut() {
        assert!(!Guest::nowhere().is_cut());
    }
}
