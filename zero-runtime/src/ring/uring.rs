//! The real edge: one io_uring, its operations in flight, and the facts they turn into.
//!
//! Owns every buffer from the moment an operation is asked for until its completion. Knows
//! sockets and buffers; knows nothing of HTTP.
//!
//! The invariant all unsafe code here rests on: **memory named by a submission stays in `ops`,
//! untouched, until the terminal completion of that submission has been seen**; when the ring is
//! dropped before that, the memory is leaked rather than freed.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::recv_ring::{GROUP, Lease, RecvRing};
use super::user_data::{Kind, OpName};
use super::{Completion, ListenerId, Ring, Wait};
use crate::addr::PeerCred;
use crate::config::Toggle;
use crate::cpus::{self, CoreTicks};
use crate::error::Refusal;
use crate::lent::LentSocket;
use crate::pool::region::Backing;
use crate::pool::write_buf::WriteBuf;
use crate::slots::Key;
use crate::stats::ShardCounters;
use crate::sys::{self, EventFd};
use crate::time::{Clock, CoreAccount, CoreTimes, Now};

/// Submissions queued between two enters; more wait in memory.
const SQ_ENTRIES: u32 = 512;
/// Completions the kernel can post between two reaps; beyond them it keeps them back and says so.
const CQ_ENTRIES: u32 = 8192;
/// Slices of one vectored send.
const SLICES_MAX: usize = 32;
/// Most bytes of one send. The kernel copies what it is given while the shard waits: of a large body that
/// would be milliseconds, in which nobody else is served. Room for a mebibyte and the head before it: with
/// a quarter of that, downloads of 1 MiB cost 29 % more in one measurement.
const SEND_BYTES_MAX: usize = 1040 * 1024;
/// Spare message headers kept for reuse.
const MESSAGES_KEPT: usize = 64;
/// How long dropping a ring waits for its operations before it leaks their memory.
const DROP_PATIENCE: Duration = Duration::from_secs(2);
/// A wait that ends later than this relies on the alarm. A nearer end is given with the enter
/// itself, for which the kernel sets a timer up and takes it down again each time.
const ALARM_NS_MIN: u64 = 50_000_000;

/// In the name of an operation that is no connection's.
const NOBODY: Key = Key {
    index: 0,
    generation: 0,
};

/// A socket that listens for one ring.
pub struct ListenSocket {
    /// The socket.
    pub fd: OwnedFd,
    /// Whether no other server accepts from its queue: who waits there is ours to serve.
    pub is_ours: bool,
}

/// What a ring is made of.
pub struct UringConfig {
    /// Sockets that already listen, in the order of their [`ListenerId`]s.
    pub listeners: Vec<ListenSocket>,
    /// How many receive buffers, a power of two.
    pub recv_buffers: u16,
    /// Size of a receive buffer, in bytes.
    pub recv_buffer_bytes: u32,
    /// Whether to back the receive buffers with huge pages.
    pub huge_pages: Toggle,
    /// Written by whoever wants the shard's attention.
    pub wakeup: Arc<EventFd>,
    /// Where to count.
    pub counters: Arc<ShardCounters>,
}

/// What is in flight on one connection.
#[derive(Default)]
struct ConnOps {
    recv: RecvOp,
    send: Option<SendOp>,
    /// The kernel reads the address.
    connect: Option<Box<SockAddr>>,
}

#[derive(Default)]
enum RecvOp {
    #[default]
    Idle,
    Multishot,
    Watch,
    /// The kernel writes into the spare capacity.
    Into(BytesMut),
}

/// The kernel reads the buffer, and the message header when there is one.
struct SendOp {
    buf: Box<WriteBuf>,
    message: Option<Box<Message>>,
}

/// A message header and the slices it points to, at addresses that do not change.
struct Message {
    header: libc::msghdr,
    slices: [libc::iovec; SLICES_MAX],
}

