//! What the simulated kernel does with receives, sends and closes, and which faults it adds.

use bytes::BytesMut;

use super::kernel::{Check, End, Fact, Kernel, Recv, SimLease};
use crate::pool::write_buf::WriteBuf;

impl Kernel {
    pub(super) fn arm_recv(&mut self, sock: usize) {
        self.socks[sock].recv = Recv::Multishot;
        self.socks[sock].recv_cancel_ns = None;
        if self.trouble(sock) {
            let errno = self
                .rng
                .pick(&[libc::ENOBUFS, libc::ENOBUFS, libc::EAGAIN, libc::EINTR]);
            return self.end_recv(sock, Err(errno));
        }
        self.check_at(self.now_ns, Check::Recv(sock));
    }

    pub(super) fn watch(&mut self, sock: usize) {
        self.socks[sock].recv = Recv::Watch;
        self.socks[sock].recv_cancel_ns = None;
        if self.trouble(sock) {
            return self.end_recv(sock, Err(libc::EINTR));
        }
        self.check_at(self.now_ns, Check::Recv(sock));
    }

    pub(super) fn recv_into(&mut self, sock: usize, buf: BytesMut) {
        self.socks[sock].recv = Recv::Into(buf);
        self.socks[sock].recv_cancel_ns = None;
        if self.trouble(sock) {
            let errno = self.rng.pick(&[libc::EAGAIN, libc::EINTR]);
            return self.end_recv(sock, Err(errno));
        }
        self.check_at(self.now_ns, Check::Recv(sock));
    }

    pub(super) fn cancel_recv(&mut self, sock: usize) {
        let at_ns = self.cancel_ns();
        let state = &mut self.socks[sock];
        if matches!(state.recv, Recv::Multishot | Recv::Watch | Recv::Into(_)) {
            state.recv_cancel_ns.get_or_insert(at_ns);
            self.check_at(at_ns, Check::Recv(sock));
        }
    }

    /// The receive's completion has been handed to its owner.
    pub(super) fn recv_ended(&mut self, sock: usize) {
        self.socks[sock].recv = Recv::Idle;
    }

    fn trouble(&mut self, sock: usize) -> bool {
        let one_in = self.socks[sock].weather.trouble_one_in;
        one_in > 0 && self.rng.one_in(one_in)
    }

    fn recv_at_ns(&mut self, sock: usize) -> u64 {
        let delay_ns = self.delay(self.socks[sock].weather.delay_ns_max);
        let state = &mut self.socks[sock];
        state.recv_last_ns = (self.now_ns + delay_ns).max(state.recv_last_ns);
        state.recv_last_ns
    }

    /// Ends the receive with nothing received: `Ok` is the peer's end.
    fn end_recv(&mut self, sock: usize, result: Result<(), i32>) {
        let at_ns = self.recv_at_ns(sock);
        match std::mem::replace(&mut self.socks[sock].recv, Recv::Posted) {
            Recv::Into(buf) => {
                let result = result.map(|()| 0);
                self.post(at_ns, Fact::ReceivedInto { sock, buf, result });
            }
            Recv::Watch => self.post(at_ns, Fact::Readable { sock, result }),
            _ => {
                let result = result.map(|()| None);
                self.post(
                    at_ns,
                    Fact::Received {
                        sock,
                        result,
                        more: false,
                    },
                );
            }
        }
    }

    pub(super) fn pump_recv(&mut self, sock: usize) {
        loop {
            let now_ns = self.now_ns;
            let state = &mut self.socks[sock];
            if matches!(state.recv, Recv::Idle | Recv::Posted) {
                return;
            }
            if state.recv_cancel_ns.is_some_and(|at_ns| at_ns <= now_ns) {
                return self.end_recv(sock, Err(libc::ECANCELED));
            }
            let is_watched = matches!(state.recv, Recv::Watch);
            if is_watched && (!state.rx.is_empty() || state.rx_end.is_some()) {
                return self.end_recv(sock, Ok(()));
            }
            if state.rx.is_empty() {
                match state.rx_end {
                    None => return,
                    Some(End::Fin) => return self.end_recv(sock, Ok(())),
                    Some(End::Reset) => return self.end_recv(sock, Err(libc::ECONNRESET)),
                }
            }
            match &state.recv {
                Recv::Multishot if self.buffers_free.get() == 0 => {
                    return self.end_recv(sock, Err(libc::ENOBUFS));
                }
                Recv::Multishot => self.receive_piece(sock),
                _ => self.receive_into(sock),
            }
        }
    }

    fn take_rx(&mut self, sock: usize, bytes_max: usize) -> Vec<u8> {
        let state = &self.socks[sock];
        let bytes_max = bytes_max.min(state.rx.len());
        let most = bytes_max.min(state.weather.piece_bytes_max);
        let count = match most {
            // Large streams are not worth being cut into crumbs.
            _ if state.rx.len() > 4096 => most.max(bytes_max.min(512)),
            most if self.rng.one_in(2) => most,
            most => self.rng.size(1, most),
        };
        self.touched.push(sock);
        self.socks[sock].rx.drain(..count).collect()
    }

    fn receive_piece(&mut self, sock: usize) {
        let bytes = self.take_rx(sock, self.buffer_bytes);
        let free = self.buffers_free.clone();
        free.set(free.get() - 1);
        let lease = SimLease { bytes, free };
        let more = !self.trouble(sock);
        if !more {
            self.socks[sock].recv = Recv::Posted;
        }
        let at_ns = self.recv_at_ns(sock);
        let result = Ok(Some(lease));
        self.post(at_ns, Fact::Received { sock, result, more });
    }

