//! may_minihttp with one worker: a few paths, and little of HTTP.

use std::io;
use std::net::SocketAddr;

use may_minihttp::{HttpServer, HttpService, Request, Response};
use zero_bench_peers::{MESSAGE, PLAINTEXT};

zero_bench_peers::peer!(binding start);

#[derive(Clone)]
struct Answers;

impl HttpService for Answers {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        match request.path() {
            "/plaintext" => {
                response
                    .header("Content-Type: text/plain; charset=utf-8")
                    .body(PLAINTEXT);
            }
            "/json" => {
                response.header("Content-Type: application/json");
                response.body_vec(serde_json::to_vec(&MESSAGE)?);
            }
            path => match path.strip_prefix("/users/") {
                Some(id) => {
                    let id = id.as_bytes().to_vec();
                    response
                        .header("Content-Type: text/plain; charset=utf-8")
                        .body_vec(id);
                }
                None => {
                    response.status_code(404, "Not Found");
                }
            },
        }
        Ok(())
    }
}

fn start(addr: SocketAddr) -> io::Result<()> {
    may::config().set_workers(1);
    // It serves from threads of its own, which end with the process.
    std::mem::forget(HttpServer(Answers).start(addr)?);
    Ok(())
}
