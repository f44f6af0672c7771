//! [`SimRing`]: the seeded edge to a kernel that is not there. Holds a shard to the contract of
//! [`Ring`] while it serves.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use bytes::BytesMut;

use super::kernel::{Fact, SimLease};
use super::spawn::SimSpawn;
use super::world::World;
use crate::cpus::CoreTicks;
use crate::lent::LentSocket;
use crate::pool::write_buf::WriteBuf;
use crate::ring::{Completion, ListenerId, Ring, Wait};
use crate::slots::Key;
use crate::time::{CoreTimes, Now};

/// A connected socket, by its number in the kernel.
#[derive(Debug)]
pub(super) struct SimSocket(usize);

/// Asked, and not yet seen by the kernel.
enum Op {
    Accept(usize),
    CancelAccept(usize),
    Recv(usize),
    Watch(usize),
    RecvInto(usize, BytesMut),
    CancelRecv(usize),
    Send(usize, Box<WriteBuf>),
    CancelSend(usize),
}

impl Op {
    fn describe(&self) -> String {
        match self {
            Op::Accept(_) => "arm accept".into(),
            Op::CancelAccept(_) => "cancel accept".into(),
            Op::Recv(sock) => format!("{sock}: arm receive"),
            Op::Watch(sock) => format!("{sock}: watch"),
            Op::RecvInto(sock, buf) => format!("{sock}: receive into {}", buf.capacity()),
            Op::CancelRecv(sock) => format!("{sock}: cancel receive"),
            Op::Send(sock, buf) => format!("{sock}: send {}", buf.len()),
            Op::CancelSend(sock) => format!("{sock}: cancel send"),
        }
    }
}

/// What is in flight for the present tenant of a slot.
#[derive(Default)]
struct SlotOps {
    tenant: Option<(Key, usize)>,
    receiving: bool,
    sending: bool,
}

#[derive(Clone, Copy, Default)]
struct ListenerOps {
    accepting: bool,
    closed: bool,
}

pub(super) struct SimRing {
    world: Rc<RefCell<World>>,
    /// Which shard's it is, and which of the kernel's listeners is the only one it has.
    seat: usize,
    spawn: SimSpawn,
    staged: Vec<Op>,
    reaped: VecDeque<Option<Fact>>,
    slots: Vec<SlotOps>,
    listener: ListenerOps,
}

impl SimRing {
    pub(super) fn new(world: Rc<RefCell<World>>, spawn: SimSpawn, seat: usize) -> Self {
        SimRing {
            world,
            seat,
            spawn,
            staged: Vec::new(),
            reaped: VecDeque::new(),
            slots: Vec::new(),
            listener: ListenerOps::default(),
        }
    }

