//! A small TCP server that answers each query of 32 bytes with a row of 13: the database of the `db`
//! scenarios, whose server starts it.
//!
//! Run: `target/release/database`. See: `listening on 127.0.0.1:40000`, then nothing; it ends with its
//! parent.

use std::process::ExitCode;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use zero_bench::args::{Failure, program};
use zero_bench::{child, db};

fn main() -> ExitCode {
    program(include_str!("database.rs"), run)
}

fn run() -> Result<(), Failure> {
    child::end_with_parent()?;
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(answer(connection));
    }
}

/// Answers until the other side goes.
async fn answer(mut connection: TcpStream) {
    let mut query = [0; db::QUERY.len()];
    while connection.read_exact(&mut query).await.is_ok() {
        if connection.write_all(&db::ROW).await.is_err() {
            return;
        }
    }
}
