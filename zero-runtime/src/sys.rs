//! The system calls that neither the standard library nor socket2 wrap: eventfd, affinity, locks on
//! files, flags of descriptors, options of sockets in general, their end, sends that never block, who a Unix socket's peer is, and how much of what was sent a peer has taken.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::addr::PeerCred;

/// A counter in the kernel that threads add to and a poller, or a ring, waits on.
///
/// Closed on exec and never blocking.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Makes one at zero.
    ///
    /// # Errors
    /// When the process or the system is out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; the flags are valid ones.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        let fd = checked(fd)?;
        // SAFETY: the kernel has just opened `fd` for us and nobody else knows of it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EventFd(fd))
    }

    /// Adds one, which makes it readable. A counter at its maximum is readable already.
    ///
    /// # Errors
    /// None that a live eventfd is known to give.
    pub fn write(&self) -> io::Result<()> {
        let one = 1_u64;
        let from = (&raw const one).cast();
        // SAFETY: `from` points to the eight bytes of `one`, which outlives the call.
        let written = unsafe { libc::write(self.as_raw_fd(), from, size_of::<u64>()) };
        match checked(written) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes the whole count, leaving zero; zero if there was none.
    ///
    /// # Errors
    /// None that a live eventfd is known to give.
    #[cfg(test)]
    pub fn read(&self) -> io::Result<u64> {
        let mut count = 0_u64;
        let into = (&raw mut count).cast();
        // SAFETY: `into` points to the eight bytes of `count`, which outlives the call.
        let read = unsafe { libc::read(self.as_raw_fd(), into, size_of::<u64>()) };
        match checked(read) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Shuts a socket down, both ways. Whoever waits on it is woken; what the peer has not read yet it may
/// read still. The caller sees to it that `socket` is open and the one that is meant; an error can
/// only be that the peer has gone.
pub(crate) fn shut_down(socket: RawFd) {
    // SAFETY: takes no pointers, and the caller keeps `socket` from being closed and used anew.
    unsafe { libc::shutdown(socket, libc::SHUT_RDWR) };
}

/// Sends as much of `bytes` as the socket takes at once, and raises no signal. The caller sees to it that
/// `socket` is open and the one that is meant.
///
/// # Errors
/// What the kernel says; `WouldBlock` when it takes nothing now.
pub(crate) fn send_now(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads `bytes.len()` bytes from where they lie, and they outlive the call; the
    // caller keeps `socket` from being closed and used anew.
    let sent = unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Bytes in a TCP socket's send queue that the peer has not acknowledged (SIOCOUTQ).
///
/// # Errors
/// When `socket` is none.
pub fn unacknowledged_bytes(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int to where it is told, and `bytes` outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match done {
        0 => Ok(bytes.max(0) as u32),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Who connected to this Unix socket, or who made the pair it is of (SO_PEERCRED).
///
/// # Errors
/// When `socket` is no connected Unix socket.
pub fn peer_cred(socket: BorrowedFd<'_>) -> io::Result<PeerCred> {
    let nobody = libc::uid_t::MAX;
    let mut cred = libc::ucred {
        pid: 0,
        uid: nobody,
        gid: nobody,
    };
    let mut len = size_of_val(&cred) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `cred`, of which any are valid, and the
    // length to `len`; both outlive the call.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut len,
        )
    };
    checked(asked)?;
    // Sockets of other kinds answer, too, with nobody.
    if cred.uid == nobody {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(PeerCred {
        pid: u32::try_from(cred.pid).ok().filter(|&pid| pid != 0),
        uid: cred.uid,
        gid: cred.gid,
    })
}

/// The bytes of a socket's option.
///
/// # Errors
/// What the kernel says; `ENOPROTOOPT` when it does not know the option.
pub fn option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<([u8; OPTION_BYTES_MAX], usize)> {
    let mut bytes = [0; OPTION_BYTES_MAX];
    let mut len = bytes.len() as libc::socklen_t;
    let into = bytes.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` bytes to `bytes`, of which any are valid, and the
    // length to `len`; both outlive the call.
    let asked = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, into, &raw mut len) };
    checked(asked)?;
    Ok((bytes, len as usize))
}

/// More than any option that is looked at.
const OPTION_BYTES_MAX: usize = 32;

/// Whether programs that this process executes lack the descriptor (FD_CLOEXEC).
///
/// # Errors
/// None that an open descriptor is known to give.
pub fn is_closed_on_exec(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes no pointers; the descriptor is open for as long as it is borrowed.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    Ok(checked(flags)? & libc::FD_CLOEXEC != 0)
}

/// Locks an open file, or directory, against others who do, until it is closed (flock).
///
/// # Errors
/// `WouldBlock` while somebody else has it locked.
pub fn try_lock(file: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers; the descriptor is open for as long as it is borrowed.
    let locked = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    checked(locked).map(drop)
}

/// Binds the calling thread to one core.
///
/// # Errors
/// `InvalidInput` when there is no such core, or the process's cpuset leaves it out.
pub fn pin_current_thread(core: usize) -> io::Result<()> {
    const WORD_BITS: usize = u64::BITS as usize;
    let mut mask = [0_u64; CORES_MAX / WORD_BITS];
    let word = mask.get_mut(core / WORD_BITS);
    *word.ok_or(io::ErrorKind::InvalidInput)? |= 1 << (core % WORD_BITS);
    // SAFETY: the kernel only reads, within the size given, bytes that outlive the call; 0 names
    // the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&mask), mask.as_ptr().cast()) };
    checked(result).map(drop)
}

/// More than any kernel is built for.
const CORES_MAX: usize = 1 << 14;

/// What a system call returned, or the error it left in `errno`.
fn checked<T: Default + PartialOrd>(result: T) -> io::Result<T> {
    if result < T::default() {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eventfd_sums_its_writes_and_never_blocks() {
        let event = EventFd::new().unwrap();
        assert_eq!(event.read().unwrap(), 0);
        event.write().unwrap();
        event.write().unwrap();
        assert_eq!(event.read().unwrap(), 2);
        assert_eq!(event.read().unwrap(), 0);
    }

    #[test]
    fn a_full_eventfd_takes_writes_without_an_error() {
        let event = EventFd::new().unwrap();
        let nearly_full = u64::MAX - 1;
        let file = std::fs::File::from(event.0.try_clone().unwrap());
        std::io::Write::write(&mut &file, &nearly_full.to_ne_bytes()).unwrap();
        event.write().unwrap();
        assert_eq!(event.read().unwrap(), nearly_full);
    }

    #[test]
    fn a_unix_peer_is_known_and_a_tcp_peer_is_not() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let cred = peer_cred(one.as_fd()).unwrap();
        assert_eq!(cred.pid, Some(std::process::id()));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let effective = |what: &str| {
            let line = status.lines().find(|line| line.starts_with(what)).unwrap();
            line.split_whitespace().nth(2).unwrap().parse().unwrap()
        };
        assert_eq!((cred.uid, cred.gid), (effective("Uid:"), effective("Gid:")));

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(peer_cred(tcp.as_fd()).is_err());
    }

    #[test]
    fn a_thread_is_pinned_to_the_core_asked_for() {
        let core = *crate::cpus::usable().last().unwrap();
        std::thread::spawn(move || {
            pin_current_thread(core).unwrap();
            assert_eq!(crate::cpus::usable(), [core]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        for core in [CORES_MAX - 1, CORES_MAX, usize::MAX] {
            let error = pin_current_thread(core).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
