//! Connections that had one request answered and stay open.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::plan::Plan;
use super::probe;
use crate::args::Failure;

/// Descriptors a process needs besides its connections.
const SPARE_DESCRIPTORS: u64 = 64;
/// Connections from one address: fewer than the ports that the kernel gives out by default.
const PER_ADDRESS: usize = 20_000;

/// Opens the idle connections of a plan.
pub(super) fn open(plan: &Plan) -> Result<Vec<TcpStream>, Failure> {
    raise_descriptors((plan.idle_connections + plan.connections) as u64)?;
    let mut open = Vec::with_capacity(plan.idle_connections);
    for i in 0..plan.idle_connections {
        let mut stream = connect(plan.server, i)
            .map_err(|error| format!("idle connection {i} was not accepted: {error}"))?;
        if plan.opening.is_none() {
            probe::exchange(&mut stream, &plan.exchanges[0].request, false)
                .map_err(|error| format!("idle connection {i} was not served: {error}"))?;
        }
        open.push(stream);
    }
    Ok(open)
}

/// Connects from an address of 127.0.0.0/8 that still has ports.
fn connect(server: SocketAddrV4, i: usize) -> Result<TcpStream, Failure> {
    let address = i / PER_ADDRESS;
    if address == 0 || !server.ip().is_loopback() {
        return Ok(TcpStream::connect(server)?);
    }
    let flags = SocketFlags::CLOEXEC;
    let tcp = Some(ipproto::TCP);
    let socket: OwnedFd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, tcp)?;
    let from = Ipv4Addr::new(127, 0, 1, u8::try_from(address)?);
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &SocketAddr::V4(server))?;
    Ok(socket.into())
}

/// Raises the limit on descriptors of this process, and of those it starts, as far as it goes.
///
/// # Errors
/// When that does not suffice for so many connections.
pub fn raise_descriptors(connections: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    let needed = connections + SPARE_DESCRIPTORS;
    match limit.maximum {
        Some(maximum) if maximum < needed => Err(format!(
            "{connections} connections need {needed} descriptors, and {maximum} are allowed; run: ulimit -Hn {needed}"
        )
        .into()),
        _ => Ok(()),
    }
}
