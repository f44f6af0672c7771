//! Buffers that are reused: nothing here is given back to the allocator while a shard runs.

pub mod arena;
pub mod copies;
pub mod region;
pub mod slot;
pub mod spares;
pub mod write_buf;
