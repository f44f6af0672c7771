//! Listening TCP sockets, one per shard on a shared address. Knows nothing of rings or connections.
//!
//! The address belongs to one server: as with the standard library, whoever comes second gets
//! `AddrInUse`. Only after the first socket listens, alone and without SO_REUSEPORT, is it opened to
//! our own further sockets; so two servers starting at once cannot both come to listen.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Makes `count` listening sockets on one address, among which the kernel spreads connections.
///
/// With port 0 the first picks a port and the others follow. As the standard library's, they reuse
/// addresses in TIME_WAIT, take IPv4 too on `[::]` where the system says so, close on exec and
/// block.
///
/// A socket that is closed resets what waits in its backlog: stop accepting only when draining.
///
/// # Errors
/// What the kernel says; `AddrInUse` when anybody else, of whichever kind, listens there.
///
/// # Panics
/// When `count` is zero.
pub fn bind(
    address: SocketAddr,
    count: usize,
    backlog: u32,
    nodelay: bool,
) -> io::Result<Vec<TcpListener>> {
    assert!(count > 0, "someone has to listen");
    let first = socket(address)?;
    first.bind(&address.into())?;
    listen(&first, backlog, nodelay)?;
    let mut listeners = vec![TcpListener::from(first)];
    let siblings = siblings(&listeners[0], count - 1, backlog, nodelay)?;
    listeners.extend(siblings);
    Ok(listeners)
}

/// Makes `count` further listeners on the address of one that listens already.
///
/// # Errors
/// What the kernel says, such as `AddrInUse` when `first` belongs to another user. Then `first` is
/// as it was and can still serve alone.
pub fn siblings(
    first: &TcpListener,
    count: usize,
    backlog: u32,
    nodelay: bool,
) -> io::Result<Vec<TcpListener>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let shared_before = SockRef::from(first).reuse_port()?;
    SockRef::from(first).set_reuse_port(true)?;
    let siblings: io::Result<Vec<_>> = (0..count)
        .map(|_| sibling(first, backlog, nodelay))
        .collect();
    if siblings.is_err() {
        SockRef::from(first).set_reuse_port(shared_before)?;
    }
    siblings
}

/// Takes over a listener made elsewhere, as by the standard library or a service manager.
///
/// Sets TCP_NODELAY for the connections to come if `nodelay`, else leaves it as it is.
///
/// # Errors
/// `InvalidInput` when it does not listen.
pub fn adopt(listener: TcpListener, nodelay: bool) -> io::Result<TcpListener> {
    let socket = SockRef::from(&listener);
    if !socket.is_listener()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket to serve on does not listen; call listen on it, or hand over a TcpListener \
             made by bind",
        ));
    }
    if nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    // A ring answers EAGAIN, instead of waiting, for a socket that must not block.
    listener.set_nonblocking(false)?;
    Ok(listener)
}

