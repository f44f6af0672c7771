//! `run_sync` lends a request to its handler for the call.

use std::cell::RefCell;
use zero_runtime::{HttpRequest, ZeroResponse};

fn main() {
    let kept = RefCell::new("");
    let _handler = |request: HttpRequest<'_>| {
        kept.replace(request.path()); //~ E0521
        ZeroResponse::ok()
    };
}
