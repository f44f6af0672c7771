//! The io_uring under the load generator and under the bare `uring-floor` server.
//!
//! Knows sockets, payloads and buffers; knows nothing of HTTP. Deliberately not zero-runtime's ring: an
//! instrument must not be made of what it measures.
//!
//! Two invariants carry all unsafe code here. **Memory that a submission names outlives the ring**:
//! payloads, the address to connect to and the receive buffers are owned by [`Ring`], are never moved or
//! freed before it is dropped, and are leaked when the kernel has not let go of them by then. **A receive
//! buffer is either the kernel's or one [`Filled`]'s, never both**: a completion that names a buffer makes
//! the one `Filled` for it, and giving that back publishes the buffer again.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

/// Submissions queued between two enters.
const SQ_ENTRIES: u32 = 1024;
/// Completions the kernel can post between two reaps without having to keep them back.
const CQ_ENTRIES: u32 = 16 * 1024;
/// The one group of receive buffers.
const GROUP: u16 = 0;
/// What the kernel wants a ring of buffers aligned to.
const PAGE_BYTES: usize = 4096;
/// A send up to this length is taken at once by a socket that has nothing else to send.
const PROMPT_BYTES: u32 = 2048;
/// How long a wait without a limit of its own takes at most.
pub const BEAT: Duration = Duration::from_millis(20);
/// How long dropping a ring waits for the kernel before it leaks what is still in use.
const DROP_PATIENCE: Duration = Duration::from_millis(500);

/// Bytes to be sent, held by a [`Ring`] for as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadId(usize);

/// A receive buffer with bytes in it. Give it back with [`Ring::give_back`]; a lost one is never used again.
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost to the ring"]
pub struct Filled {
    id: u16,
    len: u32,
}

/// Something that happened to the connection `conn`, or to the listener.
#[derive(Debug)]
pub enum Event {
    /// A connection was opened to the listener.
    Accepted(io::Result<OwnedFd>),
    /// A connect that was asked for has ended.
    Connected(u32, io::Result<()>),
    /// Bytes came. When there are no more to come of this submission (the kernel ends one when it runs
    /// out of room for completions), [`Ring::recv`] must be asked again.
    Received {
        /// The connection.
        conn: u32,
        /// The bytes.
        filled: Filled,
        /// Whether more may come without asking.
        more: bool,
    },
    /// Receiving ended: `Ok` when the peer sends no more, an error otherwise. `ENOBUFS` says that
    /// the buffers ran out and that [`Ring::recv`] may be asked again.
    ReceiveEnded(u32, io::Result<()>),
    /// So many bytes of a payload were taken by the kernel.
    Sent(u32, io::Result<usize>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Accept,
    Connect,
    Recv,
    Send,
    Beat,
    Cancel,
}

/// A zeroed block of pages.
struct Pages {
    start: NonNull<u8>,
    layout: Layout,
}

impl Pages {
    fn new(bytes: usize) -> Self {
        let layout =
            Layout::from_size_align(bytes.max(1), PAGE_BYTES).expect("far below isize::MAX");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Pages { start, layout }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed nowhere else.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// One io_uring, its receive buffers and its payloads.
pub struct Ring {
    uring: IoUring,
    buffers: Pages,
    entries: Pages,
    /// A power of two.
    buffer_count: u16,
    buffer_bytes: u32,
    tail: u16,
    payloads: Vec<Box<[u8]>>,
    peer: Box<libc::sockaddr_in>,
    /// Submissions whose last completion has not been reaped.
    in_flight: usize,
    /// Sends handed over by the next enter that will be complete when it returns.
    prompt: usize,
    /// Ends a wait in which nothing else happens.
    beat: Box<Timespec>,
    is_beating: bool,
}

impl Ring {
    /// Sets a ring up with `buffer_count` receive buffers of `buffer_bytes` each. It belongs to the
    /// thread that calls this.
    ///
    /// # Errors
    /// When the kernel has no such io_uring (Linux 6.1 has) or does not let this process use it.
    ///
    /// # Panics
    /// When `buffer_count` is not a power of two.
    pub fn new(buffer_count: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(buffer_count.is_power_of_two());
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)?;
        let entries_bytes = usize::from(buffer_count) * size_of::<BufRingEntry>();
        let mut ring = Ring {
            uring,
            buffers: Pages::new(usize::from(buffer_count) * buffer_bytes as usize),
            entries: Pages::new(entries_bytes),
            buffer_count,
            buffer_bytes,
            tail: 0,
            payloads: Vec::new(),
            peer: Box::new(address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))),
            in_flight: 0,
            prompt: 0,
            beat: Box::new(Timespec::from(BEAT)),
            is_beating: false,
        };
        let entries = ring.entries.start.as_ptr() as u64;
        let submitter = ring.uring.submitter();
        // SAFETY: page-aligned, `buffer_count` entries long, and owned by `ring` until its io_uring
        // is closed.
        unsafe { submitter.register_buf_ring_with_flags(entries, buffer_count, GROUP, 0) }?;
        for id in 0..buffer_count {
            ring.publish(id);
        }
        Ok(ring)
    }

