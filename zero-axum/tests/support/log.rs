//! What this process logs, as text.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::Level;

/// Lines that were logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Everything from [`Level::INFO`] on that the process logs from now on, whoever asks first: tests of one
    /// process look for what only they cause.
    pub(crate) fn of_all() -> Log {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| Log::from(Level::INFO)).clone()
    }

    /// Everything from `level` on. A process can log to one place only.
    pub(crate) fn from(level: Level) -> Log {
        let log = Log::default();
        let writer = {
            let log = log.clone();
            move || log.clone()
        };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(writer)
            .init();
        log
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// How many lines have all these `words`.
    pub(crate) fn count(&self, words: &[&str]) -> u64 {
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        self.text().lines().filter(has_all).count() as u64
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
