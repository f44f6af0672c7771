//! actix-web with one worker.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::web::{Bytes, Path, get, post};
use actix_web::{App, HttpResponse, HttpServer};
use zero_bench_peers::{BYTES, MESSAGE, PLAINTEXT, TEXT};

zero_bench_peers::peer!(start);

fn start(listener: TcpListener) -> io::Result<()> {
    let server = HttpServer::new(|| {
        App::new()
            .route(
                "/plaintext",
                get().to(async || HttpResponse::Ok().content_type(TEXT).body(PLAINTEXT)),
            )
            .route("/json", get().to(async || HttpResponse::Ok().json(MESSAGE)))
            .route(
                "/users/{id}",
                get().to(async |id: Path<String>| {
                    HttpResponse::Ok().content_type(TEXT).body(id.into_inner())
                }),
            )
            .route(
                "/echo",
                post().to(async |body: Bytes| HttpResponse::Ok().content_type(BYTES).body(body)),
            )
    });
    let server = server
        .workers(1)
        .keep_alive(Duration::from_secs(3600))
        .disable_signals()
        .listen(listener)?;
    actix_web::rt::System::new().block_on(server.run())
}
