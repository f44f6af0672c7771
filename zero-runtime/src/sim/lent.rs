//! Sockets in the hands of simulated workers: what they write, with the faults of a send that does not block.
//!
//! Tasks run while the kernel is at work, so what they write lies here until it looks, which it does before
//! anybody could tell the difference.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use super::kernel::{Check, End, Kernel, Weather};
use super::rng::Rng;
use super::world;
use crate::lent::{Simulated, WrittenAt};

/// What workers have written, in order, and what time it is for them.
#[derive(Clone, Default)]
pub(super) struct Lanes(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    now_ns: u64,
    writes: Vec<Write>,
    /// Sockets that are lent.
    lent: usize,
    /// Workers that are in the middle of a write while the shard goes on.
    writing: usize,
}

/// The network takes bytes, or gives the connection up.
struct Write {
    sock: usize,
    bytes: Option<Vec<u8>>,
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds this")
    }

    pub(super) fn set_now(&self, now_ns: u64) {
        self.lock().now_ns = now_ns;
    }

    /// Whether a worker may write to a socket.
    pub(super) fn are_lent(&self) -> bool {
        self.lock().lent > 0
    }

    /// Whether a worker is in the middle of a write.
    pub(super) fn are_written_to(&self) -> bool {
        self.lock().writing > 0
    }
}

/// What a shard does while a worker writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Does {
    /// Goes on by one step.
    Step,
    /// Announces sleep, perhaps, and is found like that.
    Doze,
}

type Shard = Rc<dyn Fn(Does)>;

thread_local! {
    /// Who goes on while a worker writes.
    static MEANWHILE: RefCell<Option<Shard>> = const { RefCell::new(None) };
}

/// Lets a shard go on while workers write, until it is dropped.
pub(super) struct Meanwhile;

impl Meanwhile {
    pub(super) fn new(shard: impl Fn(Does) + 'static) -> Self {
        MEANWHILE.set(Some(Rc::new(shard)));
        Meanwhile
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        MEANWHILE.set(None);
    }
}

fn meanwhile(does: Does) {
    if let Some(shard) = MEANWHILE.with_borrow(Clone::clone) {
        shard(does);
    }
}

/// A socket that is lent.
pub(super) struct SimLent {
    sock: usize,
    lanes: Lanes,
    rng: Rng,
    weather: Weather,
    gentle: bool,
    /// Bytes that its peer had not read when it was lent.
    unread_bytes: usize,
    has_written: bool,
}

impl Simulated for SimLent {
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.dawdle();
        let sent = self.send_now(bytes);
        self.has_written = true;
        // It is known to the peer before it is to the shard.
        self.dawdle();
        sent
    }

    fn is_mistaken(&mut self) -> bool {
        self.rng.one_in(2)
    }

    fn now(&self) -> WrittenAt {
        let now_ns = self.lanes.lock().now_ns;
        WrittenAt {
            common_ns: now_ns,
            unix_s: world::unix_s(now_ns),
        }
    }
}

impl SimLent {
    /// The worker's core is somebody else's for a moment.
    fn dawdle(&mut self) {
        let steps = self.rng.pick(&[0, 1, 5, 20]);
        self.lanes.lock().writing += 1;
        (0..steps).for_each(|_| meanwhile(Does::Step));
        self.lanes.lock().writing -= 1;
        meanwhile(Does::Doze);
    }

    fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let trouble_one_in = self.weather.trouble_one_in;
        if trouble_one_in > 0 && self.rng.one_in(trouble_one_in) {
            let errno = self.rng.pick(&[libc::EAGAIN, libc::EINTR]);
            return Err(io::Error::from_raw_os_error(errno));
        }
        if !self.gentle && self.rng.one_in(50) {
            self.push(None);
            let errno = self.rng.pick(&[libc::EPIPE, libc::ECONNRESET]);
            return Err(io::Error::from_raw_os_error(errno));
        }
        let room = self
            .weather
            .send_bytes_max
            .saturating_sub(self.unread_bytes);
        let most = bytes.len().min(self.weather.send_piece_bytes_max).min(room);
        if most == 0 {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        let count = self.rng.size(most.div_ceil(2), most);
        // More often than not all of it: that is what is different from other sends.
        let count = if self.rng.one_in(3) { count } else { most };
        self.push(Some(bytes[..count].to_vec()));
        Ok(count)
    }

    fn push(&self, bytes: Option<Vec<u8>>) {
        let sock = self.sock;
        self.lanes.lock().writes.push(Write { sock, bytes });
    }
}

impl Drop for SimLent {
    fn drop(&mut self) {
        self.lanes.lock().lent -= 1;
        // The shard has not been told yet.
        if self.has_written {
            meanwhile(Does::Doze);
        }
    }
}

impl Kernel {
    pub(super) fn lend(&self, sock: usize) -> SimLent {
        let state = &self.socks[sock];
        assert!(!state.closed && !state.shut, "what is lent is open");
        assert!(state.send.is_none(), "nothing is sent on what is lent");
        self.lanes.lock().lent += 1;
        SimLent {
            sock,
            lanes: self.lanes.clone(),
            // Its own, so that the kernel's choices do not depend on who is lent what.
            rng: Rng::new(self.now_ns ^ (sock as u64) << 48),
            weather: state.weather,
            gentle: state.gentle,
            unread_bytes: state.tx.len(),
            has_written: false,
        }
    }

    /// Takes to the network what workers have written.
    pub(super) fn take_written(&mut self) {
        let writes = std::mem::take(&mut self.lanes.lock().writes);
        for Write { sock, bytes } in writes {
            let now_ns = self.now_ns;
            let state = &mut self.socks[sock];
            assert!(!state.closed, "a worker writes to a closed socket");
            assert!(
                !state.shut,
                "a worker writes behind the end of the write side"
            );
            assert!(state.send.is_none(), "a worker writes into a send");
            self.trace.say(|| match &bytes {
                Some(bytes) => format!("{now_ns} {sock}: a worker writes {}", bytes.len()),
                None => format!("{now_ns} {sock}: a worker's write breaks off"),
            });
            match bytes {
                None => self.break_off(sock),
                Some(bytes) => {
                    self.bytes_out += bytes.len() as u64;
                    let state = &mut self.socks[sock];
                    match state.peer_closed {
                        true => state.rx_end = Some(End::Reset),
                        false => state.tx.extend(bytes),
                    }
                    self.touched.push(sock);
                    self.check_at(now_ns, Check::Recv(sock));
                }
            }
        }
    }
}
