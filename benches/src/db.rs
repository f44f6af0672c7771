//! What a handler that asks a database costs: one round trip over a pooled connection.
//!
//! The database is the program `database` beside this one, started when it is first asked, on the
//! generator's core; its time is nobody's in the figures.

use std::io;
use std::process::Stdio;
use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::args::Failure;
use crate::child::{CLIENT_CORE, Guard, Pinning, line_of, sibling};

/// What is asked.
pub const QUERY: [u8; 32] = *b"select greeting from hellos....\n";
/// What the database answers.
pub const ROW: [u8; 13] = *b"Hello, World!";

struct Database {
    addr: std::net::SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
    _program: Guard,
}

static DATABASE: LazyLock<Database> =
    LazyLock::new(|| start().expect("the program `database` is built and can be started"));

fn start() -> Result<Database, Failure> {
    let mut command = Pinning::probe().command(sibling("database")?, CLIENT_CORE);
    let mut program = Guard(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let stdout = program.0.stdout.take().ok_or("no stdout")?;
    Ok(Database {
        addr: line_of(stdout, "listening on ")?.parse()?,
        idle: Mutex::default(),
        _program: program,
    })
}

/// Asks the database once, over a connection of the pool.
///
/// # Errors
/// When the database cannot be reached or answers something else.
pub async fn ask() -> io::Result<[u8; ROW.len()]> {
    let pool = &DATABASE.idle;
    let idle = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut connection = match idle {
        Some(connection) => connection,
        None => connect().await?,
    };
    connection.write_all(&QUERY).await?;
    let mut row = [0; ROW.len()];
    connection.read_exact(&mut row).await?;
    pool.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(connection);
    Ok(row)
}

async fn connect() -> io::Result<TcpStream> {
    let connection = TcpStream::connect(DATABASE.addr).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}
