//! How the simulated kernel accepts: connects, the backlog, and what goes wrong with them.

use std::collections::VecDeque;

use super::kernel::{Check, End, Fact, Kernel, Recv, Sock, Weather};

impl Kernel {
    /// A peer connects; `None` when it is refused.
    pub(super) fn connect(&mut self, peer: u64, gentle: bool) -> Option<usize> {
        let listener = match self.listeners.len() {
            1 => 0,
            listeners => self.rng.below(listeners as u64) as usize,
        };
        if self.listeners[listener].closed {
            return None;
        }
        let rng = &mut self.rng;
        let weather = Weather {
            piece_bytes_max: rng.pick(&[1, 20, 4096, usize::MAX, usize::MAX, usize::MAX]),
            send_bytes_max: rng.pick(&[1, 50, 3000, 60_000, 1 << 20, 1 << 20]),
            send_piece_bytes_max: rng.pick(&[1, 100, 5000, usize::MAX, usize::MAX]),
            delay_ns_max: rng.pick(&[0, 10_000, 2_000_000]),
            trouble_one_in: rng.pick(&[0, 0, 30, 4]),
        };
        let sock = self.socks.len();
        self.socks.push(Sock {
            key: None,
            seat: listener,
            peer,
            gentle,
            weather,
            rx: VecDeque::new(),
            rx_end: None,
            recv: Recv::Idle,
            recv_cancel_ns: None,
            recv_last_ns: 0,
            send: None,
            send_cancel_ns: None,
            tx: VecDeque::new(),
            tx_end: None,
            linger_zero: false,
            shut: false,
            closed: false,
            closed_ns: u64::MAX,
            peer_closed: false,
            broken: false,
        });
        self.listeners[listener].backlog.push_back(sock);
        self.check_at(self.now_ns, Check::Accept(listener));
        Some(sock)
    }

    pub(super) fn arm_accept(&mut self, listener: usize) {
        self.listeners[listener].armed = true;
        self.check_at(self.now_ns, Check::Accept(listener));
    }

    pub(super) fn cancel_accept(&mut self, listener: usize) {
        let at_ns = self.cancel_ns();
        let state = &mut self.listeners[listener];
        if state.armed && state.cancel_ns.is_none() {
            state.cancel_ns = Some(at_ns);
            self.check_at(at_ns, Check::Accept(listener));
        }
    }

    pub(super) fn pump_accept(&mut self, listener: usize) {
        loop {
            let now_ns = self.now_ns;
            let state = &mut self.listeners[listener];
            if !state.armed {
                return;
            }
            let cancelled = state.cancel_ns.is_some_and(|at_ns| at_ns <= now_ns);
            let trouble = self.rng.one_in(20);
            let result = match (cancelled, state.backlog.is_empty()) {
                (true, _) => Err(libc::ECANCELED),
                (false, true) => return,
                (false, false) if trouble => Err(self.rng.pick(&[
                    libc::EMFILE,
                    libc::ENFILE,
                    libc::ENOMEM,
                    libc::ECONNABORTED,
                    libc::EINTR,
                ])),
                (false, false) => Ok(state.backlog.pop_front().expect("it is not empty")),
            };
            let more = result.is_ok() && !self.rng.one_in(10);
            if !more {
                state.armed = false;
                state.cancel_ns = None;
            }
            let fact = Fact::Accepted {
                listener,
                result,
                more,
            };
            self.post(now_ns, fact);
        }
    }

    /// Those who were in the backlog are reset.
    pub(super) fn close_listener(&mut self, listener: usize) {
        let state = &mut self.listeners[listener];
        state.closed = true;
        for sock in std::mem::take(&mut state.backlog) {
            self.socks[sock].closed = true;
            self.socks[sock].tx_end = Some(End::Reset);
            self.touched.push(sock);
        }
    }
}