    /// The slot's operations, whose tenant `key` is or becomes.
    fn slot(&mut self, key: Key, socket: &SimSocket) -> &mut SlotOps {
        let index = key.index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, SlotOps::default);
        }
        let slot = &mut self.slots[index];
        if slot.tenant != Some((key, socket.0)) {
            assert!(
                slot.tenant.is_none(),
                "a slot is reused after its socket is closed"
            );
            slot.tenant = Some((key, socket.0));
            let sock = &mut self.world.borrow_mut().kernel.socks[socket.0];
            assert!(sock.key.is_none(), "a socket is one ring's at a time");
            (sock.key, sock.seat) = (Some(key), self.seat);
        }
        slot
    }

    /// The tenant that `key` names, if it is still there.
    fn tenant(&mut self, key: Key) -> Option<&mut SlotOps> {
        let slot = self.slots.get_mut(key.index as usize)?;
        matches!(slot.tenant, Some((tenant, _)) if tenant == key).then_some(slot)
    }

    /// Stages an operation; anything may happen on other cores meanwhile.
    fn stage(&mut self, op: Op) {
        self.staged.push(op);
        self.spawn.interleave();
    }

    fn begin_recv(&mut self, key: Key, socket: &SimSocket) {
        let slot = self.slot(key, socket);
        assert!(!slot.receiving, "one receive at a time");
        slot.receiving = true;
    }

    /// The world, at the time at which the shard is.
    fn world_now(&self) -> RefMut<'_, World> {
        let mut world = self.world.borrow_mut();
        world.catch_up();
        world
    }

    fn submit(&mut self) {
        let mut world = self.world.borrow_mut();
        world.catch_up();
        let kernel = &mut world.kernel;
        kernel.take_written();
        let now_ns = kernel.now_ns;
        for op in self.staged.drain(..) {
            kernel.trace.say(|| format!("{now_ns} {}", op.describe()));
            match op {
                Op::Accept(listener) => kernel.arm_accept(listener),
                Op::CancelAccept(listener) => kernel.cancel_accept(listener),
                Op::Recv(sock) => kernel.arm_recv(sock),
                Op::Watch(sock) => kernel.watch(sock),
                Op::RecvInto(sock, buf) => kernel.recv_into(sock, buf),
                Op::CancelRecv(sock) => kernel.cancel_recv(sock),
                Op::Send(sock, buf) => kernel.send(sock, buf),
                Op::CancelSend(sock) => kernel.cancel_send(sock),
            }
        }
    }

    fn recv_is_over(&mut self, sock: usize) -> Key {
        let key = self.key(sock);
        self.world.borrow_mut().kernel.recv_ended(sock);
        self.tenant(key)
            .expect("a socket in use has its slot")
            .receiving = false;
        key
    }

    fn key(&self, sock: usize) -> Key {
        let world = self.world.borrow();
        world.kernel.socks[sock]
            .key
            .expect("a socket in use has a key")
    }

    /// Turns a fact into what the shard hears.
    fn complete(&mut self, fact: Fact) -> Completion<Self> {
        match fact {
            Fact::Accepted { result, more, .. } => {
                self.listener.accepting = more;
                self.world.borrow_mut().kernel.accepted += u64::from(result.is_ok());
                Completion::Accepted {
                    listener: ListenerId(0),
                    result: result.map(SimSocket).map_err(io::Error::from_raw_os_error),
                    more,
                }
            }
            Fact::Received { sock, result, more } => {
                if let Ok(Some(lease)) = &result {
                    self.world.borrow_mut().kernel.bytes_in += lease.len() as u64;
                }
                Completion::Received {
                    conn: if more {
                        self.key(sock)
                    } else {
                        self.recv_is_over(sock)
                    },
                    result: result.map_err(io::Error::from_raw_os_error),
                    more,
                }
            }
            Fact::Readable { sock, result } => Completion::Readable {
                conn: self.recv_is_over(sock),
                result: result.map_err(io::Error::from_raw_os_error),
            },
            Fact::ReceivedInto { sock, buf, result } => {
                self.world.borrow_mut().kernel.bytes_in += result.unwrap_or(0) as u64;
                Completion::ReceivedInto {
                    conn: self.recv_is_over(sock),
                    buf,
                    result: result.map_err(io::Error::from_raw_os_error),
                }
            }
            Fact::Sent { sock, buf, result } => {
                let conn = self.key(sock);
                self.tenant(conn)
                    .expect("a socket in use has its slot")
                    .sending = false;
                self.world.borrow_mut().kernel.bytes_out += result.unwrap_or(0) as u64;
                let result = result.map_err(io::Error::from_raw_os_error);
                Completion::Sent { conn, buf, result }
            }
        }
    }

    /// Notes what the shard hears, for the comparison of replays.
    fn note(&self, fact: &Fact) {
        let words = match fact {
            Fact::Accepted { result, more, .. } => [
                1,
                code(result.as_ref().map(|sock| *sock)),
                0,
                u64::from(*more),
            ],
            Fact::Received { sock, result, more } => {
                let len = result
                    .as_ref()
                    .map(|lease| lease.as_ref().map_or(0, |lease| lease.len()));
                [2, code(len), *sock as u64, u64::from(*more)]
            }
            Fact::Readable { sock, result } => {
                [5, code(result.as_ref().map(|()| 0)), *sock as u64, 0]
            }
            Fact::ReceivedInto { sock, result, .. } => {
                [3, code(result.as_ref().map(|n| *n)), *sock as u64, 0]
            }
            Fact::Sent { sock, result, buf } => [
                4,
                code(result.as_ref().map(|n| *n)),
                *sock as u64,
                buf.len() as u64,
            ],
        };
        let mut world = self.world.borrow_mut();
        let now_ns = world.kernel.now_ns;
        world.kernel.trace.note(&words);
        world.kernel.trace.say(|| {
            let [kind, code, sock, rest] = words;
            let kind = [
                "",
                "accepted",
                "received",
                "received into",
                "sent",
                "readable",
            ][kind as usize];
            format!("{now_ns} {sock}: {kind} {} ({rest})", code as i64)
        });
        world.kernel.trace.note(&[now_ns]);
    }
}

