//! What a command shows while it takes its time: a line on standard error, if that is a terminal, which is gone when it is
//! done. What is not a terminal gets nothing.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A line that is shown until this is dropped.
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows what is being done, once it has taken [`PATIENCE`].
    pub(crate) fn begin(what: &'static str) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress(None);
        }
        let (end, ended) = mpsc::channel();
        let show = move || {
            let begun = Instant::now();
            let mut shown = false;
            let mut pause = PATIENCE;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let mut out = io::stderr().lock();
                // A terminal that is gone shows nothing.
                let _ = write!(out, "\r{}", line(what, begun.elapsed())).and_then(|()| out.flush());
                (shown, pause) = (true, Duration::from_secs(1));
            }
            if shown {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        };
        // Without a thread there is no line, which is no reason to do nothing.
        Progress(thread::Builder::new().spawn(show).ok().map(|thread| (end, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

fn line(what: &str, elapsed: Duration) -> String {
    format!("{what} … {} s\x1b[K", elapsed.as_secs())
}

/// What takes less is not worth a line.
const PATIENCE: Duration = Duration::from_millis(700);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        assert_eq!(line("waiting", Duration::from_millis(2_900)), "waiting … 2 s\x1b[K");
    }
}