struct ListenerState {
    socket: Option<ListenSocket>,
    armed: bool,
}

/// A completion as the kernel posted it.
#[derive(Clone, Copy)]
struct Raw {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// Completions taken from the kernel and not yet reacted to, oldest first.
struct Reaped {
    raws: Vec<Raw>,
    /// So many of them are out.
    taken: usize,
}

impl Reaped {
    fn is_empty(&self) -> bool {
        self.taken == self.raws.len()
    }

    #[inline]
    fn pop(&mut self) -> Option<Raw> {
        let Some(raw) = self.raws.get(self.taken) else {
            self.raws.clear();
            self.taken = 0;
            return None;
        };
        self.taken += 1;
        Some(*raw)
    }
}

/// One io_uring with everything in flight on it.
pub struct Uring {
    ring: IoUring,
    recv_ring: Rc<RecvRing>,
    ops: Vec<ConnOps>,
    listeners: Vec<ListenerState>,
    /// Submissions that found the queue full, in order.
    staged: VecDeque<squeue::Entry>,
    reaped: Reaped,
    /// Submissions whose terminal completion has not been seen.
    in_flight: usize,
    // Boxed, because the kernel knows their addresses.
    #[allow(clippy::vec_box)]
    messages: Vec<Box<Message>>,
    wakeup: Arc<EventFd>,
    /// Where the kernel puts the eventfd's count.
    wake_count: Box<u64>,
    /// When the alarm in flight ends a wait, if there is one.
    alarm_at_ns: Option<u64>,
    /// Its time, which the kernel reads when the alarm is submitted.
    alarm_time: Box<Timespec>,
    clock: Clock,
    core_account: CoreAccount,
    counters: Arc<ShardCounters>,
    /// What the kernel is to say to the next enters instead of obeying, last first.
    #[cfg(test)]
    refusals: Vec<i32>,
}

impl Uring {
    /// Sets a ring up; call it on the thread that will use it.
    ///
    /// # Errors
    /// What the kernel refused, with the remedy: a probe may have had the memory that a whole ring has not.
    pub fn new(config: UringConfig) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)
            .map_err(|error| Refusal::of(error, "IORING_SETUP_TASKRUN_FLAG"))?;
        let recv_ring = RecvRing::new(
            config.recv_buffers,
            config.recv_buffer_bytes,
            config.huge_pages,
        )?;
        recv_ring
            .register(&ring.submitter())
            .map_err(|error| Refusal::of(error, "IORING_REGISTER_PBUF_RING"))?;
        let (backing, bytes) = recv_ring.backing();
        let gauge = match backing {
            Backing::Pages => &config.counters.recv_bytes_on_pages,
            Backing::Transparent => &config.counters.recv_bytes_on_transparent_huge_pages,
            Backing::Huge => &config.counters.recv_bytes_on_huge_pages,
        };
        gauge.set(bytes as u64);
        let listeners = config.listeners.into_iter().map(|socket| ListenerState {
            socket: Some(socket),
            armed: false,
        });
        let mut uring = Uring {
            ring,
            recv_ring,
            ops: Vec::new(),
            listeners: listeners.collect(),
            staged: VecDeque::new(),
            reaped: Reaped {
                raws: Vec::with_capacity(CQ_ENTRIES as usize / 8),
                taken: 0,
            },
            in_flight: 0,
            messages: Vec::new(),
            wakeup: config.wakeup,
            wake_count: Box::new(0),
            alarm_at_ns: None,
            alarm_time: Box::new(Timespec::new()),
            clock: Clock::new(),
            core_account: CoreAccount::default(),
            counters: config.counters,
            #[cfg(test)]
            refusals: Vec::new(),
        };
        uring.arm_wakeup();
        Ok(uring)
    }

    /// Takes one more listening socket; its [`ListenerId`] is their number before.
    pub fn add_listener(&mut self, socket: ListenSocket) {
        self.listeners.push(ListenerState {
            socket: Some(socket),
            armed: false,
        });
    }

    #[inline]
    fn ops(&mut self, conn: Key) -> &mut ConnOps {
        let index = conn.index as usize;
        if index >= self.ops.len() {
            self.add_ops(index + 1);
        }
        &mut self.ops[index]
    }

    #[cold]
    fn add_ops(&mut self, len: usize) {
        self.ops.resize_with(len, ConnOps::default);
    }

    /// Queues a submission; everything it points to must already be owned by `self`.
    #[inline]
    fn push(&mut self, entry: squeue::Entry, name: OpName) {
        self.in_flight += 1;
        let entry = entry.user_data(name.encode());
        if !self.staged.is_empty() {
            return self.staged.push_back(entry);
        }
        // SAFETY: the file's invariant: what the entry points to stays until its completion.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.staged.push_back(entry);
        }
    }

    /// Moves what had to wait into the submission queue, as far as there is room.
    fn unstage(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.staged.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.staged.pop_front();
        }
    }

    fn arm_wakeup(&mut self) {
        let count: *mut u64 = &mut *self.wake_count;
        let entry = opcode::Read::new(fd(&*self.wakeup), count.cast(), size_of::<u64>() as u32);
        self.push(entry.build(), OpName::new(Kind::Wake, NOBODY));
    }

    /// Sees to it that a wait until `until_ns` ends; what is left to say with the enter.
    fn set_alarm(&mut self, until_ns: u64) -> Wait {
        if self.alarm_at_ns.is_some_and(|at_ns| at_ns <= until_ns) {
            // It rings early at worst: whoever waits looks at the time and waits again.
            return Wait::Forever;
        }
        let wait_ns = until_ns.saturating_sub(self.clock.now().mono_ns);
        if self.alarm_at_ns.is_some() || wait_ns < ALARM_NS_MIN {
            return Wait::Until(until_ns);
        }
        self.alarm_at_ns = Some(until_ns);
        *self.alarm_time = Timespec::from(Duration::from_nanos(wait_ns));
        let time: *const Timespec = &*self.alarm_time;
        let entry = opcode::Timeout::new(time).build();
        self.push(entry, OpName::new(Kind::Alarm, NOBODY));
        Wait::Forever
    }

    fn cancel(&mut self, name: OpName) {
        let entry = opcode::AsyncCancel::new(name.encode()).build();
        self.push(entry, OpName::new(Kind::Cancel, name.key));
    }

    /// Whether an enter would find nothing to do.
    fn nothing_to_enter_for(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.is_empty() && !queue.taskrun() && !queue.cq_overflow()
    }

    /// One `io_uring_enter`. Passing trouble is counted and not an error: what was not submitted
    /// stays queued, what was not reaped stays posted.
    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if self.ring.submission().cq_overflow() {
            self.counters.cq_overflows.add(1);
        }
        self.counters.enters.add(1);
        let Err(error) = self.submit(wait) else {
            return Ok(());
        };
        match error.raw_os_error() {
            Some(libc::ETIME) => Ok(()),
            Some(libc::EINTR) => {
                self.counters.enter_retries.add(1);
                Ok(())
            }
            // EBUSY: completions wait to be reaped. EAGAIN: the kernel is short of memory.
            Some(libc::EBUSY | libc::EAGAIN) => {
                self.counters.enter_retries.add(1);
                if self.ring.completion().is_empty() {
                    // Nothing to reap would free memory: give others a chance to.
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn submit(&mut self, wait: Wait) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(errno) = self.refusals.pop() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let submitter = self.ring.submitter();
        match wait {
            Wait::Poll => submitter.submit(),
            Wait::Forever => submitter.submit_and_wait(1),
            Wait::Until(until_ns) => {
                let wait_ns = until_ns.saturating_sub(self.clock.now().mono_ns);
                let time = Timespec::from(Duration::from_nanos(wait_ns));
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        }
    }

    fn reap(&mut self) {
        for entry in self.ring.completion() {
            self.reaped.raws.push(Raw {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            });
        }
    }

    /// Turns one posted completion into a fact, if it says anything to a shard.
    #[inline]
    fn react(&mut self, raw: Raw) -> Option<Completion<Self>> {
        let name = OpName::decode(raw.user_data);
        let more = cqueue::more(raw.flags);
        if !more {
            self.in_flight -= 1;
        }
        match name.kind {
            Kind::Cancel => None,
            // The turn that waited for it has ended.
            Kind::Alarm => {
                self.alarm_at_ns = None;
                None
            }
            Kind::Wake => {
                self.arm_wakeup();
                self.counters.wakes.add(1);
                Some(Completion::Woken)
            }
            Kind::Accept => Some(self.accepted(ListenerId(name.key.index), raw, more)),
            Kind::Recv => Some(self.received(name.key, raw, more)),
            Kind::RecvInto => Some(self.received_into(name.key, raw)),
            Kind::Send => Some(self.sent(name.key, raw)),
            Kind::Watch => {
                self.ops(name.key).recv = RecvOp::Idle;
                Some(Completion::Readable {
                    conn: name.key,
                    result: outcome(raw.result).map(drop),
                })
            }
            Kind::Connect => Some(self.connected(name.key, raw)),
        }
    }

    fn accepted(&mut self, listener: ListenerId, raw: Raw, more: bool) -> Completion<Self> {
        self.listeners[listener.0 as usize].armed = more;
        // SAFETY: the kernel has just opened this descriptor for us and told nobody else.
        let socket = |fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        Completion::Accepted {
            listener,
            result: outcome(raw.result).map(socket),
            more,
        }
    }

    fn received(&mut self, conn: Key, raw: Raw, more: bool) -> Completion<Self> {
        if !more {
            self.ops(conn).recv = RecvOp::Idle;
        }
        let lease = cqueue::buffer_select(raw.flags).map(|id| {
            let len = raw.result.max(0) as usize;
            // SAFETY: this completion handed buffer `id` back, and it is reacted to once.
            unsafe { self.recv_ring.lease(id, len) }
        });
        let result = match outcome(raw.result) {
            Err(error) => {
                if error.raw_os_error() == Some(libc::ENOBUFS) {
                    self.recv_ring.widen();
                }
                Err(error)
            }
            Ok(0) => Ok(None),
            Ok(_) => Ok(lease),
        };
        Completion::Received { conn, result, more }
    }

    fn received_into(&mut self, conn: Key, raw: Raw) -> Completion<Self> {
        let RecvOp::Into(mut buf) = mem::take(&mut self.ops(conn).recv) else {
            unreachable!("a receive completed that was not in flight");
        };
        let result = outcome(raw.result);
        if let Ok(received) = result {
            let filled = buf.len() + received;
            assert!(filled <= buf.capacity());
            // SAFETY: the kernel has written `received` bytes at the start of the spare capacity.
            unsafe { buf.set_len(filled) };
        }
        Completion::ReceivedInto { conn, buf, result }
    }

    fn sent(&mut self, conn: Key, raw: Raw) -> Completion<Self> {
        let Some(SendOp { mut buf, message }) = self.ops(conn).send.take() else {
            unreachable!("a send completed that was not in flight");
        };
        if let Some(message) = message
            && self.messages.len() < MESSAGES_KEPT
        {
            self.messages.push(message);
        }
        let result = outcome(raw.result);
        if let Ok(sent) = result {
            if sent < buf.len().min(SEND_BYTES_MAX) {
                self.counters.short_sends.add(1);
            }
            buf.advance(sent);
        }
        Completion::Sent { conn, buf, result }
    }

    fn connected(&mut self, conn: Key, raw: Raw) -> Completion<Self> {
        self.ops(conn).connect = None;
        let result = outcome(raw.result).map(drop);
        Completion::Connected { conn, result }
    }

    /// Points a message at the unsent slices of `buf`.
    fn message(&mut self, buf: &WriteBuf) -> Box<Message> {
        let mut message = self.messages.pop().unwrap_or_else(|| Box::new(EMPTY));
        let mut count = 0;
        let mut room = SEND_BYTES_MAX;
        for (place, slice) in message.slices.iter_mut().zip(buf.slices(SLICES_MAX)) {
            if room == 0 {
                break;
            }
            place.iov_base = slice.as_ptr().cast_mut().cast();
            place.iov_len = slice.len().min(room);
            room -= place.iov_len;
            count += 1;
        }
        message.header.msg_iov = message.slices.as_mut_ptr();
        message.header.msg_iovlen = count;
        message
    }

    /// Cancels everything and reaps until nothing is in flight, or patience ends.
    fn cancel_all(&mut self) -> io::Result<()> {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build();
        self.push(entry, OpName::new(Kind::Cancel, NOBODY));
        let give_up_ns = self.clock.now().deadline(DROP_PATIENCE);
        while self.in_flight > 0 && self.clock.now().mono_ns < give_up_ns {
            self.unstage();
            let soon = self.clock.now().deadline(Duration::from_millis(50));
            self.enter(Wait::Until(soon))?;
            self.reap();
            while let Some(raw) = self.reaped.pop() {
                self.settle(raw);
            }
        }
        Ok(())
    }

    /// Takes a completion that nobody will hear of: what it carries is given back.
    fn settle(&mut self, raw: Raw) {
        match OpName::decode(raw.user_data).kind {
            // Not re-armed, unlike in `react`.
            Kind::Wake | Kind::Cancel | Kind::Alarm => self.in_flight -= 1,
            _ => drop(self.react(raw)),
        }
    }
}

/// A message that points nowhere.
const EMPTY: Message = Message {
    header: libc::msghdr {
        msg_name: std::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: std::ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: std::ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    slices: [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; SLICES_MAX],
};

impl Ring for Uring {
    type Socket = OwnedFd;
    type Lease = Lease;

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn core_times(&mut self) -> CoreTimes {
        self.core_account.read()
    }

    fn core_ticks(&mut self) -> Option<CoreTicks> {
        cpus::read_ticks()
    }

    fn arm_accept(&mut self, listener: ListenerId) {
        let state = &mut self.listeners[listener.0 as usize];
        assert!(!state.armed, "accepting is armed once");
        let socket = state.socket.as_ref().expect("the listener is open");
        state.armed = true;
        // Blocking sockets: io_uring waits itself, and would answer EAGAIN to others.
        let entry = opcode::AcceptMulti::new(fd(&socket.fd)).flags(libc::SOCK_CLOEXEC);
        self.push(entry.build(), accept_name(listener));
    }

    fn cancel_accept(&mut self, listener: ListenerId) {
        if self.listeners[listener.0 as usize].armed {
            self.cancel(accept_name(listener));
        }
    }

    fn accept_waiting(&mut self, listener: ListenerId) -> Option<OwnedFd> {
        let state = &self.listeners[listener.0 as usize];
        assert!(!state.armed, "nobody else accepts");
        let listener = state.socket.as_ref()?;
        if !listener.is_ours {
            // Who waits there is the next one's, and not to block is not ours to say.
            return None;
        }
        let socket = SockRef::from(&listener.fd);
        socket.set_nonblocking(true).ok()?;
        let (accepted, _) = socket.accept().ok()?;
        // Accepted without the listener's flags, on Linux: it blocks, as a ring wants it.
        Some(accepted.into())
    }

    fn close_listener(&mut self, listener: ListenerId) {
        let state = &mut self.listeners[listener.0 as usize];
        assert!(
            !state.armed,
            "a listener is closed after accepting has ended"
        );
        state.socket = None;
    }

    fn arm_recv(&mut self, conn: Key, socket: &OwnedFd) {
        let recv = &mut self.ops(conn).recv;
        assert!(matches!(recv, RecvOp::Idle), "one receive at a time");
        *recv = RecvOp::Multishot;
        let entry = opcode::RecvMulti::new(fd(socket), GROUP).build();
        self.push(entry, OpName::new(Kind::Recv, conn));
    }

    fn watch(&mut self, conn: Key, socket: &OwnedFd) {
        let recv = &mut self.ops(conn).recv;
        assert!(matches!(recv, RecvOp::Idle), "one receive at a time");
        *recv = RecvOp::Watch;
        // Errors and the peer's end are told unasked.
        let entry = opcode::PollAdd::new(fd(socket), libc::POLLIN as u32).build();
        self.push(entry, OpName::new(Kind::Watch, conn));
    }

    fn recv_into(&mut self, conn: Key, socket: &OwnedFd, mut buf: BytesMut) {
        let spare = buf.spare_capacity_mut();
        assert!(!spare.is_empty(), "a receive needs room");
        let len = u32::try_from(spare.len()).unwrap_or(u32::MAX);
        let entry = opcode::Recv::new(fd(socket), spare.as_mut_ptr().cast(), len);
        let recv = &mut self.ops(conn).recv;
        assert!(matches!(recv, RecvOp::Idle), "one receive at a time");
        *recv = RecvOp::Into(buf);
        self.push(entry.build(), OpName::new(Kind::RecvInto, conn));
    }

    fn cancel_recv(&mut self, conn: Key) {
        match self.ops(conn).recv {
            RecvOp::Idle => {}
            RecvOp::Multishot => self.cancel(OpName::new(Kind::Recv, conn)),
            RecvOp::Into(_) => self.cancel(OpName::new(Kind::RecvInto, conn)),
            RecvOp::Watch => self.cancel(OpName::new(Kind::Watch, conn)),
        }
    }

    fn send(&mut self, conn: Key, socket: &OwnedFd, buf: Box<WriteBuf>) {
        assert!(!buf.is_empty(), "a send carries something");
        self.counters.sends.add(1);
        let socket = fd(socket);
        let (entry, message) = if let Some(flat) = buf.flat() {
            let len = flat.len().min(SEND_BYTES_MAX) as u32;
            let entry = opcode::Send::new(socket, flat.as_ptr(), len).flags(libc::MSG_NOSIGNAL);
            (entry.build(), None)
        } else {
            let message = self.message(&buf);
            let entry =
                opcode::SendMsg::new(socket, &message.header).flags(libc::MSG_NOSIGNAL as u32);
            (entry.build(), Some(message))
        };
        let send = &mut self.ops(conn).send;
        assert!(send.is_none(), "one send at a time");
        // Moving the buffer and the box moves neither the bytes nor the header they point to.
        *send = Some(SendOp { buf, message });
        self.push(entry, OpName::new(Kind::Send, conn));
    }

    fn cancel_send(&mut self, conn: Key) {
        if self.ops(conn).send.is_some() {
            self.cancel(OpName::new(Kind::Send, conn));
        }
    }

    fn socket_for(&self, addr: &SockAddr) -> io::Result<OwnedFd> {
        // Blocking and closed on exec, as accepted ones.
        let socket = Socket::new(Domain::from(i32::from(addr.family())), Type::STREAM, None)?;
        Ok(socket.into())
    }

    fn connect(&mut self, conn: Key, socket: &OwnedFd, addr: SockAddr) {
        assert!(self.ops(conn).connect.is_none(), "one connect at a time");
        // Boxed, because the kernel is told the address of it.
        let addr = Box::new(addr);
        let entry = opcode::Connect::new(fd(socket), addr.as_ptr().cast(), addr.len()).build();
        self.ops(conn).connect = Some(addr);
        self.push(entry, OpName::new(Kind::Connect, conn));
    }

    fn cancel_connect(&mut self, conn: Key) {
        if self.ops(conn).connect.is_some() {
            self.cancel(OpName::new(Kind::Connect, conn));
        }
    }

    fn shutdown_write(&mut self, socket: &OwnedFd) {
        // Fails only when the peer is already gone, which the receive side will say.
        let _ = SockRef::from(socket).shutdown(Shutdown::Write);
    }

    fn reset_on_close(&mut self, socket: &OwnedFd) {
        // A socket that cannot be told lingers instead; the peer then sees an orderly end.
        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }

    fn lend(&self, socket: &OwnedFd) -> Option<LentSocket> {
        Some(LentSocket::Descriptor(socket.as_raw_fd()))
    }

    fn close(&mut self, socket: OwnedFd) {
        drop(socket);
    }

    fn release(&mut self, socket: OwnedFd) -> io::Result<OwnedFd> {
        Ok(socket)
    }

    fn unacknowledged_bytes(&self, socket: &OwnedFd) -> Option<u32> {
        sys::unacknowledged_bytes(socket.as_fd()).ok()
    }

    fn peer_addr(&self, socket: &OwnedFd) -> io::Result<SocketAddr> {
        let address = SockRef::from(socket).peer_addr()?;
        let address = address.as_socket();
        address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
    }

    fn peer_cred(&self, socket: &OwnedFd) -> Option<PeerCred> {
        sys::peer_cred(socket.as_fd()).ok()
    }

    fn options<'a>(&self, socket: &'a OwnedFd) -> Option<SockRef<'a>> {
        Some(SockRef::from(socket))
    }

    fn has_news(&mut self) -> bool {
        let queue = self.ring.submission();
        let is_called = queue.taskrun() || queue.cq_overflow();
        drop(queue);
        is_called || !self.reaped.is_empty() || !self.ring.completion().is_empty()
    }

    fn turn(&mut self, wait: Wait) -> io::Result<()> {
        let wait = match wait {
            Wait::Until(until_ns) => self.set_alarm(until_ns),
            wait => wait,
        };
        self.unstage();
        // What did not fit must not wait for a fact that its own submission would bring.
        let wait = match self.staged.is_empty() {
            true => wait,
            false => Wait::Poll,
        };
        if wait != Wait::Poll || !self.nothing_to_enter_for() {
            self.enter(wait)?;
        }
        self.reap();
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion<Self>> {
        while let Some(raw) = self.reaped.pop() {
            if let Some(completion) = self.react(raw) {
                return Some(completion);
            }
        }
        None
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        while let Some(raw) = self.reaped.pop() {
            self.settle(raw);
        }
        let ended = self.cancel_all();
        if ended.is_err() || self.in_flight > 0 {
            tracing::error!(
                in_flight = self.in_flight,
                "operations did not end; their memory is leaked rather than freed under the kernel"
            );
            mem::forget(mem::take(&mut self.ops));
            mem::forget(mem::take(&mut self.wake_count));
            mem::forget(mem::replace(
                &mut self.alarm_time,
                Box::new(Timespec::new()),
            ));
            mem::forget(self.recv_ring.clone());
        }
    }
}

fn accept_name(listener: ListenerId) -> OpName {
    let key = Key {
        index: listener.0,
        generation: 0,
    };
    OpName::new(Kind::Accept, key)
}

fn fd(of: &impl AsRawFd) -> Fd {
    Fd(of.as_raw_fd())
}

/// The kernel's convention: a count, or a negated error number.
fn outcome(result: i32) -> io::Result<usize> {
    match usize::try_from(result) {
        Ok(count) => Ok(count),
        Err(_) => Err(io::Error::from_raw_os_error(-result)),
    }
}

#[cfg(test)]
#[path = "uring_tests.rs"]
mod tests;
