//! Simulated sockets: what a kernel and a network do to bytes, operations and their completions.
//!
//! Knows neither HTTP nor shards. Every choice is seeded; all faults a real kernel can produce on
//! a stream socket are here, and none that it cannot.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::rc::Rc;

use bytes::BytesMut;

use super::lent::Lanes;
use super::rng::{Rng, Trace};
use crate::pool::write_buf::WriteBuf;
use crate::slots::Key;

/// Received bytes; one of the ring's buffers is out while it lives.
pub(super) struct SimLease {
    pub(super) bytes: Vec<u8>,
    pub(super) free: Rc<Cell<usize>>,
}

impl Deref for SimLease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SimLease {
    fn drop(&mut self) {
        self.free.set(self.free.get() + 1);
    }
}

/// A completion on its way to the ring. Error numbers are positive.
pub(super) enum Fact {
    Accepted {
        listener: usize,
        result: Result<usize, i32>,
        more: bool,
    },
    Received {
        sock: usize,
        result: Result<Option<SimLease>, i32>,
        more: bool,
    },
    Readable {
        sock: usize,
        result: Result<(), i32>,
    },
    ReceivedInto {
        sock: usize,
        buf: BytesMut,
        result: Result<usize, i32>,
    },
    Sent {
        sock: usize,
        buf: Box<WriteBuf>,
        result: Result<usize, i32>,
    },
}

/// How the stream towards somebody ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Fin,
    Reset,
}

/// What is asked of the kernel on a socket's receive side.
pub(super) enum Recv {
    Idle,
    Multishot,
    /// Wants to know when there is something.
    Watch,
    Into(BytesMut),
    /// The terminal completion is on its way.
    Posted,
}

/// Perturbations of one connection that no correct program may notice.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    /// Most bytes of one receive.
    pub(super) piece_bytes_max: usize,
    /// Most bytes the kernel queues for the peer.
    pub(super) send_bytes_max: usize,
    /// Most bytes of one send.
    pub(super) send_piece_bytes_max: usize,
    /// Longest way of a completion.
    pub(super) delay_ns_max: u64,
    /// One operation in so many has trouble that passes; 0 for none.
    pub(super) trouble_one_in: u64,
}

pub(super) struct Sock {
    pub(super) key: Option<Key>,
    /// Whose ring has it.
    pub(super) seat: usize,
    pub(super) peer: u64,
    /// Never broken for no reason.
    pub(super) gentle: bool,
    pub(super) weather: Weather,
    /// Bytes from the peer that nobody has received.
    pub(super) rx: VecDeque<u8>,
    pub(super) rx_end: Option<End>,
    pub(super) recv: Recv,
    pub(super) recv_cancel_ns: Option<u64>,
    /// The last receive completion's time: they keep their order.
    pub(super) recv_last_ns: u64,
    pub(super) send: Option<Box<WriteBuf>>,
    pub(super) send_cancel_ns: Option<u64>,
    /// Bytes for the peer that it has not read.
    pub(super) tx: VecDeque<u8>,
    pub(super) tx_end: Option<End>,
    pub(super) linger_zero: bool,
    pub(super) shut: bool,
    pub(super) closed: bool,
    /// When the shard closed it.
    pub(super) closed_ns: u64,
    /// The peer has closed rather than ended its side: what it is sent is answered with a reset.
    pub(super) peer_closed: bool,
    /// The connection was broken by a fault, not by its ends.
    pub(super) broken: bool,
}

pub(super) struct Listener {
    pub(super) backlog: VecDeque<usize>,
    pub(super) armed: bool,
    pub(super) cancel_ns: Option<u64>,
    pub(super) closed: bool,
}

impl Sock {
    pub(super) fn describe(&self) -> String {
        let recv = match self.recv {
            Recv::Idle => "no receive",
            Recv::Multishot => "multishot",
            Recv::Watch => "watched",
            Recv::Into(_) => "receive into",
            Recv::Posted => "receive posted",
        };
        format!(
            "{:?}, {recv}, {} to receive then {:?}, {} to send, {} to be read then {:?}",
            self.key,
            self.rx.len(),
            self.rx_end,
            self.send.as_ref().map_or(0, |buf| buf.len()),
            self.tx.len(),
            self.tx_end
        )
    }
}

/// What the peer's end gives.
pub(super) enum PeerRead {
    Data(Vec<u8>),
    Nothing,
    End(End),
}

const RX_BYTES_MAX: usize = 128 * 1024;

