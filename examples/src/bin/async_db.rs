//! Handlers that wait for a database, on the workers of the tokio runtime: `run_async`.
//!
//! Run:  `cargo run --release -p zero-examples --features sqlite --bin async_db [PORT]`
//! See:  curl -X POST --data 'feed the cat' localhost:3000/todos   -> 1
//!       curl localhost:3000/todos                                 -> 1 feed the cat
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Row, SqlitePool};
use zero_runtime::{Config, HttpOwnedRequest, Io, StatusCode, ZeroResponse, ZeroRuntime};

async fn handle(pool: SqlitePool, mut request: HttpOwnedRequest) -> ZeroResponse {
    let answered = match (request.method(), request.path()) {
        ("GET", "/todos") => list(&pool).await,
        ("POST", "/todos") => match request.collect_body(16 * 1024).await {
            Ok(body) => add(&pool, &String::from_utf8_lossy(&body)).await,
            Err(error) => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return ZeroResponse::status(status).text(error.to_string()).close();
            }
        },
        _ => return ZeroResponse::not_found(),
    };
    answered.unwrap_or_else(|error| {
        tracing::error!(%error, "the database failed");
        ZeroResponse::status(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

async fn list(pool: &SqlitePool) -> sqlx::Result<ZeroResponse> {
    let rows = sqlx::query("SELECT id, text FROM todos ORDER BY id")
        .fetch_all(pool)
        .await?;
    let lines = rows.iter().map(|row| {
        format!(
            "{} {}\n",
            row.get::<i64, _>("id"),
            row.get::<String, _>("text")
        )
    });
    Ok(ZeroResponse::ok().text(lines.collect::<String>()))
}

async fn add(pool: &SqlitePool, text: &str) -> sqlx::Result<ZeroResponse> {
    let insert = sqlx::query("INSERT INTO todos (text) VALUES (?)").bind(text);
    let id = insert.execute(pool).await?.last_insert_rowid();
    Ok(ZeroResponse::status(StatusCode::CREATED).text(format!("{id}\n")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());
    let mut io = Io::new(Config::default())?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;

    // In memory there is one connection, or there would be several databases.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await?;
    let table = "CREATE TABLE todos (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
    sqlx::query(table).execute(&pool).await?;
    let handler = move |request| handle(pool.clone(), request);
    ZeroRuntime::new(io).run_async(handler)?.await?;
    Ok(())
}
