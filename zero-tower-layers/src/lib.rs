//! Native tower middleware that behaves as tower-http's and costs next to nothing.
//!
//! Nothing is implemented here yet. The crate exists so that its place, its name and its
//! dependency rule are settled: it will stand alone on `http`, `http-body`, `tower-layer` and
//! `tower-service`, knowing neither axum nor `zero-runtime`. Until its layers arrive, use
//! tower-http: every tower layer works unchanged in front of and inside an application served
//! by `zero-axum`.
#![forbid(unsafe_code)]
