//! What the peers have in common: the answers they give, and a thread to give them from.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use serde::Serialize;
use zero_bench::args::exit_code;
use zero_bench::serve::{Options, serve_with};
use zero_bench::server::Running;

/// What `/plaintext` answers.
pub const PLAINTEXT: &str = "Hello, World!";
/// The type of a text, as axum says it.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// The type of an echo, as axum says it.
pub const BYTES: &str = "application/octet-stream";

/// What `/json` answers.
#[derive(Serialize)]
pub struct Message {
    /// A greeting.
    pub message: &'static str,
}

/// The message.
pub const MESSAGE: Message = Message { message: PLAINTEXT };

/// Runs a server that `start` starts, in the background, on the address it is given.
pub fn main(start: impl FnOnce(TcpListener) -> io::Result<()> + Send + 'static) -> ExitCode {
    let options = Options::parse(std::env::args_os().skip(1));
    exit_code(options.and_then(|options| {
        serve_with(options, |options| {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
            let listener = TcpListener::bind(addr)?;
            let addr = listener.local_addr()?;
            std::thread::Builder::new()
                .name("peer".into())
                .spawn(move || {
                    if let Err(error) = start(listener) {
                        eprintln!("the server ended: {error}");
                        std::process::exit(1);
                    }
                })?;
            Ok(Running::at(addr))
        })
    }))
}

/// Runs a server that binds for itself, at the address it is given, before `start` returns.
pub fn main_binding(start: impl FnOnce(SocketAddr) -> io::Result<()>) -> ExitCode {
    let options = Options::parse(std::env::args_os().skip(1));
    exit_code(options.and_then(|options| {
        serve_with(options, |options| {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
            // What is bound here gives it a port.
            let addr = TcpListener::bind(addr)?.local_addr()?;
            start(addr)?;
            Ok(Running::at(addr))
        })
    }))
}

/// The allocator of every peer: the system's, counted when it is asked for.
#[macro_export]
macro_rules! peer {
    (binding $start:expr) => {
        zero_bench::count_allocations!();

        fn main() -> std::process::ExitCode {
            zero_bench_peers::main_binding($start)
        }
    };
    ($start:expr) => {
        zero_bench::count_allocations!();

        fn main() -> std::process::ExitCode {
            zero_bench_peers::main($start)
        }
    };
}
