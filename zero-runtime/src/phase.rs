//! What a server is doing, told to whoever has a part in its end: the application, and those who
//! hold connections that left the server. Knows no server, and keeps none alive.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::watch;

use crate::slots::{Key, Slots};
use crate::sys;

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
    /// Sockets of guests, shut down when the server terminates. Each is open: it is taken back before
    /// it is closed.
    sockets: Mutex<Slots<RawFd>>,
}

impl Phases {
    /// Of a server that is running, or about to.
    pub fn new() -> Arc<Self> {
        Arc::new(Phases {
            phase: watch::Sender::new(Phase::Running),
            now: AtomicU8::new(Phase::Running as u8),
            guests: watch::Sender::new(0),
            sockets: Mutex::new(Slots::new(u32::MAX as usize)),
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
        let forward = self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            *phase = to.max(*phase);
            // Pairs with the load in `now`; before anybody is woken to look.
            self.now.fetch_max(to as u8, Ordering::AcqRel);
            forward
        });
        if forward && to == Phase::Terminating {
            self.shut_sockets();
        }
        forward
    }

    /// Whoever lends a socket later finds the phase changed.
    fn shut_sockets(&self) {
        let mut sockets = self.sockets();
        for key in sockets.keys() {
            if let Some(socket) = sockets.get_mut(key) {
                sys::shut_down(*socket);
            }
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Slots<RawFd>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one more guest in.
    pub fn guest(self: &Arc<Self>) -> Guest {
        self.guests.send_modify(|guests| *guests += 1);
        Guest {
            phases: Some(self.clone()),
            lent: NOTHING,
        }
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
pub struct Guest {
    phases: Option<Arc<Phases>>,
    /// Its socket among those of `phases`.
    lent: Key,
}

/// What reads and writes on a connection give once it is to be closed.
pub(crate) fn cut<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the server has been shut down",
    )))
}

/// The key of no socket: there are not so many.
const NOTHING: Key = Key {
    index: u32::MAX,
    generation: 0,
};

impl Guest {
    /// Of no server.
    pub(crate) fn nowhere() -> Self {
        Guest {
            phases: None,
            lent: NOTHING,
        }
    }

    /// Whether the connection is to be closed now, whatever goes on on it.
    #[inline]
    pub fn is_cut(&self) -> bool {
        let phases = self.phases.as_ref();
        phases.is_some_and(|phases| phases.now() == Phase::Terminating)
    }

    /// Completes when the connection is to be closed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let phases = self.phases.clone();
        async move {
            match phases {
                Some(phases) => phases.until(Phase::Terminating).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Lends the connection's socket, which is shut down, both ways, when the connection is to be
    /// closed; at once, if it is already. Whoever waits on the socket is woken by that: unlike
    /// [`cut`](Self::cut) it costs the connection no memory. To be taken back before it is closed.
    pub(crate) fn lend(&mut self, socket: BorrowedFd<'_>) {
        self.take_back();
        let Some(phases) = &self.phases else {
            return;
        };
        let key = phases.sockets().insert_with(|_| socket.as_raw_fd());
        self.lent = key.expect("there are not so many sockets");
        // Behind the insertion: who terminates changes the phase first, and looks for sockets then.
        if self.is_cut() {
            sys::shut_down(socket.as_raw_fd());
        }
    }

    /// Takes the socket back, which may be closed now.
    pub(crate) fn take_back(&mut self) {
        if let Some(phases) = &self.phases
            && self.lent != NOTHING
        {
            phases.sockets().remove(self.lent);
            self.lent = NOTHING;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.take_back();
        if let Some(phases) = &self.phases {
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
    use std::io::{ErrorKind, Read};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

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
        let (socket, _peer) = UnixStream::pair().unwrap();
        let mut guest = Guest::nowhere();
        guest.lend(socket.as_fd());
        guest.take_back();
        assert!(!guest.is_cut());
    }

    #[test]
    fn sockets_that_are_lent_when_the_server_terminates_are_shut_down_and_no_others() {
        let phases = Phases::new();
        let pairs: Vec<_> = (0..4).map(|_| UnixStream::pair().unwrap()).collect();
        let [mut early, mut taken_back, mut late, mut gone] = [(); 4].map(|()| phases.guest());
        for (guest, pair) in [&mut early, &mut taken_back, &mut gone]
            .into_iter()
            .zip(&pairs)
        {
            guest.lend(pair.0.as_fd());
        }
        taken_back.take_back();
        drop(gone);
        phases.advance(Phase::Draining);
        assert!(is_open(&pairs[0].1));
        phases.advance(Phase::Terminating);
        late.lend(pairs[3].0.as_fd());
        let open: Vec<_> = pairs.iter().map(|pair| is_open(&pair.1)).collect();
        assert_eq!(open, [false, true, true, false]);
        drop((early, taken_back, late));
        assert!(phases.sockets().is_empty());
    }

    fn is_open(mut peer: &UnixStream) -> bool {
        peer.set_nonblocking(true).unwrap();
        let read = peer.read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}
