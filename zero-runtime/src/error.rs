//! Errors, sorted by who can act on them: the application reading a body, or the operator starting
//! the server.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;

/// Any error, sendable.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request's body ended before its end.
///
/// `Display` says what hyper says, because applications send it to their clients (axum's extractors
/// do); the cause is in [`source`](Error::source).
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BodyError {
    /// The peer closed or reset the connection before the whole body had come.
    Incomplete,
    /// The peer's chunked coding or trailers were malformed, or over a limit.
    Invalid,
    /// The peer sent less than `Config::body_rate_min` asks for; the connection will be closed.
    TooSlow,
    /// The server ended the connection: shutdown, or a timeout.
    Cancelled,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error reading a body from connection")
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match self {
            BodyError::Incomplete => {
                &Cause("the connection was closed before the request body was complete")
            }
            BodyError::Invalid => &Cause("the request body's chunks or trailers are malformed"),
            BodyError::TooSlow => &Cause("the request body came too slowly"),
            BodyError::Cancelled => {
                &Cause("the server closed the connection while the request body came")
            }
        })
    }
}

/// What is behind an error.
#[derive(Debug)]
struct Cause(&'static str);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Cause {}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::Incomplete => io::ErrorKind::UnexpectedEof,
            BodyError::Invalid => io::ErrorKind::InvalidData,
            BodyError::TooSlow => io::ErrorKind::TimedOut,
            BodyError::Cancelled => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}

/// Why the kernel gives us no io_uring. `Display` says cause and remedy.
#[non_exhaustive]
#[derive(Debug)]
pub enum Refusal {
    /// The sysctl `kernel.io_uring_disabled` has this value, 1 or 2.
    Disabled(u32),
    /// A seccomp filter, as of containers, or a security module forbids the system calls.
    Forbidden,
    /// The kernel has no io_uring, or a sandbox hides it.
    Absent,
    /// The kernel lacks this, which Linux 6.1 has.
    TooOld(&'static str),
    /// Locked or any memory ran out.
    OutOfMemory,
    /// Descriptors ran out.
    OutOfDescriptors,
    /// Something else.
    Other(io::Error),
}

impl Refusal {
    /// Names the cause of an error of `io_uring_setup` or `io_uring_register`.
    ///
    /// `lacking` is what the kernel must have lacked if it called our arguments invalid.
    pub fn of(error: io::Error, lacking: &'static str) -> Self {
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
        let disabled = disabled.and_then(|text| text.trim().parse().ok());
        Refusal::classify(error, lacking, disabled.unwrap_or(0))
    }

    fn classify(error: io::Error, lacking: &'static str, disabled: u32) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM) if disabled > 0 => Refusal::Disabled(disabled),
            Some(libc::EPERM | libc::EACCES) => Refusal::Forbidden,
            Some(libc::ENOSYS) => Refusal::Absent,
            Some(libc::EINVAL | libc::EOPNOTSUPP) => Refusal::TooOld(lacking),
            Some(libc::ENOMEM) => Refusal::OutOfMemory,
            Some(libc::EMFILE | libc::ENFILE) => Refusal::OutOfDescriptors,
            _ => Refusal::Other(error),
        }
    }

