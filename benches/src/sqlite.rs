//! What a handler that asks a real database costs: one row by its key, from SQLite in a file, through a pool of
//! sqlx's as it comes.
//!
//! Every connection of the pool has a thread of sqlx's, so that a query is a hop to that thread and back. The
//! threads are the server's: they run on its core, and their time is in its figures.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{Error, SqlitePool};
use tokio::sync::OnceCell;

/// What the row says.
pub const GREETING: &str = "Hello, World!";
/// Rows of the table.
const ROWS: i64 = 10_000;
/// The row that is asked for.
const ASKED: i64 = 7_345;
/// Connections of the pool: sqlx's default, all of them opened before the first query.
const CONNECTIONS: u32 = 10;

static POOL: OnceCell<SqlitePool> = OnceCell::const_new();

/// Asks for a row.
///
/// # Errors
/// When the database cannot be made, or does not answer.
pub async fn ask() -> Result<String, Error> {
    let pool = POOL.get_or_try_init(open).await?;
    select(pool).await
}

async fn select(pool: &SqlitePool) -> Result<String, Error> {
    sqlx::query_scalar("SELECT greeting FROM hellos WHERE id = ?")
        .bind(ASKED)
        .fetch_one(pool)
        .await
}

/// Removes this process's database, if it has one. Those of processes that were killed go with the next.
pub fn remove() {
    if POOL.initialized() {
        remove_of(std::process::id());
    }
}

async fn open() -> Result<SqlitePool, Error> {
    for pid in left_behind() {
        remove_of(pid);
    }
    let options = SqliteConnectOptions::new()
        .filename(path_of(std::process::id()))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .connect_with(options)
        .await?;
    fill(&pool).await?;
    Ok(pool)
}

fn path_of(pid: u32) -> PathBuf {
    std::env::temp_dir().join(format!("zero-bench-{pid}.sqlite"))
}

fn remove_of(pid: u32) {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path_of(pid).into_os_string();
        file.push(suffix);
        // One that was never made need not go.
        let _ = std::fs::remove_file(file);
    }
}

/// Processes that have ended and whose databases are still there.
fn left_behind() -> Vec<u32> {
    let Ok(files) = std::fs::read_dir(std::env::temp_dir()) else {
        return Vec::new();
    };
    let pid_of = |name: &str| {
        name.strip_prefix("zero-bench-")?
            .strip_suffix(".sqlite")?
            .parse()
            .ok()
    };
    let pids = files
        .flatten()
        .filter_map(|file| pid_of(file.file_name().to_str()?));
    pids.filter(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        .collect()
}

async fn fill(pool: &SqlitePool) -> Result<(), Error> {
    sqlx::query("CREATE TABLE hellos (id INTEGER PRIMARY KEY, greeting TEXT NOT NULL)")
        .execute(pool)
        .await?;
    let rows = "WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < ?) \
                INSERT INTO hellos SELECT id, ? FROM ids";
    sqlx::query(rows)
        .bind(ROWS)
        .bind(GREETING)
        .execute(pool)
        .await?;
    // Opened now, that no request waits for it.
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = pool.acquire().await?;
        sqlx::query("SELECT count(*) FROM hellos")
            .execute(&mut *connection)
            .await?;
        connections.push(connection);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_connection_finds_the_row_and_no_file_remains() {
        std::fs::write(path_of(u32::MAX), "of a process that was killed")
            .expect("a temporary file");
        assert_eq!(ask().await.expect("SQLite is built in"), GREETING);
        let asks = (0..100).map(|_| tokio::spawn(ask()));
        for asked in asks.collect::<Vec<_>>() {
            let row = asked
                .await
                .expect("no panic")
                .expect("every connection works");
            assert_eq!(row, GREETING);
        }
        assert!(path_of(std::process::id()).exists());
        remove();
        for pid in [std::process::id(), u32::MAX] {
            assert!(!path_of(pid).exists(), "{pid}");
        }
    }
}
