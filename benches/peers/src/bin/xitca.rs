//! xitca-web on io_uring, with one worker.

use std::io;
use std::net::TcpListener;

use xitca_web::App;
use xitca_web::handler::handler_service;
use xitca_web::handler::json::Json;
use xitca_web::route::get;
use zero_bench_peers::{MESSAGE, PLAINTEXT};

zero_bench_peers::peer!(start);

fn start(listener: TcpListener) -> io::Result<()> {
    App::new()
        .at("/plaintext", get(handler_service(async || PLAINTEXT)))
        .at("/json", get(handler_service(async || Json(MESSAGE))))
        .serve()
        .worker_threads(1)
        .disable_vectored_write()
        .listen(listener)?
        .run()
        .wait()
}
