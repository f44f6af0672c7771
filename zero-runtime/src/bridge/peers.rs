//! How many connections each peer has, over all shards. Asked once a connection, and only where
//! there is a limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A peer, as far as limits go: an IPv4 address, or an IPv6 network of 64 bits, of which one client
/// has all addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Peer {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Peer {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Peer::V4(address.octets()),
            IpAddr::V6(address) => {
                let mut network = [0; 8];
                network.copy_from_slice(&address.octets()[..8]);
                Peer::V6(network)
            }
        }
    }
}

/// The connections of all peers that have any.
pub(crate) struct Peers {
    max: u32,
    open: Mutex<HashMap<Peer, u32>>,
}

impl Peers {
    pub(crate) fn new(max: u32) -> Arc<Self> {
        Arc::new(Peers {
            max,
            open: Mutex::default(),
        })
    }

    /// Counts one more connection from `address` for as long as the ticket lives; `None` when it
    /// has as many as it may.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Box<Ticket>> {
        let peer = Peer::of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Box::new(Ticket {
            peers: self.clone(),
            peer,
        }))
    }
}

/// One connection of a peer.
pub(crate) struct Ticket {
    peers: Arc<Peers>,
    peer: Peer,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self
            .peers
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_peer_has_so_many_and_no_more_until_one_ends() {
        let peers = Peers::new(2);
        let first = peers.admit(address("192.0.2.1")).unwrap();
        let _second = peers.admit(address("::ffff:192.0.2.1")).unwrap();
        assert!(peers.admit(address("192.0.2.1")).is_none());
        let _other = peers.admit(address("192.0.2.2")).unwrap();
        drop(first);
        assert!(peers.admit(address("192.0.2.1")).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_peer() {
        let peers = Peers::new(1);
        let _first = peers.admit(address("2001:db8::1")).unwrap();
        assert!(peers.admit(address("2001:db8::ffff:1")).is_none());
        assert!(peers.admit(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn a_peer_without_connections_takes_no_memory() {
        let peers = Peers::new(1);
        for host in 0..=255 {
            drop(peers.admit(IpAddr::from([10, 0, 0, host])));
        }
        assert!(peers.open.lock().unwrap().is_empty());
    }
}
