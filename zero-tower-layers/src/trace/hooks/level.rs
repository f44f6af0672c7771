//! Levels as hooks keep them, and whether anybody listens at one.

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, dispatcher};

/// A level in one byte, where tracing's takes eight: hooks travel with every request.
#[derive(Clone, Copy, Debug)]
pub(super) enum HookLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl HookLevel {
    /// Whether an event of this level may reach someone. Without any subscriber it may: tracing's `log`
    /// feature then makes it a log record.
    pub(super) fn is_on(self) -> bool {
        let level = Level::from(self);
        level <= STATIC_MAX_LEVEL
            && (level <= LevelFilter::current() || !dispatcher::has_been_set())
    }
}

impl From<Level> for HookLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::ERROR => HookLevel::Error,
            Level::WARN => HookLevel::Warn,
            Level::INFO => HookLevel::Info,
            Level::DEBUG => HookLevel::Debug,
            Level::TRACE => HookLevel::Trace,
        }
    }
}

impl From<HookLevel> for Level {
    fn from(level: HookLevel) -> Self {
        match level {
            HookLevel::Error => Level::ERROR,
            HookLevel::Warn => Level::WARN,
            HookLevel::Info => Level::INFO,
            HookLevel::Debug => Level::DEBUG,
            HookLevel::Trace => Level::TRACE,
        }
    }
}
