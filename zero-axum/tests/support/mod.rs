//! What the black-box tests share: a server in each mode, and a client that sees raw bytes.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub(crate) mod child;
pub(crate) mod client;
pub(crate) mod directory;
pub(crate) mod log;
#[path = "../../../zero-runtime/tests/support/patience.rs"]
pub(crate) mod patience;

use std::net::SocketAddr;
use std::sync::mpsc;

use zero_axum::{
    Backend, BackendChoice, Config, Dispatch, IntoApp, Io, ShutdownHandle, Stats, serve,
};

use client::Client;
// Each test binary uses its own part of this, too.
#[allow(unused_imports)]
pub(crate) use patience::{PATIENCE, at_any_pace, eventually};

/// How the application under test is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    IoUringAdaptive,
    IoUringInline,
    IoUringWorkers,
    Hyper,
}

impl Mode {
    /// A small server of this mode.
    pub(crate) fn config(self) -> Config {
        let config = Config::default().shards(2).workers(2).connections_max(1024);
        match self {
            Mode::IoUringAdaptive => config
                .backend(BackendChoice::IoUring)
                .dispatch(Dispatch::Adaptive)
                .inline_streak(2),
            Mode::IoUringInline => config
                .backend(BackendChoice::IoUring)
                .dispatch(Dispatch::Inline),
            Mode::IoUringWorkers => config
                .backend(BackendChoice::IoUring)
                .dispatch(Dispatch::Workers),
            Mode::Hyper => config.backend(BackendChoice::Hyper),
        }
    }

    pub(crate) fn is_io_uring(self) -> bool {
        self != Mode::Hyper
    }

    /// Runs one test, unless this machine cannot: then says so, with the kernel's reason.
    pub(crate) fn run(self, name: &str, test: fn(Mode)) {
        match self.refusal() {
            None => test(self),
            Some(reason) => eprintln!("SKIPPED {name} ({self:?}): io_uring is refused: {reason}"),
        }
    }

    /// Asks the kernel itself, not zero: a server that wrongly refuses io_uring must fail tests.
    ///
    /// On a thread of its own: a ring's late end interrupts system calls of the thread that made it.
    fn refusal(self) -> Option<std::io::Error> {
        if !self.is_io_uring() {
            return None;
        }
        let probe = || {
            <io_uring::IoUring>::builder()
                .setup_single_issuer()
                .setup_defer_taskrun()
                .build(4)
                .err()
        };
        std::thread::spawn(probe)
            .join()
            .expect("the probe does not panic")
    }

    pub(crate) fn io(self) -> Io {
        Io::new(self.config()).expect("the kernel offers what the mode needs")
    }

    /// Serves `app` on a free port of the loopback.
    pub(crate) fn serve<M>(self, app: impl IntoApp<M>) -> Server {
        self.serve_with(self.config(), app)
    }

    pub(crate) fn serve_with<M>(self, config: Config, app: impl IntoApp<M>) -> Server {
        let mut io = Io::new(config).expect("the kernel offers what the mode needs");
        io.http_listen(loopback()).unwrap();
        self.serve_io(io, app)
    }

    pub(crate) fn serve_io<M>(self, io: Io, app: impl IntoApp<M>) -> Server {
        let handle = serve(io, app).unwrap();
        let expected = match self {
            Mode::Hyper => Backend::Hyper,
            _ => Backend::IoUring,
        };
        assert_eq!(handle.backend(), expected, "is ZERO_BACKEND set?");
        let addr = handle.local_addr().unwrap();
        Server { handle, addr }
    }
}

/// A running server; dropping it drains it.
pub(crate) struct Server {
    pub(crate) handle: ShutdownHandle,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Proves that the server still serves, on whichever shard the connections land.
    pub(crate) fn assert_serves(&self, path: &str) {
        for _ in 0..8 {
            let response = self.connect().get(path);
            assert_eq!(response.status, 200, "{}", response.head);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Ends the server and waits for its end, but not for ever.
    pub(crate) fn stop(self) {
        self.handle.shutdown();
        wait(self.handle);
    }
}

/// Waits for a server's end on another thread, but not for ever.
pub(crate) fn wait(handle: ShutdownHandle) {
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(handle.wait()));
    end.recv_timeout(PATIENCE)
        .expect("the server did not end")
        .expect("the server failed");
}

/// Runs an asynchronous client to its end, but not for ever.
pub(crate) fn run(client: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, client).await });
    ended.expect("the client ends in time");
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Tells, once, that it was dropped (or told earlier).
pub(crate) struct Guard(mpsc::Sender<()>);

impl Guard {
    pub(crate) fn new() -> (Guard, Dropped) {
        let (tx, rx) = mpsc::channel();
        (Guard(tx), Dropped(rx))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Sees the [`Guard`] go.
pub(crate) struct Dropped(mpsc::Receiver<()>);

impl Dropped {
    pub(crate) fn wait(&self, what: &str) {
        self.0
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("was not dropped: {what}"));
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.try_recv().is_ok()
    }
}

/// Makes tests out of each `fn(Mode)` named: one in each mode.
#[allow(unused_macros)]
macro_rules! in_every_mode {
    ($($test:ident,)*) => {
        $($crate::support::in_modes!($test:
            io_uring_adaptive IoUringAdaptive,
            io_uring_inline IoUringInline,
            io_uring_workers IoUringWorkers,
            hyper Hyper,
        );)*
    };
}
#[allow(unused_imports)]
pub(crate) use in_every_mode;

/// The same where hyper has nothing of the kind.
#[allow(unused_macros)]
macro_rules! on_shards {
    ($($test:ident,)*) => {
        $($crate::support::in_modes!($test:
            io_uring_adaptive IoUringAdaptive,
            io_uring_inline IoUringInline,
            io_uring_workers IoUringWorkers,
        );)*
    };
}
#[allow(unused_imports)]
pub(crate) use on_shards;

/// Makes tests of one `fn(Mode)`: each mode with the test's name.
#[allow(unused_macros)]
macro_rules! in_modes {
    ($test:ident: $($name:ident $mode:ident,)*) => {
        mod $test {
            use crate::support::Mode;

            $(
                #[test]
                fn $name() {
                    Mode::$mode.run(stringify!($test), super::$test);
                }
            )*
        }
    };
}
#[allow(unused_imports)]
pub(crate) use in_modes;