    fn receive_into(&mut self, sock: usize) {
        let Recv::Into(mut buf) = std::mem::replace(&mut self.socks[sock].recv, Recv::Posted)
        else {
            unreachable!("the caller has looked");
        };
        let room = buf.capacity() - buf.len();
        let bytes = self.take_rx(sock, room);
        buf.extend_from_slice(&bytes);
        let at_ns = self.recv_at_ns(sock);
        let result = Ok(bytes.len());
        self.post(at_ns, Fact::ReceivedInto { sock, buf, result });
    }

    pub(super) fn send(&mut self, sock: usize, buf: Box<WriteBuf>) {
        let state = &mut self.socks[sock];
        state.send = Some(buf);
        state.send_cancel_ns = None;
        self.check_at(self.now_ns, Check::Send(sock));
    }

    pub(super) fn cancel_send(&mut self, sock: usize) {
        let at_ns = self.cancel_ns();
        let state = &mut self.socks[sock];
        if state.send.is_some() {
            state.send_cancel_ns.get_or_insert(at_ns);
            self.check_at(at_ns, Check::Send(sock));
        }
    }

    pub(super) fn pump_send(&mut self, sock: usize) {
        let now_ns = self.now_ns;
        let Some(mut buf) = self.socks[sock].send.take() else {
            return;
        };
        let result = self.try_send(sock, &buf, now_ns);
        match result {
            None => {
                self.socks[sock].send = Some(buf);
            }
            Some(result) => {
                if let Ok(sent) = result {
                    buf.advance(sent);
                }
                let delay_ns = self.delay(self.socks[sock].weather.delay_ns_max);
                self.post(now_ns + delay_ns, Fact::Sent { sock, buf, result });
            }
        }
    }

    /// What becomes of a send now; `None` when it has to wait for room.
    fn try_send(&mut self, sock: usize, buf: &WriteBuf, now_ns: u64) -> Option<Result<usize, i32>> {
        if self.trouble(sock) {
            return Some(Err(self.rng.pick(&[libc::EAGAIN, libc::EINTR])));
        }
        if !self.socks[sock].gentle && self.rng.one_in(100) {
            self.break_off(sock);
            return Some(Err(self.rng.pick(&[
                libc::EPIPE,
                libc::ECONNRESET,
                libc::ETIMEDOUT,
            ])));
        }
        let state = &mut self.socks[sock];
        if state.rx_end == Some(End::Reset) {
            return Some(Err(self.rng.pick(&[libc::EPIPE, libc::ECONNRESET])));
        }
        // Large responses are not worth being cut into crumbs.
        let least = buf.len() / 64;
        let room = state
            .weather
            .send_bytes_max
            .max(least)
            .saturating_sub(state.tx.len());
        if room > 0 {
            let most = buf
                .len()
                .min(state.weather.send_piece_bytes_max.max(least))
                .min(room);
            let count = self.rng.size(most.div_ceil(2), most);
            let bytes = buf.slices(usize::MAX).flatten().copied().take(count);
            match state.peer_closed {
                true => state.rx_end = Some(End::Reset),
                false => state.tx.extend(bytes),
            }
            self.touched.push(sock);
            self.check_at(now_ns, Check::Recv(sock));
            return Some(Ok(count));
        }
        let cancelled = state.send_cancel_ns.is_some_and(|at_ns| at_ns <= now_ns);
        cancelled.then_some(Err(libc::ECANCELED))
    }

    /// The network gives the connection up.
    pub(super) fn break_off(&mut self, sock: usize) {
        let state = &mut self.socks[sock];
        state.broken = true;
        state.rx_end = Some(End::Reset);
        state.tx_end = Some(End::Reset);
        self.touched.push(sock);
        self.check_at(self.now_ns, Check::Recv(sock));
    }

    pub(super) fn shutdown_write(&mut self, sock: usize) {
        let state = &mut self.socks[sock];
        assert!(
            state.send.is_none(),
            "the write side ends after the last send"
        );
        state.shut = true;
        state.tx_end.get_or_insert(End::Fin);
        self.touched.push(sock);
    }

    pub(super) fn reset_on_close(&mut self, sock: usize) {
        self.socks[sock].linger_zero = true;
    }

    pub(super) fn close(&mut self, sock: usize) {
        let state = &mut self.socks[sock];
        assert!(!state.closed, "a socket is closed once");
        assert!(
            matches!(state.recv, Recv::Idle),
            "nothing is being received on a closed socket"
        );
        assert!(
            state.send.is_none(),
            "nothing is being sent on a closed socket"
        );
        state.closed = true;
        state.closed_ns = self.now_ns;
        // Unread input turns the close into a reset, which overtakes what was sent.
        let resets = state.linger_zero || !state.rx.is_empty();
        let lost = resets && (self.rng.one_in(2) || state.linger_zero);
        let end = if resets { End::Reset } else { End::Fin };
        if state.tx_end != Some(End::Reset) {
            state.tx_end = Some(end);
        }
        if lost {
            let kept = self.rng.size(0, state.tx.len());
            state.tx.truncate(kept);
        }
        self.touched.push(sock);
    }
}
