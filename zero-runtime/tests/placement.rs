//! Where a running server's shards are put: each on a core of its own, its receive buffers on the pages asked for.
//!
//! One test, for the threads are the process's.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use zero_runtime::{Config, Io, ShutdownHandle, Toggle, ZeroResponse, ZeroRuntime};

/// A server of so many shards.
fn serve(config: Config) -> (SocketAddr, ShutdownHandle) {
    let mut io = Io::new(config).unwrap();
    io.http_listen(([127, 0, 0, 1], 0).into()).unwrap();
    let runtime = ZeroRuntime::new(io);
    let server = runtime
        .run_sync(|_| ZeroResponse::ok().text("here"))
        .unwrap();
    (server.local_addr().unwrap(), server)
}

fn ask(addr: SocketAddr) {
    let mut connection = TcpStream::connect(addr).unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    connection.write_all(request).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("here"), "{answer:?}");
}

/// What the kernel says of the cores of a thread of this process.
fn allowed(thread: &str) -> String {
    let status = fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap().trim().to_owned()
}

/// The cores of this process's shards.
fn cores_of_shards() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let threads = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_shard = |thread: &String| {
        let name = fs::read_to_string(format!("/proc/self/task/{thread}/comm"));
        name.is_ok_and(|name| name.starts_with("zero-shard"))
    };
    threads
        .filter(is_shard)
        .map(|thread| allowed(&thread))
        .collect()
}

#[test]
fn shards_are_bound_and_buffers_are_where_they_are_said_to_be() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let everywhere = allowed(&std::process::id().to_string());
    for (pin, huge_pages) in [(Toggle::Off, Toggle::Off), (Toggle::On, Toggle::Auto)] {
        let config = Config::default().shards(cores).workers(1);
        let (addr, server) = serve(config.pin_shards(pin).huge_pages(huge_pages));
        (0..4 * cores).for_each(|_| ask(addr));

        let shards = cores_of_shards();
        assert_eq!(shards.len(), cores);
        match pin {
            Toggle::Off => assert!(shards.iter().all(|core| *core == everywhere), "{shards:?}"),
            _ => {
                let apart: BTreeSet<&String> = shards.iter().collect();
                assert_eq!(apart.len(), cores, "each has one of its own: {shards:?}");
                assert!(
                    shards.iter().all(|core| core.parse::<usize>().is_ok()),
                    "{shards:?}"
                );
            }
        }

        let stats = server.stats();
        let huge = stats.recv_bytes_on_huge_pages + stats.recv_bytes_on_transparent_huge_pages;
        let bytes = stats.recv_bytes_on_pages + huge;
        // As many as are set by default, of 16 KiB each and what keeps them apart.
        assert!(bytes >= (cores * 256 * 16 * 1024) as u64, "{bytes}");
        if let Toggle::Off = huge_pages {
            assert_eq!(huge, 0);
        }
        server.shutdown();
        server.wait().unwrap();
    }
}
