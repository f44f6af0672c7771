//! What happens at each step of a request's life: one trait a step, with its default.

/// Emits an event of a level that is known only when it happens, under the target that tower-http's
/// event of the same kind has. To be written in a function that is not inlined: it is five callsites, and what is
/// on the way of requests whose traces nobody wants is to be small.
macro_rules! event_at {
    ($level:expr, $target:literal, $span:expr, $($event:tt)+) => {
        match $level {
            $crate::trace::hooks::level::HookLevel::Error => {
                tracing::event!(target: $target, parent: $span, tracing::Level::ERROR, $($event)+)
            }
            $crate::trace::hooks::level::HookLevel::Warn => {
                tracing::event!(target: $target, parent: $span, tracing::Level::WARN, $($event)+)
            }
            $crate::trace::hooks::level::HookLevel::Info => {
                tracing::event!(target: $target, parent: $span, tracing::Level::INFO, $($event)+)
            }
            $crate::trace::hooks::level::HookLevel::Debug => {
                tracing::event!(target: $target, parent: $span, tracing::Level::DEBUG, $($event)+)
            }
            $crate::trace::hooks::level::HookLevel::Trace => {
                tracing::event!(target: $target, parent: $span, tracing::Level::TRACE, $($event)+)
            }
        }
    };
}

mod level;
mod make_span;
mod on_body_chunk;
mod on_eos;
mod on_failure;
mod on_request;
mod on_response;

use self::level::HookLevel;
pub use self::make_span::{DefaultMakeSpan, MakeSpan};
pub use self::on_body_chunk::{DefaultOnBodyChunk, OnBodyChunk};
pub use self::on_eos::{DefaultOnEos, OnEos};
pub use self::on_failure::{DefaultOnFailure, OnFailure};
pub use self::on_request::{DefaultOnRequest, OnRequest};
pub use self::on_response::{DefaultOnResponse, OnResponse};

const MESSAGE_LEVEL: HookLevel = HookLevel::Debug;
const FAILURE_LEVEL: HookLevel = HookLevel::Error;