/// One more listener on the address of `first`, which has SO_REUSEPORT set.
fn sibling(first: &TcpListener, backlog: u32, nodelay: bool) -> io::Result<TcpListener> {
    let address = first.local_addr()?;
    let socket = socket(address)?;
    if address.is_ipv6() {
        // Else it would not take the connections that the first one takes.
        socket.set_only_v6(SockRef::from(first).only_v6()?)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    listen(&socket, backlog, nodelay)?;
    Ok(socket.into())
}

/// A socket as all our listeners are before they are bound.
pub(super) fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn listen(socket: &Socket, backlog: u32, nodelay: bool) -> io::Result<()> {
    // On Linux accepted sockets inherit it: set once here, not once per connection.
    socket.set_tcp_nodelay(nodelay)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
    use std::sync::Barrier;
    use std::time::{Duration, Instant};

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn address(listeners: &[TcpListener]) -> SocketAddr {
        listeners[0].local_addr().unwrap()
    }

    fn assert_in_use<T>(result: io::Result<T>) {
        let Err(error) = result else {
            panic!("the address was shared");
        };
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    /// Connects `count` times and tells how many each listener accepted.
    fn accepted(listeners: &[TcpListener], count: usize) -> Vec<usize> {
        let address = address(listeners);
        let clients: Vec<_> = (0..count)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let mut accepted = vec![0; listeners.len()];
        let give_up = Instant::now() + Duration::from_secs(60);
        // The last handshakes may still be under way.
        while accepted.iter().sum::<usize>() < count && Instant::now() < give_up {
            for (listener, accepted) in listeners.iter().zip(&mut accepted) {
                listener.set_nonblocking(true).unwrap();
                *accepted += std::iter::from_fn(|| listener.accept().ok()).count();
            }
        }
        drop(clients);
        accepted
    }

    #[test]
    fn the_kernel_spreads_connections_over_all_of_them() {
        let listeners = bind(LOOPBACK, 3, 1024, true).unwrap();
        assert!(
            listeners
                .iter()
                .all(|one| one.local_addr().unwrap() == address(&listeners))
        );
        let accepted = accepted(&listeners, 300);
        assert_eq!(accepted.iter().sum::<usize>(), 300);
        assert!(accepted.iter().all(|&count| count > 50), "{accepted:?}");
    }

    #[test]
    fn a_second_server_is_refused() {
        for count in [1, 2] {
            let listeners = bind(LOOPBACK, count, 16, true).unwrap();
            assert_in_use(bind(address(&listeners), 1, 16, true));
            assert_in_use(bind(address(&listeners), 2, 16, true));
            assert_in_use(TcpListener::bind(address(&listeners)));
        }
    }

    #[test]
    fn a_std_listener_keeps_its_port_from_us() {
        let theirs = TcpListener::bind(LOOPBACK).unwrap();
        assert_in_use(bind(theirs.local_addr().unwrap(), 2, 16, true));
    }

    #[test]
    fn of_servers_starting_at_once_one_listens() {
        for _ in 0..100 {
            let free = TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap();
            let start = Barrier::new(4);
            let race = || {
                start.wait();
                bind(free, 2, 16, true)
            };
            let winners = std::thread::scope(|scope| {
                let runners: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
                let results = runners.into_iter().map(|runner| runner.join().unwrap());
                results.flatten().collect::<Vec<_>>()
            });
            assert!(winners.len() <= 1);
        }
    }

    #[test]
    fn the_port_is_free_again_once_all_are_closed() {
        let listeners = bind(LOOPBACK, 2, 16, true).unwrap();
        let address = address(&listeners);
        assert_eq!(accepted(&listeners, 8).iter().sum::<usize>(), 8);
        drop(listeners);
        assert_eq!(bind(address, 2, 16, true).unwrap().len(), 2);
    }

    #[test]
    fn accepted_sockets_inherit_nodelay() {
        for nodelay in [true, false] {
            let listeners = bind(LOOPBACK, 1, 16, nodelay).unwrap();
            let _client = TcpStream::connect(address(&listeners)).unwrap();
            let (server, _) = listeners[0].accept().unwrap();
            assert_eq!(server.nodelay().unwrap(), nodelay);
        }
    }

    #[test]
    fn a_std_listener_is_adopted_and_gets_siblings() {
        let theirs = TcpListener::bind(LOOPBACK).unwrap();
        let mut listeners = vec![adopt(theirs, true).unwrap()];
        let _client = TcpStream::connect(address(&listeners)).unwrap();
        assert!(listeners[0].accept().unwrap().0.nodelay().unwrap());
        listeners.extend(siblings(&listeners[0], 1, 1024, true).unwrap());
        let accepted_counts = accepted(&listeners, 200);
        assert_eq!(accepted_counts.iter().sum::<usize>(), 200);
        assert!(
            accepted_counts.iter().all(|&count| count > 50),
            "{accepted_counts:?}"
        );
        assert_in_use(TcpListener::bind(address(&listeners)));
    }

    #[test]
    fn a_socket_that_does_not_listen_is_not_adopted() {
        let bound = socket(LOOPBACK).unwrap();
        bound.bind(&LOOPBACK.into()).unwrap();
        let error = adopt(bound.into(), true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn ipv6_takes_ipv4_exactly_where_std_does() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let Ok(theirs) = TcpListener::bind(any) else {
            return; // A machine without IPv6.
        };
        let theirs_only = SockRef::from(&theirs).only_v6().unwrap();
        for listener in bind(any, 2, 16, true).unwrap() {
            assert_eq!(SockRef::from(&listener).only_v6().unwrap(), theirs_only);
            let port = listener.local_addr().unwrap().port();
            let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            assert_eq!(v4.is_ok(), !theirs_only);
        }
    }
}
