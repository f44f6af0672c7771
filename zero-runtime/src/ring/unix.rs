//! Listening Unix sockets. Knows nothing of rings or connections.
//!
//! A path belongs to one server, as an address does, but the kernel leaves the file behind when the
//! server is gone and refuses the path to the next one. Here the file of a server that is gone is
//! replaced; so that servers starting at once do not replace each other's, each locks the
//! directory while it looks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::sys;

/// How long another server that is starting in the same directory is waited for. Whoever holds the
/// lock for longer means no good: going on without it risks no more than its race.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Pauses before each look whether somebody listens. Of a process that was killed, the kernel takes
/// down the rings, and with them the sockets they accept from, some milliseconds later.
const LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(30),
    Duration::from_millis(100),
];

/// Makes a listening socket at `path`, with the permissions that the umask leaves it.
///
/// # Errors
/// `AddrInUse` when somebody listens there, or when the file there is no socket; else what the
/// kernel says.
pub fn bind(path: &Path, backlog: u32) -> io::Result<UnixListener> {
    let address = address(path)?;
    let _lock = lock_directory(path);
    match listen(&address, backlog) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path, &address) => {
            tracing::debug!(path = %path.display(), "replacing the socket of a server that is gone");
            fs::remove_file(path)?;
            listen(&address, backlog)
        }
        listening => listening,
    }
}

/// Takes over a listener made elsewhere, as by the standard library or a service manager.
///
/// # Errors
/// `InvalidInput` when it does not listen, or is no Unix stream socket.
pub fn adopt(listener: UnixListener) -> io::Result<UnixListener> {
    let socket = SockRef::from(&listener);
    let fits = socket.domain()? == Domain::UNIX && socket.r#type()? == Type::STREAM;
    if !fits || !socket.is_listener()? {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the socket to serve on is no Unix stream socket that listens; hand over a \
             UnixListener made by bind",
        ));
    }
    // A ring answers EAGAIN, instead of waiting, for a socket that must not block.
    listener.set_nonblocking(false)?;
    Ok(listener)
}

fn address(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_encoded_bytes();
    // The kernel takes these for names that are no paths.
    if bytes.is_empty() || bytes.contains(&0) {
        let message = "the path of a Unix socket must not be empty or contain a zero byte";
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    SockAddr::unix(path)
}

fn listen(address: &SockAddr, backlog: u32) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(address)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Whether the file at `path` is a socket that nobody listens on, or stops to in a moment.
fn is_stale(path: &Path, address: &SockAddr) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let is_refused = |pause: &Duration| {
        thread::sleep(*pause);
        connect(address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    is_socket && LOOKS.iter().any(is_refused)
}

fn connect(address: &SockAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Else a server whose accept queue is full would be waited for.
    socket.set_nonblocking(true)?;
    socket.connect(address)
}

/// Locks the directory `path` is in, until the lock is dropped; `None` where that cannot be had.
fn lock_directory(path: &Path) -> Option<File> {
    let parent = path.parent()?;
    let directory = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(directory);
    let directory = opened.ok()?;
    let give_up = Instant::now() + LOCK_PATIENCE;
    while let Err(error) = sys::try_lock(directory.as_fd()) {
        if error.kind() != ErrorKind::WouldBlock || Instant::now() > give_up {
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Some(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::path::PathBuf;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A directory of its own that goes with it.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Directory {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("zero-unix-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Directory(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("socket")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn assert_in_use(result: io::Result<UnixListener>) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn somebody_who_listens_keeps_the_path() {
        let directory = Directory::new();
        let path = directory.socket();
        let listener = bind(&path, 16).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
        assert_in_use(bind(&path, 16));
        // Also when his queue is full.
        let full = directory.0.join("full");
        let _full = bind(&full, 0).unwrap();
        let _first = UnixStream::connect(&full).unwrap();
        assert_in_use(bind(&full, 16));
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn the_file_of_a_server_that_is_gone_is_replaced() {
        let directory = Directory::new();
        let path = directory.socket();
        drop(bind(&path, 16).unwrap());
        assert!(path.exists(), "the kernel leaves the file");
        let _listener = bind(&path, 16).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_that_once_listened_is_left_alone() {
        let directory = Directory::new();
        let path = directory.socket();
        fs::write(&path, "precious").unwrap();
        assert_in_use(bind(&path, 16));
        assert_eq!(fs::read(&path).unwrap(), b"precious");

        let link = directory.0.join("link");
        let gone = directory.0.join("gone");
        drop(bind(&gone, 16).unwrap());
        std::os::unix::fs::symlink(&gone, &link).unwrap();
        assert_in_use(bind(&link, 16));

        let datagrams = directory.0.join("datagrams");
        let _datagrams = UnixDatagram::bind(&datagrams).unwrap();
        assert_in_use(bind(&datagrams, 16));
    }

    #[test]
    fn of_servers_starting_at_once_one_listens() {
        let directory = Directory::new();
        for round in 0..50 {
            let path = directory.0.join(format!("race-{round}"));
            drop(bind(&path, 16).unwrap());
            let start = Barrier::new(4);
            let race = || {
                start.wait();
                bind(&path, 16)
            };
            let listeners = std::thread::scope(|scope| {
                let runners: Vec<_> = (0..4).map(|_| scope.spawn(race)).collect();
                let results = runners.into_iter().map(|runner| runner.join().unwrap());
                results.flatten().collect::<Vec<_>>()
            });
            assert_eq!(listeners.len(), 1);
            UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn a_lock_that_somebody_keeps_delays_but_does_not_prevent() {
        let directory = Directory::new();
        let kept = File::open(&directory.0).unwrap();
        sys::try_lock(kept.as_fd()).unwrap();
        let started = Instant::now();
        bind(&directory.socket(), 16).unwrap();
        assert!(started.elapsed() >= LOCK_PATIENCE);
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        for path in ["", "\0abstract", &"long".repeat(30)] {
            let error = bind(Path::new(path), 16).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
        }
        let nowhere = bind(Path::new("/nonexistent/socket"), 16).unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn only_what_listens_is_adopted() {
        let directory = Directory::new();
        let theirs = UnixListener::bind(directory.socket()).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let ours = adopt(theirs).unwrap();
        assert!(!SockRef::from(&ours).nonblocking().unwrap());

        let (connected, _peer) = UnixStream::pair().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for other in [connected.into(), std::os::fd::OwnedFd::from(tcp)] {
            let error = adopt(other.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}
