//! The tokio runtime a server is started in, or is not.

use std::future::IntoFuture;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use crate::support::{Mode, PATIENCE, in_every_mode, wait};

in_every_mode![
    without_a_runtime,
    inside_a_multi_thread_runtime,
    handlers_run_on_the_callers_runtime,
    inside_a_current_thread_runtime,
    wait_refuses_a_current_thread_runtime,
    wait_blocks_in_place_in_a_multi_thread_runtime,
    a_server_may_be_awaited_by_a_spawned_task,
    a_server_ends_with_the_callers_runtime,
];

fn app() -> Router {
    let thread = || async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        std::thread::current().name().unwrap_or_default().to_owned()
    };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/thread", get(thread))
}

fn multi_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(2).thread_name("the-callers");
    builder.enable_all().build().unwrap()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A client that blocks no thread.
async fn fetch(addr: SocketAddr, path: &str) -> String {
    let fetched = async {
        let mut stream = tokio::net::TcpStream::connect(addr).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        Ok::<_, std::io::Error>(response)
    };
    let response = tokio::time::timeout(PATIENCE, fetched).await;
    let response = response.expect("an answer in time").unwrap();
    response.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

fn without_a_runtime(mode: Mode) {
    let server = mode.serve(app());
    let thread = server.connect().get("/thread");
    assert_eq!(thread.text(), "zero-worker");
    server.stop();
}

fn inside_a_multi_thread_runtime(mode: Mode) {
    multi_thread().block_on(async {
        let server = mode.serve(app());
        assert_eq!(fetch(server.addr, "/").await, "hello");
        server.handle.shutdown();
        let ended = tokio::time::timeout(PATIENCE, server.handle.into_future());
        ended.await.expect("the end in time").unwrap();
    });
}

fn handlers_run_on_the_callers_runtime(mode: Mode) {
    let runtime = multi_thread();
    let entered = runtime.enter();
    let server = mode.serve(app());
    drop(entered);
    for _ in 0..4 {
        let thread = server.connect().get("/thread");
        assert_eq!(thread.text(), "the-callers");
    }
    server.stop();
}

fn inside_a_current_thread_runtime(mode: Mode) {
    current_thread().block_on(async {
        let server = mode.serve(app());
        for _ in 0..4 {
            assert_eq!(fetch(server.addr, "/").await, "hello");
            assert_eq!(fetch(server.addr, "/thread").await, "zero-worker");
        }
        server.handle.shutdown();
        let ended = tokio::time::timeout(PATIENCE, server.handle.into_future());
        ended.await.expect("the end in time").unwrap();
    });
}

fn wait_refuses_a_current_thread_runtime(mode: Mode) {
    current_thread().block_on(async {
        let server = mode.serve(app());
        let error = server.handle.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

fn wait_blocks_in_place_in_a_multi_thread_runtime(mode: Mode) {
    multi_thread().block_on(async {
        let waiting = tokio::spawn(async move {
            let server = mode.serve(app());
            assert_eq!(fetch(server.addr, "/").await, "hello");
            server.handle.shutdown();
            server.handle.wait()
        });
        let ended = tokio::time::timeout(PATIENCE, waiting).await;
        ended.expect("the end in time").unwrap().unwrap();
    });
}

/// As tests do with `axum::serve`.
fn a_server_may_be_awaited_by_a_spawned_task(mode: Mode) {
    current_thread().block_on(async {
        let server = mode.serve(app());
        let addr = server.addr;
        let serving = tokio::spawn(server.handle.into_future());
        assert_eq!(fetch(addr, "/").await, "hello");
        assert!(!serving.is_finished());
        // Aborting the task drops the handle.
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
    });
}

/// The runtime is dropped first: handlers are gone, the server must not hang or crash.
fn a_server_ends_with_the_callers_runtime(mode: Mode) {
    let runtime = multi_thread();
    let entered = runtime.enter();
    let server = mode.serve(app());
    drop(entered);
    server.assert_serves("/");
    runtime.shutdown_timeout(Duration::from_secs(1));
    server.handle.terminate();
    wait(server.handle);
}
