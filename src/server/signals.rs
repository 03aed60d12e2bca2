//! The signals that the server listens to: SIGTERM and SIGINT end it, SIGHUP lets it read its configuration again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What SIGHUP means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hangup {
    /// Read the configuration again.
    Reloads,
    /// The terminal is gone in which somebody tried the server out.
    Ends,
}

/// What the kernel tells the process.
pub(super) struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    /// SIGHUP, if it means this; and so for the next.
    pub(super) reload: Option<Signal>,
    pub(super) end: Option<Signal>,
}

impl Signals {
    /// Runs inside a tokio runtime.
    pub(super) fn listen(hangup: Hangup) -> io::Result<Signals> {
        let hung_up = signal(SignalKind::hangup())?;
        let (reload, end) = match hangup {
            Hangup::Reloads => (Some(hung_up), None),
            Hangup::Ends => (None, Some(hung_up)),
        };
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Signals { terminate, interrupt, reload, end })
    }
}

/// Waits for a signal; for ever, if there is none to wait for.
pub(super) async fn next(signal: &mut Option<Signal>) -> bool {
    match signal {
        Some(signal) => signal.recv().await.is_some(),
        None => std::future::pending().await,
    }
}
