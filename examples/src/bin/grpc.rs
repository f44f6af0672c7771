//! gRPC beside ordinary routes on one port: tonic's services in an axum `Router`. Connections that
//! open with HTTP/2's preface go from their shard to hyper's HTTP/2 server; needs feature `http2`.
//!
//! Run:  `cargo run -p zero-examples --bin grpc [PORT]`
//! See:  curl localhost:3000/                                     -> hello, over HTTP/1.1
//!       curl --http2-prior-knowledge localhost:3000/             -> hello, over HTTP/2.0
//!       `cargo run -p zero-examples --bin grpc -- ask [PORT]`      -> the service is Serving
use axum::Router;
use axum::http::Version;
use axum::routing::get;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use zero_axum::{Config, Io};

async fn hello(version: Version) -> String {
    format!("hello, over {version:?}\n")
}

async fn serve(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("zero.Example", ServingStatus::Serving)
        .await;
    let app: Router = Routes::new(health)
        .into_axum_router()
        .route("/", get(hello));
    let mut io = Io::new(Config::default())?;
    io.http_listen(([127, 0, 0, 1], port).into())?;
    Ok(zero_axum::serve(io, app)?.await?)
}

async fn ask(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let server = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    let mut client = HealthClient::new(server.connect().await?);
    let service = "zero.Example".to_owned();
    let answer = client.check(HealthCheckRequest { service }).await?;
    println!("the service is {:?}", answer.into_inner().status());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let mut args = std::env::args().skip(1).peekable();
    let asks = args.next_if(|arg| arg == "ask").is_some();
    let port = args.next().as_deref().unwrap_or("3000").parse()?;
    match asks {
        true => ask(port).await,
        false => serve(port).await,
    }
}
