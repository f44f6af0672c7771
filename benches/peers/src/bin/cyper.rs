//! The axum application itself, on compio's io_uring by cyper-axum, with one thread.

use std::io;
use std::net::TcpListener;

use compio::driver::ProactorBuilder;
use compio::runtime::RuntimeBuilder;

zero_bench_peers::peer!(start);

fn start(listener: TcpListener) -> io::Result<()> {
    let mut proactor = ProactorBuilder::new();
    // Without these io_uring costs more than epoll; none is on by default.
    proactor
        .single_issuer(true)
        .defer_taskrun(true)
        .coop_taskrun(true)
        .taskrun_flag(true);
    let runtime = RuntimeBuilder::new().with_proactor(proactor).build()?;
    runtime.block_on(async move {
        let listener = compio::net::TcpListener::from_std(listener)?;
        cyper_axum::serve(listener, zero_bench::app::router()).await
    })
}
