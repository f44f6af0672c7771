//! A method for each layer, on builders and on services, under the names that tower-http's traits have.
//!
//! Knows what each layer is called; knows nothing of what it does.

mod builder;
mod service;

pub use self::builder::ServiceBuilderExt;
pub use self::service::ServiceExt;