    /// Takes bytes to be sent, any number of times, on any connection.
    pub fn add_payload(&mut self, bytes: Vec<u8>) -> PayloadId {
        self.payloads.push(bytes.into_boxed_slice());
        PayloadId(self.payloads.len() - 1)
    }

    /// Length of a payload, in bytes.
    pub fn payload_bytes(&self, payload: PayloadId) -> usize {
        self.payloads[payload.0].len()
    }

    /// Says where [`connect`](Self::connect) goes to. Call it before the first of them.
    ///
    /// # Panics
    /// When something is in flight already.
    pub fn set_peer(&mut self, peer: SocketAddrV4) {
        assert_eq!(self.in_flight, 0, "the kernel may be reading the address");
        *self.peer = address(peer);
    }

    /// Accepts connections, each of them an [`Event::Accepted`].
    pub fn accept(&mut self, listener: BorrowedFd<'_>) {
        let entry = opcode::AcceptMulti::new(fd(listener)).flags(libc::SOCK_CLOEXEC);
        self.push(entry.build(), Kind::Accept, 0);
    }

    /// Connects `socket` to the peer.
    pub fn connect(&mut self, conn: u32, socket: BorrowedFd<'_>) {
        let peer: *const libc::sockaddr_in = &*self.peer;
        let len = size_of::<libc::sockaddr_in>() as u32;
        let entry = opcode::Connect::new(fd(socket), peer.cast(), len);
        self.push(entry.build(), Kind::Connect, conn);
    }

    /// Receives from `socket` until the peer ends, each arrival an [`Event::Received`].
    pub fn recv(&mut self, conn: u32, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(fd(socket), GROUP).build();
        self.push(entry, Kind::Recv, conn);
    }

    /// Sends a part of a payload.
    ///
    /// # Panics
    /// When the payload has no such part.
    pub fn send(&mut self, conn: u32, socket: BorrowedFd<'_>, id: PayloadId, part: Range<usize>) {
        let part = &self.payloads[id.0][part];
        let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(fd(socket), part.as_ptr(), len).flags(libc::MSG_NOSIGNAL);
        self.push(entry.build(), Kind::Send, conn);
        self.prompt += usize::from(len <= PROMPT_BYTES);
    }

    fn push(&mut self, entry: squeue::Entry, kind: Kind, conn: u32) {
        let entry = entry.user_data((kind as u64) << 32 | u64::from(conn));
        self.in_flight += 1;
        loop {
            // SAFETY: the file's first invariant: what the entry names outlives the ring.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            // Full: hand over what there is, which makes room. What fails now fails again in `wait`.
            let _ = self.submit();
        }
    }