/// The kernel's half of the world.
pub(super) struct Kernel {
    pub(super) now_ns: u64,
    pub(super) rng: Rng,
    pub(super) socks: Vec<Sock>,
    pub(super) listeners: Vec<Listener>,
    posted: BTreeMap<(u64, u64), Fact>,
    posted_count: u64,
    /// Operations to look at again, and when.
    checks: BTreeMap<(u64, u64), Check>,
    pub(super) buffers_free: Rc<Cell<usize>>,
    pub(super) buffers: usize,
    pub(super) buffer_bytes: usize,
    /// Sockets whose peer has something to see.
    pub(super) touched: Vec<usize>,
    pub(super) trace: Trace,
    /// Of sockets that workers write to.
    pub(super) lanes: Lanes,
    /// What the shard has been told of.
    pub(super) accepted: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

#[derive(Clone, Copy)]
pub(super) enum Check {
    Recv(usize),
    Send(usize),
    Accept(usize),
}

impl Fact {
    /// Whose ring hears of it.
    pub(super) fn seat(&self, kernel: &Kernel) -> usize {
        match self {
            // Each has one of its own.
            Fact::Accepted { listener, .. } => *listener,
            Fact::Received { sock, .. }
            | Fact::Readable { sock, .. }
            | Fact::ReceivedInto { sock, .. }
            | Fact::Sent { sock, .. } => kernel.socks[*sock].seat,
        }
    }
}

impl Kernel {
    pub(super) fn new(mut rng: Rng, listeners: usize) -> Self {
        let buffers = rng.pick(&[2, 16, 256, 256]);
        let listener = |_| Listener {
            backlog: VecDeque::new(),
            armed: false,
            cancel_ns: None,
            closed: false,
        };
        Kernel {
            now_ns: rng.below(1_000_000_000),
            buffer_bytes: rng.pick(&[64, 4096, 16 * 1024, 64 * 1024]),
            rng,
            socks: Vec::new(),
            listeners: (0..listeners).map(listener).collect(),
            posted: BTreeMap::new(),
            posted_count: 0,
            checks: BTreeMap::new(),
            buffers_free: Rc::new(Cell::new(buffers)),
            buffers,
            touched: Vec::new(),
            trace: Trace::new(),
            lanes: Lanes::default(),
            accepted: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// When something happens next by itself.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let posted = self.posted.keys().next().map(|(at_ns, _)| *at_ns);
        let check = self.checks.keys().next().map(|(at_ns, _)| *at_ns);
        posted.into_iter().chain(check).min()
    }

    /// Completions that have reached the ring by now.
    pub(super) fn arrived(&mut self) -> Vec<Fact> {
        while let Some(entry) = self.checks.first_entry() {
            if entry.key().0 > self.now_ns {
                break;
            }
            match entry.remove() {
                Check::Recv(sock) => self.pump_recv(sock),
                Check::Send(sock) => self.pump_send(sock),
                Check::Accept(listener) => self.pump_accept(listener),
            }
        }
        let later = self.posted.split_off(&(self.now_ns + 1, 0));
        std::mem::replace(&mut self.posted, later)
            .into_values()
            .collect()
    }

    pub(super) fn post(&mut self, at_ns: u64, fact: Fact) {
        self.posted_count += 1;
        self.posted.insert((at_ns, self.posted_count), fact);
    }

    pub(super) fn check_at(&mut self, at_ns: u64, check: Check) {
        self.posted_count += 1;
        self.checks.insert((at_ns, self.posted_count), check);
    }

    pub(super) fn delay(&mut self, delay_ns_max: u64) -> u64 {
        match self.rng.one_in(3) {
            true => self.rng.range(0, delay_ns_max),
            false => 0,
        }
    }

    /// When a cancellation takes effect: at once, or after what is just happening.
    pub(super) fn cancel_ns(&mut self) -> u64 {
        self.now_ns + self.rng.pick(&[0, 0, 2_000, 300_000])
    }

    /// Whether nothing is in flight on any socket and the shard has closed every one.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet =
            |sock: &Sock| sock.closed && matches!(sock.recv, Recv::Idle) && sock.send.is_none();
        self.posted.is_empty() && self.socks.iter().all(quiet)
    }

    /// How many of `bytes` the network takes; `None` when the connection is gone.
    pub(super) fn peer_write(&mut self, sock: usize, bytes: &[u8]) -> Option<usize> {
        self.take_written();
        let state = &mut self.socks[sock];
        if state.closed || state.broken {
            // The answer is a reset.
            state.tx_end = Some(End::Reset);
            return None;
        }
        let count = bytes.len().min(RX_BYTES_MAX.saturating_sub(state.rx.len()));
        state.rx.extend(&bytes[..count]);
        self.check_at(self.now_ns, Check::Recv(sock));
        Some(count)
    }

    /// The peer ends its side (`Fin`), or breaks off (`Reset`).
    pub(super) fn peer_end(&mut self, sock: usize, end: End) {
        let state = &mut self.socks[sock];
        if state.rx_end != Some(End::Reset) {
            state.rx_end = Some(end);
        }
        if end == End::Reset {
            state.peer_closed = true;
            if self.rng.one_in(2) {
                state.rx.clear();
            }
        }
        self.check_at(self.now_ns, Check::Recv(sock));
        self.check_at(self.now_ns, Check::Send(sock));
    }

    /// The peer closes: an orderly end, but what is still sent to it is answered with a reset.
    pub(super) fn peer_close(&mut self, sock: usize) {
        let unread = !self.socks[sock].tx.is_empty();
        self.socks[sock].peer_closed = true;
        self.socks[sock].tx.clear();
        self.peer_end(sock, if unread { End::Reset } else { End::Fin });
    }

    pub(super) fn peer_read(&mut self, sock: usize, bytes_max: usize) -> PeerRead {
        let state = &mut self.socks[sock];
        if state.tx.is_empty() {
            return match state.tx_end {
                Some(end) => PeerRead::End(end),
                None => PeerRead::Nothing,
            };
        }
        let count = bytes_max.min(state.tx.len());
        let data = state.tx.drain(..count).collect();
        self.check_at(self.now_ns, Check::Send(sock));
        PeerRead::Data(data)
    }
}
