//! tower-http beside ours: generated configurations, requests and responses, and nothing to tell the two
//! apart but what DIFFERENCES.md lists.
//!
//! A failure prints its seed; `ZERO_LAYERS_SEED=<seed>` replays it, `ZERO_LAYERS_CASES=<n>` runs more.

mod auth;
mod compression;
mod cors;
mod normalize_path;
mod request_id;
mod sensitive_headers;
mod shorthand;
mod support;
mod trace;