    /// Whether an enter would bring or hand over anything; a look into shared memory.
    pub fn has_work(&mut self) -> bool {
        let queue = self.uring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    /// Hands over what was asked and lets what has happened be posted, without waiting.
    ///
    /// # Errors
    /// When the kernel refuses for good.
    pub fn submit(&mut self) -> io::Result<()> {
        self.prompt = 0;
        settle(self.uring.submit())
    }

    /// As [`submit`](Self::submit), then waits until something has happened, at most for `limit`. That a short
    /// send of this same call was taken is not waited for: it is as a rule before the call waits.
    ///
    /// # Errors
    /// When the kernel refuses for good.
    pub fn wait(&mut self, limit: Duration) -> io::Result<()> {
        let time = Timespec::from(limit);
        let want = mem::take(&mut self.prompt) + 1;
        let submitter = self.uring.submitter();
        settle(submitter.submit_with_args(want, &SubmitArgs::new().timespec(&time)))
    }

    /// As [`wait`](Self::wait), and returns after 20 ms, or a while sooner: a send that is not taken at once, for want
    /// of the kernel's memory, adds its time. Setting a clock for each wait costs more than one that goes on ticking.
    ///
    /// # Errors
    /// When the kernel refuses for good.
    pub fn wait_for_beat(&mut self) -> io::Result<()> {
        if !self.is_beating {
            let time: *const Timespec = &*self.beat;
            self.push(opcode::Timeout::new(time).build(), Kind::Beat, 0);
            self.is_beating = true;
        }
        let want = mem::take(&mut self.prompt) + 1;
        settle(self.uring.submit_and_wait(want))
    }

    /// The next thing that has happened, in order.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let entry = self.uring.completion().next()?;
            if let Some(event) = self.react(&entry) {
                return Some(event);
            }
        }
    }

    fn react(&mut self, entry: &cqueue::Entry) -> Option<Event> {
        let more = cqueue::more(entry.flags());
        if !more {
            self.in_flight -= 1;
        }
        let conn = entry.user_data() as u32;
        let result = outcome(entry.result());
        let kind = entry.user_data() >> 32;
        if kind == Kind::Beat as u64 {
            self.is_beating = false;
            return None;
        }
        if kind == Kind::Recv as u64 {
            return self.received(conn, result, entry.flags());
        }
        if kind == Kind::Send as u64 {
            return Some(Event::Sent(conn, result));
        }
        if kind == Kind::Connect as u64 {
            return Some(Event::Connected(conn, result.map(drop)));
        }
        if kind == Kind::Accept as u64 {
            // SAFETY: the kernel has just opened this descriptor for us and told nobody else.
            let socket = |fd| unsafe { OwnedFd::from_raw_fd(fd as i32) };
            return Some(Event::Accepted(result.map(socket)));
        }
        None
    }

    fn received(&mut self, conn: u32, result: io::Result<usize>, flags: u32) -> Option<Event> {
        let filled = cqueue::buffer_select(flags).map(|id| Filled {
            id,
            len: *result.as_ref().unwrap_or(&0) as u32,
        });
        match (filled, result) {
            (Some(filled), Ok(1..)) => Some(Event::Received {
                conn,
                filled,
                more: cqueue::more(flags),
            }),
            (filled, result) => {
                if let Some(filled) = filled {
                    self.give_back(filled);
                }
                Some(Event::ReceiveEnded(conn, result.map(drop)))
            }
        }
    }

    /// The bytes in a buffer.
    pub fn bytes<'a>(&'a self, filled: &'a Filled) -> &'a [u8] {
        let len = filled.len.min(self.buffer_bytes) as usize;
        let start = self.buffer(filled.id).as_ptr().cast_const();
        // SAFETY: the file's second invariant: while `filled` is borrowed the buffer is nobody
        // else's. It was zeroed when it was made, so all of it is initialised.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Hands a buffer back to the kernel.
    pub fn give_back(&mut self, filled: Filled) {
        self.publish(filled.id);
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        assert!(id < self.buffer_count);
        let offset = usize::from(id) * self.buffer_bytes as usize;
        // SAFETY: `id` is below the number of buffers that the block was made for.
        unsafe { self.buffers.start.add(offset) }
    }

    fn publish(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.buffer_count - 1));
        let address = self.buffer(id).as_ptr() as u64;
        let first = self.entries.start.cast::<BufRingEntry>();
        // SAFETY: the mask keeps the index below the number of entries.
        let mut entry = unsafe { first.add(index) };
        // SAFETY: entries at or behind the tail are not read by the kernel, and this is their only
        // writer; the setters leave the tail inside the first entry alone.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `first` is the first entry of the ring.
        let shared = unsafe { BufRingEntry::tail(first.as_ptr().cast_const()) };
        // SAFETY: aligned, alive as long as `self`, and only ever accessed atomically.
        let shared = unsafe { AtomicU16::from_ptr(shared.cast_mut()) };
        // Pairs with the kernel's acquiring load: publishes the entry written above.
        shared.store(self.tail, Ordering::Release);
    }

    /// Cancels everything and reaps until nothing is in flight, or patience ends.
    fn cancel_all(&mut self) -> io::Result<()> {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
        self.push(entry, Kind::Cancel, 0);
        let start = std::time::Instant::now();
        while self.in_flight > 0 && start.elapsed() < DROP_PATIENCE {
            self.wait(Duration::from_millis(20))?;
            while self.next_event().is_some() {}
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.cancel_all().is_err() || self.in_flight > 0 {
            mem::forget(mem::take(&mut self.payloads));
            mem::forget(mem::replace(&mut self.buffers, Pages::new(1)));
            mem::forget(mem::replace(&mut self.entries, Pages::new(1)));
            let nowhere = Box::new(address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)));
            mem::forget(mem::replace(&mut self.peer, nowhere));
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

fn fd(socket: BorrowedFd<'_>) -> Fd {
    Fd(socket.as_raw_fd())
}

fn address(addr: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(addr.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}

/// The kernel's convention: a count, or a negated error number.
fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// Passing trouble is none: what was not handed over stays queued, what was not reaped stays posted.
fn settle(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::thread;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// One wait for a question's answer, not one for its having been taken and another for the answer.
    #[test]
    fn a_short_send_does_not_end_the_wait_that_hands_it_over() {
        let (near, mut far) = pair();
        let mut ring = Ring::new(4, 4096).unwrap();
        let question = ring.add_payload(b"question".to_vec());
        ring.recv(0, near.as_fd());
        ring.send(0, near.as_fd(), question, 0..8);
        let peer = thread::spawn(move || {
            let mut bytes = [0; 8];
            far.read_exact(&mut bytes).unwrap();
            thread::sleep(Duration::from_millis(20));
            far.write_all(b"answer").unwrap();
            far
        });
        ring.wait(Duration::from_secs(60)).unwrap();
        let mut answers = 0;
        while let Some(event) = ring.next_event() {
            if let Event::Received { filled, .. } = event {
                assert_eq!(ring.bytes(&filled), b"answer");
                ring.give_back(filled);
                answers += 1;
            }
        }
        assert_eq!(answers, 1);
        drop(peer.join().unwrap());
    }

    #[test]
    fn a_wait_without_news_ends_each_time() {
        let mut ring = Ring::new(4, 4096).unwrap();
        for _ in 0..3 {
            ring.wait_for_beat().unwrap();
            assert!(ring.next_event().is_none());
        }
    }
}