fn code(result: Result<usize, &i32>) -> u64 {
    match result {
        Ok(count) => count as u64,
        Err(errno) => u64::MAX - *errno as u64,
    }
}

impl Ring for SimRing {
    type Socket = SimSocket;
    type Lease = SimLease;

    fn now(&self) -> Now {
        let world = self.world_now();
        Now {
            mono_ns: world.kernel.now_ns,
            unix_s: world.unix_s(),
        }
    }

    fn common_ns(&self) -> u64 {
        self.world_now().kernel.now_ns
    }

    fn core_times(&mut self) -> CoreTimes {
        self.world_now().core_times(self.seat)
    }

    fn core_ticks(&mut self) -> Option<CoreTicks> {
        self.world.borrow_mut().core_ticks()
    }

    fn arm_accept(&mut self, _listener: ListenerId) {
        assert!(!self.listener.closed, "a closed listener accepts nothing");
        assert!(!self.listener.accepting, "accepting is armed once");
        self.listener.accepting = true;
        self.stage(Op::Accept(self.seat));
    }

    fn cancel_accept(&mut self, _listener: ListenerId) {
        self.stage(Op::CancelAccept(self.seat));
    }

    fn accept_waiting(&mut self, _listener: ListenerId) -> Option<SimSocket> {
        assert!(!self.listener.accepting, "accepting must have ended");
        let mut world = self.world.borrow_mut();
        let kernel = &mut world.kernel;
        let sock = kernel.listeners[self.seat].backlog.pop_front()?;
        kernel.accepted += 1;
        kernel
            .trace
            .say(|| format!("{sock}: accepted from the backlog"));
        Some(SimSocket(sock))
    }

    fn close_listener(&mut self, _listener: ListenerId) {
        assert!(
            !self.listener.accepting,
            "a listener is closed after accepting has ended"
        );
        assert!(
            !std::mem::replace(&mut self.listener.closed, true),
            "a listener is closed once"
        );
        self.world.borrow_mut().kernel.close_listener(self.seat);
    }

    fn arm_recv(&mut self, conn: Key, socket: &SimSocket) {
        self.begin_recv(conn, socket);
        self.stage(Op::Recv(socket.0));
    }

    fn watch(&mut self, conn: Key, socket: &SimSocket) {
        self.begin_recv(conn, socket);
        self.stage(Op::Watch(socket.0));
    }

    fn recv_into(&mut self, conn: Key, socket: &SimSocket, buf: BytesMut) {
        assert!(buf.capacity() > buf.len(), "a receive needs room");
        self.begin_recv(conn, socket);
        self.stage(Op::RecvInto(socket.0, buf));
    }

    fn cancel_recv(&mut self, conn: Key) {
        let slot = self
            .tenant(conn)
            .expect("a receive is cancelled on an open connection");
        assert!(slot.receiving, "there is a receive to cancel");
        let (_, sock) = slot.tenant.expect("it was just found");
        self.stage(Op::CancelRecv(sock));
    }

