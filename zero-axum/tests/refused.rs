//! Machines that have no io_uring for us, made by a real seccomp filter, and those with little of what
//! it needs: who serves then, and what the operator is told. The filter is a process's for good, so
//! each server has one of its own.

// Its macro for modes has no use here.
#[allow(unused_macros, unused_imports)]
mod support;

use std::collections::BTreeMap;
use std::process::Command;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use zero_axum::{BackendChoice, Config, Io, serve};

use support::child::{self, ChildServer};
use support::client::{Client, pattern};
use support::log::Log;
use support::{Mode, loopback};

/// What the filter answers: its number.
const ERRNO: &str = "ZERO_REFUSED_ERRNO";
/// Set for a child that is to start a server.
const STARTS: &str = "ZERO_REFUSED_STARTS";

/// As Docker's default profile, and containerd's.
#[test]
fn where_a_container_forbids_it_hyper_serves_and_one_line_says_why() {
    let told = "io_uring is forbidden by a seccomp filter";
    hyper_serves(libc::EPERM, told, "docker run --security-opt");
}

/// As gVisor, and kernels without it.
#[test]
fn where_it_is_absent_hyper_serves_and_one_line_says_why() {
    hyper_serves(
        libc::ENOSYS,
        "the kernel has no io_uring",
        "Linux 6.1 or later",
    );
}

fn hyper_serves(errno: i32, cause: &str, remedy: &str) {
    let through = ["env".to_owned(), format!("{ERRNO}={errno}")];
    let mut server = ChildServer::start(
        "child_without_io_uring",
        Mode::Hyper,
        &through.each_ref().map(String::as_str),
    );
    assert_eq!(server.ask("backend"), "hyper");
    let warnings = server.ask("warnings");
    assert!(
        warnings.contains(cause) && warnings.contains(remedy),
        "{warnings}"
    );
    assert_eq!(warnings.matches("WARN").count(), 1, "one line: {warnings}");
    let demanded = server.ask("demanded");
    assert!(
        demanded.contains(cause) && demanded.contains(remedy),
        "{demanded}"
    );
    // A shard of one's own has nothing to fall back to.
    let told = server.ask("raw");
    assert!(told.contains(cause) && told.contains(remedy), "{told}");
    assert_eq!(server.ask("modes"), "200 by hyper");
    answers_are_whole(&server);
}

/// The limit that distributions set by default suffices.
#[test]
fn with_little_lockable_memory_io_uring_serves() {
    Mode::IoUringAdaptive.run("with_little_lockable_memory_io_uring_serves", |_| {
        assert_eq!(started_with_lockable("8388608"), "served through io_uring");
    });
}

/// Rings count as locked memory on some kernels (Linux 6.14 and later), and not on others.
#[test]
fn without_lockable_memory_the_remedy_is_told_or_none_is_needed() {
    // Not even for a probe; enough for a probe.
    for bytes in ["0", "65536"] {
        let started = started_with_lockable(bytes);
        let is_told = started.contains("raise") && started.contains("ulimit -l");
        assert!(
            is_told || started.starts_with("served through"),
            "{started}"
        );
    }
}

/// What becomes of a server that may lock so many bytes.
fn started_with_lockable(bytes: &str) -> String {
    let output = Command::new("prlimit")
        .arg(format!("--memlock={bytes}:{bytes}"))
        // Root may lock what it likes, unless it is made to drop that.
        .args(["setpriv", "--bounding-set=-ipc_lock"])
        .arg(std::env::current_exe().unwrap())
        .args(["child_that_starts", "--exact", "--ignored", "--nocapture"])
        .env(STARTS, "1")
        .output()
        .expect("prlimit and setpriv (of util-linux) run");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = output
        .lines()
        .find_map(|line| line.strip_prefix("STARTED="));
    told.unwrap_or_else(|| panic!("{output}")).to_owned()
}

#[test]
#[ignore = "a server of the tests above, in its own process"]
fn child_that_starts() {
    if std::env::var(STARTS).is_err() {
        return;
    }
    let start = || {
        let mut io = Io::new(Config::default().shards(2))?;
        io.http_listen(loopback())?;
        serve(io, app())
    };
    match start() {
        Ok(handle) => {
            let mut client = Client::connect(handle.local_addr().unwrap());
            assert_eq!(client.get("/").text(), "hello");
            println!("\nSTARTED=served through {}", handle.backend());
        }
        Err(error) => println!("\nSTARTED={error}"),
    }
}

fn answers_are_whole(server: &ChildServer) {
    let body = pattern(100_000);
    for _ in 0..4 {
        let mut client = Client::connect(server.addr);
        assert_eq!(client.get("/").text(), "hello");
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.send(head).send(&body);
        assert!(client.response().body == body);
    }
}

#[test]
#[ignore = "a server of the tests above, in its own process"]
fn child_without_io_uring() {
    let Ok(errno) = std::env::var(ERRNO) else {
        return;
    };
    refuse(errno.parse().unwrap());
    let warnings = Log::from(tracing::Level::WARN);
    Io::new(Config::default().backend(BackendChoice::Hyper)).expect("the kernel is not asked");
    let demanded = Io::new(Config::default().backend(BackendChoice::IoUring));
    let demanded = demanded.expect_err("nobody else was to serve").to_string();
    assert_eq!(
        warnings.text(),
        "",
        "an error is no warning, nor is what was chosen"
    );
    let serve = |_| {
        let mut io = Io::new(Config::default()).expect("hyper serves");
        io.http_listen(loopback()).unwrap();
        let handle = serve(io, app()).unwrap();
        let addr = handle.local_addr().unwrap();
        support::Server { handle, addr }
    };
    child::serve_and_tell(serve, |server, name| match name {
        "backend" => server.handle.backend().to_string(),
        "warnings" => warnings.text().trim().replace('\n', "; "),
        "demanded" => demanded.clone(),
        "modes" => {
            let mut io = Io::new(Config::default()).expect("hyper would serve");
            io.http_listen(loopback()).unwrap();
            let mode = zero_runtime::ZeroRuntime::new(io);
            let handle = mode.run_sync(|_| zero_runtime::ZeroResponse::ok()).unwrap();
            let mut client = Client::connect(handle.local_addr().unwrap());
            format!("{} by {}", client.get("/").status, handle.backend())
        }
        "raw" => {
            let refused = zero_runtime::RawShard::new(Config::default());
            refused.expect_err("there is no other backend").to_string()
        }
        other => panic!("nothing is known by {other:?}"),
    });
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/echo", post(|body: Bytes| async { body }))
}

/// From now on this process's io_uring system calls fail with `errno`.
fn refuse(errno: i32) {
    let calls = [
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ];
    let rules: BTreeMap<_, _> = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH
            .try_into()
            .expect("an architecture seccomp knows"),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).expect("a filter may be set");
}
