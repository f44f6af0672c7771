//! Whether a TCP listener that was made elsewhere may be joined by more of ours, and joining it.
//! Knows nothing of rings or connections.
//!
//! Connections that wait with a sibling are reset when that is closed, and what its maker set on the
//! listener, which accepted sockets inherit, its siblings lack. So a listener is joined only when it
//! is nobody else's and as plain as one of ours.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use socket2::SockRef;

use super::listener::{siblings, socket};
use crate::sys;

/// Options that accepted sockets inherit, or that narrow what is accepted. TCP_NODELAY is not among
/// them: siblings get it as the listener has it.
const OPTIONS: &[(libc::c_int, libc::c_int)] = &[
    (libc::SOL_SOCKET, libc::SO_DOMAIN),
    (libc::SOL_SOCKET, libc::SO_PROTOCOL),
    (libc::SOL_SOCKET, SO_NETNS_COOKIE),
    (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
    (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_TCP, libc::TCP_ULP),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_FREEBIND),
    (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
];
/// Names the network namespace a socket is of; not in every libc crate.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Joins `first` with siblings, `count` listeners in all, if it is ours alone and plain; else, or
/// where the kernel forbids it, leaves it alone.
pub fn spread(first: TcpListener, count: usize, backlog: u32) -> Vec<TcpListener> {
    let joined = match is_plain(&first) {
        Ok(true) => join(&first, count.saturating_sub(1), backlog),
        Ok(false) => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let siblings = joined.unwrap_or_else(|error| {
        tracing::debug!(%error, "a listener cannot be joined; all shards share its accept queue");
        Vec::new()
    });
    std::iter::once(first).chain(siblings).collect()
}

fn join(first: &TcpListener, count: usize, backlog: u32) -> io::Result<Vec<TcpListener>> {
    let nodelay = SockRef::from(first).tcp_nodelay()?;
    siblings(first, count, backlog, nodelay)
}

/// Whether `listener` is closed on exec, so that no other process can be meant to have it, and has
/// the options of a socket that was just made.
fn is_plain(listener: &TcpListener) -> io::Result<bool> {
    if !sys::is_closed_on_exec(listener.as_fd())? {
        return Ok(false);
    }
    let fresh = socket(listener.local_addr()?)?;
    let same = |&(level, name): &(libc::c_int, libc::c_int)| {
        let of = |socket| sys::option(socket, level, name).ok();
        of(listener.as_fd()) == of(fresh.as_fd())
    };
    Ok(OPTIONS.iter().all(same))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn theirs() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn a_plain_listener_is_joined_and_keeps_its_queue() {
        for nodelay in [true, false] {
            let first = theirs();
            SockRef::from(&first).set_tcp_nodelay(nodelay).unwrap();
            let waiting = TcpStream::connect(first.local_addr().unwrap()).unwrap();
            let all = spread(first, 3, 16);
            assert_eq!(all.len(), 3);
            let (_, peer) = all[0].accept().unwrap();
            assert_eq!(peer, waiting.local_addr().unwrap());
            for listener in &all {
                assert_eq!(listener.local_addr().unwrap(), all[0].local_addr().unwrap());
                let inherited = SockRef::from(listener).tcp_nodelay().unwrap();
                assert_eq!(inherited, nodelay);
            }
        }
    }

    #[test]
    fn one_is_enough_for_one_shard() {
        let first = theirs();
        assert_eq!(spread(first, 1, 16).len(), 1);
    }

    #[test]
    fn a_listener_with_options_of_its_own_is_left_alone() {
        type Set = fn(SockRef<'_>) -> io::Result<()>;
        let options: [Set; 5] = [
            |socket| socket.set_keepalive(true),
            |socket| socket.set_recv_buffer_size(100_000),
            |socket| socket.set_linger(Some(Duration::ZERO)),
            |socket| socket.set_ttl_v4(3),
            |socket| socket.set_tcp_user_timeout(Some(Duration::from_secs(5))),
        ];
        for set in options {
            let first = theirs();
            set(SockRef::from(&first)).unwrap();
            assert_eq!(spread(first, 3, 16).len(), 1);
        }
    }

    #[test]
    fn a_listener_that_other_processes_may_have_is_left_alone() {
        let first = theirs();
        SockRef::from(&first).set_cloexec(false).unwrap();
        let mut all = spread(first, 3, 16);
        assert_eq!(all.len(), 1);
        let first = all.pop().unwrap();
        assert!(!SockRef::from(&first).reuse_port().unwrap());
    }
}
