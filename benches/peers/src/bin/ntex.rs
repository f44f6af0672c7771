//! ntex on its own io_uring runtime, with one worker.

use std::io;
use std::net::TcpListener;

use ntex::util::Bytes;
use ntex::web::types::Path;
use ntex::web::{App, HttpResponse, HttpServer, get, post};
use zero_bench_peers::{BYTES, MESSAGE, PLAINTEXT, TEXT};

zero_bench_peers::peer!(start);

fn start(listener: TcpListener) -> io::Result<()> {
    let system = ntex::rt::System::new("peer", ntex::rt::DefaultRuntime);
    system.block_on(async move {
        let server = HttpServer::new(async || {
            App::new()
                .route(
                    "/plaintext",
                    get().to(async || HttpResponse::Ok().content_type(TEXT).body(PLAINTEXT)),
                )
                .route(
                    "/json",
                    get().to(async || HttpResponse::Ok().json(&MESSAGE)),
                )
                .route(
                    "/users/{id}",
                    get().to(async |id: Path<String>| {
                        HttpResponse::Ok().content_type(TEXT).body(id.into_inner())
                    }),
                )
                .route(
                    "/echo",
                    post()
                        .to(async |body: Bytes| HttpResponse::Ok().content_type(BYTES).body(body)),
                )
        });
        server
            .workers(1)
            .disable_signals()
            .listen(listener)?
            .run()
            .await
    })
}