    /// Whether this machine has no io_uring for us, so that another backend should serve; else
    /// resources ran out, which another backend would not cure.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Refusal::Disabled(_) | Refusal::Forbidden | Refusal::Absent | Refusal::TooOld(_) => {
                true
            }
            Refusal::OutOfMemory | Refusal::OutOfDescriptors | Refusal::Other(_) => false,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Refusal::Disabled(_) | Refusal::Forbidden => io::ErrorKind::PermissionDenied,
            Refusal::Absent | Refusal::TooOld(_) => io::ErrorKind::Unsupported,
            Refusal::OutOfMemory => io::ErrorKind::OutOfMemory,
            Refusal::OutOfDescriptors => io::ErrorKind::Other,
            Refusal::Other(error) => error.kind(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Disabled(1) => f.write_str(
                "io_uring is disabled for unprivileged processes (kernel.io_uring_disabled=1); \
                 run: sysctl -w kernel.io_uring_disabled=0, or add the process to the group of \
                 kernel.io_uring_group",
            ),
            Refusal::Disabled(value) => write!(
                f,
                "io_uring is disabled (kernel.io_uring_disabled={value}); \
                 run: sysctl -w kernel.io_uring_disabled=0",
            ),
            Refusal::Forbidden => f.write_str(
                "io_uring is forbidden by a seccomp filter or a security module (Docker and \
                 containerd forbid it by default); allow io_uring_setup, io_uring_enter and \
                 io_uring_register in the container's profile: docker run --security-opt seccomp=...",
            ),
            Refusal::Absent => f.write_str(
                "the kernel has no io_uring, or a sandbox such as gVisor hides it; run on Linux 6.1 \
                 or later with CONFIG_IO_URING, outside the sandbox",
            ),
            Refusal::TooOld(lacking) => write!(
                f,
                "the kernel's io_uring is too old: it lacks {lacking}; run on Linux 6.1 or later",
            ),
            Refusal::OutOfMemory => f.write_str(
                "memory for io_uring's rings ran out (the cgroup's memory limit, or locked memory); \
                 raise memory.max or the limit `ulimit -l` (LimitMEMLOCK= of systemd), or set fewer \
                 shards",
            ),
            Refusal::OutOfDescriptors => f.write_str(
                "descriptors for io_uring's rings ran out; raise the limit `ulimit -n` (LimitNOFILE= \
                 of systemd)",
            ),
            Refusal::Other(error) => write!(f, "io_uring could not be set up: {error}"),
        }
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Refusal::Other(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        io::Error::new(refusal.kind(), refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(errno: i32, disabled: u32) -> Refusal {
        let error = io::Error::from_raw_os_error(errno);
        Refusal::classify(error, "IORING_SETUP_DEFER_TASKRUN", disabled)
    }

    #[test]
    fn each_cause_is_told_with_its_remedy() {
        let told = [
            (libc::EPERM, 2, "sysctl -w kernel.io_uring_disabled=0"),
            (libc::EPERM, 1, "kernel.io_uring_group"),
            (libc::EPERM, 0, "--security-opt seccomp="),
            (libc::EACCES, 0, "security module"),
            (libc::ENOSYS, 0, "gVisor"),
            (
                libc::EINVAL,
                0,
                "lacks IORING_SETUP_DEFER_TASKRUN; run on Linux 6.1",
            ),
            (libc::ENOMEM, 0, "LimitMEMLOCK="),
            (libc::EMFILE, 0, "ulimit -n"),
            (libc::EIO, 0, "Input/output error"),
        ];
        for (errno, disabled, remedy) in told {
            let text = refusal(errno, disabled).to_string();
            assert!(text.contains(remedy), "{text:?} lacks {remedy:?}");
        }
    }

    #[test]
    fn another_backend_helps_only_where_io_uring_is_unavailable() {
        assert!(refusal(libc::EPERM, 2).is_unavailable());
        assert!(refusal(libc::ENOSYS, 0).is_unavailable());
        assert!(!refusal(libc::ENOMEM, 0).is_unavailable());
        assert!(!refusal(libc::EMFILE, 0).is_unavailable());
    }

    #[test]
    fn a_refusal_keeps_its_text_and_gets_a_kind_as_an_io_error() {
        let error = io::Error::from(refusal(libc::EPERM, 2));
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("io_uring_disabled=2"));
        assert_eq!(
            io::Error::from(refusal(libc::ENOSYS, 0)).kind(),
            io::ErrorKind::Unsupported
        );
    }

    #[test]
    fn a_body_error_travels_as_any_error() {
        let boxed: BoxError = BodyError::Incomplete.into();
        assert!(boxed.downcast_ref::<BodyError>() == Some(&BodyError::Incomplete));
        let error = io::Error::from(BodyError::Incomplete);
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
