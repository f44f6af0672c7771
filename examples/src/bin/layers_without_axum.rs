//! The native layers around a function, on plain hyper: no axum, no zero.
//!
//! Run:  `cargo run -p zero-examples --bin layers_without_axum [PORT]`
//! See:  `curl -i http://localhost:3000/ -H 'origin: https://example.com' -H 'accept-encoding: br' --output -`
//!       -> content-encoding: br; the origin, allowed; an x-request-id
//!       curl -i http://localhost:3000/ -H 'x-request-id: mine'         -> x-request-id: mine
use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use zero_tower_layers::compression::ZeroCompressionLayer;
use zero_tower_layers::cors::ZeroCorsLayer;
use zero_tower_layers::request_id::{MakeRequestUuid, ZeroRequestIdLayer};
use zero_tower_layers::trace::ZeroTraceLayer;

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("you asked for {}\n", request.uri()).repeat(20);
    Ok(Response::new(Full::new(text.into())))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());

    let origin = HeaderValue::from_static("https://example.com");
    let service = ServiceBuilder::new()
        .layer(ZeroRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(ZeroTraceLayer::new_for_http())
        .layer(ZeroCompressionLayer::new())
        .layer(ZeroCorsLayer::new().allow_origin([origin]))
        .service(service_fn(answer));

    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            if let Err(error) = connection
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}
