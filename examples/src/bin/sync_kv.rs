//! A key-value store that answers from memory, on the shard: `run_sync`.
//!
//! Run:  `cargo run --release -p zero-examples --bin sync_kv [PORT]`
//! See:  curl -X PUT --data 'blue' localhost:3000/kv/sky   -> 201
//!       curl localhost:3000/kv/sky                        -> blue
//!       curl localhost:3000/keys                          -> ["sky"]
//!       curl -X DELETE localhost:3000/kv/sky              -> 204, and 404 from then on
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use zero_runtime::router::{Params, Router};
use zero_runtime::{Config, HttpRequest, Io, StatusCode, ZeroResponse, ZeroRuntime};

/// Shared by all shards. A handler on a shard must not wait for long: hold the lock for a moment.
#[derive(Clone, Default)]
struct Store(Arc<RwLock<BTreeMap<String, Bytes>>>);

impl Store {
    fn get(&self, _request: HttpRequest<'_>, params: &Params<'_, '_>) -> ZeroResponse {
        let key = params.get("key").unwrap_or_default();
        match self.0.read().expect("nobody panics").get(key) {
            Some(value) => ZeroResponse::ok().bytes(value.clone()),
            None => ZeroResponse::not_found(),
        }
    }

    fn put(&self, request: HttpRequest<'_>, params: &Params<'_, '_>) -> ZeroResponse {
        let key = params.get("key").unwrap_or_default().to_owned();
        // The request is borrowed: what stays is copied.
        let value = Bytes::copy_from_slice(request.body());
        match self.0.write().expect("nobody panics").insert(key, value) {
            Some(_) => ZeroResponse::status(StatusCode::NO_CONTENT),
            None => ZeroResponse::status(StatusCode::CREATED),
        }
    }

    fn delete(&self, _request: HttpRequest<'_>, params: &Params<'_, '_>) -> ZeroResponse {
        let key = params.get("key").unwrap_or_default();
        match self.0.write().expect("nobody panics").remove(key) {
            Some(_) => ZeroResponse::status(StatusCode::NO_CONTENT),
            None => ZeroResponse::not_found(),
        }
    }

    fn keys(&self) -> ZeroResponse {
        let store = self.0.read().expect("nobody panics");
        ZeroResponse::ok().json(&store.keys().collect::<Vec<_>>())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "3000".into());
    let mut io = Io::new(Config::default())?;
    io.http_listen(format!("0.0.0.0:{port}").parse()?)?;

    let store = Store::default();
    let (get, put, delete, keys) = (store.clone(), store.clone(), store.clone(), store);
    let router = Router::new()
        .get("/kv/{key}", move |request, params| get.get(request, params))
        .route("PUT", "/kv/{key}", move |request, params| {
            put.put(request, params)
        })
        .route("DELETE", "/kv/{key}", move |request, params| {
            delete.delete(request, params)
        })
        .get("/keys", move |_, _| keys.keys());
    ZeroRuntime::new(io)
        .body_bytes_max(64 * 1024)
        .run_sync(move |request| router.answer(request))?
        .wait()?;
    Ok(())
}
