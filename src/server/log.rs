//! The server's log of itself, on standard error. Its level can be set while the server runs.

use std::io;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, registry};

use crate::config::{LogFormat, LogLevel};

/// Sets the level of the log.
pub(super) struct LevelHandle(Handle<LevelFilter, Registry>);

impl LevelHandle {
    /// Less important events are left out from now on.
    pub(super) fn set(&self, level: LogLevel) {
        // An error means that another log is used: a test started a second server in its process.
        let _ = self.0.modify(|filter| *filter = filter_of(level));
    }
}

/// Starts the log.
pub(super) fn start(level: LogLevel, format: LogFormat) -> LevelHandle {
    let (filter, handle) = Layer::new(filter_of(level));
    let lines = fmt::layer().with_writer(io::stderr);
    // Set already when a test starts a second server in its process.
    let _ = match format {
        LogFormat::Text => registry().with(filter).with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => registry().with(filter).with(lines.json()).try_init(),
    };
    LevelHandle(handle)
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
