//! What happens at each step of a request's life: one trait a step, with its default.

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, dispatcher};

/// Emits an event of a level that is known only when it happens, under the target that tower-http's
/// event of the same kind has.
macro_rules! event_at {
    ($level:expr, $target:literal, $span:expr, $($event:tt)+) => {
        match $level {
            tracing::Level::ERROR => {
                tracing::event!(target: $target, parent: $span, tracing::Level::ERROR, $($event)+)
            }
            tracing::Level::WARN => {
                tracing::event!(target: $target, parent: $span, tracing::Level::WARN, $($event)+)
            }
            tracing::Level::INFO => {
                tracing::event!(target: $target, parent: $span, tracing::Level::INFO, $($event)+)
            }
            tracing::Level::DEBUG => {
                tracing::event!(target: $target, parent: $span, tracing::Level::DEBUG, $($event)+)
            }
            tracing::Level::TRACE => {
                tracing::event!(target: $target, parent: $span, tracing::Level::TRACE, $($event)+)
            }
        }
    };
}

mod make_span;
mod on_body_chunk;
mod on_eos;
mod on_failure;
mod on_request;
mod on_response;

pub use self::make_span::{DefaultMakeSpan, MakeSpan};
pub use self::on_body_chunk::{DefaultOnBodyChunk, OnBodyChunk};
pub use self::on_eos::{DefaultOnEos, OnEos};
pub use self::on_failure::{DefaultOnFailure, OnFailure};
pub use self::on_request::{DefaultOnRequest, OnRequest};
pub use self::on_response::{DefaultOnResponse, OnResponse};

const MESSAGE_LEVEL: Level = Level::DEBUG;
const FAILURE_LEVEL: Level = Level::ERROR;

/// Whether an event of this level may reach someone. Without any subscriber it may: tracing's `log`
/// feature then makes it a log record.
fn is_level_on(level: Level) -> bool {
    level <= STATIC_MAX_LEVEL && (level <= LevelFilter::current() || !dispatcher::has_been_set())
}
