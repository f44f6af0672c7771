//! may_minihttp with one worker: a few paths, and little of HTTP.

use std::io;
use std::net::TcpListener;

use may_minihttp::{HttpServer, HttpService, Request, Response};
use zero_bench_peers::{MESSAGE, PLAINTEXT};

zero_bench_peers::peer!(start);

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

fn start(listener: TcpListener) -> io::Result<()> {
    may::config().set_workers(1);
    // It binds for itself: what was bound gives it a port.
    let addr = listener.local_addr()?;
    drop(listener);
    let server = HttpServer(Answers).start(addr)?;
    server
        .join()
        .map_err(|_| io::Error::other("the server panicked"))
}