    fn send(&mut self, conn: Key, socket: &SimSocket, buf: Box<WriteBuf>) {
        assert!(!buf.is_empty(), "a send carries something");
        let shut = self.world.borrow().kernel.socks[socket.0].shut;
        assert!(!shut, "nothing is sent behind the end of the write side");
        let slot = self.slot(conn, socket);
        assert!(!slot.sending, "one send at a time");
        slot.sending = true;
        self.stage(Op::Send(socket.0, buf));
    }

    fn cancel_send(&mut self, conn: Key) {
        let slot = self
            .tenant(conn)
            .expect("a send is cancelled on an open connection");
        assert!(slot.sending, "there is a send to cancel");
        let (_, sock) = slot.tenant.expect("it was just found");
        self.stage(Op::CancelSend(sock));
    }

    fn shutdown_write(&mut self, socket: &SimSocket) {
        let key = self.world.borrow().kernel.socks[socket.0].key;
        if let Some(slot) = key.and_then(|key| self.tenant(key)) {
            assert!(!slot.sending, "the write side ends after the last send");
        }
        let mut world = self.world.borrow_mut();
        world.kernel.take_written();
        world.kernel.trace.say(|| format!("{}: shutdown", socket.0));
        world.kernel.shutdown_write(socket.0);
    }

    fn reset_on_close(&mut self, socket: &SimSocket) {
        self.world.borrow_mut().kernel.reset_on_close(socket.0);
    }

    fn lend(&self, socket: &SimSocket) -> Option<LentSocket> {
        let lent = self.world.borrow().kernel.lend(socket.0);
        Some(LentSocket::Simulated(Box::new(lent)))
    }

    fn close(&mut self, socket: SimSocket) {
        let key = self.world.borrow().kernel.socks[socket.0].key;
        if let Some(slot) = key.and_then(|key| self.tenant(key)) {
            assert!(
                !slot.receiving && !slot.sending,
                "nothing is in flight on a closed socket"
            );
            slot.tenant = None;
        }
        let mut world = self.world.borrow_mut();
        world.kernel.take_written();
        world.kernel.trace.say(|| format!("{}: close", socket.0));
        world.kernel.close(socket.0);
        drop(world);
        self.spawn.interleave();
    }

    fn part_with(&mut self, socket: &SimSocket) {
        self.world.borrow_mut().kernel.take_written();
        let key = self.world.borrow_mut().kernel.socks[socket.0].key.take();
        if let Some(slot) = key.and_then(|key| self.tenant(key)) {
            assert!(
                !slot.receiving && !slot.sending,
                "nothing is in flight on a socket that goes elsewhere"
            );
            slot.tenant = None;
        }
        self.spawn.interleave();
    }

    /// There is no descriptor behind a simulated socket.
    fn release(&mut self, socket: SimSocket) -> io::Result<OwnedFd> {
        self.close(socket);
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unacknowledged_bytes(&self, socket: &SimSocket) -> Option<u32> {
        let world = self.world.borrow();
        let sock = &world.kernel.socks[socket.0];
        let unsent = sock.send.as_ref().map_or(0, |buf| buf.len());
        Some((sock.tx.len() + unsent) as u32)
    }

    fn peer_addr(&self, socket: &SimSocket) -> io::Result<SocketAddr> {
        let world = self.world.borrow();
        let sock = &world.kernel.socks[socket.0];
        let ip = match sock.gentle {
            true => Ipv4Addr::LOCALHOST,
            false => Ipv4Addr::new(10, 0, 0, 1),
        };
        Ok(SocketAddr::new(ip.into(), sock.peer as u16))
    }

    fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.submit();
        let (facts, woken) = self.world.borrow_mut().turn(self.seat, wait);
        self.reaped.extend(facts.into_iter().map(Some));
        if woken {
            self.reaped.push_back(None);
        }
        Ok(())
    }

    fn has_news(&mut self) -> bool {
        !self.reaped.is_empty() || self.world_now().glance(self.seat)
    }

    fn next_completion(&mut self) -> Option<Completion<Self>> {
        self.spawn.interleave();
        match self.reaped.pop_front()? {
            None => Some(Completion::Woken),
            Some(fact) => {
                self.note(&fact);
                Some(self.complete(fact))
            }
        }
    }
}
